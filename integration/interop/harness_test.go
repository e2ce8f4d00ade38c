// Package interop has other implementations of Delta Lake read what smelt wrote, and smelt what they wrote, row by row.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
)

const (
	startTimeout = 30 * time.Second // a start of the server, on a busy machine
	waitTimeout  = time.Minute      // a commit of another program is seen within a second, a flow runs within another
	tick         = 50 * time.Millisecond
)

var workDir string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if workDir, err = os.MkdirTemp("", "smelt-interop-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(workDir)
	defer stopPeers()
	return m.Run()
}

// binary builds the command once, and only where there is another program to compare it with.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(workDir, "smelt")
	out, err := exec.Command("go", "build", "-tags", "gms_pure_go", "-o", path, "smelt").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build smelt: %w: %s", err, out)
	}
	return path, nil
})

// server is one running `smelt serve`.
type server struct {
	t    *testing.T
	data string // directory of its tables
	lake string // a directory beside it, for tables of others
	db   *sql.DB
	logs *logBuffer
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String implements fmt.Stringer.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var sqlLine = regexp.MustCompile(`-h (\S+) -P (\d+)`)

// start runs a server on a free port; it may read and write a directory of others.
func start(t *testing.T) *server {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	s := &server{t: t, data: t.TempDir(), lake: t.TempDir(), logs: &logBuffer{}}
	cmd := exec.Command(path, "serve", "--listen", "127.0.0.1:0", "--http", "", "--data", s.data, "--allow-path", s.lake)
	cmd.Stderr = s.logs
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	found := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if m := sqlLine.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1] + ":" + m[2]
			}
		}
	}()
	select {
	case addr := <-found:
		s.db, err = sql.Open("mysql", "root@tcp("+addr+")/live")
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.db.Close() })
	case <-time.After(startTimeout):
		t.Fatalf("no greeting within %s:\n%s", startTimeout, s.logs)
	}
	return s
}

// in returns the server for a subtest, whose failures are its own.
func (s server) in(t *testing.T) *server {
	s.t = t
	return &s
}

// exec runs statements one after the other.
func (s *server) exec(statements ...string) {
	s.t.Helper()
	for _, q := range statements {
		_, err := s.db.Exec(q)
		require.NoError(s.t, err, "%s\n%s", q, s.logs)
	}
}

// refused runs a statement that must fail, and returns its error.
func (s *server) refused(statement string) string {
	s.t.Helper()
	_, err := s.db.Exec(statement)
	require.Error(s.t, err, statement)
	return err.Error()
}

// number runs a query that yields one number.
func (s *server) number(query string) (n int64) {
	s.t.Helper()
	require.NoError(s.t, s.db.QueryRow(query).Scan(&n), "%s\n%s", query, s.logs)
	return n
}

// eventually waits until the query yields want.
func (s *server) eventually(query string, want int64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		n := s.number(query)
		if n == want {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: want %d, got %d after %s\n%s", query, want, n, waitTimeout, s.logs)
		case <-ticker.C:
		}
	}
}

// dir returns the directory of a table of smelt.
func (s *server) dir(table string) string { return filepath.Join(s.data, "live", table) }
