package autoload

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the verdicts of the malformed texts anew")

// TestMalformedTexts loads each text of JSONTestSuite in one directory and compares what becomes of it with a fixed
// verdict: its rows, or why it failed. The names say what the authors of the suite think: y for valid, n for invalid, i for
// as you like. Valid values that are no rows are refused for that.
func TestMalformedTexts(t *testing.T) {
	source := filepath.Join("..", "..", "shared", "data", "malformed")
	entries, err := os.ReadDir(source)
	if err != nil {
		t.Skip("skipped: real data is not beside the project (../shared/data)")
	}
	dir := t.TempDir()
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(source, e.Name()))
		require.NoError(t, err)
		put(t, filepath.Join(dir, e.Name()), string(data))
		samePieces(t, e.Name(), data, 5)
	}
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	b, err := l.Next(context.Background())
	require.NoError(t, err)
	require.NoError(t, b.Record(context.Background()))
	b.Committed()
	require.Len(t, l.Files(), 318)
	verdicts := "# Made by go test -run TestMalformedTexts -update; read the difference before you keep it.\n"
	for _, f := range l.Files() {
		name, verdict := filepath.Base(f.Path), fmt.Sprintf("%d rows", f.Rows)
		if f.State == Failed {
			verdict = f.Error
			require.Regexp(t, `^line \d+: `, f.Error, name)
			require.True(t, f.Content, name)
		}
		switch name[0] {
		case 'n':
			// A file is a sequence of objects, and one without any is no fault.
			require.Equal(t, !emptyForUs[name], f.State == Failed, name)
		case 'y':
			require.True(t, f.State == Loaded || strings.Contains(f.Error, "want a JSON object"), name)
		}
		verdicts += name + ": " + verdict + "\n"
	}
	golden := filepath.Join("testdata", "malformed.txt")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(verdicts), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), verdicts)
}

// emptyForUs are texts that are no JSON value, and files without rows all the same.
var emptyForUs = map[string]bool{
	"n_structure_no_data.json":          true,
	"n_structure_UTF8_BOM_no_data.json": true,
	"n_single_space.json":               true,
}
