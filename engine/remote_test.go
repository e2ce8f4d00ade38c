package engine

import (
	"context"
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"smelt/models/remote/remotetest"
)

// elsewhere is an engine and a server of models that it may ask.
type elsewhere struct {
	engine *Engine
	server *remotetest.Server
	cfg    Config
	db     *sql.DB
}

func newElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	t.Setenv("SMELT_TEST_API_KEY", remotetest.Key)
	e := &elsewhere{server: remotetest.New(t), cfg: Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0"}}
	e.server.Want(remotetest.Key)
	e.start(t, "http://127.0.0.1:*")
	t.Cleanup(func() { e.stop(t) })
	return e
}

func (e *elsewhere) start(t *testing.T, allow ...string) {
	t.Helper()
	e.cfg.AllowEndpoints = allow
	var err error
	e.engine, err = Open(t.Context(), e.cfg)
	require.NoError(t, err)
	e.db, err = sql.Open("mysql", "root@tcp("+e.engine.Address()+")/live")
	require.NoError(t, err)
	e.db.SetMaxOpenConns(1) // SHOW WARNINGS is of the statement before
}

func (e *elsewhere) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, e.db.Close())
	require.NoError(t, e.engine.Close(context.Background()))
}

// misbehave has the server misbehave in that way for texts that begin with bad.
func (e *elsewhere) misbehave(t *testing.T, name string) {
	t.Helper()
	bad := remotetest.Misbehaviours[name]
	require.NotNil(t, bad, name)
	e.server.Intercept(func(w http.ResponseWriter, r *http.Request, got remotetest.Request) bool {
		if !strings.HasPrefix(got.Texts[0], "bad") {
			return false
		}
		bad(w, r)
		return true
	})
}

// asked lists the texts that the server was asked about since the last time, as often as it was.
func (e *elsewhere) asked() string {
	var texts []string
	for _, r := range e.server.Requests() {
		for _, text := range r.Texts {
			texts = append(texts, strconv.Quote(text)+"\n")
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, "") + "."
}

// TestModelsElsewhere runs the scripts of testdata/remote: `sql` runs statements one by one, `settle` lets all flows run, `asked`
// lists what the server was asked, `misbehave` and `behave` tell it how, and `restart` starts the engine anew; with "shut"
// behind it, nobody is let in.
func TestModelsElsewhere(t *testing.T) {
	digests := regexp.MustCompile(`[0-9a-f]{64}`)
	datadriven.Walk(t, "testdata/remote", func(t *testing.T, path string) {
		e := newElsewhere(t)
		shown := func(text string) string {
			require.NotContains(t, text, remotetest.Key)
			text = strings.ReplaceAll(text, e.server.Endpoint, "http://SERVER/v1")
			return digests.ReplaceAllString(changing.ReplaceAllString(text, "TIME"), "DIGEST")
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "sql":
				var out strings.Builder
				for statement := range strings.SplitSeq(d.Input, ";\n") {
					statement = strings.NewReplacer("$SERVER", "provider = 'openai', endpoint = '"+e.server.Endpoint+"', api_key_env = 'SMELT_TEST_API_KEY', model = 'm'", "$KEY", remotetest.Key).Replace(statement)
					out.WriteString(strings.TrimSuffix(runStatement(t.Context(), e.db, strings.TrimSuffix(statement, ";"), false), "\n") + "\n")
				}
				return shown(out.String())
			case "settle":
				if err := e.engine.graph.RunOnce(t.Context(), nil); err != nil {
					return shown(err.Error() + "\n")
				}
				return "ok\n"
			case "asked":
				return e.asked() + "\n"
			case "misbehave":
				e.misbehave(t, strings.TrimSpace(d.Input))
			case "behave":
				e.server.Intercept(nil)
			case "restart":
				e.stop(t)
				if d.HasArg("shut") {
					e.start(t)
				} else {
					e.start(t, "http://127.0.0.1:*")
				}
			default:
				t.Fatalf("unknown command %q", d.Cmd)
			}
			return "ok\n"
		})
		e.leaksNothing(t)
	})
}

// leaksNothing looks for the key in all that is on the disk and in the system's tables.
func (e *elsewhere) leaksNothing(t *testing.T) {
	t.Helper()
	for _, table := range []string{"models", "model_versions", "model_history", "model_spending", "predictions", "progress", "history", "streams"} {
		require.NotContains(t, runStatement(t.Context(), e.db, "SELECT * FROM smelt."+table, false), remotetest.Key, table)
	}
	require.NoError(t, filepath.WalkDir(e.cfg.DataDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		require.NotContains(t, string(data), remotetest.Key, path)
		return err
	}))
}

// TestAKilledStatementStopsItsRequests kills one that waits for a server without an answer.
func TestAKilledStatementStopsItsRequests(t *testing.T) {
	e := newElsewhere(t)
	e.db.SetMaxOpenConns(2)
	_, err := e.db.Exec("CREATE MODEL mood OPTIONS (provider = 'openai', endpoint = '" + e.server.Endpoint + "', api_key_env = 'SMELT_TEST_API_KEY', model = 'm', labels = 'positive,neutral,negative')")
	require.NoError(t, err)
	begun, ended := make(chan struct{}), make(chan struct{})
	e.server.Intercept(func(_ http.ResponseWriter, r *http.Request, _ remotetest.Request) bool {
		close(begun)
		<-r.Context().Done()
		close(ended)
		return true
	})
	conn, err := e.db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	var id int
	require.NoError(t, conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id))
	failed := make(chan error)
	go func() {
		_, err := conn.ExecContext(t.Context(), "SELECT mood('hello')")
		failed <- err
	}()
	<-begun
	_, err = e.db.Exec("KILL QUERY " + strconv.Itoa(id))
	require.NoError(t, err)
	<-ended
	require.Error(t, <-failed)
}
