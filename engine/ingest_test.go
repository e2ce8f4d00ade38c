package engine

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/engine/status"
	"smelt/tables/vfs"
	"smelt/tables/vfs/errorfs"
)

// landed is a directory in a file system that may lose power, seen as feeds see it.
func landed(files vfs.FS) *feeds {
	return newFeeds(Config{Watch: "/smelt-test-landing"}, files, slog.New(slog.DiscardHandler))
}

// TestAnAcknowledgedFileSurvivesAPowerCut cuts the power before each operation of a request: what was acknowledged is
// there, whole and under its name; what was not is whole or not there. Without syncs the first does not hold.
func TestAnAcknowledgedFileSurvivesAPowerCut(t *testing.T) {
	const dir, text = "/smelt-test-landing/in", "{\"a\": 1}\n"
	for _, skip := range []bool{false, true} {
		lost, acknowledged := 0, 0
		for at := 1; ; at++ {
			f := errorfs.New()
			f.CrashAt = at
			if skip {
				f.SkipSync = func(string, bool) bool { return true }
			}
			err := landed(f).drop(dir, "ingest-1.jsonl", []byte(text))
			ended := f.Ops() < at
			got, readErr := f.Crash().ReadFile(dir + "/ingest-1.jsonl")
			if readErr == nil && !skip {
				require.Equal(t, text, string(got), "whole or not there, at operation %d", at)
			}
			if err == nil {
				acknowledged++
				if readErr != nil || string(got) != text {
					lost++
				}
			}
			if ended {
				break
			}
		}
		require.Positive(t, acknowledged)
		require.Equal(t, skip, lost > 0, "without syncs something must be lost, with them nothing")
	}
}

func TestAFullDiskLeavesNothingBehind(t *testing.T) {
	f := errorfs.New()
	feeds := landed(f)
	require.NoError(t, feeds.drop("/smelt-test-landing", "ingest-1.jsonl", []byte("{}\n")))
	f.FailIf = func(op, path string) error {
		if op == "write" {
			return syscall.ENOSPC
		}
		return nil
	}
	require.ErrorIs(t, feeds.drop("/smelt-test-landing", "ingest-2.jsonl", []byte("{}\n")), syscall.ENOSPC)
	f.FailIf = nil
	list, err := f.List("/smelt-test-landing")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "ingest-1.jsonl", list[0].Name)
	require.NoError(t, feeds.drop("/smelt-test-landing", "ingest-2.jsonl", []byte("{}\n")), "there is room again")
}

func TestLeftOversOfACrashAreRemovedOnce(t *testing.T) {
	dir := t.TempDir()
	feeds := newFeeds(Config{Watch: dir}, vfs.OS(), slog.New(slog.DiscardHandler))
	old := time.Now().Add(-2 * leftOver)
	for _, name := range []string{".ingest-old.jsonl.tmp", ".ingest-running.jsonl.tmp", ".other.tmp", "ingest-loaded.jsonl"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
		if name != ".ingest-running.jsonl.tmp" {
			require.NoError(t, os.Chtimes(filepath.Join(dir, name), old, old))
		}
	}
	require.NoError(t, feeds.drop(dir, "ingest-new.jsonl", []byte("{}\n")))
	names, err := filepath.Glob(filepath.Join(dir, "ingest-*"))
	require.NoError(t, err)
	require.Len(t, names, 2)
	hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(dir, ".ingest-running.jsonl.tmp"), filepath.Join(dir, ".other.tmp")}, hidden)

	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, feeds.drop(dir, "ingest-again.jsonl", []byte("{}\n")), "a directory that went away is made again")
	outside := t.TempDir()
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.Symlink(outside, dir))
	require.ErrorContains(t, feeds.drop(dir, "ingest-out.jsonl", []byte("{}\n")), "no longer under")
}

