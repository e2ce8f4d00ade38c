package autoload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	RowsPerFile   int     // rows in each dropped file; 0 means 10
}

// ReplayStats counts what was dropped.
type ReplayStats struct {
	Rows, Files int64
}

// Replay cuts recorded rows into small files and renames each into the watched directory, as a careful producer does.
// Names are unique over runs and sort in the order of the rows. It stops when ctx ends.
func Replay(ctx context.Context, c ReplayConfig) (ReplayStats, error) {
	var stats ReplayStats
	if c.RowsPerFile <= 0 {
		c.RowsPerFile = 10
	}
	sources, err := recordings(c.Source)
	if err != nil {
		return stats, err
	}
	if err := os.MkdirAll(c.Into, 0o755); err != nil {
		return stats, fmt.Errorf("make watched directory: %w", err)
	}
	d := &dropper{cfg: c, stats: &stats, run: uuid.NewString()[:8], start: time.Now()}
	for _, path := range sources {
		data, err := os.ReadFile(path)
		if err != nil {
			return stats, fmt.Errorf("read recording: %w", err)
		}
		if err := eachObject(data, func(object []byte) error { return d.add(ctx, object) }); err != nil {
			return stats, fmt.Errorf("replay %s: %w", path, err)
		}
		// A file of the source does not end in the middle of a dropped one: nothing waits for the next.
		if err := d.flush(ctx); err != nil {
			return stats, err
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

// add takes one object; pretty-printed ones become one line.
func (d *dropper) add(ctx context.Context, object []byte) error {
	d.text.Write(bytes.Join(bytes.FieldsFunc(object, func(r rune) bool { return r == '\n' || r == '\r' }), []byte(" ")))
	d.text.WriteByte('\n')
	if d.rows++; d.rows < d.cfg.RowsPerFile {
		return nil
	}
	return d.flush(ctx)
}

// flush drops the gathered rows as one file, when their time has come.
func (d *dropper) flush(ctx context.Context) error {
	if d.rows == 0 {
		return nil
	}
	if err := d.pace(ctx); err != nil {
		return err
	}
	name := fmt.Sprintf("replay-%s-%08d.jsonl", d.run, d.stats.Files)
	if err := drop(d.cfg.Into, name, d.text.Bytes()); err != nil {
		return err
	}
	d.stats.Files++
	d.stats.Rows += int64(d.rows)
	d.rows = 0
	d.text.Reset()
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
