package autoload

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"smelt/tables/vfs"
)

// ReplayConfig says what to drop where.
type ReplayConfig struct {
	Source string // a recorded file, or a directory of them
	Into   string // the watched directory; made when missing
	// RowsPerSecond is the pace; 0 means as fast as it goes. A file that is dropped as it is counts as one row.
	RowsPerSecond float64
	// RowsPerFile is how many rows of a recording, JSON or lines of text, make one dropped file; other formats are dropped
	// as they are. 0 means 10 for a recorded file, and a directory file by file; less drops every file as it is.
	RowsPerFile int
	Loop        bool // begin again at the end, until ctx ends; only with a pace
	// Progress is called after each dropped file, if set.
	Progress func(ReplayStats)
	Logger   *slog.Logger // nil discards
}

// defaultRowsPerFile is what a producer would gather who writes every few seconds.
const defaultRowsPerFile = 10

// ReplayStats counts what was dropped.
type ReplayStats struct {
	Rows  int64 // of recordings that were cut
	Files int64
}

// Replay drops recorded files, or small files cut from them, into the watched directory as a careful producer does:
// whole, by renaming. Names are unique over runs and sort in the order of the runs and rows. It stops when ctx ends.
func Replay(ctx context.Context, c ReplayConfig) (ReplayStats, error) {
	var stats ReplayStats
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Loop && c.RowsPerSecond <= 0 {
		return stats, fmt.Errorf("replay %s: a loop needs a rate, or it fills the disk", c.Source)
	}
	sources, isDir, err := recordings(c.Source)
	if err != nil {
		return stats, err
	}
	if c.RowsPerFile == 0 && !isDir {
		c.RowsPerFile = defaultRowsPerFile
	}
	if err := os.MkdirAll(c.Into, 0o755); err != nil {
		return stats, fmt.Errorf("make watched directory: %w", err)
	}
	start := time.Now()
	d := &dropper{cfg: c, stats: &stats, run: start.UTC().Format("20060102T150405") + "-" + uuid.NewString()[:8], start: start}
	for {
		before := stats.Files
		for _, path := range sources {
			if err := d.replay(ctx, path); err != nil {
				return stats, fmt.Errorf("replay %s: %w", path, err)
			}
		}
		if !c.Loop || stats.Files == before { // nothing in it: it would go round for ever
			return stats, nil
		}
	}
}

// recordings lists the files to replay, by name.
func recordings(source string) (files []string, isDir bool, err error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, false, fmt.Errorf("open recording: %w", err)
	}
	if !info.IsDir() {
		return []string{source}, false, nil
	}
	root := filepath.Clean(source) + string(filepath.Separator) // with the separator a symlink to a directory is walked, too
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || path == root:
			return err
		case !ours(d.Name()):
			return skip(d)
		case d.Type().IsRegular():
			files = append(files, filepath.Clean(path))
		}
		return nil
	})
	if err != nil {
		return nil, true, fmt.Errorf("list recordings: %w", err)
	}
	if len(files) == 0 {
		return nil, true, fmt.Errorf("open recording %q: no file in it", source)
	}
	slices.Sort(files)
	return files, true, nil
}

// dropper gathers rows and drops them as files.
type dropper struct {
	cfg   ReplayConfig
	stats *ReplayStats
	run   string // keeps the names of two runs apart
	start time.Time
	paced float64 // rows that the pace has counted
	rows  int
	text  bytes.Buffer
}

// replay drops one recording.
func (d *dropper) replay(ctx context.Context, path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read recording: %w", cause(err))
	}
	defer f.Close()
	name, packed := strings.CutSuffix(strings.ToLower(path), ".gz")
	extension := filepath.Ext(name)
	var cut func(context.Context, *bufio.Reader) error
	switch extension {
	case ".json", ".jsonl", ".ndjson", "":
		cut = d.cutJSON
	case ".txt", ".text", ".log":
		cut = func(ctx context.Context, in *bufio.Reader) error { return d.cutLines(ctx, in, extension) }
	}
	if d.cfg.RowsPerFile <= 0 || cut == nil {
		return d.copy(ctx, f, path)
	}
	var text io.Reader = f
	if packed {
		if text, err = gzip.NewReader(f); err != nil {
			return fmt.Errorf("unpack recording: %w", err)
		}
	}
	return cut(ctx, bufio.NewReaderSize(text, 1<<20))
}

