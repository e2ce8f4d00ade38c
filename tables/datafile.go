package tables

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"smelt/tables/delta"
	"smelt/tables/parquet"
	"smelt/tables/vfs"
)

// dataFile is a Parquet file being written.
type dataFile struct {
	table  *Table
	name   string
	out    vfs.File
	writer *parquet.Writer
	rows   int64
}

// finish makes the content durable and returns the action that adds it. The name becomes durable with the next sync of
// the table directory.
func (d *dataFile) finish() (delta.Add, error) {
	rows, stats, err := d.writer.Close()
	if err == nil && rows != d.rows {
		err = fmt.Errorf("%d rows went in, the file holds %d", d.rows, rows)
	}
	if err == nil {
		err = d.out.Sync()
	}
	var size int64
	if err == nil {
		size, err = d.out.Size()
	}
	if err != nil {
		return delta.Add{}, errors.Join(fmt.Errorf("finish %s: %w", d.name, err), d.abandon())
	}
	if err := d.out.Close(); err != nil {
		return delta.Add{}, fmt.Errorf("close %s: %w", d.name, err)
	}
	return delta.Add{Path: url.PathEscape(d.name), PartitionValues: map[string]string{}, Size: size, ModificationTime: time.Now().UnixMilli(), DataChange: true, Stats: stats}, nil
}

// abandon closes and removes a file that no commit will refer to.
func (d *dataFile) abandon() error {
	return errors.Join(d.out.Close(), d.table.store.fs.Remove(filepath.Join(d.table.dir, d.name)))
}
