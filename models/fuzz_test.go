package models

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"smelt/models/onnx"
)

// FuzzConfigs reads damaged and hostile configurations: settings that can be run, or ErrInvalid.
func FuzzConfigs(f *testing.F) {
	for _, c := range settingsCases {
		options, err := json.Marshal(c.options)
		require.NoError(f, err)
		f.Add([]byte(c.config), []byte(c.tokenizer), []byte(c.sentence), []byte(c.pooling), []byte(c.modules), []byte(c.prompts), options)
	}
	f.Add([]byte(`{"architectures":["BertModel"],"max_position_embeddings":-1,"pad_token_id":-9223372036854775808,"model_type":"roberta"}`), []byte(`{"model_max_length":1e999}`), []byte(`{"max_seq_length":-5}`),
		[]byte(`{"pooling_mode":[]}`), []byte(`[{"type":""}]`), []byte(`{"default_prompt_name":"x"}`), []byte(`{"thresholds":"[[]]","labels":"[\"\"]","inputs":"=,="}`))
	f.Fuzz(func(t *testing.T, config, tokenizer, sentence, pooling, modules, prompts, options []byte) {
		extra := extras{}
		texts := map[string][]byte{configFile: config, "tokenizer_config.json": tokenizer, "sentence_bert_config.json": sentence, "1_Pooling/config.json": pooling, "modules.json": modules, "config_sentence_transformers.json": prompts}
		open := func(name string, _ int64) ([]byte, error) {
			if len(texts[name]) == 0 {
				return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
			}
			return texts[name], nil
		}
		for name, into := range extra.names() {
			if err := readOptional(open, name, into); err != nil {
				require.ErrorIs(t, err, ErrInvalid)
				return
			}
		}
		var said map[string]string
		if json.Unmarshal(options, &said) != nil {
			return
		}
		s, err := settingsOf(config, extra, said)
		if err != nil {
			require.ErrorIs(t, err, ErrInvalid)
			return
		}
		require.True(t, s.MaxTokens > 0 && s.MaxTokens <= maxTokens)
		require.Contains(t, []string{"", Classifier, Encoder}, s.Kind)
		if s.Kind == Classifier {
			require.NotEmpty(t, s.Labels)
			require.True(t, s.Function == softmaxFunction || len(s.Thresholds) == len(s.Labels))
		}
	})
}

// FuzzPreprocessing prepares whatever a text may hold. None makes a long text of a short one.
func FuzzPreprocessing(f *testing.F) {
	for _, s := range []string{"", "@user http://x www.y.com/z &amp;&#39; it’s sooooo", "#OneTwo |a_b| hahaha 👨‍👩‍👧 ❤️", "\xff\xfe@\x00", strings.Repeat("😀", 50), strings.Repeat("#aA", 50), "https://https://www.www."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, prepare := range preprocessors {
			out := prepare(text)
			require.LessOrEqual(t, len(out), 40*len(text)+100, name) // the longest name of an emoji has 80 bytes
			if utf8.ValidString(text) {
				require.True(t, utf8.ValidString(out), name)
			}
		}
	})
}

// FuzzGraph opens and runs a graph of which a part is other bytes: an error, or numbers. None ends the process.
func FuzzGraph(f *testing.F) {
	graph, err := os.ReadFile(filepath.Join(architectures, "bert", onnxFile))
	require.NoError(f, err)
	require.NoError(f, onnx.Load(libraryPath(f)))
	f.Add(uint32(0), []byte{}, uint32(0))
	f.Add(uint32(10), []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), uint32(0))
	f.Add(uint32(200), []byte("Loop"), uint32(0))
	f.Add(uint32(1000), []byte{0x08, 0x80, 0x80, 0x80, 0x80, 0x10}, uint32(0))
	f.Add(uint32(0), []byte{}, uint32(5000))
	f.Fuzz(func(t *testing.T, at uint32, part []byte, cut uint32) {
		changed := append([]byte(nil), graph...)
		copy(changed[int(at)%len(changed):], part)
		changed = changed[:len(changed)-int(cut)%len(changed)]
		if onnx.SelfContained(changed) != nil {
			return
		}
		session, err := onnx.Open(changed, nil, "logits")
		if err != nil {
			return
		}
		out, err := session.Run(t.Context(), []int64{1, 2, 3, 4, 5, 6}, []int64{1, 1, 1, 1, 0, 0}, 2, 3)
		if err == nil {
			size := int64(1)
			for _, d := range out.Shape {
				size *= d
			}
			require.EqualValues(t, size, len(out.Values))
		}
		require.NoError(t, session.Close())
	})
}