// cutJSON drops the rows of one recording in small files. Pretty-printed rows become one line each. The last file is not
// filled up from the next recording: nothing waits.
func (d *dropper) cutJSON(ctx context.Context, in *bufio.Reader) error {
	if mark, err := in.Peek(3); err == nil && string(mark) == "\ufeff" {
		if _, err := in.Discard(len(mark)); err != nil {
			return fmt.Errorf("read recording: %w", err)
		}
	}
	// Rows are handed on as they are; what is wrong inside a string is for the reader to judge.
	tokens := jsontext.NewDecoder(in, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		kind := tokens.PeekKind()
		if kind == '{' {
			row, err := tokens.ReadValue()
			if err != nil {
				return fmt.Errorf("read row %d: %w", d.stats.Rows+int64(d.rows)+1, err)
			}
			for _, c := range row {
				if c == '\n' || c == '\r' { // inside strings JSON has none
					c = ' '
				}
				d.text.WriteByte(c)
			}
			d.text.WriteByte('\n')
			if err := d.row(ctx, ".jsonl"); err != nil {
				return err
			}
			continue
		}
		if kind != ']' && kind != 0 && (kind != '[' || tokens.StackDepth() > 0) {
			return fmt.Errorf("read recording: want JSON objects at byte %d, got %s", tokens.InputOffset(), kind)
		}
		if _, err := tokens.ReadToken(); errors.Is(err, io.EOF) {
			return d.flush(ctx, ".jsonl")
		} else if err != nil {
			return fmt.Errorf("read recording: %w", err)
		}
	}
}

// cutLines drops the lines of one recording in small files.
func (d *dropper) cutLines(ctx context.Context, in *bufio.Reader, extension string) error {
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("read recording: %w", err)
		}
		if len(line) > 0 {
			d.text.Write(line)
			if err := d.row(ctx, extension); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return d.flush(ctx, extension)
		}
	}
}

// row counts a row that was gathered.
func (d *dropper) row(ctx context.Context, extension string) error {
	if d.rows++; d.rows < d.cfg.RowsPerFile {
		return nil
	}
	return d.flush(ctx, extension)
}

// flush drops the gathered rows, if any, as one file.
func (d *dropper) flush(ctx context.Context, extension string) error {
	if d.rows == 0 {
		return nil
	}
	name := fmt.Sprintf("replay-%s-%08d%s", d.run, d.stats.Files, extension)
	if err := d.put(ctx, d.cfg.Into, name, &d.text, d.rows); err != nil {
		return err
	}
	d.stats.Rows += int64(d.rows)
	d.rows = 0
	d.text.Reset()
	return nil
}

// copy drops one recording as it is, good or bad, in the sub-directory that it came from.
func (d *dropper) copy(ctx context.Context, f *os.File, path string) error {
	into := d.cfg.Into
	if inside, err := filepath.Rel(d.cfg.Source, path); err == nil && inside != "." {
		into = filepath.Join(into, filepath.Dir(inside))
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return fmt.Errorf("make watched directory: %w", err)
	}
	return d.put(ctx, into, fmt.Sprintf("replay-%s-%08d-%s", d.run, d.stats.Files, filepath.Base(path)), f, 1)
}

// put drops one file when its time has come.
func (d *dropper) put(ctx context.Context, dir, name string, content io.Reader, rows int) error {
	if err := d.pace(ctx); err != nil {
		return err
	}
	if err := drop(dir, name, content); err != nil {
		return err
	}
	d.stats.Files++
	d.paced += float64(rows)
	if d.cfg.Progress != nil {
		d.cfg.Progress(*d.stats)
	}
	return nil
}

// drop writes a file under a hidden name and renames it into place. It is not synced: a recording can be replayed.
func drop(dir, name string, content io.Reader) error {
	hidden := filepath.Join(dir, "."+name)
	if err := fill(hidden, content); err != nil {
		return errors.Join(fmt.Errorf("drop %s: %w", name, err), os.Remove(hidden))
	}
	if err := vfs.OS().Rename(hidden, filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("drop %s: %w", name, err)
	}
	return nil
}

func fill(path string, content io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// pace waits until the rate allows the next file.
func (d *dropper) pace(ctx context.Context) error {
	if err := ctx.Err(); err != nil || d.cfg.RowsPerSecond <= 0 {
		return err
	}
	due := d.start.Add(time.Duration(d.paced / d.cfg.RowsPerSecond * float64(time.Second)))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ctx.Err() // both may have come
	}
}

// CountRows checks that a text is JSON that a Loader takes for rows, and counts them. Its errors begin with the line.
func CountRows(text []byte) (rows int64, err error) {
	var w walker
	err = w.objects(text, func() error {
		if err := w.json.SkipValue(); err != nil {
			return w.syntaxError(err)
		}
		rows++
		return nil
	})
	return rows, err
}
