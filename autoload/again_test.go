package autoload

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// TestRowsAreFoundAgainWithTheirLines reads files again as their batch did, in every format.
func TestRowsAreFoundAgainWithTheirLines(t *testing.T) {
	large := strings.Repeat(fmt.Sprintf("{\"n\": 1, \"s\": %q}\n", strings.Repeat("x", 1000)), pieceBytes/500)
	spread := fmt.Sprintf("{\"n\":\n%q}\n", strings.Repeat("x", 1000))
	for name, c := range map[string]struct {
		content string
		options map[string]string
		index   []int64
		lines   []int64
	}{
		"lines.json":   {"{\"n\": 1}\n\n{\"n\": 2}\n", nil, []int64{0, 1}, []int64{1, 3}},
		"array.json":   {"\ufeff[\n {\n  \"n\": 1}, {\"n\": 2},\n\n {\"n\": 3}\n]", nil, []int64{2, 0, 1, 0}, []int64{5, 2, 3, 2}},
		"packed.json":  {`{"n": {"n": 1}} {"n": "a\n{"}` + "\n{\"n\": 3}", nil, []int64{1, 2}, []int64{1, 2}},
		"large.json":   {large + `{"n": 2}`, nil, []int64{pieceBytes / 500, 7}, []int64{pieceBytes/500 + 1, 8}},
		"spread.json":  {"{\"n\": \"1\"}\n" + strings.Repeat(spread, pieceBytes/500), nil, []int64{1, pieceBytes / 500}, []int64{2, 2 * (pieceBytes / 500)}},
		"header.csv":   {"\n# no row\nn,s\n1,\"a\nb\"\n2,c\n", map[string]string{"header": "true", "comment": "#"}, []int64{0, 1}, []int64{4, 6}},
		"plain.csv":    {"1,2\r\n3,4\r\n", map[string]string{"header": "false"}, []int64{1}, []int64{2}},
		"text.txt":     {"a\n\nb", nil, []int64{0, 1, 2}, []int64{1, 2, 3}},
		"whole.txt":    {"a\nb\n", map[string]string{"wholeText": "true"}, []int64{0}, []int64{1}},
		"in/below.txt": {"a\n", map[string]string{"recursiveFileLookup": "true"}, []int64{0}, []int64{1}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			put(t, path, c.content)
			l := open(t, dir, t.TempDir(), 0, c.options)
			b, err := l.Next(context.Background())
			require.NoError(t, err)
			require.NotNil(t, b)
			require.NoError(t, b.Record(context.Background()))
			then := lines(t, b, nil)
			b.Committed()

			rows, err := l.Reread(t.Context(), path)
			require.NoError(t, err)
			require.Equal(t, then, lines(t, rows, nil), "hidden columns and times included")
			found, err := l.Lines(t.Context(), path, c.index)
			require.NoError(t, err)
			require.Equal(t, c.lines, found)
			none, err := l.Reread(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, rows.Schema(), none.Schema())
			require.Zero(t, none.(tables.Counter).Rows())
		})
	}
}

func TestFilesThatAreOthersNowAreNotReadAgain(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.json"), `{"n": 1}`)
	put(t, filepath.Join(dir, "b.json"), `{"n": 1}`)
	put(t, filepath.Join(dir, "bad.json"), `{"n": `)
	l := open(t, dir, t.TempDir(), 0, nil)
	require.Len(t, next(t, l), 2)
	put(t, filepath.Join(dir, "a.json"), `{"n": 1} {"n": 2}`)
	require.NoError(t, os.Remove(filepath.Join(dir, "b.json")))
	for _, name := range []string{"a.json", "b.json"} {
		_, err := l.Reread(t.Context(), filepath.Join(dir, name))
		require.ErrorIs(t, err, errMoved)
		_, err = l.Lines(t.Context(), filepath.Join(dir, name), []int64{0})
		require.ErrorIs(t, err, errMoved)
	}
	for _, name := range []string{"bad.json", "never.json", "../a.json"} {
		_, err := l.Reread(t.Context(), filepath.Join(dir, name))
		require.ErrorIs(t, err, fs.ErrNotExist, name)
	}
}
