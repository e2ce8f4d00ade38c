package tables

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"smelt/tables/delta"
	"smelt/tables/parquet"
	"smelt/tables/vfs"
)

const (
	// maxFileRows and maxFileBytes end a data file: larger ones are slower to skip and to rewrite, smaller ones to open.
	maxFileRows  = 1 << 20
	maxFileBytes = 128 << 20
)

// Tags of a data file in the log: CRC-32C, in hexadecimal, of its footer, and of its page indexes and Bloom filters.
// Parquet checks its pages only, and elsewhere one flipped bit can turn a value into another or hide rows.
const (
	tagFooter  = "smelt.footerSum"
	tagIndexes = "smelt.indexSum"
)

// sums reads the check sums of a file that was just written, and with them its footer: what cannot be read back is not
// committed.
func (d *dataFile) sums(size int64) (map[string]string, error) {
	f, err := parquet.Open(d.out, size, nil, nil)
	if err != nil {
		return nil, err
	}
	if f.Rows() != d.rows {
		return nil, fmt.Errorf("%d rows went in, the file says %d", d.rows, f.Rows())
	}
	indexes, err := f.IndexSum()
	if err != nil {
		return nil, err
	}
	return map[string]string{tagFooter: sumText(f.FooterSum()), tagIndexes: sumText(indexes)}, nil
}

func sumText(sum uint32) string { return strconv.FormatUint(uint64(sum), 16) }

// checkSums compares an open file with what the log says of it, if it says anything; the indexes only if they matter.
func checkSums(f *parquet.File, tags map[string]string, indexes bool) error {
	if want, ok := tags[tagFooter]; ok && sumText(f.FooterSum()) != want {
		return fmt.Errorf("damaged data file: its footer has the check sum %x, the log says %s", f.FooterSum(), want)
	}
	want, ok := tags[tagIndexes]
	if !ok || !indexes {
		return nil
	}
	got, err := f.IndexSum()
	if err == nil && sumText(got) != want {
		err = fmt.Errorf("damaged data file: its indexes have the check sum %x, the log says %s", got, want)
	}
	return err
}

// dataFile is a Parquet file being written.
type dataFile struct {
	table  *Table
	name   string // path inside the table's directory
	out    vfs.File
	writer *parquet.Writer
	rows   int64

	partition map[string]string // what all rows have in the columns that part them
	keys      string            // tagKeys; "" for none
}

// newDataFile begins a data file under a random name.
func (t *Table) newDataFile(schema Schema, def Definition, values map[string]string) (*dataFile, error) {
	name := filepath.Join(partitionDir(def.Partitions, values), fmt.Sprintf("part-00000-%s-c000.zstd.parquet", uuid.NewString()))
	if dir := filepath.Dir(name); dir != "." {
		if err := t.store.fs.MkdirAll(filepath.Join(t.dir, dir)); err != nil {
			return nil, fmt.Errorf("make partition directory: %w", err)
		}
	}
	out, err := t.store.fs.Create(filepath.Join(t.dir, name))
	if err != nil {
		return nil, fmt.Errorf("create data file: %w", err)
	}
	d := &dataFile{table: t, name: name, out: out, partition: values}
	if d.writer, err = parquet.NewWriter(out, schema, def.Properties); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", name, err), d.abandon())
	}
	return d, nil
}

// full reports whether the next rows belong into another file.
func (d *dataFile) full() bool { return d.rows >= maxFileRows || d.writer.Size() >= maxFileBytes }

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
	var tags map[string]string
	if err == nil {
		tags, err = d.sums(size)
	}
	if err != nil {
		return delta.Add{}, errors.Join(fmt.Errorf("finish %s: %w", d.name, err), d.abandon())
	}
	if d.keys != "" {
		tags[tagKeys] = d.keys
	}
	if err := d.out.Close(); err != nil {
		return delta.Add{}, errors.Join(fmt.Errorf("close %s: %w", d.name, err), d.table.store.fs.Remove(d.path()))
	}
	return delta.Add{Path: escapedPath(d.name), PartitionValues: d.partition, Size: size, ModificationTime: time.Now().UnixMilli(), DataChange: true, Stats: stats,
		Tags: tags}, nil
}

// escapedPath writes a path as the log does: with slashes, each name URL-encoded.
func escapedPath(path string) string {
	names := strings.Split(filepath.ToSlash(path), "/")
	for i, n := range names {
		names[i] = url.PathEscape(n)
	}
	return strings.Join(names, "/")
}

// pathOf returns where a data file of the log lies.
func (t *Table) pathOf(f delta.File) string { return filepath.Join(t.dir, localName(f.Path)) }

func (d *dataFile) path() string { return filepath.Join(d.table.dir, d.name) }

// abandon closes and removes a file that no commit will refer to.
func (d *dataFile) abandon() error {
	return errors.Join(d.out.Close(), d.table.store.fs.Remove(d.path()))
}
