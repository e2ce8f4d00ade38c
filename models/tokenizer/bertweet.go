package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// bertweetKind is the kind of model in the tokenizer.json that FromCodes makes: nobody else writes such files.
const bertweetKind = "BERTweet"

// Limits of BERTweet's normalization, whose patterns look far ahead: at most as many bytes of a text are read, which is more
// than the model has tokens for, and as many words for each token that is wanted.
const (
	maxTweetBytes    = 8 << 10
	maxWordsPerToken = 8  // four words may become one, and half of them none
	moreTweetWords   = 64 // at the end, where what follows decides
)

// bertweet is BERTweet's tokenizer: words are what stands between white space, their characters are joined pair by pair,
// and a piece that does not end its word has @@ behind it.
type bertweet struct {
	normalize bool
	pieces    map[string]int64 // the vocabulary
	unknown   int64
	symbols   map[string]int64 // what merges join; </w> stands behind the last character of a word
	merges    map[pair]merge
	pool      sync.Pool // *joiner
}

const endOfWord = "</w>"

// foreign is a symbol that no merge knows.
const foreign = int64(1) << 40

func loadBertweet(f file) (*bertweet, map[string]int64, error) {
	var m struct {
		Normalization bool             `json:"normalization"`
		Unknown       string           `json:"unk_token"`
		Vocab         map[string]int64 `json:"vocab"`
		Merges        [][2]string      `json:"merges"`
	}
	if err := json.Unmarshal(f.Model, &m); err != nil {
		return nil, nil, fmt.Errorf("read BERTweet model: %w", err)
	}
	if f.Normalizer != nil || f.PreTokenizer != nil {
		return nil, nil, fmt.Errorf("%w: BERTweet with a normalizer or a pre-tokenizer", ErrUnsupported)
	}
	b := &bertweet{normalize: m.Normalization, pieces: m.Vocab, symbols: map[string]int64{}, merges: make(map[pair]merge, len(m.Merges))}
	b.pool.New = func() any { return &joiner{} }
	var ok bool
	if b.unknown, ok = m.Vocab[m.Unknown]; !ok {
		return nil, nil, fmt.Errorf("read BERTweet model: the unknown token %q is not in the vocabulary", m.Unknown)
	}
	for rank, two := range m.Merges {
		// Of those that are there twice the last counts, as in the official library.
		b.merges[pair{b.symbol(two[0]), b.symbol(two[1])}] = merge{rank, b.symbol(two[0] + two[1])}
	}
	return b, m.Vocab, nil
}

// symbol returns the number of a symbol, a new one for one that has none yet.
func (b *bertweet) symbol(text string) int64 {
	n, ok := b.symbols[text]
	if !ok {
		n = int64(len(b.symbols))
		b.symbols[text] = n
	}
	return n
}

// encode implements model.
func (b *bertweet) encode(ids []int64, text string, enough int, _ bool) []int64 {
	if b.normalize {
		text = normalizeTweet(text, maxWordsPerToken*max(0, enough-len(ids))+moreTweetWords)
	}
	j := b.pool.Get().(*joiner)
	defer b.pool.Put(j)
	for len(ids) <= enough {
		from := strings.IndexFunc(text, func(r rune) bool { return !pythonSpace(r) })
		if from < 0 {
			break
		}
		text = text[from:]
		end := strings.IndexFunc(text, pythonSpace)
		switch {
		case end < 0:
			end = len(text)
		case text[end] == '\n': // \S+\n?
			end++
		}
		ids = b.word(j, ids, text[:end])
		text = text[end:]
	}
	return ids
}

// word appends the ids of one word.
func (b *bertweet) word(j *joiner, ids []int64, word string) []int64 {
	if utf8.RuneCountInString(word) == 1 {
		return append(ids, b.piece(word))
	}
	j.reset()
	for i, r := range word {
		size := utf8.RuneLen(r)
		symbol := word[i : i+size]
		if i+size == len(word) {
			symbol += endOfWord
		}
		n, ok := b.symbols[symbol]
		if !ok {
			n = foreign
		}
		j.ids, j.starts = append(j.ids, n), append(j.starts, i)
	}
	j.merge(b.merges, true)
	for at := 0; at < len(j.ids); at = j.next[at] {
		if end := j.next[at]; end < len(j.ids) {
			ids = append(ids, b.piece(word[j.starts[at]:j.starts[end]]+"@@"))
		} else {
			ids = append(ids, b.piece(word[j.starts[at]:]))
		}
	}
	return ids
}

func (b *bertweet) piece(text string) int64 {
	if id, ok := b.pieces[text]; ok {
		return id
	}
	return b.unknown
}

// pythonSpace is white space as Python's strings have it: Unicode's and the four ASCII separators.
func pythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// lines are those of a file in Python's text mode; behind the last line end comes no other.
func lines(data []byte) []string {
	text := strings.ReplaceAll(strings.ReplaceAll(string(data), "\r\n", "\n"), "\r", "\n")
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// FromCodes makes a tokenizer.json of the vocab.txt and bpe.codes of a BERTweet model, which Load alone understands: the lines of the
// first are tokens with their counts, those of the second pairs with theirs.
func FromCodes(vocab, codes []byte, v Vocabulary) ([]byte, error) {
	const start, pad, end, unknown, mask = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
	if !utf8.Valid(vocab) || !utf8.Valid(codes) {
		return nil, errors.New("read vocab.txt and bpe.codes: they are not UTF-8")
	}
	ids := map[string]int64{start: 0, pad: 1, end: 2, unknown: 3}
	for i, line := range lines(vocab) {
		line = strings.TrimFunc(line, pythonSpace)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			return nil, fmt.Errorf("read vocab.txt: line %d, %.40q, is no token with a count", i+1, line)
		}
		id := int64(len(ids)) // also of one that is there twice, as in the official library
		ids[line[:at]] = id
	}
	ids[mask] = int64(len(ids))
	var merges [][2]string
	for i, line := range lines(codes) {
		fields := strings.FieldsFunc(line, pythonSpace)
		if len(fields) != 3 {
			return nil, fmt.Errorf("read bpe.codes: line %d, %.40q, is no pair with a count; transformers 5 writes such files and reads no merges from them: take that of the original model", i+1, line)
		}
		merges = append(merges, [2]string{fields[0], fields[1]})
	}
	if err := v.names(start, pad, end, unknown, mask); err != nil {
		return nil, err
	}
	added, err := v.added(ids, mask, false, start, pad, end, unknown)
	if err != nil {
		return nil, fmt.Errorf("read vocab.txt: %w", err)
	}
	return json.Marshal(map[string]any{
		"added_tokens":   added,
		"post_processor": map[string]any{"type": "RobertaProcessing", "sep": []any{end, ids[end]}, "cls": []any{start, ids[start]}},
		"model":          map[string]any{"type": bertweetKind, "unk_token": unknown, "normalization": v.Normalization, "vocab": ids, "merges": merges},
	})
}
