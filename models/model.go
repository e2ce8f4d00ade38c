package models

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"

	"smelt/models/onnx"
	"smelt/models/tokenizer"
)

// Names of the files of a model.
const (
	configFile    = "config.json"
	tokenizerFile = "tokenizer.json"
	onnxFile      = "model.onnx"
)

// defaultThreshold decides a label of a multi-label model that brings no thresholds of its own.
const defaultThreshold = 0.5

// model is one model: described from its configuration, open once it has a session.
type model struct {
	info       Info
	files      fs.FS
	prepare    func(string) string
	specials   bool // special ids stand around the text
	thresholds []float64

	tokens  *tokenizer.Tokenizer
	session *onnx.Session
}

// config is the part of a Hugging Face config.json that is read, and our own part of it.
type config struct {
	ID2Label     map[string]string `json:"id2label"`
	ProblemType  string            `json:"problem_type"`
	MaxPositions int               `json:"max_position_embeddings"`
	Smelt        struct {
		Kind          string    `json:"kind"`
		Preprocess    string    `json:"preprocess"`
		Thresholds    []float64 `json:"thresholds"`
		Dimension     int       `json:"dimension"`
		SpecialTokens bool      `json:"special_tokens"`
		Version       string    `json:"version"`
		License       string    `json:"license"`
	} `json:"smelt"`
}

// describe reads the configuration of a model.
func describe(name string, files fs.FS) (*model, error) {
	text, err := fs.ReadFile(files, configFile)
	if err != nil {
		return nil, err
	}
	var c config
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("read %s: %w", configFile, err)
	}
	m := &model{files: files, specials: c.Smelt.SpecialTokens, thresholds: c.Smelt.Thresholds}
	m.info = Info{Name: name, Kind: c.Smelt.Kind, Version: c.Smelt.Version, License: c.Smelt.License, Dimension: c.Smelt.Dimension, MaxTokens: c.MaxPositions}
	if m.prepare, err = preprocessor(c.Smelt.Preprocess); err != nil {
		return nil, err
	}
	if m.info.MaxTokens <= 0 || m.info.MaxTokens > maxTokens {
		return nil, fmt.Errorf("read %s: max_position_embeddings %d is not between 1 and %d", configFile, m.info.MaxTokens, maxTokens)
	}
	switch m.info.Kind {
	case Encoder:
	case Classifier:
		if err := m.labels(c); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("read %s: kind %q is neither %s nor %s", configFile, m.info.Kind, Classifier, Encoder)
	}
	m.info.Digest, err = digest(files, []string{configFile, onnxFile, tokenizerFile})
	return m, err
}

// labels reads id2label and how many of the labels a text may have.
func (m *model) labels(c config) error {
	for i := range len(c.ID2Label) {
		label, ok := c.ID2Label[strconv.Itoa(i)]
		if !ok {
			return fmt.Errorf("read %s: id2label has %d labels and none for %d", configFile, len(c.ID2Label), i)
		}
		m.info.Labels = append(m.info.Labels, label)
	}
	if len(m.info.Labels) == 0 {
		return fmt.Errorf("read %s: id2label is empty", configFile)
	}
	// The rule of the text-classification pipeline of transformers: one label alone is a sigmoid, too.
	m.info.MultiLabel = c.ProblemType == "multi_label_classification" || len(m.info.Labels) == 1
	if m.info.MultiLabel && len(m.thresholds) == 0 {
		m.thresholds = slices.Repeat([]float64{defaultThreshold}, len(m.info.Labels))
	}
	if m.info.MultiLabel && len(m.thresholds) != len(m.info.Labels) {
		return fmt.Errorf("read %s: %d thresholds for %d labels", configFile, len(m.thresholds), len(m.info.Labels))
	}
	return nil
}

// open loads tokenizer and graph and checks that they belong together.
func (m *model) open() error {
	text, err := fs.ReadFile(m.files, tokenizerFile)
	if err != nil {
		return err
	}
	if m.tokens, err = tokenizer.Load(text); err != nil {
		return err
	}
	graph, err := fs.ReadFile(m.files, onnxFile)
	if err != nil {
		return err
	}
	outputs := []string{"logits"}
	if m.info.Kind == Encoder {
		outputs = []string{"sentence_embedding", "last_hidden_state", "token_embeddings"}
	}
	session, err := onnx.Open(graph, outputs...)
	if err != nil {
		return err
	}
	width := session.Width()
	if m.info.Kind == Classifier && width != 0 && width != len(m.info.Labels) {
		return errors.Join(fmt.Errorf("the model has %d outputs, its configuration %d labels", width, len(m.info.Labels)), session.Close())
	}
	if m.info.Kind == Encoder && m.info.Dimension != 0 && width != 0 && width != m.info.Dimension {
		return errors.Join(fmt.Errorf("the model has %d outputs, its configuration says dimension %d", width, m.info.Dimension), session.Close())
	}
	m.session = session
	return nil
}

// classification makes probabilities of the logits of one text.
func (m *model) classification(logits []float32) (Classification, error) {
	if len(logits) != len(m.info.Labels) {
		return Classification{}, fmt.Errorf("the model gave %d values for %d labels", len(logits), len(m.info.Labels))
	}
	c := Classification{Scores: make([]LabelScore, len(logits))}
	probabilities := softmax(logits)
	if m.info.MultiLabel {
		probabilities = sigmoid(logits)
	}
	best := 0
	for i, p := range probabilities {
		if math.IsNaN(p) {
			return Classification{}, fmt.Errorf("the model gave no number for label %q", m.info.Labels[i])
		}
		c.Scores[i] = LabelScore{m.info.Labels[i], p}
		if p > probabilities[best] {
			best = i
		}
	}
	c.Label, c.Score = m.info.Labels[best], probabilities[best]
	if m.info.MultiLabel {
		c.Selected = m.selected(c.Scores)
	}
	return c, nil
}

// selected returns the labels that reach their thresholds, most likely first.
func (m *model) selected(scores []LabelScore) []string {
	var over []LabelScore
	for i, s := range scores {
		if s.Score >= m.thresholds[i] {
			over = append(over, s)
		}
	}
	slices.SortStableFunc(over, func(a, b LabelScore) int { return cmp.Compare(b.Score, a.Score) })
	labels := make([]string, len(over))
	for i, s := range over {
		labels[i] = s.Label
	}
	return labels
}

func softmax(logits []float32) []float64 {
	most := math.Inf(-1)
	for _, l := range logits {
		most = max(most, float64(l))
	}
	out := make([]float64, len(logits))
	sum := 0.0
	for i, l := range logits {
		out[i] = math.Exp(float64(l) - most)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func sigmoid(logits []float32) []float64 {
	out := make([]float64, len(logits))
	for i, l := range logits {
		out[i] = 1 / (1 + math.Exp(-float64(l)))
	}
	return out
}

// normalized scales a vector to length 1; a vector of zeros, or one that holds no number, becomes zeros.
func normalized(v []float32) []float32 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	out := make([]float32, len(v))
	if length := math.Sqrt(sum); length > 0 && !math.IsInf(length, 0) && !math.IsNaN(length) {
		for i, x := range v {
			out[i] = float32(float64(x) / length)
		}
	}
	return out
}
