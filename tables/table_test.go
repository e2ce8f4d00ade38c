package tables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables/filter"
)

// everyKind is a schema with each kind of column once, and each physical width of a decimal.
var everyKind = Schema{
	{Name: "bool", Type: Type{Kind: Boolean}},
	{Name: "byte", Type: Type{Kind: Byte}},
	{Name: "short", Type: Type{Kind: Short}},
	{Name: "int", Type: Type{Kind: Integer}},
	{Name: "long", Type: Type{Kind: Long}, Comment: "a comment with \"quotes\""},
	{Name: "float", Type: Type{Kind: Float}},
	{Name: "double", Type: Type{Kind: Double}},
	{Name: "dec9", Type: Type{Kind: Decimal, Precision: 9, Scale: 2}},
	{Name: "dec18", Type: Type{Kind: Decimal, Precision: 18, Scale: 0}},
	{Name: "dec38", Type: Type{Kind: Decimal, Precision: 38, Scale: 10}},
	{Name: "string", Type: Type{Kind: String}},
	{Name: "binary", Type: Type{Kind: Binary}},
	{Name: "date", Type: Type{Kind: Date}},
	{Name: "time", Type: Type{Kind: Timestamp}},
	{Name: "json", Type: Type{Kind: JSON}},
}

// randomBatch makes rows with a null in about every fifth place.
func randomBatch(r *rand.Rand, schema Schema, rows int) *Batch {
	b := NewBatch(schema, rows)
	for range rows {
		for c, f := range schema {
			col := &b.Columns[c]
			if r.IntN(5) == 0 {
				col.AppendNull(f.Type.Kind)
				continue
			}
			switch f.Type.Kind {
			case Boolean:
				col.AppendBool(r.IntN(2) == 0)
			case Byte:
				col.AppendInt(int64(int8(r.Uint32())))
			case Short:
				col.AppendInt(int64(int16(r.Uint32())))
			case Integer:
				col.AppendInt(int64(int32(r.Uint32())))
			case Date:
				col.AppendInt(int64(r.IntN(60000) - 30000))
			case Timestamp:
				col.AppendInt(r.Int64N(4e15) - 2e15)
			case Long:
				col.AppendInt(int64(r.Uint64()))
			case Float:
				col.AppendFloat(float64(float32(r.NormFloat64())))
			case Double:
				col.AppendFloat(r.NormFloat64() * math.Pow(10, float64(r.IntN(20))))
			case Decimal:
				col.AppendDecimal(randomDecimal(r, f.Type.Precision))
			case JSON:
				col.AppendString(fmt.Sprintf(`{"a": [%d, null]}`, r.IntN(100)))
			default:
				col.AppendString(strings.Repeat([]string{"é", "x", "日", "😀", ""}[r.IntN(5)], r.IntN(50)))
			}
		}
		b.Len++
	}
	return b
}

func randomDecimal(r *rand.Rand, precision int) Int128 {
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	raw := new(big.Int).Lsh(new(big.Int).SetUint64(r.Uint64()), 64)
	raw.Or(raw, new(big.Int).SetUint64(r.Uint64()))
	raw.Mod(raw, most)
	if r.IntN(2) == 0 {
		raw.Neg(raw)
	}
	v, ok := Int128FromBig(raw)
	if !ok {
		panic("38 digits fit 128 bits")
	}
	return v
}

// texts renders rows for comparison.
func texts(b *Batch) []string {
	out := make([]string, b.Len)
	for r := range out {
		var cells []string
		for c, f := range b.Schema {
			col := &b.Columns[c]
			switch {
			case col.Null(r):
				cells = append(cells, f.Name+"=null")
			case f.Type.Kind == Boolean:
				cells = append(cells, fmt.Sprintf("%s=%v", f.Name, col.Bools[r]))
			case f.Type.Kind == Float || f.Type.Kind == Double:
				cells = append(cells, fmt.Sprintf("%s=%v", f.Name, col.Floats[r]))
			case f.Type.Kind == Decimal:
				cells = append(cells, fmt.Sprintf("%s=%s", f.Name, col.Decimals[r].Big()))
			case col.Strings != nil:
				cells = append(cells, fmt.Sprintf("%s=%q", f.Name, col.Strings[r]))
			default:
				cells = append(cells, fmt.Sprintf("%s=%d", f.Name, col.Ints[r]))
			}
		}
		out[r] = strings.Join(cells, " ")
	}
	return out
}

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// rowsOf is the Rows of a commit that appends the batches.
func rowsOf(t *testing.T, batches ...*Batch) Reader {
	t.Helper()
	r, err := FromBatches(batches[0].Schema, batches...).Scan(context.Background(), nil)
	require.NoError(t, err)
	return r
}

