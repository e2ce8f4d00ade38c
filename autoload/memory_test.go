package autoload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// peak samples how much memory the Go runtime holds while f runs, and returns the most, in bytes.
func peak(f func()) uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	done, result := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(samples)
			most = max(most, samples[0].Value.Uint64()-samples[1].Value.Uint64())
			select {
			case <-done:
				result <- most
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(done)
	return <-result
}

// TestMemoryIsBounded loads files much larger than what may be kept. SMELT_TEST_MB makes them larger: the bound stays.
func TestMemoryIsBounded(t *testing.T) {
	const bound = 160 << 20 // bytes: pieces on their way, kept rows, and as much again for the collector
	size := 32 << 20
	if mb, err := strconv.Atoi(os.Getenv("SMELT_TEST_MB")); err == nil {
		size = mb << 20
	}
	for name, form := range map[string][4]string{ // begin, row, between, end
		"lines.json": {"", `{"n": %d, "text": "good morning, good evening, and good night to you"}`, "\n", "\n"},
		"array.json": {"[", `{"n": %d, "text": "good morning, good evening, and good night to you"}`, ",\n", "]"},
		"rows.csv":   {"n,text\n", `%d,"good morning, good evening, and good night to you"`, "\n", "\n"},
		"text.txt":   {"", "%d good morning, good evening, and good night to you", "\n", "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rows := write(t, filepath.Join(dir, name), form, size)
			l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, map[string]string{"header": "true"})
			l.keep = 8 << 20
			runtime.GC()
			var took time.Duration
			most := peak(func() {
				start := time.Now()
				b, err := l.Next(context.Background())
				require.NoError(t, err)
				require.Empty(t, b.files[0].Error)
				r, err := b.Scan(context.Background(), nil)
				require.NoError(t, err)
				defer r.Close()
				got := 0
				for {
					part, err := r.Next(context.Background())
					if errors.Is(err, io.EOF) {
						break
					}
					require.NoError(t, err)
					got += part.Len
				}
				require.Equal(t, rows, got)
				took = time.Since(start)
			})
			t.Logf("%d MB in %v, at most %d MB of memory", size>>20, took.Round(time.Millisecond), most>>20)
			require.Less(t, most, uint64(bound))
		})
	}
}

// write makes a file of about so many bytes and returns its rows.
func write(t *testing.T, path string, form [4]string, size int) (rows int) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	for at := 0; at < size; rows++ {
		lead := form[2]
		if rows == 0 {
			lead = form[0]
		}
		n, err := fmt.Fprintf(w, lead+form[1], rows)
		require.NoError(t, err)
		at += n
	}
	_, err = w.WriteString(form[3])
	require.NoError(t, errors.Join(err, w.Flush(), f.Close()))
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, old, old))
	return rows
}
