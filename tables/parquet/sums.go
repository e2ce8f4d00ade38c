package parquet

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// castagnoli is the polynomial of CRC-32C, for which processors have an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// FooterSum returns the CRC-32C of the footer, which Parquet itself does not check.
func (f *File) FooterSum() uint32 { return f.sum }

// IndexSum reads all that is neither footer nor column chunk and returns its CRC-32C: page indexes and Bloom filters,
// which Parquet does not check either. A flipped bit in one could make a scan pass over rows.
func (f *File) IndexSum() (uint32, error) {
	sum, at := uint32(0), int64(0)
	for _, c := range append(f.chunks(), extent{f.footer, f.footer}) {
		if c.from < at || c.to > f.footer {
			return 0, fmt.Errorf("damaged Parquet data: column chunks overlap at %d", c.from)
		}
		gap := make([]byte, c.from-at)
		if _, err := io.ReadFull(io.NewSectionReader(f.in, at, c.from-at), gap); err != nil {
			return 0, fmt.Errorf("read indexes: %w", err)
		}
		sum, at = crc32.Update(sum, castagnoli, gap), c.to
	}
	return sum, nil
}

// extent is the bytes of a file from one offset up to another.
type extent struct{ from, to int64 }

// chunks returns where the column chunks lie, in order.
func (f *File) chunks() []extent {
	var all []extent
	for _, g := range f.file.Metadata().RowGroups {
		for _, c := range g.Columns {
			from := c.MetaData.DataPageOffset
			if d := c.MetaData.DictionaryPageOffset; d > 0 {
				from = min(from, d)
			}
			all = append(all, extent{from, from + c.MetaData.TotalCompressedSize})
		}
	}
	slices.SortFunc(all, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	return all
}
