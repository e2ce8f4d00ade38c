package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// write has deltalake write a scenario of writer.py.
func (s *server) write(t *testing.T, what, table string) (dir string) {
	t.Helper()
	dir = filepath.Join(s.lake, table)
	need(t, "deltalake").ask(t, request{Op: "write", Path: dir, What: what})
	return dir
}

// written has deltalake write a table and attaches it to smelt under the name of the scenario.
func (s *server) written(t *testing.T, what string) (dir string) {
	t.Helper()
	dir = s.write(t, what, what)
	s.in(t).exec("CREATE TABLE " + what + " USING DELTA LOCATION '" + dir + "'")
	return dir
}

func TestSmeltReadsWhatDeltalakeWrote(t *testing.T) {
	p := need(t, "deltalake")
	s := start(t)
	for _, what := range []string{"types", "encodings", "nested", "partitions", "changed", "reshaped", "long_log", "no_rows", "change_feed"} {
		t.Run(what, func(t *testing.T) { s.agree(t, p, what, s.written(t, what)) })
	}
}

func TestSmeltReadsOlderVersionsOfDeltalake(t *testing.T) {
	p := need(t, "deltalake")
	s := start(t)
	for _, what := range []string{"reshaped", "types"} {
		dir := s.written(t, what)
		history := s.history(what)
		require.Equal(t, p.ask(t, request{Op: "history", Path: dir}).History, history)
		for _, c := range history {
			s.agreeAt(t, p, what, dir, c.Version)
		}
	}
}

// TestBothWriteOneTable has smelt and deltalake change tables by turns; everybody reads them after each turn.
func TestBothWriteOneTable(t *testing.T) {
	need(t, "deltalake")
	cases := []struct {
		what, again string // what deltalake writes, before and in between
		statements  []string
	}{
		{"types", "append_types", []string{
			"INSERT INTO types (id, name, d38, at, day, raw) VALUES (7, 'smelt', -0.0000000001, '2026-01-01 10:00:00.123456', '0001-01-01', x'00ff')",
			"UPDATE types SET d5 = -d5, twice = twice * 2, at = '1969-12-31 23:59:59.999999' WHERE id = 1",
			"DELETE FROM types WHERE id IS NULL OR ok IS NULL", "INSERT INTO types (id) VALUES (NULL)", "OPTIMIZE types"}},
		{"partitions", "append_partitions", []string{
			"INSERT INTO partitions (id, place, day, price, level) VALUES (100, 'a/b=c d%20e&f?g#h', '2026-01-01', 1.50, -1), (101, NULL, NULL, NULL, NULL), (102, 'new %41', '2026-02-02', 2.00, 9)",
			"UPDATE partitions SET name = 'smelt', level = level + 1 WHERE id < 3", "DELETE FROM partitions WHERE place = '..'", "OPTIMIZE partitions", "VACUUM partitions RETAIN 0 HOURS"}},
		{"changed", "append_some", []string{
			"INSERT INTO changed (id, name, extra) VALUES (5000, 'smelt', 2.5)", "UPDATE changed SET name = NULL WHERE id % 2 = 0", "DELETE FROM changed WHERE id > 300 AND id < 400",
			"ALTER TABLE changed ADD COLUMN doc JSON", "INSERT INTO changed VALUES (5001, 'x', NULL, '{\"a\": [1]}')", "OPTIMIZE changed"}},
		{"long_log", "append_some", []string{"INSERT INTO long_log VALUES (5000, 'smelt')", "DELETE FROM long_log WHERE id % 3 = 0", "VACUUM long_log RETAIN 0 HOURS"}},
		{"no_rows", "append_types", []string{"INSERT INTO no_rows (id, at) VALUES (7, '2026-01-01')"}},
	}
	s := start(t)
	for _, c := range cases {
		dir := s.written(t, c.what)
		for _, q := range c.statements {
			s.exec(q)
			s.agree(t, need(t, "deltalake"), c.what, dir)
		}
		need(t, "deltalake").ask(t, request{Op: "write", Path: dir, What: c.again})
		eachReader(t, func(t *testing.T, p *peer) {
			s.agree(t, p, c.what, dir)
		})
	}
}

