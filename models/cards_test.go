package models

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// The tests of this file hold the shipped models to the figures of their cards, on rows that nothing was learnt from.

// realRows returns the lines of a file of the real data as JSON objects, or skips where it is not there.
func realRows(t *testing.T, path ...string) []map[string]any {
	t.Helper()
	f, err := os.Open(filepath.Join(append([]string{"..", "..", "shared", "data"}, path...)...))
	if err != nil {
		t.Skip("skipped: real data is not beside the project (../shared/data)")
	}
	defer f.Close()
	var from io.Reader = f
	if strings.HasSuffix(path[len(path)-1], ".gz") {
		from, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	var rows []map[string]any
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row map[string]any
		require.NoError(t, json.Unmarshal(lines.Bytes(), &row))
		rows = append(rows, row)
	}
	require.NoError(t, lines.Err())
	return rows
}

// calibration gathers how sure a model was and whether it was right.
type calibration struct {
	sure, right [10]float64
	loss        float64
	n           int
}

func (c *calibration) add(sure float64, right bool) {
	bin := min(int(sure*10), 9)
	c.sure[bin] += sure
	if right {
		c.right[bin]++
	}
	c.n++
}

// err is the mean distance between how sure the model was and how often it was right, over ten bins of equal width.
func (c *calibration) err() float64 {
	sum := 0.0
	for i := range c.sure {
		sum += math.Abs(c.sure[i] - c.right[i])
	}
	return sum / float64(c.n)
}

func TestSentimentOnRowsItWasNotTrainedOn(t *testing.T) {
	rows := realRows(t, "sentiment", "semeval_2013_2016.jsonl.gz")
	r := registry(t)
	var texts, labels []string
	for _, row := range rows {
		if row["in_tweeteval_val"] == true {
			texts, labels = append(texts, row["text"].(string)), append(labels, row["label"].(string))
		}
	}
	require.Len(t, texts, 1991)
	found, err := r.Classify(context.Background(), "sentiment", texts)
	require.NoError(t, err)
	right, all := map[string]float64{}, map[string]float64{}
	var sure calibration
	for i, l := range labels {
		all[l]++
		if found[i].Label == l {
			right[l]++
		}
		sure.add(found[i].Score, found[i].Label == l)
		for _, s := range found[i].Scores {
			if s.Label == l {
				sure.loss -= math.Log(s.Score) / float64(len(labels))
			}
		}
	}
	recall := (right["negative"]/all["negative"] + right["neutral"]/all["neutral"] + right["positive"]/all["positive"]) / 3
	t.Logf("macro recall %.4f, calibration error %.4f, log loss %.4f on %d rows", recall, sure.err(), sure.loss, len(texts))
	require.Greater(t, recall, 0.688)
	require.Less(t, sure.err(), 0.03)
	require.Less(t, sure.loss, 0.752)
}

// TestTopicsOnRowsItWasNotTrainedOn reads twenty tweets, which do not hold all labels: it finds a broken model and no small change.
func TestTopicsOnRowsItWasNotTrainedOn(t *testing.T) {
	rows := realRows(t, "topics", "en_validation.jsonl")
	r := registry(t)
	texts := make([]string, len(rows))
	for i, row := range rows {
		texts[i] = row["text"].(string)
	}
	require.Len(t, texts, 20)
	found, err := r.Classify(context.Background(), "topic", texts)
	require.NoError(t, err)
	hit, said, there := map[string]float64{}, map[string]float64{}, map[string]float64{}
	var sure calibration
	for i, f := range found {
		for _, l := range f.Selected {
			said[l]++
		}
		for _, s := range f.Scores {
			is := rows[i][s.Label] == 1.0
			sure.add(s.Score, is)
			if is {
				there[s.Label]++
			}
		}
		for _, l := range f.Selected {
			if rows[i][l] == 1.0 {
				hit[l]++
			}
		}
	}
	macro, hits, all := 0.0, 0.0, 0.0
	for _, s := range found[0].Scores {
		hits, all = hits+hit[s.Label], all+said[s.Label]+there[s.Label]
		if n := said[s.Label] + there[s.Label]; n > 0 {
			macro += 2 * hit[s.Label] / n / float64(len(found[0].Scores))
		}
	}
	t.Logf("macro F1 %.4f, micro F1 %.4f, calibration error %.4f on %d rows", macro, 2*hits/all, sure.err(), len(texts))
	require.Greater(t, macro, 0.29)
	require.Greater(t, 2*hits/all, 0.39)
	require.Less(t, sure.err(), 0.035)
}

// TestKeywordsFindHashtagsAsOftenAsTFIDF takes a hashtag for a keyword that its writer chose, in a twentieth of the texts that the
// encoder did not learn from, and compares with the rarest words of a text by the other texts.
func TestKeywordsFindHashtagsAsOftenAsTFIDF(t *testing.T) {
	rows := realRows(t, "sentiment", "semeval_2013_2016.jsonl.gz")
	r := registry(t)
	english, err := stopWords("english")
	require.NoError(t, err)
	stop := append(slices.Collect(maps.Keys(english)), "user", "url")
	o, err := KeywordOptions{StopWords: stop}.filled()
	require.NoError(t, err)
	v, err := newVectorizer(o)
	require.NoError(t, err)
	var texts, tags []string
	seen, learnt := map[string]float64{}, 0.0
	for _, row := range rows {
		text := row["text"].(string)
		part := crc32.ChecksumIEEE([]byte(text)) % 20
		plain := strings.ReplaceAll(tweet(text), "#", " ")
		words := v.candidates(plain).terms
		if part%10 != 0 {
			learnt++
			for _, w := range words {
				seen[w]++
			}
		}
		if tag := onlyHashtag(text); part == 10 && len(words) >= 8 && slices.Contains(words, tag) {
			texts, tags = append(texts, plain), append(tags, tag)
		}
	}
	found, err := r.Keywords(context.Background(), "encoder", texts, o)
	require.NoError(t, err)
	ours, theirs := 0, 0
	for i, tag := range tags {
		if slices.ContainsFunc(found[i], func(k Keyword) bool { return k.Term == tag }) {
			ours++
		}
		words := v.candidates(texts[i]).terms
		slices.SortStableFunc(words, func(a, b string) int { return cmp.Compare(seen[a], seen[b]) })
		if slices.Contains(words[:5], tag) {
			theirs++
		}
	}
	t.Logf("of %d hashtags keywords() finds %d, TF-IDF of %.0f texts %d", len(tags), ours, learnt, theirs)
	require.Greater(t, len(tags), 150)
	require.GreaterOrEqual(t, ours, theirs)
}

// onlyHashtag returns the one hashtag of a text in lower case, if it is of five or more letters.
func onlyHashtag(text string) string {
	var found []string
	for w := range strings.FieldsSeq(text) {
		tag, ok := strings.CutPrefix(w, "#")
		if ok && len(tag) > 4 && !strings.ContainsFunc(tag, func(r rune) bool { return !unicode.IsLetter(r) }) {
			found = append(found, strings.ToLower(tag))
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}
