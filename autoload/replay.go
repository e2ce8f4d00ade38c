package autoload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"smelt/tables/vfs"
)

// ReplayConfig says what to drop where.
type ReplayConfig struct {
	Source        string  // a file of JSON objects, or a directory of such files
	Into          string  // the watched directory; made when missing
	RowsPerSecond float64 // 0 means as fast as it goes
	RowsPerFile   int     // rows in each dropped file; 0 means 10, less copies the files whole
	// Progress is called after each dropped file, if set.
	Progress func(ReplayStats)
	Logger   *slog.Logger // nil discards
}

// defaultRowsPerFile is what a producer would gather who writes every few seconds.
const defaultRowsPerFile = 10

// ReplayStats counts what was dropped.
type ReplayStats struct {
	Rows, Files int64
}

// Replay cuts recorded rows into small files and renames each into the watched directory, as a careful producer does.
// Names are unique over runs and sort in the order of the runs and rows. It stops when ctx ends.
func Replay(ctx context.Context, c ReplayConfig) (ReplayStats, error) {
	var stats ReplayStats
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.RowsPerFile == 0 {
		c.RowsPerFile = defaultRowsPerFile
	}
	sources, err := recordings(c.Source)
	if err != nil {
		return stats, err
	}
	if err := os.MkdirAll(c.Into, 0o755); err != nil {
		return stats, fmt.Errorf("make watched directory: %w", err)
	}
	start := time.Now()
	d := &dropper{cfg: c, stats: &stats, run: start.UTC().Format("20060102T150405") + "-" + uuid.NewString()[:8], start: start}
	for _, path := range sources {
		data, err := os.ReadFile(path)
		if err != nil {
			return stats, fmt.Errorf("read recording: %w", err)
		}
		if c.RowsPerFile < 0 {
			err = d.copy(ctx, filepath.Ext(path), data)
		} else {
			err = d.cut(ctx, data)
		}
		if err != nil {
			return stats, fmt.Errorf("replay %s: %w", path, err)
		}
	}
	return stats, nil
}

// recordings lists the files to replay, by name.
func recordings(source string) ([]string, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	if !info.IsDir() {
		return []string{source}, nil
	}
	var files []string
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() && ours(d.Name()) && strings.Contains(filepath.Ext(path), "json") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list recordings: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("open recording %q: no .json or .jsonl file in it", source)
	}
	slices.Sort(files)
	return files, nil
}

// dropper gathers rows and drops them as files.
type dropper struct {
	cfg   ReplayConfig
	stats *ReplayStats
	run   string // keeps the names of two runs apart
	start time.Time
	rows  int
	text  bytes.Buffer
}

// cut drops the rows of one recording in small files. Pretty-printed rows become one line each. The last file is not
// filled up from the next recording: nothing waits.
func (d *dropper) cut(ctx context.Context, data []byte) error {
	var w walker
	err := w.objects(data, func() error {
		object, err := w.json.ReadValue()
		if err != nil {
			return w.syntaxError(err)
		}
		d.text.Write(bytes.Map(oneLine, object))
		d.text.WriteByte('\n')
		if d.rows++; d.rows < d.cfg.RowsPerFile {
			return nil
		}
		return d.flush(ctx)
	})
	if err != nil {
		return err
	}
	return d.flush(ctx)
}

// oneLine replaces what ends a line; inside strings JSON has none.
func oneLine(r rune) rune {
	if r == '\n' || r == '\r' {
		return ' '
	}
	return r
}

// copy drops one recording as it is, good or bad.
func (d *dropper) copy(ctx context.Context, extension string, data []byte) error {
	var w walker
	// A recording that is not JSON is dropped all the same, for what a reader makes of it; rows before the fault count.
	if err := w.objects(data, func() error {
		err := w.json.SkipValue()
		if err == nil {
			d.rows++
		}
		return err
	}); err != nil {
		d.cfg.Logger.Info("recording is not JSON throughout", "err", err)
	}
	d.text.Write(data)
	return d.put(ctx, extension)
}

// flush drops the gathered rows, if any.
func (d *dropper) flush(ctx context.Context) error {
	if d.rows == 0 {
		return nil
	}
	return d.put(ctx, ".jsonl")
}

// put drops the gathered text as one file, when its time has come.
func (d *dropper) put(ctx context.Context, extension string) error {
	if err := d.pace(ctx); err != nil {
		return err
	}
	name := fmt.Sprintf("replay-%s-%08d%s", d.run, d.stats.Files, extension)
	if err := drop(d.cfg.Into, name, d.text.Bytes()); err != nil {
		return err
	}
	d.stats.Files++
	d.stats.Rows += int64(d.rows)
	d.rows = 0
	d.text.Reset()
	if d.cfg.Progress != nil {
		d.cfg.Progress(*d.stats)
	}
	return nil
}

// drop writes a file under a hidden name and renames it into place. It is not synced: a recording can be replayed.
func drop(dir, name string, content []byte) error {
	hidden := filepath.Join(dir, "."+name)
	if err := os.WriteFile(hidden, content, 0o644); err != nil {
		return errors.Join(fmt.Errorf("drop %s: %w", name, err), os.Remove(hidden))
	}
	if err := vfs.OS().Rename(hidden, filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("drop %s: %w", name, err)
	}
	return nil
}

// pace waits until the rate allows the gathered rows.
func (d *dropper) pace(ctx context.Context) error {
	if d.cfg.RowsPerSecond <= 0 {
		return ctx.Err()
	}
	due := d.start.Add(time.Duration(float64(d.stats.Rows) / d.cfg.RowsPerSecond * float64(time.Second)))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
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
