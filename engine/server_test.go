package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// scanFunc is a relation of one BIGINT column n whose batches come from a function.
type scanFunc func(ctx context.Context) (*tables.Batch, error)

func (f scanFunc) Schema() tables.Schema {
	return tables.Schema{{Name: "n", Type: tables.Type{Kind: tables.Long}}}
}

func (f scanFunc) Scan(context.Context, []string) (tables.Reader, error) { return f, nil }

func (f scanFunc) Next(ctx context.Context) (*tables.Batch, error) { return f(ctx) }

func (f scanFunc) Close() error { return nil }

func fixed(r tables.Relation) systemTable {
	return func(context.Context) (tables.Relation, error) { return r, nil }
}

// blocking is a relation that says when it is read and then waits for the end of its context.
func blocking() (tables.Relation, chan struct{}) {
	reading, once := make(chan struct{}), sync.Once{}
	return scanFunc(func(ctx context.Context) (*tables.Batch, error) {
		once.Do(func() { close(reading) })
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}), reading
}

func wantMySQLError(t *testing.T, err error, number uint16, state, text string) {
	t.Helper()
	var my *mysql.MySQLError
	require.ErrorAs(t, err, &my)
	require.Equal(t, number, my.Number, my.Message)
	require.Equal(t, state, string(my.SQLState[:]), my.Message)
	require.Contains(t, my.Message, text)
}

func TestKillQueryInterruptsTheVictim(t *testing.T) {
	relation, reading := blocking()
	s := startSQL(t, func(c *sqlConfig, _ *listenConfig) { c.System["blocks"] = fixed(relation) })
	for _, statement := range []string{"SELECT n FROM smelt.blocks", "SELECT COUNT(n) FROM smelt.blocks", "SELECT n, COUNT(*) FROM smelt.blocks GROUP BY n"} {
		relation, reading = blocking()
		s.provider.system["blocks"] = fixed(relation)
		victim, err := s.db.Conn(t.Context())
		require.NoError(t, err)
		var id int
		require.NoError(t, victim.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id))
		failed := make(chan error, 1)
		go func() {
			rows, err := victim.QueryContext(t.Context(), statement)
			if err == nil {
				rows.Next()
				err = errors.Join(rows.Err(), rows.Close())
			}
			failed <- err
		}()
		<-reading
		_, err = s.open(t, "", "", "").ExecContext(t.Context(), fmt.Sprintf("KILL QUERY %d", id))
		require.NoError(t, err)
		wantMySQLError(t, <-failed, 1317, "70100", "Query execution was interrupted")
		var one int
		require.NoError(t, victim.QueryRowContext(t.Context(), "SELECT 1").Scan(&one), "the connection lives on")
		require.NoError(t, victim.Close())
	}
}

func TestStatementTimeout(t *testing.T) {
	relation, _ := blocking()
	s := startSQL(t, func(c *sqlConfig, l *listenConfig) {
		c.System["blocks"] = fixed(relation)
		l.StatementTimeout = 1 // a nanosecond
	})
	_, err := s.db.ExecContext(t.Context(), "SELECT COUNT(n) FROM smelt.blocks")
	wantMySQLError(t, err, 3024, "HY000", "maximum statement execution time exceeded")
	s.must(t, "REFRESH STREAMING TABLE silver FULL") // has no limit: scoring takes as long as it takes
	require.Equal(t, []string{"refresh live.silver full=true"}, s.flows.calls)
}

func TestPanicIsHiddenFromTheClient(t *testing.T) {
	s := startSQL(t, func(c *sqlConfig, _ *listenConfig) {
		c.System["panics"] = fixed(scanFunc(func(context.Context) (*tables.Batch, error) { panic("secret of the house") }))
	})
	for _, statement := range []string{
		"SELECT n FROM smelt.panics", "SELECT COUNT(n) FROM smelt.panics", "SELECT n, COUNT(*) FROM smelt.panics GROUP BY n",
		"SELECT * FROM smelt.panics ORDER BY n", "CREATE TABLE x AS SELECT n FROM smelt.panics",
	} {
		rows, err := s.db.QueryContext(t.Context(), statement)
		if err == nil {
			rows.Next()
			err = errors.Join(rows.Err(), rows.Close())
		}
		wantMySQLError(t, err, 1105, "HY000", internalErrorText)
		require.NotContains(t, err.Error(), "goroutine")
		require.NotContains(t, err.Error(), "secret")
	}
	require.Contains(t, s.log.String(), "secret of the house")
	_, err := s.store.Table("live", "x")
	require.ErrorIs(t, err, tables.ErrNotFound)
}