func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func TestEveryKindSurvivesARoundTripAndARestart(t *testing.T) {
	ctx, dir, r := context.Background(), t.TempDir(), seeded(t)
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	table, err := s.Create(ctx, "live", "t", Definition{Schema: everyKind, Comment: "c", Properties: map[string]string{"smelt.kind": "x"}})
	require.NoError(t, err)
	var want []string
	for i := range 3 {
		b := randomBatch(r, everyKind, 1+r.IntN(20000))
		want = append(want, texts(b)...)
		v, err := table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, b), Txns: map[string]int64{"app": int64(i)}})
		require.NoError(t, err)
		require.EqualValues(t, i+1, v)
	}
	require.NoError(t, s.Close())

	s = openStore(t, dir)
	table, err = s.Table("LIVE", "T")
	require.NoError(t, err)
	snapshot := table.Snapshot()
	require.EqualValues(t, len(want), snapshot.Rows())
	require.Equal(t, "c", snapshot.Definition().Comment)
	require.Equal(t, "x", snapshot.Definition().Properties["smelt.kind"])
	require.Equal(t, everyKind, snapshot.Schema())
	txn, ok := snapshot.Txn("app")
	require.True(t, ok)
	require.EqualValues(t, 2, txn)
	got, err := ReadAll(ctx, snapshot, nil)
	require.NoError(t, err)
	require.Equal(t, want, texts(got))
	some, err := ReadAll(ctx, snapshot, []string{"json", "long"})
	require.NoError(t, err)
	require.Equal(t, []string{"json", "long"}, some.Schema.Names())
	none, err := ReadAll(ctx, snapshot, []string{})
	require.NoError(t, err)
	require.Equal(t, len(want), none.Len)
}

func TestOverwriteDefineAndChanges(t *testing.T) {
	ctx, r := context.Background(), seeded(t)
	s := openStore(t, t.TempDir())
	schema := Schema{{Name: "a", Type: Type{Kind: Long}}}
	table, err := s.Create(ctx, "live", "t", Definition{Schema: schema})
	require.NoError(t, err)
	var batches []*Batch
	for range 5 {
		b := randomBatch(r, schema, 10)
		batches = append(batches, b)
		_, err := table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, b)})
		require.NoError(t, err)
	}
	c, err := table.Changes(ctx, 2, 20)
	require.NoError(t, err)
	require.EqualValues(t, 4, c.To)
	require.False(t, c.Rewritten)
	got, err := ReadAll(ctx, c, nil)
	require.NoError(t, err)
	require.Equal(t, append(texts(batches[2]), texts(batches[3])...), texts(got))

	wide := append(Schema{}, schema...)
	wide = append(wide, Field{Name: "b", Type: Type{Kind: String}})
	_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, batches[0]), Define: &Definition{Schema: wide}})
	require.NoError(t, err)
	got, err = ReadAll(ctx, table.Snapshot(), []string{"b"})
	require.NoError(t, err)
	require.Equal(t, 60, got.Len)
	require.True(t, got.Columns[0].Null(0) && got.Columns[0].Null(59))

	old := table.Snapshot()
	_, err = table.Commit(ctx, Commit{Operation: "REFRESH", Rows: rowsOf(t, batches[1]), Overwrite: true})
	require.NoError(t, err)
	require.EqualValues(t, 10, table.Snapshot().Rows())
	require.EqualValues(t, 60, old.Rows(), "a snapshot does not change")
	_, err = ReadAll(ctx, old, nil)
	require.NoError(t, err, "and stays readable")
	c, err = table.Changes(ctx, 6, 0)
	require.NoError(t, err)
	require.True(t, c.Rewritten)
	require.EqualValues(t, 7, c.RewriteVersion)

	id := table.Snapshot().ID()
	_, err = table.Commit(ctx, Commit{Operation: "FULL REFRESH", Rows: rowsOf(t, batches[2]), Overwrite: true, Define: &Definition{Schema: schema}, NewID: true})
	require.NoError(t, err)
	require.NotEqual(t, id, table.Snapshot().ID())
	c, err = table.Changes(ctx, -1, 0)
	require.NoError(t, err)
	require.False(t, c.Rewritten, "a stream of the new id starts at its birth")
	got, err = ReadAll(ctx, c, nil)
	require.NoError(t, err)
	require.Equal(t, texts(batches[2]), texts(got))
	history, err := table.History(ctx, 2)
	require.NoError(t, err)
	require.Equal(t, "FULL REFRESH", history[0].Operation)
	require.EqualValues(t, 8, history[0].Version)
}

