package tokenizer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var fixtures = []string{"bert", "bert-cased", "roberta", "roberta-prefix", "xlm-roberta", "albert", "t5", "bert-added", "modern", "bertweet", "bertweet-plain"}

// unlimited is a token limit that no test text reaches.
const unlimited = 1 << 20

type golden struct {
	Texts []struct {
		Text string
		IDs  []int64
	}
	Airline    string   `json:"airline_sha256"`
	Normalized []string // of BERTweet
}

func fixture(t testing.TB, name string) (*Tokenizer, golden) {
	t.Helper()
	tok, err := Load(content(t, name))
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join("testdata", name+".golden.json"))
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(text, &g))
	return tok, g
}

// content is the tokenizer.json of a fixture; BERTweet has none, and what stands for one is made of its files.
func content(t testing.TB, name string) []byte {
	t.Helper()
	if !strings.HasPrefix(name, "bertweet") {
		data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		require.NoError(t, err)
		return data
	}
	vocab, err := os.ReadFile(filepath.Join("testdata", "bertweet", "vocab.txt"))
	require.NoError(t, err)
	codes, err := os.ReadFile(filepath.Join("testdata", "bertweet", "bpe.codes"))
	require.NoError(t, err)
	data, err := FromCodes(vocab, codes, Vocabulary{Normalization: name == "bertweet"})
	require.NoError(t, err)
	return data
}

func TestIdsAreThoseOfTheOfficialLibrary(t *testing.T) {
	for _, name := range fixtures {
		t.Run(name, func(t *testing.T) {
			tok, g := fixture(t, name)
			require.Greater(t, len(g.Texts), 180)
			for _, c := range g.Texts {
				got, cut := tok.Encode(nil, c.Text, unlimited, true)
				require.False(t, cut)
				require.Equal(t, fmt.Sprint(c.IDs), fmt.Sprint(got), "%q", c.Text)
			}
		})
	}
}

func TestRealTweetsGiveTheIdsOfTheOfficialLibrary(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "data", "dscc", "airline.jsonl"))
	if err != nil {
		t.Skip("skipped: real data is not beside the project (../shared/data)")
	}
	defer f.Close()
	var texts []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var tweet struct{ Text string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &tweet))
		texts = append(texts, tweet.Text)
	}
	require.NoError(t, lines.Err())
	for _, name := range fixtures {
		tok, g := fixture(t, name)
		h := sha256.New()
		for _, text := range texts {
			ids, _ := tok.Encode(nil, text, unlimited, true)
			fmt.Fprintln(h, strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]"))
		}
		require.Equal(t, g.Airline, hex.EncodeToString(h.Sum(nil)), name)
	}
}

func TestTruncationKeepsTheSpecialIds(t *testing.T) {
	tok, _ := fixture(t, "bert")
	full, cut := tok.Encode(nil, "one two three four five", unlimited, true)
	require.False(t, cut)
	for most := 2; most <= len(full); most++ {
		got, cut := tok.Encode(nil, "one two three four five", most, true)
		require.Equal(t, most < len(full), cut)
		require.Len(t, got, most)
		require.Equal(t, full[0], got[0])
		require.Equal(t, full[len(full)-1], got[most-1])
		require.Equal(t, full[:most-1], got[:most-1])
	}
	none, _ := tok.Encode([]int64{7}, "one", 0, true)
	require.Equal(t, []int64{7}, none)
}

func TestWhatWouldNotBeExactIsRefusedByName(t *testing.T) {
	for want, text := range map[string]string{
		`"CharBPE"`:          `{"model": {"type": "CharBPE"}}`,
		`"Nmt"`:              `{"model": {"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##", "vocab": {"u": 0}}, "normalizer": {"type": "Nmt"}}`,
		`"Whitespace"`:       `{"model": {"type": "BPE", "vocab": {}, "merges": []}, "pre_tokenizer": {"type": "Whitespace"}}`,
		"dropout":            `{"model": {"type": "BPE", "dropout": 0.1, "vocab": {}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel"}}`,
		"not in the vocab":   `{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}, "pre_tokenizer": {"type": "ByteLevel"}}`,
		"matches whole":      `{"model": {"type": "BPE", "vocab": {}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel"}, "added_tokens": [{"content": "x", "single_word": true}]}`,
		"unexpected end":     `{"model": `,
		`post-processor "Z"`: `{"model": {"type": "BPE", "vocab": {}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel"}, "post_processor": {"type": "Z"}}`,
	} {
		_, err := Load([]byte(text))
		require.ErrorContains(t, err, want)
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range fixtures {
		b.Run(name, func(b *testing.B) {
			tok, g := fixture(b, name)
			texts := g.Texts[max(0, len(g.Texts)-500):]
			var ids []int64
			b.ReportAllocs()
			for b.Loop() {
				for _, c := range texts {
					ids, _ = tok.Encode(ids[:0], c.Text, 128, true)
				}
			}
			b.ReportMetric(float64(b.N*len(texts))/b.Elapsed().Seconds(), "texts/s")
		})
	}
}
