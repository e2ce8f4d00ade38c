package predictions

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/models"
	"smelt/tables"
	"smelt/tables/vfs/errorfs"
)

func input(i int) models.InputDigest {
	return models.InputDigest{byte(i), byte(i >> 8), byte(i >> 16), 7}
}

func output(model string, i int) string { return fmt.Sprintf("[%d,%d.5]", len(model), i) }

// add notes the inputs from..to for a model.
func add(l *Ledger, model string, from, to int) {
	var inputs []models.InputDigest
	var outputs []string
	for i := from; i < to; i++ {
		inputs, outputs = append(inputs, input(i)), append(outputs, output(model, i))
	}
	l.Find(context.Background(), model, inputs, make([]string, len(inputs))) // as the registry does
	l.Add(model, "m", inputs, outputs, time.Millisecond)
}

// known returns which of the first n inputs the ledger knows; each must have the right output.
func known(t *testing.T, l *Ledger, model string, n int) (list []int) {
	t.Helper()
	inputs, outputs := make([]models.InputDigest, n), make([]string, n)
	for i := range inputs {
		inputs[i] = input(i)
	}
	l.Find(t.Context(), model, inputs, outputs)
	for i, o := range outputs {
		if o != "" {
			require.Equal(t, output(model, i), o)
			list = append(list, i)
		}
	}
	return list
}

func openStore(t *testing.T, dir string) *tables.Store {
	t.Helper()
	s, err := tables.Open(dir, tables.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestWhatIsKnownOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	l := Open(Config{Store: s})
	add(l, "a", 0, 100)
	add(l, "bb", 50, 60)
	add(l, "a", 90, 120) // some are there
	require.Len(t, known(t, l, "a", 200), 120)
	require.Empty(t, known(t, l, "c", 200))
	r, err := l.Relation(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 130, r.(tables.Counter).Rows(), "each once")
	add(l, "a", 120, 130)
	require.NoError(t, l.Close(t.Context()))
	require.NoError(t, l.Close(t.Context()))
	require.NoError(t, s.Close())

	l = Open(Config{Store: openStore(t, dir)})
	require.Len(t, known(t, l, "a", 200), 130)
	require.Len(t, known(t, l, "bb", 200), 10)
	require.NoError(t, l.Close(t.Context()))
}

func TestTheOldestGoFirst(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	l := Open(Config{Store: s, Bytes: 1000 * (entryBytes + 10)})
	for i := 0; i < 1500; i += 100 {
		add(l, "a", i, i+100)
	}
	left := known(t, l, "a", 1500)
	require.Less(t, len(left), 1001)
	require.Greater(t, len(left), 499)
	require.Equal(t, 1499, left[len(left)-1])
	require.Equal(t, 1500-len(left), left[0], "without a gap")
	r, err := l.Relation(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, len(left), r.(tables.Counter).Rows(), "and from the disk")
	require.NoError(t, l.Close(t.Context()))
	require.NoError(t, s.Close())
	l = Open(Config{Store: openStore(t, dir), Bytes: 100 * (entryBytes + 10)})
	less := known(t, l, "a", 1500)
	require.LessOrEqual(t, len(less), 100)
	require.Equal(t, 1499, less[len(less)-1])
	require.NoError(t, l.Close(t.Context()))
}

func TestEntriesAreWrittenBehind(t *testing.T) {
	s := openStore(t, t.TempDir())
	l := Open(Config{Store: s})
	changed := func() bool {
		table, err := s.Table(database, tableName)
		return err == nil && table.Snapshot().Rows() == 10
	}
	add(l, "a", 0, 10)
	require.Eventually(t, changed, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, l.Close(t.Context()))
}

func TestADamagedTableCostsTimeOnly(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	l := Open(Config{Store: s})
	add(l, "a", 0, 10)
	require.NoError(t, l.Close(t.Context()))
	files, err := filepath.Glob(filepath.Join(dir, database, tableName, "*.parquet"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.WriteFile(files[0], []byte("not Parquet"), 0o600))
	l = Open(Config{Store: s})
	require.Empty(t, known(t, l, "a", 10))
	add(l, "a", 0, 10)
	require.Empty(t, known(t, l, "a", 10), "there is no ledger")
	require.NoError(t, l.Close(t.Context()))
}

// TestAPowerCutLosesTheNewestOnly cuts the power at random operations: what is there afterwards is right, and what a
// Flush had returned for is there.
func TestAPowerCutLosesTheNewestOnly(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	lost := 0
	for range 60 {
		disk := errorfs.New()
		s, err := tables.Open("/data", tables.Options{FS: disk})
		require.NoError(t, err)
		disk.CrashAt = disk.Ops() + 1 + random.IntN(200)
		l := Open(Config{Store: s, Bytes: 300 * (entryBytes + 10)})
		next, safe := 0, 0
		for range 12 {
			n := 1 + random.IntN(60)
			add(l, "a", next, next+n)
			next += n
			if random.IntN(2) == 0 {
				continue
			}
			if l.Flush(t.Context()) != nil {
				lost++
				break
			}
			safe = next
		}
		reopened, err := tables.Open("/data", tables.Options{FS: disk.CrashSome(random)})
		require.NoError(t, err)
		again := Open(Config{Store: reopened})
		left := known(t, again, "a", next)
		if safe > 0 {
			require.NotEmpty(t, left)
			require.GreaterOrEqual(t, left[len(left)-1], safe-1, "what was flushed is there")
		}
		require.NoError(t, again.Close(t.Context()))
		require.NoError(t, reopened.Close())
		_ = l.Close(t.Context()) // the power is gone
	}
	require.Greater(t, lost, 10)
}
