package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// member is one entry of an archive that a test makes.
type member struct {
	name, content string
	kind          byte // of tar; 0 is a plain file
}

// pack writes an archive of the kind that its name says.
func pack(t testing.TB, name string, members ...member) string {
	t.Helper()
	var out bytes.Buffer
	if strings.HasSuffix(name, ".zip") {
		packZip(t, &out, members)
	} else {
		packTar(t, &out, name, members)
	}
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, out.Bytes(), 0o600))
	return file
}

func packZip(t testing.TB, out io.Writer, members []member) {
	z := zip.NewWriter(out)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		if m.kind == tar.TypeSymlink {
			h.SetMode(os.ModeSymlink | 0o777)
		}
		w, err := z.CreateHeader(h)
		require.NoError(t, err)
		_, err = io.WriteString(w, m.content)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
}

func packTar(t testing.TB, out io.Writer, name string, members []member) {
	var packer io.WriteCloser
	switch {
	case strings.HasSuffix(name, "gz"):
		packer = gzip.NewWriter(out)
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewWriter(out)
		require.NoError(t, err)
		packer = z
	default:
		packer = struct {
			io.Writer
			io.Closer
		}{out, io.NopCloser(nil)}
	}
	w := tar.NewWriter(packer)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(m.content))}
		if m.kind != 0 {
			h.Typeflag, h.Size, h.Linkname = m.kind, 0, m.content
		}
		require.NoError(t, w.WriteHeader(h))
		if h.Size > 0 {
			_, err := io.WriteString(w, m.content)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	require.NoError(t, packer.Close())
}

func everything(string) int64 { return 100 << 20 }

func TestEveryKindGivesTheSameFiles(t *testing.T) {
	want := map[string][]byte{"config.json": []byte("{}"), "onnx/model.onnx": []byte("graph"), "1_Pooling/config.json": []byte("[]")}
	for _, kind := range suffixes {
		for _, top := range []string{"", "./", "export/", "a/b/"} {
			file := pack(t, "m"+kind, member{name: top + "1_Pooling/config.json", content: "[]"}, member{name: top + "config.json", content: "{}"},
				member{name: top + "onnx/model.onnx", content: "graph"}, member{name: "LICENSE", content: "passed over"})
			require.True(t, Is(file))
			got, err := Read(context.Background(), file, func(name string) int64 {
				if name == "LICENSE" {
					return 0
				}
				return 5
			})
			require.NoError(t, err, kind+top)
			require.Equal(t, want, got, kind+top)
		}
	}
	require.False(t, Is("model.onnx"))
}

func TestHostileArchivesAreRefusedWhole(t *testing.T) {
	good := member{name: "config.json", content: "{}"}
	many := []member{good}
	for i := range maxFiles {
		many = append(many, member{name: strconv.Itoa(i)})
	}
	for name, c := range map[string]struct {
		members []member
		says    string
	}{
		"up":        {[]member{good, {name: "../evil.json"}}, "leads out"},
		"up inside": {[]member{good, {name: "a/../../evil.json"}}, "leads out"},
		"up and in": {[]member{good, {name: "a/../b.json"}}, "leads out"},
		"absolute":  {[]member{good, {name: "/etc/evil.json"}}, "leads out"},
		"backslash": {[]member{good, {name: `..\evil.json`}}, "leads out"},
		"link":      {[]member{good, {name: "model.onnx", content: "/etc/passwd", kind: tar.TypeSymlink}}, "link"},
		"twice":     {[]member{good, {name: "./config.json", content: "[]"}}, "twice"},
		"many":      {many, "more than 10000 files"},
		"none":      {[]member{{name: "readme.txt"}}, "0 directories with a config.json"},
		"two":       {[]member{{name: "a/config.json"}, {name: "b/config.json"}}, "2 directories"},
		"large":     {[]member{good, {name: "vocab.txt", content: strings.Repeat("x", 200)}}, "more than 100 bytes"},
		"bomb":      {[]member{good, {name: "model.onnx", content: strings.Repeat("\x00", ratioMatters+1)}}, "unpack to"},
	} {
		for _, kind := range []string{".zip", ".tar.gz", ".tar.zst"} {
			files, err := Read(context.Background(), pack(t, "m"+kind, c.members...), func(name string) int64 {
				if name == "model.onnx" {
					return 1 << 30
				}
				return 100
			})
			require.ErrorIs(t, err, ErrRefused, name+kind)
			require.ErrorContains(t, err, c.says, name+kind)
			require.Nil(t, files)
		}
	}
	hard := pack(t, "m.tar", good, member{name: "model.onnx", content: "config.json", kind: tar.TypeLink})
	_, err := Read(context.Background(), hard, everything)
	require.ErrorContains(t, err, "--dereference")
}

func TestDamagedArchivesAreErrors(t *testing.T) {
	for _, kind := range suffixes {
		file := pack(t, "m"+kind, member{name: "config.json", content: strings.Repeat("{}", 5000)})
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, data[:len(data)/2], 0o600))
		_, err = Read(context.Background(), file, everything)
		require.ErrorIs(t, err, ErrRefused, kind)
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		_, err = Read(context.Background(), file, everything)
		require.ErrorIs(t, err, ErrRefused, kind)
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		_, err = Read(cancelled, pack(t, "m"+kind, member{name: "config.json", content: "{}"}), everything)
		require.ErrorIs(t, err, context.Canceled, kind)
	}
}

func FuzzRead(f *testing.F) {
	for _, kind := range []string{".zip", ".tar", ".tar.gz", ".tar.zst"} {
		data, err := os.ReadFile(pack(f, "m"+kind, member{name: "a/config.json", content: "{}"}, member{name: "a/vocab.txt", content: "x"}))
		require.NoError(f, err)
		f.Add(kind, data)
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		file := filepath.Join(t.TempDir(), "m.tar")
		for _, s := range suffixes {
			if kind == s {
				file = filepath.Join(t.TempDir(), "m"+s)
			}
		}
		require.NoError(t, os.WriteFile(file, data, 0o600))
		files, err := Read(context.Background(), file, func(string) int64 { return 1 << 10 })
		for name := range files {
			require.True(t, filepath.IsLocal(name))
		}
		require.Equal(t, err == nil, files != nil)
		if err != nil {
			require.ErrorIs(t, err, ErrRefused)
		}
	})
}
