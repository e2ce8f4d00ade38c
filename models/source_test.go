package models

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// packed writes the files of a directory into one archive, below a directory of its own.
func packed(t *testing.T, dir, kind string) string {
	t.Helper()
	var out bytes.Buffer
	var add func(name string, data []byte)
	var done []io.Closer
	if kind == ".zip" {
		z := zip.NewWriter(&out)
		done = append(done, z)
		add = func(name string, data []byte) {
			w, err := z.Create("export/" + name)
			require.NoError(t, err)
			_, err = w.Write(data)
			require.NoError(t, err)
		}
	} else {
		var below io.WriteCloser = gzip.NewWriter(&out)
		if kind == ".tar.zst" {
			z, err := zstd.NewWriter(&out)
			require.NoError(t, err)
			below = z
		}
		w := tar.NewWriter(below)
		done = append(done, w, below)
		add = func(name string, data []byte) {
			require.NoError(t, w.WriteHeader(&tar.Header{Name: "export/" + name, Mode: 0o644, Size: int64(len(data))}))
			_, err := w.Write(data)
			require.NoError(t, err)
		}
	}
	require.NoError(t, filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		name, err := filepath.Rel(dir, file)
		require.NoError(t, err)
		add(filepath.ToSlash(name), data)
		return nil
	}))
	for _, c := range done {
		require.NoError(t, c.Close())
	}
	file := filepath.Join(t.TempDir(), "export"+kind)
	require.NoError(t, os.WriteFile(file, out.Bytes(), 0o600))
	return file
}

func TestAnArchiveIsTheSameAsItsDirectory(t *testing.T) {
	r := openOn(t, newDisk())
	ctx := context.Background()
	dir := exported(t, "sentiment", swapped)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model_quantized.onnx"), []byte("of another variant"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), []byte("of another program"), 0o600))
	_, err := r.Create(ctx, "plain", "", "", map[string]string{"source": dir}, false, false)
	require.NoError(t, err)
	plain, err := r.Resolve("plain")
	require.NoError(t, err)
	for i, kind := range []string{".zip", ".tar.gz", ".tgz", ".tar.zst"} {
		name := "packed" + string(rune('a'+i))
		file := packed(t, dir, kind)
		_, err := r.Create(ctx, name, "", "", map[string]string{"source": file}, false, false)
		require.NoError(t, err, kind)
		info, err := r.Resolve(name)
		require.NoError(t, err)
		require.Equal(t, plain.Digest, info.Digest, kind)
		require.Equal(t, "negative", says(t, r, name, "I love this"))
		// What is no export is refused, and nothing of it stays.
		_, err = r.Create(ctx, "variant", "", "", map[string]string{"source": file, "variant": "model_quantized.onnx"}, false, false)
		require.ErrorIs(t, err, ErrInvalid, kind)
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		_, err = r.Create(cancelled, "stopped", "", "", map[string]string{"source": file}, false, false)
		require.ErrorIs(t, err, context.Canceled, kind)
		require.NotErrorIs(t, err, ErrInvalid, "it was stopped and not refused")
	}
}

func TestArchivesAreReadWhereFilesMayBe(t *testing.T) {
	file := packed(t, exported(t, "sentiment", nil), ".zip")
	r, err := Open(Config{Disk: newDisk(), Permits: func(path string) bool { return !strings.HasSuffix(path, ".zip") }})
	require.NoError(t, err)
	_, err = r.Create(context.Background(), "m", "", "", map[string]string{"source": file}, false, false)
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "--allow-path")
}