func TestAFailedCommitLeavesNothing(t *testing.T) {
	ctx, dir, r := context.Background(), t.TempDir(), seeded(t)
	s := openStore(t, dir)
	schema := Schema{{Name: "a", Type: Type{Kind: Long}}}
	table, err := s.Create(ctx, "live", "t", Definition{Schema: schema})
	require.NoError(t, err)
	boom := errors.New("boom")
	_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, randomBatch(r, schema, 10)), Prepare: func(context.Context) error { return boom }})
	require.ErrorIs(t, err, boom)
	_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, randomBatch(r, Schema{{Name: "z", Type: Type{Kind: Long}}}, 10))})
	require.ErrorContains(t, err, `"z"`)
	require.EqualValues(t, 0, table.Snapshot().Version())
	left, err := filepath.Glob(filepath.Join(dir, "live", "t", "*.parquet"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestOneProcessHoldsADirectory(t *testing.T) {
	dir := t.TempDir()
	openStore(t, dir)
	_, err := Open(dir, Options{})
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, dir)
}

func TestDropViewsAndDatabases(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, s.CreateDatabase("other"))
	require.ErrorIs(t, s.CreateDatabase("OTHER"), ErrExists)
	_, err = s.Create(ctx, "other", "t", Definition{})
	require.NoError(t, err)
	_, err = s.Create(ctx, "other", "T", Definition{})
	require.ErrorIs(t, err, ErrExists)
	require.NoError(t, s.PutView("live", View{Name: "v", Query: "SELECT 1"}))
	require.NoError(t, s.Drop(ctx, "other", "t"))
	require.ErrorIs(t, s.Drop(ctx, "other", "t"), ErrNotFound)
	require.NoError(t, s.Close())
	s = openStore(t, dir)
	require.Equal(t, []string{"live", "other"}, s.Databases())
	v, err := s.View("live", "V")
	require.NoError(t, err)
	require.Equal(t, "SELECT 1", v.Query)
	require.NoError(t, s.DropView("live", "v"))
	require.NoError(t, s.DropDatabase("other"))
	require.Equal(t, []string{"live"}, s.Databases())
}

func TestDamageIsAnErrorThatNamesTheFile(t *testing.T) {
	ctx, dir, r := context.Background(), t.TempDir(), seeded(t)
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	table, err := s.Create(ctx, "live", "t", Definition{Schema: everyKind})
	require.NoError(t, err)
	_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, randomBatch(r, everyKind, 500))})
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(dir, "live", "t", "*.parquet"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	whole, err := os.ReadFile(files[0])
	require.NoError(t, err)
	want := texts(readAll(t, table.Snapshot()))
	where := []filter.Condition{{Column: "int", Op: filter.NotNull}}
	pruned := texts(readAll(t, table.Snapshot().Prune(where)))
	for range 600 {
		hurt := append([]byte{}, whole...)
		cut := r.IntN(4) == 0
		if cut {
			hurt = hurt[:r.IntN(len(hurt))]
		} else {
			hurt[r.IntN(len(hurt))] ^= 1 << r.IntN(8)
		}
		require.NoError(t, os.WriteFile(files[0], hurt, 0o644))
		all, err := ReadAll(ctx, table.Snapshot(), nil)
		some, pruneErr := ReadAll(ctx, table.Snapshot().Prune(where), nil)
		if err != nil {
			require.ErrorContains(t, err, filepath.Base(files[0]))
		} else {
			require.False(t, cut, "a file that was cut off is an error")
			require.Equal(t, want, texts(all), "what a reader does not need may be damaged; what it reads is right")
		}
		if pruneErr != nil {
			require.ErrorContains(t, pruneErr, filepath.Base(files[0]))
		} else {
			require.Equal(t, pruned, texts(some))
		}
	}
	require.NoError(t, s.Close())
	log := filepath.Join(dir, "live", "t", "_delta_log", "00000000000000000001.json")
	require.NoError(t, os.Truncate(log, 0))
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, "00000000000000000001.json")
	require.NoError(t, os.Remove(filepath.Join(dir, "live", "t", "_delta_log", "00000000000000000000.json")))
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, "commit 0 is missing")
}

