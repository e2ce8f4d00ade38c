package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// FromVocabulary makes a tokenizer.json of the vocab.txt of a BERT model: a token a line, its id is the number of the
// line. lowercase nil means true, as BertTokenizer has it.
func FromVocabulary(vocab []byte, lowercase *bool) ([]byte, error) {
	ids := map[string]int64{}
	for i, line := range strings.Split(strings.TrimSuffix(string(vocab), "\n"), "\n") {
		ids[strings.TrimSuffix(line, "\r")] = int64(i)
	}
	var added []addedToken
	for _, special := range []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"} {
		id, ok := ids[special]
		if !ok {
			return nil, fmt.Errorf("read vocab.txt: it has no token %s", special)
		}
		added = append(added, addedToken{ID: id, Content: special})
	}
	lower := lowercase == nil || *lowercase
	return json.Marshal(map[string]any{
		"added_tokens":   added,
		"normalizer":     map[string]any{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": nil, "lowercase": lower},
		"pre_tokenizer":  map[string]any{"type": "BertPreTokenizer"},
		"post_processor": map[string]any{"type": "BertProcessing", "sep": []any{"[SEP]", ids["[SEP]"]}, "cls": []any{"[CLS]", ids["[CLS]"]}},
		"model": map[string]any{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
			"vocab": ids},
	})
}

// FromMerges makes a tokenizer.json of the vocab.json and merges.txt of a RoBERTa model.
func FromMerges(vocab, merges []byte) ([]byte, error) {
	var ids map[string]int64
	if err := json.Unmarshal(vocab, &ids); err != nil {
		return nil, fmt.Errorf("read vocab.json: %w", err)
	}
	var added []addedToken
	for _, special := range []string{"<s>", "<pad>", "</s>", "<unk>", "<mask>"} {
		id, ok := ids[special]
		if !ok {
			return nil, fmt.Errorf("read vocab.json: it has no token %s", special)
		}
		added = append(added, addedToken{ID: id, Content: special, LStrip: special == "<mask>"})
	}
	lines := slices.DeleteFunc(strings.Split(string(merges), "\n"), func(line string) bool {
		return strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#version")
	})
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return json.Marshal(map[string]any{
		"added_tokens":   added,
		"pre_tokenizer":  map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
		"post_processor": map[string]any{"type": "RobertaProcessing", "sep": []any{"</s>", ids["</s>"]}, "cls": []any{"<s>", ids["<s>"]}, "trim_offsets": true, "add_prefix_space": false},
		"model":          map[string]any{"type": "BPE", "vocab": ids, "merges": lines},
	})
}
