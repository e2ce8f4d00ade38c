// Package tokenizer turns text into the ids that a model was trained on, id for id as the official library does:
// WordPiece, byte-level BPE as GPT-2 and RoBERTa have it, and Unigram as SentencePiece has it, all read from
// tokenizer.json, and BERTweet's from the files that it has instead. Whatever else such a file asks for is refused by name: a nearly right tokenizer makes a model quietly
// worse. Text that is not UTF-8 is read with U+FFFD for each bad byte sequence.
package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// ErrUnsupported is returned by Load for a tokenizer that would not be exact; it names what is missing.
var ErrUnsupported = errors.New("unsupported tokenizer")

// maxTokenBytes bounds a token of a vocabulary: the time for a text grows with the longest.
const maxTokenBytes = 1024

// Tokenizer encodes text. It is safe for concurrent use.
type Tokenizer struct {
	raw       matcher             // added tokens that are looked for in the text as it stands
	normalize func(string) string // nil where there is nothing to do, or the model does it on its way
	normal    matcher             // added tokens that are looked for in normalized text
	model     model
	before    []int64 // special ids in front of the text
	after     []int64 // special ids behind it
	size      int64   // ids are below this
	reads     int     // bytes of a text at most, 0 for all
}

// model encodes a piece of text that holds no added token. It may stop at the end of a word when there are more than enough
// ids; first tells that the piece begins the text.
type model interface {
	encode(ids []int64, text string, enough int, first bool) []int64
}

// file is the part of tokenizer.json that is read; truncation and padding in it are ignored on purpose, because
// exports carry values that their own libraries override.
type file struct {
	AddedTokens   []addedToken     `json:"added_tokens"`
	Normalizer    *json.RawMessage `json:"normalizer"`
	PreTokenizer  *json.RawMessage `json:"pre_tokenizer"`
	PostProcessor *json.RawMessage `json:"post_processor"`
	Model         json.RawMessage  `json:"model"`
}

// kindOf reads the type of a part; "" for a missing one.
func kindOf(part *json.RawMessage) (string, error) {
	if part == nil {
		return "", nil
	}
	var k struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(*part, &k); err != nil {
		return "", fmt.Errorf("read type of a part: %w", err)
	}
	if k.Type == "" {
		return "", fmt.Errorf("read type of a part: %.40s has none", *part)
	}
	return k.Type, nil
}

// Load reads the content of a tokenizer.json.
func Load(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	t := &Tokenizer{}
	if err := t.load(f); err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	return t, nil
}

func (t *Tokenizer) load(f file) error {
	if f.Model == nil {
		return errors.New("it has no model")
	}
	normalize, err := loadNormalizer(f.Normalizer)
	if err != nil {
		return err
	}
	kind, err := kindOf(&f.Model)
	if err != nil {
		return err
	}
	var vocab map[string]int64
	switch kind {
	case "WordPiece":
		var w *wordPiece
		if w, vocab, err = loadWordPiece(f); err == nil && !anyNormalized(f.AddedTokens) && w.fuse(f.Normalizer) {
			normalize = nil // it normalizes word by word, which is faster
		}
		t.model = w
	case "BPE":
		t.model, vocab, err = loadBPE(f)
	case "Unigram":
		t.model, vocab, err = loadUnigram(f)
	case bertweetKind:
		var b *bertweet
		if b, vocab, err = loadBertweet(f); err == nil && b.normalize {
			t.reads = maxTweetBytes
		}
		t.model = b
	default:
		err = fmt.Errorf("%w: model %q", ErrUnsupported, kind)
	}
	if err != nil {
		return err
	}
	t.normalize = normalize
	for token, id := range vocab {
		if err := t.covers(token, id); err != nil {
			return err
		}
	}
	for _, a := range f.AddedTokens {
		if err := t.add(a, vocab); err != nil {
			return err
		}
	}
	return t.specials(f.PostProcessor)
}

// covers takes note of the id of a token; what is none is an error.
func (t *Tokenizer) covers(token string, id int64) error {
	if id < 0 || id > math.MaxInt32 {
		return fmt.Errorf("the id of %.20q is %d, which is not between 0 and %d", token, id, math.MaxInt32)
	}
	t.size = max(t.size, id+1)
	return nil
}

func anyNormalized(added []addedToken) bool {
	for _, a := range added {
		if a.Normalized && a.Content != "" {
			return true
		}
	}
	return false
}

func (t *Tokenizer) add(a addedToken, vocab map[string]int64) error {
	if a.Content == "" {
		return nil
	}
	if a.SingleWord {
		return fmt.Errorf("%w: added token %.20q matches whole words only", ErrUnsupported, a.Content)
	}
	if id, ok := vocab[a.Content]; ok && id != a.ID {
		return fmt.Errorf("added token %.20q has the id %d, and %d in the vocabulary", a.Content, a.ID, id)
	}
	if err := t.covers(a.Content, a.ID); err != nil {
		return err
	}
	if !a.Normalized || t.normalize == nil {
		return t.raw.add(a.Content, a)
	}
	if content := t.normalize(a.Content); content != "" {
		return t.normal.add(content, a)
	}
	return nil
}

// Size returns the smallest number that all ids are below.
func (t *Tokenizer) Size() int64 { return t.size }

// Encode appends the ids of text to dst. At most most ids are appended, special ones included; truncated tells that the
// text had more. special asks for the special ids around the text.
func (t *Tokenizer) Encode(dst []int64, text string, most int, special bool) (ids []int64, truncated bool) {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\ufffd")
	}
	if t.reads > 0 && len(text) > t.reads {
		text, truncated = strings.ToValidUTF8(text[:t.reads], ""), true
	}
	start := len(dst)
	room := most
	if special {
		dst = append(dst, t.before...)
		room -= len(t.before) + len(t.after)
	}
	room = max(room, 0)
	body := len(dst)
	dst = t.encode(dst, text, body+room)
	if len(dst)-body > room {
		dst, truncated = dst[:body+room], true
	}
	if special {
		dst = append(dst, t.after...)
	}
	if len(dst)-start > most {
		dst = dst[:start+max(most, 0)]
	}
	return dst, truncated
}

// encode gives added tokens their ids and hands the text between them to the model, normalized.
func (t *Tokenizer) encode(ids []int64, text string, enough int) []int64 {
	return t.raw.cut(ids, text, enough, func(ids []int64, piece string, first bool) []int64 {
		if t.normalize == nil {
			return t.model.encode(ids, piece, enough, first)
		}
		return t.normal.cut(ids, t.normalize(piece), enough, func(ids []int64, piece string, begins bool) []int64 {
			return t.model.encode(ids, piece, enough, first && begins)
		})
	})
}
