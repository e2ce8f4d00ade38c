package engine

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// TestOptionScripts runs a script for each option of read_files: `put` and `rm` change the watched directory, `sql` runs a
// statement, and `ls` lists what is in a directory, as soon as it has so many files. DIR is the directory of them all.
func TestOptionScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/options", func(t *testing.T, path string) {
		w := newWatcher(t)
		dir := filepath.Dir(w.in)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "put":
				name, content := d.CmdArgs[0].String(), d.Input
				require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(w.in, name)), 0o755))
				if filepath.Ext(name) == ".gz" {
					var packed bytes.Buffer
					out := gzip.NewWriter(&packed)
					_, err := out.Write([]byte(content))
					require.NoError(t, err)
					require.NoError(t, out.Close())
					content = packed.String()
				}
				putOld(t, filepath.Join(w.in, name), content)
				return ""
			case "rm":
				require.NoError(t, os.Remove(filepath.Join(w.in, d.CmdArgs[0].String())))
				return ""
			case "ls":
				var files int
				d.ScanArgs(t, "files", &files)
				var names []string
				require.Eventually(t, func() bool {
					names = namesIn(t, filepath.Join(dir, d.CmdArgs[0].String()))
					return len(names) == files
				}, patience, 10*time.Millisecond, "%s", names)
				return strings.Join(names, "\n")
			case "sql":
				return strings.ReplaceAll(w.run(d.Input), dir, "DIR")
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

// namesIn lists the files under a directory.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return nil
	}))
	slices.Sort(names)
	return names
}
