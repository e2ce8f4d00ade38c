package hub

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pythonCache is what huggingface_hub makes of export(): a line a file, "path -> target" of a link, "path = text" of a
// small file, "path" of a blob. It is written anew by TestHuggingFacesToolsShareTheCache with SMELT_TEST_UPDATE=1.
const pythonCache = "testdata/python_cache.txt"

// pythonPull fetches a model as a user of Python would.
const pythonPull = `
import sys
from huggingface_hub import snapshot_download
print(snapshot_download("org/tiny", allow_patterns=sys.argv[1:], max_workers=1))
`

// pythonOffline prints, of files that are there, path and length.
const pythonOffline = `
import sys, os
from huggingface_hub import hf_hub_download, scan_cache_dir
for name in sys.argv[1:]:
    print(name, os.path.getsize(hf_hub_download("org/tiny", name, local_files_only=True)))
info = scan_cache_dir()
print(info.warnings, [(r.repo_id, sorted(r.refs), r.nb_files) for r in info.repos])
`

// described lists a cache as pythonCache does.
func described(t *testing.T, cache string) []string {
	t.Helper()
	var lines []string
	require.NoError(t, filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(cache, path)
		if require.NoError(t, err); !strings.HasPrefix(name, folderPrefix) {
			return nil // locks, and a note to programs that back up
		}
		if target, err := os.Readlink(path); err == nil {
			lines = append(lines, name+" -> "+target)
			return nil
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		if strings.Contains(name, "/blobs/") {
			lines = append(lines, name)
		} else {
			lines = append(lines, name+" = "+strings.Join(strings.Fields(string(data)), " "))
		}
		return nil
	}))
	return lines
}

// rebuilt makes the cache of the fixture, without the lines that hold what is left out.
func rebuilt(t *testing.T, without string) string {
	t.Helper()
	content := map[string][]byte{}
	for _, data := range export() {
		for _, length := range []int{gitLength, lfsLength} {
			h := newHash(strings.Repeat("0", length), int64(len(data)))
			h.Write(data)
			content[fmt.Sprintf("%x", h.Sum(nil))] = data
		}
	}
	text, err := os.ReadFile(pythonCache)
	require.NoError(t, err)
	cache := t.TempDir()
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if without != "" && strings.Contains(line, without) {
			continue
		}
		name, target, link := strings.Cut(line, " -> ")
		name, value, small := strings.Cut(name, " = ")
		path := filepath.Join(cache, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case link:
			require.NoError(t, os.Symlink(target, path))
		case small:
			require.NoError(t, os.WriteFile(path, []byte(value), 0o600))
		default:
			require.Contains(t, content, filepath.Base(name))
			require.NoError(t, os.WriteFile(path, content[filepath.Base(name)], 0o600))
		}
	}
	return cache
}

func TestACacheThatPythonMadeIsRead(t *testing.T) {
	h := newTester(t)
	commit := h.Push(model, "main", "mit", export())
	for _, without := range []string{"", "/trees/"} { // older releases remember no trees
		cache := rebuilt(t, without)
		h.client = h.open(cache, func(c *Config) { c.Offline = true })
		s := h.pull(model, "")
		require.Equal(t, commit, s.Commit)
		content(t, s, export(), needed...)
		h.fails(model, "model_quantized.onnx", ErrNotFound)
		require.Empty(t, h.Requests())
		// Online nothing of it is fetched again, and the licence becomes known.
		h.client = h.open(cache)
		s = h.pull(model, "")
		require.Equal(t, "mit", s.License)
		content(t, s, export(), needed...)
		for _, r := range h.Requests() {
			require.Contains(t, r.Path, "/api/")
		}
	}
	// One that lacks what the repository has is not taken for the whole.
	h.client = h.open(rebuilt(t, "tokenizer_config.json ->"), func(c *Config) { c.Offline = true })
	require.Contains(t, h.fails(model, "", ErrNotFound), "tokenizer_config.json")
}

func TestOurCacheIsLaidOutAsPythons(t *testing.T) {
	h := newTester(t)
	h.Push(model, "main", "mit", export())
	h.pull(model, "")
	shared := func(cache string) []string {
		return slices.DeleteFunc(described(t, cache), func(line string) bool {
			return !strings.Contains(line, "/blobs/") && !strings.Contains(line, "/refs/") && !strings.Contains(line, "/snapshots/")
		})
	}
	require.Equal(t, shared(rebuilt(t, "")), shared(h.client.cfg.Cache))
}

// TestHuggingFacesToolsShareTheCache runs the real ones where they are installed.
func TestHuggingFacesToolsShareTheCache(t *testing.T) {
	python := os.Getenv("SMELT_TEST_PYTHON")
	if python == "" {
		python = "python3"
	}
	if exec.CommandContext(context.Background(), python, "-c", "import huggingface_hub").Run() != nil {
		t.Skipf("skipped: %s cannot import huggingface_hub (pip install it and name its interpreter in SMELT_TEST_PYTHON); what it made once is compared all the same", python)
	}
	h := newTester(t)
	h.Push(model, "main", "mit", export())
	run := func(script, cache string, offline string, args ...string) string {
		command := exec.CommandContext(context.Background(), python, append([]string{"-c", script}, args...)...)
		command.Env = append(os.Environ(), "HF_ENDPOINT="+h.Endpoint, "HF_HUB_CACHE="+cache, "HF_HOME="+t.TempDir(), "HF_HUB_OFFLINE="+offline, "HF_HUB_DISABLE_TELEMETRY=1")
		var errs bytes.Buffer
		command.Stderr = &errs
		out, err := command.Output()
		require.NoError(t, err, errs.String())
		return string(out)
	}
	theirs := t.TempDir()
	run(pythonPull, theirs, "0", needed...)
	if os.Getenv("SMELT_TEST_UPDATE") != "" {
		require.NoError(t, os.WriteFile(pythonCache, []byte(strings.Join(described(t, theirs), "\n")+"\n"), 0o644))
	}
	h.Requests()
	h.client = h.open(theirs, func(c *Config) { c.Offline = true })
	content(t, h.pull(model, ""), export(), needed...)

	h.client = h.open(t.TempDir())
	h.pull(model, "")
	h.Requests()
	said := run(pythonOffline, h.client.cfg.Cache, "1", needed...)
	for _, name := range needed {
		require.Contains(t, said, fmt.Sprintf("%s %d\n", name, len(export()[name])))
	}
	require.Contains(t, said, "[] [('org/tiny', ['main'], 5)]", "its list of the cache has nothing to complain of")
	require.Empty(t, h.Requests())
}
