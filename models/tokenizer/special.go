package tokenizer

import (
	"encoding/json"
	"fmt"
)

// specials reads which ids stand around a text.
func (t *Tokenizer) specials(part *json.RawMessage) error {
	kind, err := kindOf(part)
	if err != nil {
		return err
	}
	switch kind {
	case "", "ByteLevel":
		return nil // the latter is about offsets
	case "BertProcessing", "RobertaProcessing":
		err = t.pairSpecials(*part)
	case "TemplateProcessing":
		err = t.templateSpecials(*part)
	default:
		err = fmt.Errorf("%w: post-processor %q", ErrUnsupported, kind)
	}
	for _, ids := range [][]int64{t.before, t.after} {
		for _, id := range ids {
			if err == nil {
				err = t.covers("the post-processor", id)
			}
		}
	}
	return err
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
	sequences := 0
	for _, piece := range p.Single {
		switch {
		case piece.Sequence != nil:
			sequences++
		case piece.SpecialToken != nil:
			token, ok := p.SpecialTokens[piece.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("read post-processor: special token %q has no ids", piece.SpecialToken.ID)
			}
			if sequences > 0 {
				t.after = append(t.after, token.IDs...)
			} else {
				t.before = append(t.before, token.IDs...)
			}
		}
	}
	if sequences != 1 {
		return fmt.Errorf("%w: post-processor whose template has the text %d times", ErrUnsupported, sequences)
	}
	return nil
}
