package engine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// putOld writes a file that counts as whole at once.
func putOld(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, old, old))
}

// checkedDir is a data directory that a batch run has filled: bronze from files, silver from bronze, a view of silver.
func checkedDir(t *testing.T) Config {
	t.Helper()
	dir := t.TempDir()
	watch := filepath.Join(dir, "in")
	require.NoError(t, os.MkdirAll(watch, 0o755))
	for i := range 5 {
		putOld(t, filepath.Join(watch, fmt.Sprintf("%d.json", i)), fmt.Sprintf(`{"n": %d, "k": "a"} {"n": %d, "k": "b"}`, i, i+10))
	}
	pipeline := filepath.Join(dir, "p.sql")
	require.NoError(t, os.WriteFile(pipeline, []byte(`
CREATE STREAMING TABLE bronze AS SELECT * FROM STREAM read_files('in', format => 'json');
CREATE STREAMING TABLE silver (CONSTRAINT small EXPECT (n < 12) ON VIOLATION DROP ROW) AS SELECT n, k FROM STREAM(bronze);
CREATE MATERIALIZED VIEW app AS SELECT k, SUM(n) AS n, AVG(n) AS mean FROM silver GROUP BY k;`), 0o644))
	cfg := Config{DataDir: filepath.Join(dir, "data"), AllowPaths: []string{watch}, Pipelines: []string{pipeline}}
	require.NoError(t, RunBatch(context.Background(), cfg, &bytes.Buffer{}))
	return cfg
}

func check(t *testing.T, cfg Config) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := Check(context.Background(), cfg, &out)
	return out.String(), err
}

func TestCheckProvesWhatABatchRunMade(t *testing.T) {
	cfg := checkedDir(t)
	out, err := check(t, cfg)
	require.NoError(t, err, out)
	for _, line := range []string{
		"ok    live.bronze: read the 10 rows of the 5 files in its ledger", "ok    live.silver: holds what its batches wrote", "ok    live.app: equals its SELECT",
		"ok    live.silver: 7 rows in 1 data files are those of version 1",
	} {
		require.Contains(t, out, line)
	}
}

func TestCheckNamesTheFirstDifference(t *testing.T) {
	edit := func(name string, change func(table *tables.Table)) func(Config) {
		return func(cfg Config) {
			s, err := tables.Open(cfg.DataDir, tables.Options{})
			require.NoError(t, err)
			table, err := s.Table("live", name)
			require.NoError(t, err)
			change(table)
			require.NoError(t, s.Close())
		}
	}
	files := func(cfg Config, pattern string) string {
		found, err := filepath.Glob(filepath.Join(cfg.DataDir, "live", pattern))
		require.NoError(t, err)
		require.NotEmpty(t, found)
		return found[0]
	}
	for want, damage := range map[string]func(Config){
		"FAULT live.app: equals its SELECT: it lacks the row (k = a, n = 10, mean = 2": edit("app", func(table *tables.Table) {
			all, err := tables.ReadAll(context.Background(), table.Snapshot(), nil)
			require.NoError(t, err)
			keep := make([]bool, all.Len)
			for i := range keep {
				keep[i] = all.Columns[0].Strings[i] == "a"
			}
			_, err = table.Edit(context.Background(), all.Filter(keep), nil, tables.Commit{Operation: "DELETE"})
			require.NoError(t, err)
		}),
		"FAULT live.silver: holds what its batches wrote: it has 0 rows, its batches wrote 7": edit("silver", func(table *tables.Table) {
			_, err := table.Commit(context.Background(), tables.Commit{Operation: "TRUNCATE", Overwrite: true})
			require.NoError(t, err)
		}),
		"check sum": func(cfg Config) {
			path := files(cfg, "silver/*.parquet")
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			text[len(text)-20] ^= 1
			require.NoError(t, os.WriteFile(path, text, 0o644))
		},
		"entry 1 of 1 is missing": func(cfg Config) { require.NoError(t, os.Remove(files(cfg, "bronze/_checkpoints/*/ledger/*.json"))) },
		"no such file":            func(cfg Config) { require.NoError(t, os.Remove(files(cfg, "bronze/*.parquet"))) },
	} {
		t.Run(want, func(t *testing.T) {
			cfg := checkedDir(t)
			damage(cfg)
			out, err := check(t, cfg)
			require.ErrorIs(t, err, ErrDifference, out)
			require.Contains(t, out, want)
		})
	}
}

// run opens the directory, runs statements and then everything that they set off, and closes it.
func run(t *testing.T, cfg Config, statements ...string) error {
	t.Helper()
	ctx := context.Background()
	cfg.Pipelines = nil
	e, err := Open(ctx, cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close(ctx)) }()
	for _, s := range statements {
		if err := e.sql.exec(ctx, "live", s); err != nil {
			return err
		}
	}
	return e.Run(ctx, nil)
}

func TestStreamsGoOnOverJoinedAndVacuumedSources(t *testing.T) {
	cfg := checkedDir(t)
	for i := range 5 { // files for bronze to join
		putOld(t, filepath.Join(cfg.AllowPaths[0], fmt.Sprintf("more%d.json", i)), fmt.Sprintf(`{"n": %d, "k": "c"}`, i))
		require.NoError(t, run(t, cfg))
	}
	require.NoError(t, run(t, cfg, "OPTIMIZE bronze", "VACUUM bronze RETAIN 0 HOURS", "REFRESH STREAMING TABLE silver FULL",
		"CREATE STREAMING TABLE later AS SELECT k FROM STREAM(bronze)"))
	out, err := check(t, cfg)
	require.NoError(t, err, out)
	require.Contains(t, out, "live.silver: 12 rows")
	require.Contains(t, out, "live.later: 15 rows")
}

func TestPartitionsOfAFlowsTable(t *testing.T) {
	cfg := checkedDir(t)
	require.NoError(t, os.MkdirAll(filepath.Join(cfg.AllowPaths[0], "empty"), 0o755))
	require.NoError(t, run(t, cfg, "CREATE STREAMING TABLE parted PARTITIONED BY (k) AS SELECT * FROM STREAM read_files('"+cfg.AllowPaths[0]+"/empty', format => 'json')"),
		"the columns are not known yet")
	putOld(t, filepath.Join(cfg.AllowPaths[0], "empty", "1.json"), `{"k": "a", "n": 1} {"k": "b", "n": 2}`)
	require.NoError(t, run(t, cfg))
	parts, err := filepath.Glob(filepath.Join(cfg.DataDir, "live", "parted", "k=*"))
	require.NoError(t, err)
	require.Len(t, parts, 2)
	require.ErrorContains(t, run(t, cfg, "CREATE OR REFRESH STREAMING TABLE silver PARTITIONED BY (k) AS SELECT n, k FROM STREAM(bronze)"), "PARTITIONED BY cannot change")
	out, err := check(t, cfg)
	require.NoError(t, err, out)
}

func TestCheckMakesNoDataDirectory(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	_, err := check(t, Config{DataDir: missing})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoDirExists(t, missing)
}
