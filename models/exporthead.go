package models

import (
	"encoding/json"
	"fmt"
	"strconv"

	"smelt/models/train"
)

// ExportHead returns the files of a version that was trained here, for other programs: model.onnx takes embeddings of its
// encoder, of length 1, and config.json says what labels its outputs have, as transformers does, and which encoder that is.
func (r *Registry) ExportHead(ref string) (map[string][]byte, error) {
	m, err := r.described(ref)
	if err != nil {
		return nil, fmt.Errorf("export model: %w", err)
	}
	if m.settings.Encoder == "" {
		return nil, fmt.Errorf("export model %q: %w: version %d was not trained here, its files are those that it was made of", m.info.Name, ErrInvalid, m.info.Version)
	}
	text, err := m.read(headFile)
	if err != nil {
		return nil, fmt.Errorf("export model %q: %w", m.info.Name, err)
	}
	h, err := train.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("export model %q: %w", m.info.Name, err)
	}
	config := map[string]any{"id2label": map[string]string{}, "label2id": map[string]int{}, "problem_type": "single_label_classification",
		"encoder": h.Encoder, "temperature": h.Temperature, "input": "embedding", "normalize": true, "rows_sha256": h.RowsDigest}
	for i, label := range h.Labels {
		config["id2label"].(map[string]string)[strconv.Itoa(i)] = label
		config["label2id"].(map[string]int)[label] = i
	}
	if m.info.MultiLabel {
		config["problem_type"], config["thresholds"] = "multi_label_classification", h.Thresholds
	}
	if m.settings.Abstain > 0 {
		config["abstain"] = m.settings.Abstain
	}
	said, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("export model %q: %w", m.info.Name, err)
	}
	return map[string][]byte{onnxFile: h.ONNX(), configFile: append(said, '\n'), headFile: text}, nil
}
