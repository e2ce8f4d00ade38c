// Package tokenizer turns text into the ids that a model was trained on, id for id as the official library does: WordPiece
// behind BERT's normalizer, and byte-level BPE as GPT-2 and RoBERTa have it, both read from tokenizer.json. Whatever
// else such a file asks for is refused by name: a nearly right tokenizer makes a model quietly worse. Text that is not
// UTF-8 is read with U+FFFD for each bad byte sequence.
package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrUnsupported is returned by Load for a tokenizer that would not be exact; it names what is missing.
var ErrUnsupported = errors.New("unsupported tokenizer")

// Tokenizer encodes text. It is safe for concurrent use.
type Tokenizer struct {
	model  model
	added  []addedToken // longest first
	before []int64      // special ids in front of the text
	after  []int64      // special ids behind it
	size   int64        // ids are below this
}

// model encodes a piece of text that holds no added token.
type model interface {
	encode(ids []int64, text string) []int64
}

// addedToken is a text that is one token wherever it stands.
type addedToken struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
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
	return k.Type, nil
}

// Load reads the content of a tokenizer.json.
func Load(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	t := &Tokenizer{}
	kind, err := kindOf(&f.Model)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	var vocab map[string]int64
	switch kind {
	case "WordPiece":
		t.model, vocab, err = loadWordPiece(f)
	case "BPE":
		t.model, vocab, err = loadBPE(f)
	default:
		err = fmt.Errorf("%w: model %q", ErrUnsupported, kind)
	}
	if err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	for _, id := range vocab {
		t.size = max(t.size, id+1)
	}
	for _, a := range f.AddedTokens {
		if err := t.add(a, f.Normalizer != nil); err != nil {
			return nil, fmt.Errorf("read tokenizer: %w", err)
		}
	}
	slices.SortStableFunc(t.added, func(a, b addedToken) int { return len(b.Content) - len(a.Content) })
	if err := t.specials(f.PostProcessor, vocab); err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	return t, nil
}

func (t *Tokenizer) add(a addedToken, normalizer bool) error {
	switch {
	case a.Content == "":
		return nil
	case a.SingleWord:
		return fmt.Errorf("%w: added token %q matches whole words only", ErrUnsupported, a.Content)
	case a.Normalized && normalizer:
		return fmt.Errorf("%w: added token %q is looked for in normalized text", ErrUnsupported, a.Content)
	}
	t.added = append(t.added, a)
	t.size = max(t.size, a.ID+1)
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
	start := len(dst)
	room := most
	if special {
		dst = append(dst, t.before...)
		room -= len(t.before) + len(t.after)
	}
	body := len(dst)
	dst = t.split(dst, text)
	if room = max(room, 0); len(dst)-body > room {
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

// split encodes added tokens as themselves and hands the text between them to the model.
func (t *Tokenizer) split(ids []int64, text string) []int64 {
	for len(t.added) > 0 {
		at, a := t.find(text)
		if at < 0 {
			break
		}
		head := text[:at]
		if a.LStrip {
			head = strings.TrimRightFunc(head, unicode.IsSpace)
		}
		if head != "" {
			ids = t.model.encode(ids, head)
		}
		ids = append(ids, a.ID)
		text = text[at+len(a.Content):]
		if a.RStrip {
			text = strings.TrimLeftFunc(text, unicode.IsSpace)
		}
	}
	if text == "" {
		return ids
	}
	return t.model.encode(ids, text)
}

// find returns the leftmost added token in text, the longest of those that begin there; -1 for none.
func (t *Tokenizer) find(text string) (int, addedToken) {
	best, token := -1, addedToken{}
	for _, a := range t.added {
		limit := len(text)
		if best >= 0 {
			limit = min(limit, best+len(a.Content))
		}
		if at := strings.Index(text[:limit], a.Content); at >= 0 && (best < 0 || at < best) {
			best, token = at, a
		}
	}
	return best, token
}

// specials reads which ids stand around a text.
func (t *Tokenizer) specials(part *json.RawMessage, vocab map[string]int64) error {
	kind, err := kindOf(part)
	if err != nil {
		return err
	}
	switch kind {
	case "", "ByteLevel":
		return nil
	case "BertProcessing", "RobertaProcessing":
		return t.pairSpecials(*part)
	case "TemplateProcessing":
		return t.templateSpecials(*part)
	default:
		return fmt.Errorf("%w: post-processor %q", ErrUnsupported, kind)
	}
}

// pairSpecials reads {"sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}.
func (t *Tokenizer) pairSpecials(part json.RawMessage) error {
	var p struct {
		Sep, Cls []json.RawMessage
	}
	if err := json.Unmarshal(part, &p); err != nil {
		return fmt.Errorf("read post-processor: %w", err)
	}
	id := func(pair []json.RawMessage) (int64, error) {
		var n int64
		if len(pair) != 2 {
			return 0, fmt.Errorf("read post-processor: want a token and its id, got %d values", len(pair))
		}
		if err := json.Unmarshal(pair[1], &n); err != nil {
			return 0, fmt.Errorf("read post-processor: %w", err)
		}
		return n, nil
	}
	cls, err := id(p.Cls)
	if err != nil {
		return err
	}
	sep, err := id(p.Sep)
	if err != nil {
		return err
	}
	t.before, t.after = []int64{cls}, []int64{sep}
	return nil
}

// templateSpecials reads the template of a single text.
func (t *Tokenizer) templateSpecials(part json.RawMessage) error {
	var p struct {
		Single []struct {
			SpecialToken *struct{ ID string }
			Sequence     *struct{ ID string }
		}
		SpecialTokens map[string]struct{ IDs []int64 } `json:"special_tokens"`
	}
	if err := json.Unmarshal(part, &p); err != nil {
		return fmt.Errorf("read post-processor: %w", err)
	}
	seen := false
	for _, piece := range p.Single {
		switch {
		case piece.Sequence != nil:
			seen = true
		case piece.SpecialToken != nil:
			token, ok := p.SpecialTokens[piece.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("read post-processor: special token %q has no ids", piece.SpecialToken.ID)
			}
			if seen {
				t.after = append(t.after, token.IDs...)
			} else {
				t.before = append(t.before, token.IDs...)
			}
		}
	}
	return nil
}
