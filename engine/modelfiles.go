package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"

	"smelt/models"
	"smelt/models/hub"
	"smelt/tables/vfs"
)

// ErrDamagedModels is returned when files of models are not what their hashes say.
var ErrDamagedModels = errors.New("files of models are damaged")

// HubName is the name of a model on a hub: org/name or org/name@revision.
type HubName string

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *HubName) UnmarshalText(text []byte) error {
	*n = HubName(strings.TrimPrefix(string(text), "hf:"))
	return hub.Check(string(*n))
}

// PullModel brings a model from the hub into the cache and says what to do with it. progress is shown where it is a
// terminal.
func PullModel(ctx context.Context, name HubName, variant string, out io.Writer, progress *os.File) error {
	config := hub.FromEnvironment(os.Getenv)
	config.Allow = []string{"*"} // who types the command lets it in
	bar := &pullBar{done: map[string]int64{}, size: map[string]int64{}}
	if info, err := progress.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		bar.line = progressbar.NewOptions64(1, progressbar.OptionSetWriter(progress), progressbar.OptionSetWidth(30),
			progressbar.OptionShowBytes(true), progressbar.OptionSetDescription(string(name)), progressbar.OptionClearOnFinish())
		config.Progress = bar.update
	}
	s, err := hub.New(config).Pull(ctx, string(name), variant)
	if bar.line != nil {
		_ = bar.line.Exit() // what cannot be drawn does not matter
		fmt.Fprintln(progress)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s@%s, commit %s", s.Name, s.Revision, s.Commit)
	if s.Cached != "" {
		fmt.Fprintf(out, ", from the cache: %s", s.Cached)
	}
	fmt.Fprintln(out)
	for _, f := range s.Files {
		fmt.Fprintf(out, "  %-28s %s\n", f.Name, f.Hash)
	}
	if s.License != "" {
		fmt.Fprintf(out, "licence %s\n", s.License)
	}
	if caution := hub.Caution(s.License); caution != "" {
		fmt.Fprintf(out, "mind: %s\n", caution)
	}
	options := "source = 'hf:" + s.Name + "@" + s.Commit + "'"
	if variant != "" {
		options += ", variant = '" + variant + "'"
	}
	fmt.Fprintf(out, "CREATE MODEL m OPTIONS (%s);\n", options)
	return nil
}

// pullBar adds up the files of a pull.
type pullBar struct {
	line *progressbar.ProgressBar

	mu   sync.Mutex
	done map[string]int64 // bytes of each file
	size map[string]int64 // bytes that it will have
}

func (b *pullBar) update(file string, done, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done[file], b.size[file] = done, max(size, done)
	var all, of int64
	for name, n := range b.done {
		all, of = all+n, of+b.size[name]
	}
	b.line.ChangeMax64(of + 1) // full only when all is there
	_ = b.line.Set64(all)
}

// ListModels prints what the cache of the hub has.
func ListModels(out io.Writer) error {
	config := hub.FromEnvironment(os.Getenv)
	entries, err := hub.New(config).List()
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		fmt.Fprintf(out, "nothing in %s; smelt models pull org/name brings a model\n", config.Cache)
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MODEL\tREVISIONS\tCOMMIT\tGRAPHS\tFILES\tBYTES\tLICENCE")
	for _, e := range entries {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", e.Name, orDash(e.Revisions), e.Commit, orDash(e.Graphs), e.Files, e.Bytes, cmp.Or(e.License, "-"))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	return nil
}

func orDash(list []string) string { return cmp.Or(strings.Join(list, ","), "-") }

// VerifyModels reads every file of the cache of the hub and of the models of a data directory, and prints those that are
// damaged or missing; ErrDamagedModels if there are any. A data directory that does not exist has none. It takes no lock:
// a server may have the directory open.
func VerifyModels(ctx context.Context, dataDir string, out io.Writer) error {
	config := hub.FromEnvironment(os.Getenv)
	damaged := 0
	tell := func(path string, err error) {
		damaged++
		fmt.Fprintf(out, "%s: %v\n", path, err)
	}
	files, bytes, err := hub.New(config).Verify(ctx, tell)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d files, %d bytes in the cache %s\n", files, bytes, config.Cache)
	dir := filepath.Join(dataDir, modelDir)
	registry, err := models.Open(models.Config{Disk: readOnly{modelDisk{vfs.OS(), dir}}})
	if err != nil {
		return err
	}
	files, bytes, err = registry.Verify(ctx, tell)
	if err := errors.Join(err, registry.Close()); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d files, %d bytes of the models in %s\n", files, bytes, dir)
	if damaged > 0 {
		return fmt.Errorf("%w: %d of them; pull or create these models again", ErrDamagedModels, damaged)
	}
	return nil
}

// readOnly leaves what no model has, which a registry removes when it opens, to the server that may be making one of it.
type readOnly struct{ modelDisk }

// Write implements models.Disk.
func (readOnly) Write(name string, _ []byte) error {
	return fmt.Errorf("write %s: %w", name, errors.ErrUnsupported)
}

// Remove implements models.Disk.
func (readOnly) Remove(string) error { return nil }

// ExportModel writes a version that was trained here (name, name@alias or name/2) into a directory, which is made, as a graph of
// ONNX and its configuration. It takes no lock: a server may have the data directory open.
func ExportModel(name, dataDir, dir string, out io.Writer) error {
	registry, err := models.Open(models.Config{Disk: readOnly{modelDisk{vfs.OS(), filepath.Join(dataDir, modelDir)}}})
	if err != nil {
		return err
	}
	files, err := registry.ExportHead("models:/" + strings.TrimPrefix(name, "models:/"))
	if err := errors.Join(err, registry.Close()); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("export model %q: %w", name, err)
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, file), files[file], 0o644); err != nil {
			return fmt.Errorf("export model %q: %w", name, err)
		}
		fmt.Fprintf(out, "%s, %d bytes\n", filepath.Join(dir, file), len(files[file]))
	}
	return nil
}
