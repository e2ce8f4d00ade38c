// Package integration watches the whole program from outside: it builds the command once, starts it as a user would,
// and asks it over the wire with real clients.
package integration

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
)

const (
	startTimeout  = 30 * time.Second // a cold start replays logs and loads pipelines, on a busy machine
	settleTimeout = 4 * time.Minute  // the whole airline file through four tables, with the race detector beside it
	tick          = 50 * time.Millisecond
)

// binary is the built command, made by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "smelt-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "smelt")
	build := exec.Command("go", "build", "-tags", "gms_pure_go", "-o", binary, "smelt")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build smelt:", err)
		return 1
	}
	// Servers that are killed break the connections of many tests; the driver would tell of each on standard error.
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// server is one running `smelt serve`.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string // of the MySQL listener
	http string // URL of the status page
	db   *sql.DB
	logs *syncBuffer
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var (
	sqlLine  = regexp.MustCompile(`-h (\S+) -P (\d+)`)
	pageLine = regexp.MustCompile(`(http://\S+)`)
)

// start runs `smelt serve` on free ports and waits for its greeting.
func start(t *testing.T, env []string, args ...string) *server {
	t.Helper()
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)
	s := &server{t: t, cmd: exec.Command(binary, args...), logs: &syncBuffer{}}
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stderr = s.logs
	stdout, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	greeted := make(chan struct{})
	go func() {
		defer close(greeted)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if m := sqlLine.FindStringSubmatch(lines.Text()); m != nil {
				s.addr = m[1] + ":" + m[2]
			}
			if m := pageLine.FindStringSubmatch(lines.Text()); m != nil {
				s.http = m[1]
				return
			}
		}
	}()
	select {
	case <-greeted:
	case <-time.After(startTimeout):
	}
	if s.addr == "" || s.http == "" {
		_ = s.cmd.Process.Kill()
		t.Fatalf("no greeting within %s:\n%s", startTimeout, s.logs)
	}
	s.db, err = sql.Open("mysql", "root@tcp("+s.addr+")/live?parseTime=true")
	require.NoError(t, err)
	t.Cleanup(s.kill)
	return s
}

// kill ends the process as a power cut of the program would: no signal handler runs.
func (s *server) kill() {
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.db.Close()
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	_ = s.cmd.Wait()
}

// stop ends the process in order and checks that it says so.
func (s *server) stop() {
	s.t.Helper()
	_ = s.db.Close()
	require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(s.t, s.cmd.Wait(), s.logs.String())
}

// number runs a query that yields one number.
func (s *server) number(query string) (n int64, err error) {
	err = s.db.QueryRow(query).Scan(&n)
	return n, err
}

// rows runs a query and returns its rows as text, nulls as "NULL".
func (s *server) rows(query string) [][]string {
	s.t.Helper()
	out, err := queryRows(s.db, query)
	require.NoError(s.t, err, query)
	return out
}

func queryRows(db *sql.DB, query string) ([][]string, error) {
	rows, err := db.Query(query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out [][]string
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		targets := make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		line := make([]string, len(names))
		for i, v := range values {
			if line[i] = v.String; !v.Valid {
				line[i] = "NULL"
			}
		}
		out = append(out, line)
	}
	return out, rows.Err()
}

// eventually waits until the query yields want.
func (s *server) eventually(query string, want int64) {
	s.t.Helper()
	var last string
	ok := poll(settleTimeout, func() bool {
		n, err := s.number(query)
		last = fmt.Sprint(n, " ", err)
		return err == nil && n == want
	})
	if !ok {
		s.t.Fatalf("%s: want %d, got %s after %s\nstreams: %v\n%s", query, want, last, settleTimeout, s.state(), s.logs)
	}
}

func (s *server) state() [][]string {
	out, err := queryRows(s.db, "SELECT * FROM smelt.streams")
	if err != nil {
		return [][]string{{err.Error()}}
	}
	return out
}

// poll calls f every tick until it is true or the limit has passed.
func poll(limit time.Duration, f func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if f() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

// command runs the binary once and returns what it printed and its exit code.
func command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("run %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// pipeline returns the path of a shipped pipeline.
func pipeline(name string) string { return filepath.Join("..", "queries", name) }

// needLibrary skips a test that scores texts where no ONNX Runtime is to be had.
func needLibrary(t *testing.T) []string {
	t.Helper()
	if os.Getenv("SMELT_ONNXRUNTIME") != "" {
		return nil
	}
	path, err := filepath.Abs("../build/onnxruntime/libonnxruntime.so")
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skip("skipped: no ONNX Runtime library, run `make onnxruntime` or set SMELT_ONNXRUNTIME")
	}
	return []string{"SMELT_ONNXRUNTIME=" + path}
}

// sharedData returns a file of the real data beside the project, or skips the test.
func sharedData(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "shared", "data", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("skipped: real data %s is not beside the project (../shared/data)", name)
	}
	return path
}

func cut(assignment string) (key, value string, ok bool) { return strings.Cut(assignment, "=") }

// wordRune is a letter, a digit or an underscore: what may stand inside a handle or keep an @ from beginning one.
func wordRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

func copyAll(dst io.Writer, src io.ReadCloser) (int64, error) {
	defer src.Close()
	return io.Copy(dst, src)
}