// ingesting is a running engine whose tables take rows in every way, or in none.
func ingesting(t *testing.T) (*Engine, string) {
	t.Helper()
	watch := t.TempDir()
	pipeline := filepath.Join(t.TempDir(), "p.sql")
	require.NoError(t, os.WriteFile(pipeline, []byte(`
CREATE STREAMING TABLE bronze AS SELECT * FROM STREAM read_files('in', format => 'json', schemaHints => 'a BIGINT');
CREATE STREAMING TABLE one AS SELECT * FROM STREAM read_files('one', format => 'json', schemaHints => 'a BIGINT', pathGlobFilter => '*.json');
CREATE STREAMING TABLE odd AS SELECT * FROM STREAM read_files('odd', format => 'json', schemaHints => 'a BIGINT', pathGlobFilter => 'tweets*');
CREATE STREAMING TABLE two AS SELECT a FROM STREAM read_files('in', format => 'json', schemaHints => 'a BIGINT') UNION ALL SELECT a FROM STREAM read_files('other', format => 'json', schemaHints => 'a BIGINT');
CREATE STREAMING TABLE silver AS SELECT a FROM STREAM(bronze);
CREATE MATERIALIZED VIEW app AS SELECT COUNT(*) AS n FROM silver;`), 0o644))
	e, err := Open(t.Context(), Config{DataDir: t.TempDir(), Watch: watch, Pipelines: []string{pipeline}, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	for _, s := range []string{"CREATE TABLE plain (a BIGINT)", "CREATE VIEW v AS SELECT a FROM plain"} {
		require.NoError(t, e.sql.exec(t.Context(), "live", s))
	}
	for _, table := range []string{"bronze", "one", "odd", "two"} {
		require.NoError(t, e.graph.Refresh(t.Context(), "live", table, false)) // by then the directory is watched
	}
	return e, watch
}

func TestWhereRowsAreTakenAndWhereNot(t *testing.T) {
	e, watch := ingesting(t)
	for _, c := range []struct {
		database, table, body string
		code                  int
		want                  string
	}{
		{"live", "bronze", "{\"a\": 1}\n{\"a\": 2}\n", 0, `^ingest-\d{8}T\d{6}\.\d{9}Z-[0-9a-f]{8}\.jsonl$`},
		{"LIVE", "Bronze", "[{\"a\": 3},\n {\"a\": 4}]", 0, `\.jsonl$`},
		{"live", "bronze", "{\"a\": 5,\n \"b\": [1, 2]}", 0, `\.jsonl$`},
		{"live", "bronze", "\ufeff{\"a\": 6} {\"a\": 7}", 0, `\.jsonl$`},
		{"live", "one", "{\"a\": 1}", 0, `\.json$`},
		{"live", "odd", "{\"a\": 1}", 409, "reads only files named tweets"},
		{"live", "two", "{\"a\": 1}", 409, "reads several directories"},
		{"live", "silver", "{\"a\": 1}", 409, "live.silver reads no directory: it is made from live.bronze"},
		{"live", "app", "{\"a\": 1}", 409, "reads no directory"},
		{"live", "plain", "{\"a\": 1}", 409, "reads no directory"},
		{"live", "v", "{\"a\": 1}", 409, "reads no directory"},
		{"live", "none", "{\"a\": 1}", 404, "there is no table live.none"},
		{"none", "bronze", "{\"a\": 1}", 404, "there is no table none.bronze"},
		{"live", "../bronze", "{\"a\": 1}", 404, "there is no table"},
		{"live", "bronze", "", 400, "no row in the body"},
		{"live", "bronze", " \n", 400, "no row in the body"},
		{"live", "bronze", "[]", 400, "no row in the body"},
		{"live", "bronze", "{\"a\": 1}\n{\"a\": }\n", 400, "line 2: not JSON"},
		{"live", "bronze", "{\"a\": 1}\n{\"a\": 1", 400, "line 2: not JSON"},
		{"live", "bronze", "{\"a\": 1}\n7\n", 400, "line 2: want a JSON object"},
		{"live", "bronze", "a,b\n1,2\n", 400, "line 1: not JSON"},
		{"live", "bronze", "{\"a\": \"\xff\"}", 400, "line 1: not UTF-8"},
	} {
		stored, err := e.ingest(t.Context(), c.database, c.table, strings.NewReader(c.body))
		var refused *status.Refusal
		if c.code == 0 {
			require.NoError(t, err, c.body)
			require.Regexp(t, regexp.MustCompile(c.want), stored.File)
			require.Equal(t, int64(len(c.body)), stored.Bytes)
			continue
		}
		require.ErrorAs(t, err, &refused, "%s %q", c.table, c.body)
		require.Equal(t, c.code, refused.Code, refused.Reason)
		require.Contains(t, refused.Reason, c.want)
		require.Zero(t, stored)
	}
	require.NoError(t, e.graph.Refresh(t.Context(), "live", "bronze", false))
	b, err := e.batch(t.Context(), "SELECT SUM(a) AS s, COUNT(*) AS n FROM live.bronze")
	require.NoError(t, err)
	require.Equal(t, int64(28), b.Columns[0].Ints[0])
	require.Equal(t, int64(7), b.Columns[1].Ints[0])
	for dir, want := range map[string]int{"in": 4, "one": 1, "odd": 0, "other": 0} {
		list, err := os.ReadDir(filepath.Join(watch, dir))
		if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
		require.Len(t, list, want, "%s: what was refused is not stored", dir)
	}
}

func TestARequestThatWasGivenUpStoresNothing(t *testing.T) {
	e, watch := ingesting(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.ingest(ctx, "live", "bronze", strings.NewReader("{\"a\": 1}"))
	require.ErrorIs(t, err, context.Canceled)
	_, err = e.ingest(t.Context(), "live", "bronze", &brokenBody{})
	require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
	require.NoDirExists(t, filepath.Join(watch, "in"))
}

// brokenBody ends half way.
type brokenBody struct{ read bool }

// Read implements io.Reader.
func (b *brokenBody) Read(p []byte) (int, error) {
	if b.read {
		return 0, http.ErrBodyReadAfterClose
	}
	b.read = true
	return copy(p, "{\"a\": 1}\n"), nil
}

func TestNamesSortByTime(t *testing.T) {
	f := &feed{}
	at := time.Date(2026, 11, 21, 8, 59, 59, 999_999_999, time.FixedZone("", 3600))
	before, err := f.name(at)
	require.NoError(t, err)
	after, err := f.name(at.Add(time.Nanosecond))
	require.NoError(t, err)
	require.Less(t, before, after)
	require.Regexp(t, `^ingest-20261121T075959\.999999999Z-`, before)
	require.Regexp(t, `^ingest-20261121T080000\.000000000Z-`, after)
}