// TestBothAppendAtOnce has smelt and deltalake race for versions: each loses some and must append behind the other.
func TestBothAppendAtOnce(t *testing.T) {
	p := need(t, "deltalake")
	s := start(t)
	dir := s.written(t, "growing")
	const each = 30 // commits, as in append_often
	done := make(chan answer)
	go func() { done <- p.try(t, request{Op: "write", Path: dir, What: "append_often"}) }()
	for i := range each {
		s.exec(fmt.Sprintf("INSERT INTO growing VALUES (%d, 'smelt')", 1000+i))
	}
	require.Empty(t, (<-done).Error)
	s.agree(t, p, "growing", dir)
	require.EqualValues(t, 10+2*each, s.number("SELECT COUNT(*) FROM growing"))
	require.Len(t, s.history("growing"), 1+2*each)
}

// TestNestedColumnsAreNotWritten holds that smelt does not write text where others have a struct.
func TestNestedColumnsAreNotWritten(t *testing.T) {
	p := need(t, "deltalake")
	s := start(t)
	dir := s.written(t, "nested")
	for _, q := range []string{"INSERT INTO nested (id) VALUES (9)", "UPDATE nested SET id = 9", "DELETE FROM nested WHERE id = 1", "OPTIMIZE nested", "ALTER TABLE nested MODIFY COLUMN id DECIMAL(20,0)"} {
		t.Run(q, func(t *testing.T) {
			require.Contains(t, s.in(t).refused(q), "nested columns (point, list, texts, points, lists, map, deep, leaves)")
			s.agree(t, p, "nested", dir)
		})
	}
	s.exec("DELETE FROM nested") // leaves no row to be written
	s.agree(t, p, "nested", dir)
}

func TestAStreamFollowsWhatDeltalakeAppends(t *testing.T) {
	p := need(t, "deltalake")
	s := start(t)
	dir := s.written(t, "growing")
	s.exec("CREATE STREAMING TABLE followed AS SELECT id, name FROM STREAM(growing)")
	s.eventually("SELECT COUNT(*) FROM followed", 10)
	p.ask(t, request{Op: "write", Path: dir, What: "more"})
	s.eventually("SELECT COUNT(*) FROM followed", 30)
	ours, _ := s.selected("SELECT * FROM growing")
	theirs, _ := s.selected("SELECT * FROM followed")
	same(t, ours.lines, theirs.lines, "what the stream saw")
	s.agree(t, p, "followed", s.dir("followed"))
}

// TestTablesOfNewWritersAreReadOnly holds that a feature which only writers must know keeps no reader out, nor one of
// readers that is declared and not used. deltalake itself reads only some of these.
func TestTablesOfNewWritersAreReadOnly(t *testing.T) {
	p := need(t, "deltalake")
	s := start(t)
	for what, named := range map[string]string{
		"constrained": "writer version 3", "no_zone": "timestampNtz", "feature ChangeDataFeed": "changeDataFeed", "feature DomainMetadata": "domainMetadata",
		"feature RowTracking": "rowTracking", "feature DeletionVectors": "deletionVectors", "feature ColumnMapping": "columnMapping",
		"feature GeneratedColumns": "generatedColumns", "feature IdentityColumns": "identityColumns", "feature IcebergCompatV1": "icebergCompatV1",
	} {
		t.Run(what, func(t *testing.T) {
			table := strings.ReplaceAll(strings.ToLower(what), " ", "_")
			dir := s.write(t, what, table)
			s := s.in(t)
			s.exec("CREATE TABLE " + table + " USING DELTA LOCATION '" + dir + "'")
			for _, q := range []string{"INSERT INTO " + table + " (id) VALUES (100)", "DELETE FROM " + table, "OPTIMIZE " + table, "VACUUM " + table + " RETAIN 0 HOURS"} {
				require.Contains(t, s.refused(q), named)
			}
			if p.try(t, request{Op: "read", Path: dir}).Error == "" {
				s.agree(t, p, table, dir)
			} else {
				require.EqualValues(t, 3, s.number("SELECT COUNT(id) FROM "+table))
			}
		})
	}
}