// TestGroupByHang: go-mysql-server's GROUP BY waits for ever when an aggregate argument fails while rows still come.
func TestGroupByHang(t *testing.T) {
	s := startSQL(t, nil)
	s.must(t, "CREATE TABLE t (k BIGINT, s VARCHAR(20))", "INSERT INTO t VALUES (1, 'not json')")
	for range 14 {
		s.must(t, "INSERT INTO t SELECT k + 1, s FROM t")
	}
	for _, statement := range []string{
		"SELECT k, COUNT(JSON_EXTRACT(s, '$.a')) FROM t GROUP BY k",
		"SELECT JSON_EXTRACT(s, '$.a'), COUNT(*) FROM t GROUP BY 1",
		"SELECT COUNT(*) FROM (SELECT k, MAX(JSON_EXTRACT(s, '$.a')) FROM t GROUP BY k) q",
	} {
		_, err := s.db.ExecContext(t.Context(), statement)
		wantMySQLError(t, err, 3141, "22032", "Invalid JSON text")
	}
}

func TestCloseInterruptsStatementsAndWaits(t *testing.T) {
	relation, reading := blocking()
	s := startSQL(t, func(c *sqlConfig, _ *listenConfig) { c.System["blocks"] = fixed(relation) })
	failed := make(chan error, 1)
	go func() {
		_, err := s.db.ExecContext(context.WithoutCancel(t.Context()), "SELECT COUNT(n) FROM smelt.blocks")
		failed <- err
	}()
	<-reading
	require.NoError(t, s.server.Close(t.Context()))
	require.Error(t, <-failed)
	require.Empty(t, s.server.handler.connections)
	_, err := net.Dial("tcp", s.server.Address())
	require.Error(t, err, "nobody listens any more")
}

func TestPortInUseIsOneClearError(t *testing.T) {
	s := startSQL(t, nil)
	_, err := s.listen(t.Context(), listenConfig{Address: s.server.Address()})
	require.ErrorContains(t, err, "listen on \""+s.server.Address()+"\": the port is in use")
	require.NotContains(t, err.Error(), "\n")
}

func TestNonLoopbackNeedsAUser(t *testing.T) {
	s := startSQL(t, nil)
	for _, c := range []listenConfig{{Address: "0.0.0.0:0"}, {Address: ":0"}, {Address: "0.0.0.0:0", User: "u"}, {Address: "0.0.0.0:0", Password: "p"}} {
		_, err := s.listen(t.Context(), c)
		require.ErrorContains(t, err, "needs a user with a password", "%+v", c)
	}
	other, err := s.listen(t.Context(), listenConfig{Address: "0.0.0.0:0", User: "u", Password: "p"})
	require.NoError(t, err)
	require.NoError(t, other.Close(t.Context()), "close without Serve")
}

func TestUserAndPassword(t *testing.T) {
	s := startSQL(t, func(_ *sqlConfig, l *listenConfig) { l.User, l.Password = "analyst", "sesame" })
	var who string
	require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT USER()").Scan(&who))
	require.True(t, strings.HasPrefix(who, "analyst@"), who)
	s.must(t, "CREATE TABLE t (a BIGINT)", "INSERT INTO t VALUES (1)")
	for user, password := range map[string]string{"analyst": "wrong", "root": "", "nobody": "sesame", innerUser: ""} {
		err := s.open(t, user, password, "").PingContext(t.Context())
		wantMySQLError(t, err, 1045, "28000", "Access denied")
	}
}

// TestPreparedStatements goes through COM_STMT_PREPARE, which go-sql-driver uses for arguments.
func TestPreparedStatements(t *testing.T) {
	s := startSQL(t, nil)
	s.must(t, "CREATE TABLE t (id BIGINT, s VARCHAR(9), at DATETIME)")
	_, err := s.db.ExecContext(t.Context(), "INSERT INTO t VALUES (?, ?, ?), (?, ?, NULL)", 1, "a", "2024-01-02 03:04:05", 2, nil)
	require.NoError(t, err)
	var n int
	require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM t WHERE id > ? AND at IS NULL", 1).Scan(&n))
	require.Equal(t, 1, n)
	rows, err := s.db.QueryContext(t.Context(), "SELECT id, s, CONCAT(s, ?) AS x FROM t ORDER BY id", "z")
	require.NoError(t, err)
	types, err := rows.ColumnTypes()
	require.NoError(t, err)
	require.Equal(t, "VARCHAR", types[2].DatabaseTypeName())
	require.True(t, rows.Next())
	var id int
	var text, x sql.NullString
	require.NoError(t, rows.Scan(&id, &text, &x))
	require.Equal(t, "az", x.String)
	require.NoError(t, rows.Close())
	require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT SUM(id) FROM t WHERE id > ?", 0).Scan(&n))
	require.Equal(t, 3, n)
	_, err = s.db.QueryContext(t.Context(), "SELECT missing FROM t WHERE id = ?", 1)
	wantMySQLError(t, err, 1054, "42S22", "Unknown column 'missing'")
}

