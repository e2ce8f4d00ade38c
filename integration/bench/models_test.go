package bench

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/sugarme/tokenizer/pretrained"

	"smelt/engine"
	"smelt/models/tokenizer"
)

// Sizes of what is measured: a transformer takes milliseconds a text.
const (
	transformerTexts = 512
	keywordTexts     = 192
	peerRounds       = 3
)

// python runs models.py and returns the seconds that it prints, or skips where the packages are not there.
func python(b *testing.B, command, dir string, texts []string) time.Duration {
	b.Helper()
	interpreter := os.Getenv("SMELT_TEST_PYTHON")
	if interpreter == "" {
		interpreter = "python3"
	}
	file := filepath.Join(b.TempDir(), "texts.json")
	data, err := json.Marshal(texts)
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(file, data, 0o600))
	out, err := exec.Command(interpreter, "models.py", command, dir, file, strconv.Itoa(peerRounds)).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 9 {
		b.Skipf("skipped: %s lacks packages of integration/bench/requirements.txt (%s); name one that has them in SMELT_TEST_PYTHON", interpreter, strings.TrimSpace(string(exit.Stderr)))
	}
	if exit != nil {
		b.Logf("%s", exit.Stderr)
	}
	require.NoError(b, err)
	if command == "make" {
		return 0
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	require.NoError(b, err)
	return time.Duration(seconds * float64(time.Second))
}

// miniLM returns a directory with a classifier and an encoder of MiniLM's shape.
func miniLM(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	python(b, "make", dir, nil)
	return dir
}

// BenchmarkTransformerInSQL measures a classifier of MiniLM's shape over the wire against the bare loop, onnxruntime with tokenizers in
// Python, and the pipeline of transformers, over the same texts on all cores.
func BenchmarkTransformerInSQL(b *testing.B) {
	library, dir := needLibrary(b), miniLM(b)
	texts := distinctTexts(b, airline(b))[:transformerTexts]
	_, db := open(b, engine.Config{OnnxLibrary: library, LedgerBytes: -1, AllowPaths: []string{dir}})
	insert(b, db, texts)
	_, err := db.Exec("CREATE MODEL mini OPTIONS (source = '" + filepath.Join(dir, "classifier") + "')")
	require.NoError(b, err)
	loop := newBareLoop(b, os.DirFS(filepath.Join(dir, "classifier")), 128, true)
	for b.Loop() {
		took := compareWithLoop(b, db, "SELECT COUNT(*) FROM t WHERE mini(text) <> ''", texts, loop, peerRounds)
		b.ReportMetric(python(b, "onnxruntime", dir, texts).Seconds()/took.Seconds(), "x-python-onnxruntime")
		b.ReportMetric(python(b, "pipeline", dir, texts).Seconds()/took.Seconds(), "x-pipeline")
	}
}

// BenchmarkTokenizers measures BERT's tokenizer against the official Rust library and sugarme/tokenizer, over the same texts
// and vocabulary: ours and the official one on all cores.
func BenchmarkTokenizers(b *testing.B) {
	dir := miniLM(b)
	texts := distinctTexts(b, airline(b))
	file := filepath.Join("..", "..", "models", "tokenizer", "testdata", "bert.json")
	data, err := os.ReadFile(file)
	require.NoError(b, err)
	ours, err := tokenizer.Load(data)
	require.NoError(b, err)
	sugarme, err := pretrained.FromFile(file)
	require.NoError(b, err)
	for b.Loop() {
		took := median(func() time.Duration {
			return timed(func() {
				_ = each(len(texts), 256, func(from, to int) error {
					var ids []int64
					for _, text := range texts[from:to] {
						ids, _ = ours.Encode(ids[:0], text, 128, true)
					}
					return nil
				})
			})
		})
		part := texts[:500] // it takes long
		theirs := timed(func() {
			for _, text := range part {
				_, err := sugarme.EncodeSingle(text, true)
				require.NoError(b, err)
			}
		})
		alone := timed(func() {
			for _, text := range part {
				ours.Encode(nil, text, 128, true)
			}
		})
		b.ReportMetric(float64(len(texts))/took.Seconds(), "texts/s")
		b.ReportMetric(python(b, "tokenizers", dir, texts).Seconds()/took.Seconds(), "x-rust")
		b.ReportMetric(theirs.Seconds()/alone.Seconds(), "x-sugarme-one-core")
	}
}

