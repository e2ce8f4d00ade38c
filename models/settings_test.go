package models

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// settingsCase is the files of an export and what is made of them.
type settingsCase struct {
	config, tokenizer, sentence, pooling string
	modules, prompts                     string
	options                              map[string]string
	want                                 settings
	refused                              string
}

const threeLabels = `"id2label": {"0": "negative", "1": "neutral", "2": "positive"}`

var settingsCases = map[string]settingsCase{
	"bert": {config: `{"architectures": ["BertForSequenceClassification"], "model_type": "bert", "max_position_embeddings": 512, "vocab_size": 30522, "pad_token_id": 0, ` + threeLabels + `}`,
		want: settings{Kind: Classifier, Labels: []string{"negative", "neutral", "positive"}, Function: "softmax", MaxTokens: 512, Special: true, VocabSize: 30522}},
	"roberta counts its positions from behind the padding": {config: `{"architectures": ["RobertaForSequenceClassification"], "model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1, ` + threeLabels + `}`,
		tokenizer: `{"model_max_length": 1000000000000000019884624838656}`,
		want:      settings{Kind: Classifier, Labels: []string{"negative", "neutral", "positive"}, Function: "softmax", MaxTokens: 512, Special: true}},
	"many labels": {config: `{"architectures": ["DistilBertForSequenceClassification"], "max_position_embeddings": 512, "problem_type": "multi_label_classification", "id2label": {"0": "a", "1": "b"}}`,
		tokenizer: `{"model_max_length": 128}`, options: map[string]string{"thresholds": "[0.3, 0.7]"},
		want: settings{Kind: Classifier, Labels: []string{"a", "b"}, Function: "sigmoid", Thresholds: []float64{0.3, 0.7}, MaxTokens: 128, Special: true}},
	"the function of a model that does not say": {config: `{"architectures": ["RobertaForSequenceClassification"], "max_position_embeddings": 64, "id2label": {"0": "a", "1": "b"}}`,
		options: map[string]string{"function_to_apply": "sigmoid", "threshold": "0.4"},
		want:    settings{Kind: Classifier, Labels: []string{"a", "b"}, Function: "sigmoid", Thresholds: []float64{0.4, 0.4}, MaxTokens: 64, Special: true}},
	"one label": {config: `{"architectures": ["BertForSequenceClassification"], "max_position_embeddings": 64, "id2label": {"0": "spam"}}`,
		want: settings{Kind: Classifier, Labels: []string{"spam"}, Function: "sigmoid", Thresholds: []float64{0.5}, MaxTokens: 64, Special: true}},
	"labels by hand": {config: `{"architectures": ["BertForSequenceClassification"], "max_position_embeddings": 64}`, options: map[string]string{"labels": `["x, y", "z"]`, "max_length": "32"},
		want: settings{Kind: Classifier, Labels: []string{"x, y", "z"}, Function: "softmax", MaxTokens: 32, Special: true}},
	"MiniLM": {config: `{"architectures": ["BertModel"], "model_type": "bert", "max_position_embeddings": 512}`, sentence: `{"max_seq_length": 256}`,
		pooling: `{"word_embedding_dimension": 384, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}`,
		want:    settings{Kind: Encoder, MaxTokens: 256, Pooling: "mean", Special: true, Dimension: 384}},
	"an encoder that was trained with another head": {config: `{"architectures": ["MPNetForMaskedLM"], "model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 1}`,
		pooling: `{"word_embedding_dimension": 768, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}`,
		want:    settings{Kind: Encoder, MaxTokens: 512, Pooling: "cls", Special: true, Dimension: 768}},
	"another kind":   {config: `{"architectures": ["GPT2LMHeadModel"], "max_position_embeddings": 64, "id2label": {}}`, options: map[string]string{"task": "text-classification"}, refused: "no id2label"},
	"a masked model": {config: `{"architectures": ["RobertaForMaskedLM"], "max_position_embeddings": 64}`, refused: "RobertaForMaskedLM"},
	"a regression":   {config: `{"architectures": ["BertForSequenceClassification"], "max_position_embeddings": 64, "problem_type": "regression", "id2label": {"0": "x"}}`, refused: "regression"},
	"maximum pooling": {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, pooling: `{"pooling_mode_mean_tokens": false, "pooling_mode_max_tokens": true}`,
		want: settings{Kind: Encoder, MaxTokens: 64, Pooling: "max", Special: true}},
	"pooling as version 6 of sentence-transformers writes it": {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, pooling: `{"embedding_dimension": 16, "pooling_mode": "lasttoken"}`,
		want: settings{Kind: Encoder, MaxTokens: 64, Pooling: "last", Special: true, Dimension: 16}},
	"the mean over the root of the length has the same direction": {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, pooling: `{"pooling_mode": ["mean_sqrt_len_tokens"]}`,
		want: settings{Kind: Encoder, MaxTokens: 64, Pooling: "mean", Special: true}},
	"an option instead of pooling that is not known": {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, pooling: `{"pooling_mode": "weightedmean"}`, options: map[string]string{"pooling": "CLS"},
		want: settings{Kind: Encoder, MaxTokens: 64, Pooling: "cls", Special: true}},
	"RoBERTa's padding is 1 where nobody says it": {config: `{"architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "max_position_embeddings": 514}`,
		want: settings{Kind: Encoder, MaxTokens: 512, Pooling: "mean", Special: true}},
	"positions that nobody counts": {config: `{"architectures": ["T5EncoderModel"]}`, sentence: `{"max_seq_length": 256}`, want: settings{Kind: Encoder, MaxTokens: 256, Pooling: "mean", Special: true}},
	"a prompt of sentence-transformers": {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, prompts: `{"default_prompt_name": "query", "prompts": {"query": "query: ", "document": "passage: "}}`,
		want: settings{Kind: Encoder, MaxTokens: 64, Pooling: "mean", Prefix: "query: ", Special: true}},
	"an option instead of a prompt": {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, prompts: `{"default_prompt_name": "query", "prompts": {"query": "query: "}}`, options: map[string]string{"prefix": "", "output": "pooler_output"},
		want: settings{Kind: Encoder, MaxTokens: 64, Pooling: "mean", Output: "pooler_output", Special: true}},
	"a problem type by option": {config: `{"architectures": ["BertForSequenceClassification"], "max_position_embeddings": 64, "id2label": {"0": "a", "1": "b"}}`, options: map[string]string{"problem_type": "multi_label_classification"},
		want: settings{Kind: Classifier, Labels: []string{"a", "b"}, Function: "sigmoid", Thresholds: []float64{0.5, 0.5}, MaxTokens: 64, Special: true}},
	"the preprocessing of a model of the hub": {config: `{"architectures": ["RobertaForSequenceClassification"], "max_position_embeddings": 64, ` + threeLabels + `}`, options: map[string]string{"source": "hf:cardiffnlp/twitter-roberta-base-sentiment-latest@main"},
		want: settings{Kind: Classifier, Labels: []string{"negative", "neutral", "positive"}, Function: "softmax", Preprocess: "cardiffnlp", MaxTokens: 64, Special: true}},
	"no preprocessing by option": {config: `{"architectures": ["RobertaForSequenceClassification"], "max_position_embeddings": 64, ` + threeLabels + `}`, options: map[string]string{"source": "hf:cardiffnlp/tweet-topic-21-multi", "preprocess": "none"},
		want: settings{Kind: Classifier, Labels: []string{"negative", "neutral", "positive"}, Function: "softmax", Preprocess: "none", MaxTokens: 64, Special: true}},
	"weights by place":             {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, pooling: `{"pooling_mode": "weightedmean"}`, refused: "known are mean, cls, max, last"},
	"two ways of pooling":          {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, pooling: `{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}`, refused: "joins max and mean"},
	"a layer behind the pooling":   {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, modules: `[{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Dense"}]`, refused: `"Dense"`},
	"cutting on the left":          {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, tokenizer: `{"truncation_side": "left"}`, refused: "truncation_side"},
	"lower case before":            {config: `{"architectures": ["RobertaModel"], "max_position_embeddings": 64}`, sentence: `{"do_lower_case": true}`, refused: "do_lower_case"},
	"more tokens than positions":   {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, options: map[string]string{"max_length": "65"}, refused: "positions for 64"},
	"a problem nobody knows":       {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, options: map[string]string{"problem_type": "x"}, refused: "known are single_label_classification"},
	"a preprocessing nobody knows": {config: `{"architectures": ["BertModel"], "max_position_embeddings": 64}`, options: map[string]string{"preprocess": "x"}, refused: "known are cardiffnlp, none, pysentimiento, tweet, tweet-topic"},
	"no length":                    {config: `{"architectures": ["BertModel"]}`, refused: "say max_length"},
	"no JSON":                      {config: `{`, refused: "read config.json"},
	"length and labels":            {config: `[]`, refused: "read config.json"},
}

// TestSettingsAreReadAsHuggingFaceMeansThem holds what is read of configurations as exports have them.
func TestSettingsAreReadAsHuggingFaceMeansThem(t *testing.T) {
	for name, c := range settingsCases {
		t.Run(name, func(t *testing.T) {
			extra := extras{}
			for text, into := range map[string]any{c.tokenizer: &extra.Tokenizer, c.sentence: &extra.Sentence, c.pooling: &extra.Pooling, c.modules: &extra.Modules, c.prompts: &extra.Prompts} {
				if text != "" {
					require.NoError(t, json.Unmarshal([]byte(text), into))
				}
			}
			got, err := settingsOf([]byte(c.config), extra, c.options)
			if c.refused != "" {
				require.ErrorIs(t, err, ErrInvalid)
				require.ErrorContains(t, err, c.refused)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}
