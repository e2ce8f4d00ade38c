package models

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	ort "github.com/yalue/onnxruntime_go"
)

// TestAnExportedHeadSaysInONNXRuntimeWhatTheModelSays runs the graph beside the library's sessions of the encoder.
func TestAnExportedHeadSaysInONNXRuntimeWhatTheModelSays(t *testing.T) {
	r := openOn(t, newDisk())
	ctx := context.Background()
	var many [][2]string
	for _, row := range labelled(20) {
		many = append(many, [2]string{row[0], `["` + row[1] + `"]`}, [2]string{row[0] + " and more", `["` + row[1] + `", "long"]`})
	}
	texts := append([]string{"", "it is late", "shares of the club fell after the match"}, probeTexts...)
	for name, options := range map[string]map[string]string{"one": nil, "several": {"multi_label": "true"}} {
		rows := labelled(20)
		if options != nil {
			rows = many
		}
		rows = append(rows, [2]string{"flour and butter", rows[1][1]}) // not to be told apart
		info, _, _, err := r.Train(ctx, lesson(t, name, rows, options))
		require.NoError(t, err)
		files, err := r.ExportHead("models:/" + name + "@production")
		require.NoError(t, err)
		var config struct {
			ID2Label    map[string]string `json:"id2label"`
			ProblemType string            `json:"problem_type"`
		}
		require.NoError(t, json.Unmarshal(files[configFile], &config))
		require.Len(t, config.ID2Label, len(info.Labels))
		require.Equal(t, info.Labels[1], config.ID2Label["1"])
		require.Equal(t, info.MultiLabel, config.ProblemType == "multi_label_classification")

		vectors, err := r.Embed(ctx, "encoder", texts)
		require.NoError(t, err)
		said, err := r.Classify(ctx, name, texts)
		require.NoError(t, err)
		session, err := ort.NewDynamicAdvancedSessionWithONNXData(files[onnxFile], []string{"embedding"}, []string{"logits", "probabilities"}, nil)
		require.NoError(t, err)
		var flat []float32
		for _, v := range vectors {
			flat = append(flat, v...)
		}
		input, err := ort.NewTensor(ort.NewShape(int64(len(texts)), int64(len(vectors[0]))), flat)
		require.NoError(t, err)
		out := []ort.Value{nil, nil}
		require.NoError(t, session.Run([]ort.Value{input}, out))
		probabilities := out[1].(*ort.Tensor[float32]).GetData()
		for i, c := range said {
			for k, s := range c.Scores {
				require.InDelta(t, s.Score, probabilities[i*len(c.Scores)+k], 1e-5, "%s: %q, label %s", name, texts[i], s.Label)
			}
		}
		for _, v := range append(out, input) {
			require.NoError(t, v.Destroy())
		}
		require.NoError(t, session.Destroy())
	}
	_, err := r.ExportHead("sentiment")
	require.ErrorContains(t, err, "was not trained here")
	_, err = r.ExportHead("nobody")
	require.ErrorIs(t, err, ErrUnknownModel)
}
