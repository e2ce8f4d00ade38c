package parquet

import (
	"bytes"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/stretchr/testify/require"

	"smelt/tables/batch"
)

func TestFilesOfEachCodecAreReadOrRefusedByName(t *testing.T) {
	schema := batch.Schema{{Name: "n", Type: batch.Type{Kind: batch.Long}}}
	for _, codec := range []compress.Codec{&pq.Uncompressed, &pq.Snappy, &pq.Gzip, &pq.Brotli, &pq.Zstd, &pq.Lz4Raw} {
		t.Run(codec.String(), func(t *testing.T) {
			var file bytes.Buffer
			w := pq.NewGenericWriter[struct {
				N int64 `parquet:"n"`
			}](&file, pq.Compression(codec))
			_, err := w.Write([]struct {
				N int64 `parquet:"n"`
			}{{N: 7}})
			require.NoError(t, err)
			require.NoError(t, w.Close())
			f, err := Open(bytes.NewReader(file.Bytes()), int64(file.Len()), schema, nil)
			if codec == &pq.Lz4Raw {
				require.EqualError(t, err, `read column "n": compression LZ4_RAW is not supported`)
				return
			}
			require.NoError(t, err)
			r, err := f.Group(0)
			require.NoError(t, err)
			b, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, []int64{7}, b.Columns[0].Ints)
			require.NoError(t, r.Close())
		})
	}
}
