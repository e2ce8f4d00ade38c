package integration

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wireScript makes one small table and one view of it, both with comments, for every client to find.
const wireScript = "CREATE TABLE cities (name VARCHAR(100) COMMENT 'as the locals say it', people BIGINT, founded DATETIME) COMMENT 'three cities';" +
	"INSERT INTO cities VALUES ('Zürich', 443037, '1218-01-01 00:00:00'), ('Łódź', 655279, '1423-07-29 12:30:00'), ('日光', NULL, NULL);" +
	"CREATE MATERIALIZED VIEW large COMMENT 'cities above half a million' AS SELECT name, people FROM cities WHERE people > 500000"

func wireServer(t *testing.T) *server {
	t.Helper()
	s := start(t, nil, "--data", t.TempDir())
	_, errs, code := command(t, "sql", "--listen", s.addr, "-e", wireScript)
	require.Zero(t, code, errs)
	s.eventually("SELECT COUNT(*) FROM large", 1)
	return s
}

func TestGoDriverConnectsListsDescribesAndReads(t *testing.T) {
	s := wireServer(t)
	require.NoError(t, s.db.Ping())
	require.Equal(t, [][]string{{"cities"}, {"large"}}, s.rows("SHOW TABLES"))
	require.Equal(t, [][]string{{"cities", "BASE TABLE", "three cities"}, {"large", "BASE TABLE", "cities above half a million"}},
		s.rows("SELECT table_name, table_type, table_comment FROM information_schema.tables WHERE table_schema = 'live' ORDER BY table_name"))
	require.Equal(t, [][]string{{"name", "as the locals say it"}, {"people", ""}, {"founded", ""}},
		s.rows("SELECT column_name, column_comment FROM information_schema.columns WHERE table_schema = 'live' AND table_name = 'cities' ORDER BY ordinal_position"))
	require.Equal(t, [][]string{{"日光", "NULL", "NULL"}}, s.rows("SELECT * FROM cities WHERE people IS NULL"))
	var name string
	require.NoError(t, s.db.QueryRow("SELECT name FROM cities WHERE people > ? ORDER BY people LIMIT 1", 500000).Scan(&name), "prepared")
	require.Equal(t, "Łódź", name)
}

func TestMariaDBClientConnectsListsDescribesAndReads(t *testing.T) {
	client, err := exec.LookPath("mariadb")
	if err != nil {
		t.Skip("skipped: the mariadb client is not installed (apt-get install mariadb-client)")
	}
	s := wireServer(t)
	host, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	out, err := exec.Command(client, "--default-character-set=utf8mb4", "-h", host, "-P", port, "-u", "root", "-t", "live", "-e",
		"SHOW DATABASES; SHOW TABLES; DESCRIBE cities; SHOW FULL COLUMNS FROM cities; SHOW CREATE TABLE large; SELECT * FROM cities ORDER BY name").CombinedOutput()
	require.NoError(t, err, string(out))
	for _, want := range []string{"information_schema", "smelt", "large", "as the locals say it", "MATERIALIZED VIEW", "443037", "1423-07-29 12:30:00", "日光"} {
		require.Contains(t, string(out), want)
	}
	out, err = exec.Command(client, "-h", host, "-P", port, "-u", "root", "live", "-e", "SELECT * FROM nowhere").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "ERROR 1146 (42S02)")
}

const pymysqlScript = `
import pymysql, sys
c = pymysql.connect(host=sys.argv[1], port=int(sys.argv[2]), user="root", database="live", charset="utf8mb4")
cur = c.cursor()
cur.execute("SHOW TABLES"); print([r[0] for r in cur.fetchall()])
cur.execute("DESCRIBE cities"); print([r[0] for r in cur.fetchall()])
cur.execute("SELECT table_comment FROM information_schema.tables WHERE table_name = %s", ("large",)); print(cur.fetchone()[0])
cur.execute("SELECT name, people, founded FROM cities WHERE people > %s ORDER BY name", (400000,)); print(cur.fetchall())
try:
    cur.execute("SELECT no_such_column FROM cities")
except pymysql.err.OperationalError as e:
    print("error", e.args[0])
`

func TestPyMySQLConnectsListsDescribesAndReads(t *testing.T) {
	python := needPython(t, "pymysql")
	s := wireServer(t)
	host, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	out, err := exec.Command(python, "-c", pymysqlScript, host, port).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, strings.TrimSpace(`
['cities', 'large']
['name', 'people', 'founded']
cities above half a million
(('Zürich', 443037, datetime.datetime(1218, 1, 1, 0, 0)), ('Łódź', 655279, datetime.datetime(1423, 7, 29, 12, 30)))
error 1054`), strings.TrimSpace(string(out)))
}

// needPython returns an interpreter that has the module, or skips the test.
func needPython(t *testing.T, module string) string {
	t.Helper()
	python := os.Getenv("SMELT_TEST_PYTHON")
	if python == "" {
		python = "python3"
	}
	if err := exec.CommandContext(context.Background(), python, "-c", "import "+module).Run(); err != nil {
		t.Skipf("skipped: %s cannot import %s (pip install -r integration/requirements.txt, or name an interpreter in SMELT_TEST_PYTHON)", python, module)
	}
	return python
}