// BenchmarkKeywordsInSQL measures keywords() against KeyBERT in Python with the same encoder of MiniLM's shape, terms included that
// repeat; each round begins with an engine that has met none.
func BenchmarkKeywordsInSQL(b *testing.B) {
	library, dir := needLibrary(b), miniLM(b)
	texts := distinctTexts(b, airline(b))[:keywordTexts]
	for b.Loop() {
		var times []time.Duration
		for range peerRounds {
			e, db := open(b, engine.Config{OnnxLibrary: library, LedgerBytes: -1, AllowPaths: []string{dir}})
			insert(b, db, texts)
			_, err := db.Exec("CREATE MODEL mini OPTIONS (source = '" + filepath.Join(dir, "encoder") + "')")
			require.NoError(b, err)
			query := `SELECT SUM(JSON_LENGTH(keywords(text, '{"model": "mini"}'))) FROM t`
			times = append(times, timed(func() { require.Positive(b, scalar(b, db, query)) }))
			require.NoError(b, e.Close(context.Background()))
		}
		took := middle(times)
		b.ReportMetric(float64(len(texts))/took.Seconds(), "texts/s")
		b.ReportMetric(python(b, "keybert", dir, texts).Seconds()/took.Seconds(), "x-keybert")
	}
}

// BenchmarkRefreshWithAWarmLedger measures a full refresh of a view of predictions against its CREATE, which had to score its texts.
func BenchmarkRefreshWithAWarmLedger(b *testing.B) {
	library := needLibrary(b)
	texts := distinctTexts(b, airline(b))
	_, db := open(b, engine.Config{OnnxLibrary: library})
	scalar(b, db, "SELECT LENGTH(topic('warm'))") // loads the model
	insert(b, db, texts)
	run := func(statement string) time.Duration {
		return timed(func() {
			_, err := db.Exec(statement)
			require.NoError(b, err)
		})
	}
	first := run("CREATE MATERIALIZED VIEW v AS SELECT text, topic(text) AS topic FROM t")
	for b.Loop() {
		second := median(func() time.Duration { return run("REFRESH MATERIALIZED VIEW v FULL") })
		b.ReportMetric(float64(len(texts))/first.Seconds(), "first-texts/s")
		b.ReportMetric(first.Seconds()/second.Seconds(), "x-second")
	}
	require.Positive(b, scalar(b, db, "SELECT SUM(texts_known) FROM smelt.progress WHERE `table` = 'v'"))
}

// BenchmarkTraining measures CREATE MODEL ... AS SELECT on the labelled texts of the pipeline battle, beside the embedding of these texts.
func BenchmarkTraining(b *testing.B) {
	_, db := open(b, engine.Config{OnnxLibrary: needLibrary(b), LedgerBytes: -1})
	data, err := os.ReadFile(filepath.Join("..", "..", "queries", "battle", "labels", "labels.jsonl"))
	require.NoError(b, err)
	_, err = db.Exec("CREATE TABLE labels (text TEXT, label VARCHAR(40))")
	require.NoError(b, err)
	rows := 0
	for line := range strings.Lines(string(data)) {
		var row struct{ Text, Label string }
		require.NoError(b, json.Unmarshal([]byte(line), &row))
		_, err := db.Exec("INSERT INTO labels VALUES (?, ?)", row.Text, row.Label)
		require.NoError(b, err)
		rows++
	}
	scalar(b, db, "SELECT LENGTH(embed('warm'))")
	embedding := timed(func() { scalar(b, db, "SELECT SUM(LENGTH(embed(text))) FROM labels") })
	for b.Loop() {
		took := median(func() time.Duration {
			return timed(func() {
				_, err := db.Exec("CREATE OR REPLACE MODEL category OPTIONS (encoder = 'encoder') AS SELECT text, label FROM labels")
				require.NoError(b, err)
			})
		})
		b.ReportMetric(float64(rows), "rows")
		b.ReportMetric(took.Seconds()*1000, "ms")
		b.ReportMetric(embedding.Seconds()*1000, "ms-embedding")
		b.ReportMetric(float64(runtime.GOMAXPROCS(0)), "cores")
	}
}