func TestInsertIsOneCommit(t *testing.T) {
	s := startSQL(t, nil)
	s.must(t, "CREATE TABLE t (n BIGINT)")
	rows := 3*batchRows + 7
	left := rows
	s.provider.system["many"] = fixed(scanFunc(func(context.Context) (*tables.Batch, error) {
		if left == 0 {
			return nil, io.EOF
		}
		b := tables.NewBatch(scanFunc(nil).Schema(), 1000)
		for b.Len < 1000 && left > 0 {
			b.Columns[0].AppendInt(int64(left))
			b.Len++
			left--
		}
		return b, nil
	}))
	table, err := s.store.Table("live", "t")
	require.NoError(t, err)
	before := table.Snapshot().Version()
	result, err := s.db.ExecContext(t.Context(), "INSERT INTO t SELECT n FROM smelt.many")
	require.NoError(t, err)
	affected, err := result.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, rows, affected)
	require.Equal(t, before+1, table.Snapshot().Version())
	require.EqualValues(t, rows, table.Snapshot().Rows())

	left = rows
	_, err = s.db.ExecContext(t.Context(), "INSERT INTO t SELECT IF(n = 3, CAST('x' AS JSON), n) FROM smelt.many")
	require.Error(t, err)
	require.Equal(t, before+1, table.Snapshot().Version(), "a failed statement leaves nothing")
}

func TestStatementReadsOneVersion(t *testing.T) {
	s := startSQL(t, nil)
	s.must(t, "CREATE TABLE t (n BIGINT)", "INSERT INTO t VALUES (1), (2)")
	ctx := withStatement(t.Context(), "", nil)
	table, err := s.store.Table("live", "t")
	require.NoError(t, err)
	first := statementOf(ctx).pin(table)
	s.must(t, "INSERT INTO t VALUES (3)")
	require.Equal(t, first.Version(), statementOf(ctx).pin(table).Version())
	require.EqualValues(t, 2, statementOf(ctx).pin(table).Rows())
	require.EqualValues(t, 3, table.Snapshot().Rows())
}

// TestKilledInsertLeavesNothing: go-mysql-server closes a cancelled INSERT like a complete one.
func TestKilledInsertLeavesNothing(t *testing.T) {
	for _, rowsBefore := range []int{10, batchRows + 10} {
		reading := make(chan struct{})
		given := false
		relation := scanFunc(func(ctx context.Context) (*tables.Batch, error) {
			if given {
				close(reading)
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			given = true
			b := tables.NewBatch(scanFunc(nil).Schema(), rowsBefore)
			for range rowsBefore {
				b.Columns[0].AppendInt(1)
			}
			b.Len = rowsBefore
			return b, nil
		})
		s := startSQL(t, func(c *sqlConfig, _ *listenConfig) { c.System["some"] = fixed(relation) })
		s.must(t, "CREATE TABLE t (n BIGINT)")
		table, err := s.store.Table("live", "t")
		require.NoError(t, err)
		version := table.Snapshot().Version()
		victim, err := s.db.Conn(t.Context())
		require.NoError(t, err)
		var id int
		require.NoError(t, victim.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id))
		failed := make(chan error, 1)
		go func() {
			_, err := victim.ExecContext(t.Context(), "INSERT INTO t SELECT n FROM smelt.some")
			failed <- err
		}()
		<-reading
		_, err = s.open(t, "", "", "").ExecContext(t.Context(), fmt.Sprintf("KILL QUERY %d", id))
		require.NoError(t, err)
		wantMySQLError(t, <-failed, 1317, "70100", "interrupted")
		require.NoError(t, victim.Close())
		require.Equal(t, version, table.Snapshot().Version())
		s.must(t, "INSERT INTO t VALUES (1)")
		require.EqualValues(t, 1, table.Snapshot().Rows())
	}
}

// TestManyClients reads and writes from several connections at once.
func TestManyClients(t *testing.T) {
	s := startSQL(t, nil)
	s.must(t, "CREATE TABLE t (client BIGINT, n BIGINT)")
	const clients, inserts = 6, 10
	var group sync.WaitGroup
	errs := make(chan error, clients*inserts*2)
	for client := range clients {
		db := s.open(t, "", "", "")
		group.Go(func() {
			for n := range inserts {
				_, err := db.ExecContext(t.Context(), "INSERT INTO t VALUES (?, ?)", client, n)
				errs <- err
				var mine int
				err = db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM t a JOIN t b ON a.client = b.client AND a.n = b.n WHERE a.client = ?", client).Scan(&mine)
				if err == nil && mine != n+1 {
					err = fmt.Errorf("client %d sees %d of its %d rows", client, mine, n+1)
				}
				errs <- err
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}
