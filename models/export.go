package models

import (
	"fmt"
	"slices"
	"strings"

	"smelt/models/tokenizer"
)

// multiLabelProblem is the problem_type whose labels are decided each by itself.
const multiLabelProblem = "multi_label_classification"

// extras is what stands in the files of an export beside config.json.
type extras struct {
	Tokenizer struct {
		tokenizer.Vocabulary
		MaxLength float64 `json:"model_max_length"` // 1e30 where nobody knows
		Side      string  `json:"truncation_side"`
	}
	Sentence struct {
		MaxLength int  `json:"max_seq_length"`
		Lowercase bool `json:"do_lower_case"`
	}
	Pooling poolingConfig
	Modules []struct{ Type string } // of sentence-transformers, in their order
	Prompts struct {
		Default string            `json:"default_prompt_name"`
		Prompts map[string]string `json:"prompts"`
	}
}

// names tells which file each part is read from.
func (e *extras) names() map[string]any {
	return map[string]any{"tokenizer_config.json": &e.Tokenizer, "sentence_bert_config.json": &e.Sentence, "1_Pooling/config.json": &e.Pooling,
		"modules.json": &e.Modules, "added_tokens.json": &e.Tokenizer.Beside, "config_sentence_transformers.json": &e.Prompts}
}

// files takes what the files say, and refuses what cannot be done; what options say otherwise does not matter then.
func (s *settings) files(e extras, options map[string]string) (err error) {
	if options[optionPooling] == "" {
		if s.Pooling, err = e.Pooling.pooling(); err != nil {
			return err
		}
	}
	if e.Tokenizer.Side == "left" {
		return fmt.Errorf("%w: tokenizer_config.json cuts texts on the left (truncation_side), which is not supported", ErrInvalid)
	}
	if lower := e.Tokenizer.Lowercase; e.Sentence.Lowercase && (lower == nil || !*lower) {
		return fmt.Errorf("%w: sentence_bert_config.json asks for lower case (do_lower_case) and tokenizer_config.json does not, which is not supported", ErrInvalid)
	}
	if e.Prompts.Default != "" {
		s.Prefix = e.Prompts.Prompts[e.Prompts.Default]
	}
	for _, m := range e.Modules {
		switch name := m.Type[strings.LastIndexByte(m.Type, '.')+1:]; name {
		case "Transformer", "Pooling", "Normalize": // embeddings have the length 1 here anyway
		default:
			if options[optionOutput] == "" {
				return fmt.Errorf("%w: modules.json has a %.40q behind the transformer, which is not supported; export it with the graph and say %s = 'sentence_embedding'", ErrInvalid, name, optionOutput)
			}
		}
	}
	return nil
}

// behindPadding are the kinds whose positions begin behind the id of the padding.
var behindPadding = []string{"roberta", "xlm-roberta", "camembert", "mpnet", "roberta-prelayernorm", "xlm-roberta-xl", "xmod", "data2vec-text", "ibert"}

// positions is how many tokens the model has positions for, 0 where nothing says it.
func positions(c config) int {
	n := c.MaxPositions
	if !slices.Contains(behindPadding, c.ModelType) {
		return n
	}
	pad := int64(1)
	if c.PadID != nil {
		pad = *c.PadID
	}
	if pad >= 0 && pad < int64(n) {
		n -= int(pad) + 1
	}
	return n
}

// maxLength is how many tokens the model takes: the least of what its files say.
func maxLength(c config, extra extras) int {
	n := positions(c)
	if l := extra.Sentence.MaxLength; l > 0 && (n <= 0 || l < n) {
		n = l
	}
	if l := extra.Tokenizer.MaxLength; l >= 1 && (n <= 0 && l <= maxTokens || l < float64(n)) {
		n = int(l)
	}
	return n
}

// problemOption is how probabilities are made for a problem_type.
func problemOption(value string) (string, error) {
	switch strings.ToLower(value) {
	case "single_label_classification":
		return softmaxFunction, nil
	case multiLabelProblem:
		return sigmoidFunction, nil
	}
	return "", fmt.Errorf("known are single_label_classification and %s", multiLabelProblem)
}

// inputsOption reads 'input_ids = ids, attention_mask = mask'.
func inputsOption(value string) (map[string]string, error) {
	inputs := map[string]string{}
	for part := range strings.SplitSeq(value, ",") {
		role, name, ok := strings.Cut(part, "=")
		role, name = strings.TrimSpace(role), strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, fmt.Errorf("want input_ids = name, attention_mask = name, token_type_ids = name")
		}
		inputs[role] = name
	}
	return inputs, nil
}
