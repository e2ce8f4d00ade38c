package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// wordPiece is BERT's tokenizer: normalize, split at blanks and punctuation, then take the longest known piece again
// and again.
type wordPiece struct {
	whole    map[string]int64 // pieces that begin a word
	inside   map[string]int64 // pieces that continue one, without their prefix
	longest  int              // bytes of the longest piece
	unknown  int64
	maxRunes int // longer words are unknown
	norm     bertNormalizer
	scratch  sync.Pool // *[]byte: the word at hand
}

// bertNormalizer says what is done to the text first.
type bertNormalizer struct {
	Type         string
	CleanText    bool  `json:"clean_text"`
	ChineseChars bool  `json:"handle_chinese_chars"`
	StripAccents *bool `json:"strip_accents"` // null follows Lowercase
	Lowercase    bool  `json:"lowercase"`
}

// maxWordRunes bounds max_input_chars_per_word, which is 100 wherever it was seen.
const maxWordRunes = 1000

func loadWordPiece(f file) (*wordPiece, map[string]int64, error) {
	var m struct {
		Unknown  string           `json:"unk_token"`
		Prefix   string           `json:"continuing_subword_prefix"`
		MaxRunes int              `json:"max_input_chars_per_word"`
		Vocab    map[string]int64 `json:"vocab"`
	}
	if err := json.Unmarshal(f.Model, &m); err != nil {
		return nil, nil, fmt.Errorf("read WordPiece model: %w", err)
	}
	w := &wordPiece{whole: map[string]int64{}, inside: map[string]int64{}, maxRunes: m.MaxRunes}
	w.scratch.New = func() any { return new([]byte) }
	if m.Prefix == "" {
		return nil, nil, fmt.Errorf("%w: WordPiece without a prefix for inner pieces", ErrUnsupported)
	}
	if w.maxRunes <= 0 || w.maxRunes > maxWordRunes {
		return nil, nil, fmt.Errorf("read WordPiece model: max_input_chars_per_word is %d, not between 1 and %d", w.maxRunes, maxWordRunes)
	}
	for token, id := range m.Vocab {
		if len(token) > maxTokenBytes {
			return nil, nil, fmt.Errorf("read WordPiece model: token %.20q has %d bytes, at most %d are read", token, len(token), maxTokenBytes)
		}
		if rest, ok := strings.CutPrefix(token, m.Prefix); ok && rest != "" {
			w.inside[rest] = id
		}
		w.whole[token] = id
		w.longest = max(w.longest, len(token))
	}
	id, ok := m.Vocab[m.Unknown]
	if !ok {
		return nil, nil, fmt.Errorf("read WordPiece model: the unknown token %q is not in the vocabulary", m.Unknown)
	}
	w.unknown = id
	kind, err := kindOf(f.PreTokenizer)
	if err == nil && kind != "BertPreTokenizer" {
		err = fmt.Errorf("%w: WordPiece behind the pre-tokenizer %q", ErrUnsupported, kind)
	}
	return w, m.Vocab, err
}

// fuse takes over the normalizer where it is BERT's.
func (w *wordPiece) fuse(normalizer *json.RawMessage) bool {
	kind, err := kindOf(normalizer)
	return err == nil && kind == "BertNormalizer" && json.Unmarshal(*normalizer, &w.norm) == nil
}

// encode implements model.
func (w *wordPiece) encode(ids []int64, text string, enough int, _ bool) []int64 {
	text = w.norm.decompose(text)
	buffer := w.scratch.Get().(*[]byte)
	word := (*buffer)[:0]
	flush := func() {
		if len(word) > 0 {
			ids = w.pieces(ids, word)
			word = word[:0]
		}
	}
	strips := w.norm.stripsAccents()
	for _, r := range text {
		if len(ids) > enough {
			break
		}
		if r < utf8.RuneSelf && (r|0x20 >= 'a' && r|0x20 <= 'z' || r >= '0' && r <= '9') {
			if w.norm.Lowercase && r <= 'Z' && r >= 'A' {
				r |= 0x20
			}
			word = append(word, byte(r))
			continue
		}
		switch {
		case w.norm.CleanText && dropped(r):
		case unicode.IsSpace(r):
			flush()
		case strips && unicode.Is(unicode.Mn, r):
		case punctuation(r) || w.norm.ChineseChars && chinese(r):
			flush()
			word = utf8.AppendRune(word, r)
			flush()
		case w.norm.Lowercase && r == 'İ':
			word = append(word, "i\u0307"...)
		case w.norm.Lowercase:
			word = utf8.AppendRune(word, unicode.ToLower(r))
		default:
			word = utf8.AppendRune(word, r)
		}
	}
	flush()
	*buffer = word
	w.scratch.Put(buffer)
	return ids
}

func (b bertNormalizer) stripsAccents() bool {
	if b.StripAccents != nil {
		return *b.StripAccents
	}
	return b.Lowercase
}

// decompose splits accents from their letters where they will be stripped. What clean_text drops goes first: it would
// keep letters and accents apart otherwise.
func (b bertNormalizer) decompose(text string) string {
	if !b.stripsAccents() || ascii(text) {
		return text
	}
	if b.CleanText {
		text = without(text, dropped)
	}
	return norm.NFD.String(text)
}

// apply is the whole normalizer, for tokenizers that need its result: those that look for added tokens in it.
func (b bertNormalizer) apply(text string) string {
	if b.CleanText {
		text = strings.Map(func(r rune) rune {
			switch {
			case dropped(r):
				return -1
			case unicode.IsSpace(r):
				return ' '
			}
			return r
		}, text)
	}
	if b.ChineseChars {
		var out strings.Builder
		for _, r := range text {
			if chinese(r) {
				out.WriteByte(' ')
				out.WriteRune(r)
				out.WriteByte(' ')
			} else {
				out.WriteRune(r)
			}
		}
		text = out.String()
	}
	if b.stripsAccents() {
		text = without(norm.NFD.String(text), func(r rune) bool { return unicode.Is(unicode.Mn, r) })
	}
	if b.Lowercase {
		text = lower(text)
	}
	return text
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// pieces appends the ids of one word.
func (w *wordPiece) pieces(ids []int64, word []byte) []int64 {
	if id, ok := w.whole[string(word)]; ok && (len(word) <= w.maxRunes || utf8.RuneCount(word) <= w.maxRunes) {
		return append(ids, id)
	}
	if utf8.RuneCount(word) > w.maxRunes {
		return append(ids, w.unknown)
	}
	start := len(ids)
	vocab := w.whole
	for at := 0; at < len(word); {
		end := min(len(word), at+w.longest)
		for ; end > at; end-- {
			if id, ok := vocab[string(word[at:end])]; ok {
				ids = append(ids, id)
				break
			}
		}
		if end == at {
			// No piece fits: the whole word is unknown.
			return append(ids[:start], w.unknown)
		}
		at, vocab = end, w.inside
	}
	return ids
}

// dropped are the characters that clean_text removes: NUL, the replacement character, and all control, format and
// private-use characters but tab and line ends.
func dropped(r rune) bool {
	if r == '\t' || r == '\n' || r == '\r' {
		return false
	}
	return r == 0 || r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co)
}

// punctuation is every ASCII symbol and the Unicode category P.
func punctuation(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~'
	}
	return unicode.Is(unicode.P, r)
}

// chinese are the blocks whose characters BERT treats as words.
func chinese(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF || r >= 0x20000 && r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B920 && r <= 0x2CEAF || r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F
}