const deltaReader = `
import sys, os, json, base64, datetime, decimal
from deltalake import DeltaTable
t = DeltaTable(sys.argv[1])
def plain(v):
    if isinstance(v, bytes): return base64.b64encode(v).decode()
    if isinstance(v, datetime.datetime): return v.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
    if isinstance(v, datetime.date): return v.isoformat()
    if isinstance(v, decimal.Decimal): return format(v, "f")
    return v
rows = [{k: plain(v) for k, v in r.items()} for r in t.to_pyarrow_table().to_pylist()]
print(json.dumps({"version": t.version(), "rows": len(rows), "long": sorted(r["long"] for r in rows if r["long"] is not None),
  "dec38": sorted(r["dec38"] for r in rows if r["dec38"] is not None), "nulls": {f.name: sum(1 for r in rows if r[f.name] is None) for f in t.schema().fields},
  "types": {f.name: str(f.type.type) for f in t.schema().fields}}), flush=True)
os._exit(0)  # the threads of both libraries sometimes abort an orderly exit of the interpreter
`

// TestAnOutsideDeltaReaderAgrees has the deltalake package read a table of every kind after an overwrite.
func TestAnOutsideDeltaReaderAgrees(t *testing.T) {
	python := os.Getenv("SMELT_TEST_PYTHON")
	if python == "" {
		python = "python3"
	}
	if exec.Command(python, "-c", "import deltalake, pyarrow").Run() != nil {
		t.Skipf("skipped: %s cannot import deltalake (pip install -r integration/requirements.txt, or name an interpreter in SMELT_TEST_PYTHON)", python)
	}
	ctx, dir, r := context.Background(), t.TempDir(), seeded(t)
	s := openStore(t, dir)
	table, err := s.Create(ctx, "live", "t", Definition{Schema: everyKind, Properties: map[string]string{"smelt.kind": "x"}})
	require.NoError(t, err)
	for i := range 4 {
		_, err := table.Commit(ctx, Commit{Operation: "WRITE", Overwrite: i == 2, Rows: rowsOf(t, randomBatch(r, everyKind, 300)), Txns: map[string]int64{"a:b": int64(i)}})
		require.NoError(t, err)
	}
	out, err := exec.Command(python, "-c", deltaReader, table.Dir()).CombinedOutput()
	require.NoError(t, err, string(out))
	var seen struct {
		Version, Rows int
		Long          []int64
		Dec38         []string
		Nulls         map[string]int
		Types         map[string]string
	}
	require.NoError(t, json.Unmarshal(out, &seen), string(out))
	ours, err := ReadAll(ctx, table.Snapshot(), nil)
	require.NoError(t, err)
	require.Equal(t, 4, seen.Version)
	require.Equal(t, ours.Len, seen.Rows)
	for c, f := range everyKind {
		nulls := 0
		var sum, theirs big.Int
		for i := range ours.Len {
			if ours.Columns[c].Null(i) {
				nulls++
			} else if f.Name == "long" {
				sum.Add(&sum, big.NewInt(ours.Columns[c].Ints[i]))
			}
		}
		require.Equal(t, nulls, seen.Nulls[f.Name], f.Name)
		require.Equal(t, f.Type.String(), seen.Types[f.Name])
		if f.Name == "long" {
			for _, v := range seen.Long {
				theirs.Add(&theirs, big.NewInt(v))
			}
			require.Zero(t, sum.Cmp(&theirs), "sum of longs")
		}
	}
}

func TestScansGoOnWhileCommitsRun(t *testing.T) {
	ctx, r := context.Background(), seeded(t)
	s := openStore(t, t.TempDir())
	schema := Schema{{Name: "a", Type: Type{Kind: Long}}}
	table, err := s.Create(ctx, "live", "t", Definition{Schema: schema})
	require.NoError(t, err)
	batch := randomBatch(r, schema, 100)
	done := make(chan error, 1)
	go func() {
		for range 50 {
			if _, err := table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, batch)}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			require.NoError(t, err)
			require.EqualValues(t, 5000, table.Snapshot().Rows())
			return
		default:
		}
		snapshot := table.Snapshot()
		reader, err := snapshot.Scan(ctx, []string{"a"})
		require.NoError(t, err)
		var n int64
		for {
			b, err := reader.Next(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			n += int64(b.Len)
		}
		require.NoError(t, reader.Close())
		require.Equal(t, snapshot.Rows(), n)
	}
}
