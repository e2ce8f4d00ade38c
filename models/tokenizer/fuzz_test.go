package tokenizer

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// fuzzEncode holds tokenizers of one kind to what every text must give, whatever it holds: ids that the model knows, at most as
// many as asked for, the same as the beginning of all of them, and the truth about what was cut.
func fuzzEncode(f *testing.F, names ...string) {
	for _, s := range []string{"", "a", "\xff\xfe", "é😀\u200d[MASK]", "\x00\x1c\u202e\ufeff", strings.Repeat("a", 5000), strings.Repeat("<a", 500), "&#x80;&nbsp; http://a.b/(c @x #y"} {
		f.Add(s, 64)
	}
	var toks []*Tokenizer
	for _, name := range names {
		tok, g := fixture(f, name)
		toks = append(toks, tok)
		for i, c := range g.Texts {
			if i < 150 {
				f.Add(c.Text, i%40)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string, most int) {
		most &= 127
		for _, tok := range toks {
			all, long := tok.Encode(nil, text, unlimited, true)
			for _, id := range all {
				require.True(t, id >= 0 && id < tok.Size())
			}
			special, _ := tok.Encode(nil, "", unlimited, true)
			got, cut := tok.Encode(nil, text, most, true)
			require.LessOrEqual(t, len(got), most)
			if most >= len(special) {
				require.Equal(t, long || len(all) > most, cut)
				require.Equal(t, all[:len(got)-len(tok.after)], got[:len(got)-len(tok.after)])
			}
			if !utf8.ValidString(text) {
				same, _ := tok.Encode(nil, strings.ToValidUTF8(text, "\ufffd"), most, true)
				require.Equal(t, same, got)
			}
		}
	})
}

func FuzzWordPiece(f *testing.F) { fuzzEncode(f, "bert", "bert-cased", "bert-added") }
func FuzzByteBPE(f *testing.F)   { fuzzEncode(f, "roberta", "roberta-prefix", "modern") }
func FuzzUnigram(f *testing.F)   { fuzzEncode(f, "xlm-roberta", "albert", "t5") }
func FuzzBERTweet(f *testing.F)  { fuzzEncode(f, "bertweet", "bertweet-plain") }

// smaller drops most of a vocabulary, so that changes hit what is left.
func smaller(t testing.TB, name string) []byte {
	t.Helper()
	var whole map[string]any
	require.NoError(t, json.Unmarshal(content(t, name), &whole))
	model := whole["model"].(map[string]any)
	if vocab, ok := model["vocab"].(map[string]any); ok {
		for token, id := range vocab {
			if id.(float64) > 40 && !strings.HasPrefix(token, "<") && !strings.HasPrefix(token, "[") && len(token) > 2 {
				delete(vocab, token)
			}
		}
		model["merges"] = []any{}
	} else {
		model["vocab"] = model["vocab"].([]any)[:60]
	}
	data, err := json.Marshal(whole)
	require.NoError(t, err)
	return data
}

// FuzzLoad reads damaged and hostile tokenizer.json: an error, or a tokenizer whose ids are below its size.
func FuzzLoad(f *testing.F) {
	for _, name := range fixtures {
		f.Add(smaller(f, name))
	}
	for _, text := range []string{`{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",1e308],["b",-1e308]]},"pre_tokenizer":{"type":"Metaspace"}}`,
		`{"model":{"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"##","max_input_chars_per_word":1,"vocab":{"u":9223372036854775807}}}`,
		`{"model":{"type":"BERTweet","unk_token":"u","vocab":{"u":0},"merges":[["",""],["a",""]]}}`,
		`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":0},"merges":["a b","b a"]},"pre_tokenizer":{"type":"ByteLevel"},"added_tokens":[{"content":" ","lstrip":true,"rstrip":true,"id":-1}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Load(data)
		if err != nil {
			require.Nil(t, tok)
			return
		}
		for _, text := range []string{"", "a b", "Hello wörld 😀 <mask> [MASK] 日本", strings.Repeat("ab", 200), "\xff\x00"} {
			ids, _ := tok.Encode(nil, text, 32, true)
			require.LessOrEqual(t, len(ids), 32)
			for _, id := range ids {
				require.True(t, id >= 0 && id < tok.Size(), "%d of %d", id, tok.Size())
			}
		}
	})
}

// FuzzVocabularyFiles reads the files of exports without a tokenizer.json: whatever is made of them loads, or says why not.
func FuzzVocabularyFiles(f *testing.F) {
	f.Add([]byte("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n"), []byte(""), []byte(`{"do_lower_case":false}`))
	f.Add([]byte("<s>\n<pad>\n</s>\n[UNK]\n<mask>\na\r\n"), []byte(""), []byte(`{"mask_token":{"content":"<mask>","lstrip":true}}`))
	f.Add([]byte(`{"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"a":4,"b":5,"ab":6,"<mask>":7}`), []byte("#version: 0.2\na b\n"), []byte(`{"add_prefix_space":true}`))
	f.Add([]byte("a@@ 3\na 2\nab 1\n"), []byte("a b</w> 3\n"), []byte(`{"normalization":true}`))
	f.Fuzz(func(t *testing.T, vocab, merges, config []byte) {
		var v Vocabulary
		if json.Unmarshal(config, &v) != nil {
			return
		}
		var made [3][]byte
		var errs [3]error
		made[0], errs[0] = FromVocabulary(vocab, v)
		made[1], errs[1] = FromMerges(vocab, merges, v)
		made[2], errs[2] = FromCodes(vocab, merges, v)
		for i, data := range made {
			if errs[i] != nil {
				continue
			}
			tok, err := Load(data)
			if err != nil {
				continue
			}
			ids, _ := tok.Encode(nil, "a ab b <mask> [MASK] é", 16, true)
			for _, id := range ids {
				require.True(t, id >= 0 && id < tok.Size())
			}
		}
	})
}
