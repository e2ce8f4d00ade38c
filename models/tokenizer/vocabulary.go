package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Vocabulary is what tokenizer_config.json says of files without a tokenizer.json; nil stands for the default of the kind.
type Vocabulary struct {
	Lowercase     *bool                 `json:"do_lower_case"`          // true
	StripAccents  *bool                 `json:"strip_accents"`          // follows Lowercase
	ChineseChars  *bool                 `json:"tokenize_chinese_chars"` // true
	Basic         *bool                 `json:"do_basic_tokenize"`      // true; refused where it is false
	PrefixSpace   bool                  `json:"add_prefix_space"`       // of byte-level BPE
	Normalization bool                  `json:"normalization"`          // of BERTweet
	Mask          json.RawMessage       `json:"mask_token"`             // a text, or an object with lstrip
	Start         json.RawMessage       `json:"bos_token"`
	Class         json.RawMessage       `json:"cls_token"`
	End           json.RawMessage       `json:"eos_token"`
	Separator     json.RawMessage       `json:"sep_token"`
	Padding       json.RawMessage       `json:"pad_token"`
	Unknown       json.RawMessage       `json:"unk_token"`
	Added         map[string]addedToken `json:"added_tokens_decoder"` // by id; those beside the vocabulary are refused
	Beside        map[string]int64      `json:"-"`                    // added_tokens.json of older exports: token and id, likewise
	Special       json.RawMessage       `json:"additional_special_tokens"`
	Never         json.RawMessage       `json:"never_split"`
}

// check refuses what the files alone do not say.
func (v Vocabulary) check(ids map[string]int64) error {
	for name, value := range map[string]json.RawMessage{"never_split": v.Never, "additional_special_tokens": v.Special} {
		if text := string(value); text != "" && text != "null" && text != "[]" {
			return fmt.Errorf("%w: %s without a tokenizer.json", ErrUnsupported, name)
		}
	}
	if v.Basic != nil && !*v.Basic {
		return fmt.Errorf("%w: do_basic_tokenize is false, without a tokenizer.json", ErrUnsupported)
	}
	for token, id := range v.Beside {
		if known, ok := ids[token]; !ok || known != id {
			return fmt.Errorf("%w: token %.20q of added_tokens.json is not in the vocabulary, and there is no tokenizer.json", ErrUnsupported, token)
		}
	}
	for id, a := range v.Added {
		if known, ok := ids[a.Content]; !ok || strconv.FormatInt(known, 10) != id {
			return fmt.Errorf("%w: added token %.20q is not in the vocabulary, and there is no tokenizer.json", ErrUnsupported, a.Content)
		}
	}
	return nil
}

// names refuses special tokens that are called otherwise.
func (v Vocabulary) names(start, pad, end, unknown, mask string) error {
	for _, t := range []struct {
		name, want string
		value      json.RawMessage
	}{{"bos_token", start, v.Start}, {"cls_token", start, v.Class}, {"eos_token", end, v.End}, {"sep_token", end, v.Separator}, {"pad_token", pad, v.Padding},
		{"unk_token", unknown, v.Unknown}, {"mask_token", mask, v.Mask}} {
		var text string
		var a addedToken
		if json.Unmarshal(t.value, &text) != nil && json.Unmarshal(t.value, &a) == nil {
			text = a.Content
		}
		if text != "" && text != t.want {
			return fmt.Errorf("%w: %s is %.40q and not %q, without a tokenizer.json", ErrUnsupported, t.name, text, t.want)
		}
	}
	return nil
}

// stripsBefore tells whether the mask token takes the white space before it.
func (v Vocabulary) stripsBefore(mask string, otherwise bool) bool {
	for _, a := range v.Added {
		if a.Content == mask {
			return a.LStrip
		}
	}
	var a addedToken
	if json.Unmarshal(v.Mask, &a) == nil {
		return a.LStrip
	}
	return otherwise
}

// added are the special tokens of a vocabulary, which must have them.
func (v Vocabulary) added(ids map[string]int64, mask string, stripsBefore bool, names ...string) ([]addedToken, error) {
	var list []addedToken
	for _, name := range append(names, mask) {
		id, ok := ids[name]
		if !ok {
			return nil, fmt.Errorf("it has no token %s", name)
		}
		list = append(list, addedToken{ID: id, Content: name, LStrip: name == mask && v.stripsBefore(mask, stripsBefore)})
	}
	return list, v.check(ids)
}

// FromVocabulary makes a tokenizer.json of the vocab.txt of a BERT or MPNet model: a token a line, its id is the number of
// the line.
func FromVocabulary(vocab []byte, v Vocabulary) ([]byte, error) {
	ids := map[string]int64{}
	for i, line := range strings.Split(strings.TrimSuffix(string(vocab), "\n"), "\n") {
		ids[strings.TrimSuffix(line, "\r")] = int64(i)
	}
	before, after, processor := "[CLS]", "[SEP]", "BertProcessing"
	names, mask := []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]"}, "[MASK]"
	_, mpnet := ids["<mask>"]
	if mpnet { // BERT's pieces hold no two of these characters
		before, after, processor = "<s>", "</s>", "RobertaProcessing"
		names, mask = []string{"<s>", "<pad>", "</s>", "[UNK]"}, "<mask>"
	}
	added, err := v.added(ids, mask, mpnet, names...)
	if err != nil {
		return nil, fmt.Errorf("read vocab.txt: %w", err)
	}
	yes := func(b *bool) bool { return b == nil || *b }
	return json.Marshal(map[string]any{
		"added_tokens":   added,
		"normalizer":     map[string]any{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": yes(v.ChineseChars), "strip_accents": v.StripAccents, "lowercase": yes(v.Lowercase)},
		"pre_tokenizer":  map[string]any{"type": "BertPreTokenizer"},
		"post_processor": map[string]any{"type": processor, "sep": []any{after, ids[after]}, "cls": []any{before, ids[before]}},
		"model": map[string]any{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
			"vocab": ids},
	})
}

// FromMerges makes a tokenizer.json of the vocab.json and merges.txt of a RoBERTa model.
func FromMerges(vocab, merges []byte, v Vocabulary) ([]byte, error) {
	var ids map[string]int64
	if err := json.Unmarshal(vocab, &ids); err != nil {
		return nil, fmt.Errorf("read vocab.json: %w", err)
	}
	added, err := v.added(ids, "<mask>", false, "<s>", "<pad>", "</s>", "<unk>")
	if err != nil {
		return nil, fmt.Errorf("read vocab.json: %w", err)
	}
	lines := slices.DeleteFunc(strings.Split(string(merges), "\n"), func(line string) bool {
		return strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#version")
	})
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return json.Marshal(map[string]any{
		"added_tokens":   added,
		"pre_tokenizer":  map[string]any{"type": "ByteLevel", "add_prefix_space": v.PrefixSpace, "trim_offsets": true, "use_regex": true},
		"post_processor": map[string]any{"type": "RobertaProcessing", "sep": []any{"</s>", ids["</s>"]}, "cls": []any{"<s>", ids["<s>"]}, "trim_offsets": true, "add_prefix_space": v.PrefixSpace},
		"model":          map[string]any{"type": "BPE", "vocab": ids, "merges": lines},
	})
}
