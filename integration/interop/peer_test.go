package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// defaultReaders are those that CI has: both come with the deltalake package.
	defaultReaders = "deltalake,deltalake-sql"
	answerTimeout  = 4 * time.Minute // the first question starts a JVM for some
	maxAnswer      = 256 << 20       // bytes of one answer
)

// request is one line to peer.py, answer the line that comes back.
type request struct {
	Op      string `json:"op"`
	Path    string `json:"path"`
	Version *int64 `json:"version,omitempty"`
	What    string `json:"what,omitempty"`
}

type answer struct {
	Skip     string // why this peer cannot be asked here
	Error    string
	Versions map[string]string // of the peer's libraries
	Version  int64
	Names    []string
	Rows     [][]*string
	History  []commit // newest first
}

type commit struct {
	Version   int64
	Operation string
}

// peer is another implementation of Delta Lake, behind a Python process that answers until its input ends.
type peer struct {
	name    string
	skip    string
	mu      sync.Mutex
	in      io.WriteCloser
	cmd     *exec.Cmd
	answers chan []byte
	errs    *logBuffer
}

var (
	peersMu sync.Mutex
	peers   = map[string]*peer{}
)

// stopPeers ends the processes: they leave when their input ends.
func stopPeers() {
	peersMu.Lock()
	defer peersMu.Unlock()
	for _, p := range peers {
		_ = p.in.Close()
		_ = p.cmd.Wait()
	}
}

func open(name string) (*peer, error) {
	peersMu.Lock()
	defer peersMu.Unlock()
	if p, ok := peers[name]; ok {
		return p, nil
	}
	python := os.Getenv("SMELT_TEST_PYTHON")
	if python == "" {
		python = "python3"
	}
	p := &peer{name: name, cmd: exec.Command(python, "peer.py", name), answers: make(chan []byte), errs: &logBuffer{}}
	p.cmd.Stderr = p.errs
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		p.skip = fmt.Sprintf("start %s: %v", python, err)
		return p, nil
	}
	go func() {
		defer close(p.answers)
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, maxAnswer)
		for lines.Scan() {
			p.answers <- append([]byte(nil), lines.Bytes()...)
		}
	}()
	hello, err := p.receive()
	if err != nil {
		return nil, err
	}
	p.skip = hello.Skip
	peers[name] = p
	return p, nil
}

func (p *peer) receive() (answer, error) {
	var a answer
	select {
	case line, ok := <-p.answers:
		if !ok {
			return a, fmt.Errorf("%s ended: %s", p.name, p.errs)
		}
		return a, json.Unmarshal(line, &a)
	case <-time.After(answerTimeout):
		return a, fmt.Errorf("no answer of %s within %s: %s", p.name, answerTimeout, p.errs)
	}
}

// try asks the peer; what it refuses is in the answer.
func (p *peer) try(t *testing.T, r request) answer {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	line, err := json.Marshal(r)
	require.NoError(t, err)
	_, err = p.in.Write(append(line, '\n'))
	require.NoError(t, err, p.errs)
	a, err := p.receive()
	require.NoError(t, err)
	return a
}

func (p *peer) ask(t *testing.T, r request) answer {
	t.Helper()
	a := p.try(t, r)
	require.Empty(t, a.Error, "%s: %+v", p.name, r)
	return a
}

// need returns the peer of that name, or skips the test with the reason why it cannot be asked.
func need(t *testing.T, name string) *peer {
	t.Helper()
	p, err := open(name)
	require.NoError(t, err)
	if p.skip != "" {
		t.Skipf("skipped: %s (pip install -r integration/requirements.txt, or name an interpreter in SMELT_TEST_PYTHON)", p.skip)
	}
	return p
}

func readers() string {
	if names := os.Getenv("SMELT_TEST_READERS"); names != "" {
		return names
	}
	return defaultReaders
}

// eachReader runs f as a subtest for each reader of SMELT_TEST_READERS.
func eachReader(t *testing.T, f func(t *testing.T, p *peer)) {
	t.Helper()
	for _, name := range strings.Split(readers(), ",") {
		t.Run(name, func(t *testing.T) { f(t, need(t, name)) })
	}
}
