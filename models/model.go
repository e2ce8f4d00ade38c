package models

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"smelt/models/onnx"
	"smelt/models/tokenizer"
	"smelt/models/train"
)

// Names of the files of a model.
const (
	configFile    = "config.json"
	tokenizerFile = "tokenizer.json"
	onnxFile      = "model.onnx"
	headFile      = "head.json" // of a trained one, instead of the others
)

// defaultThreshold decides a label of a multi-label model that brings no thresholds of its own.
const defaultThreshold = 0.5

// model is one version that can be run: its files are opened at first use.
type model struct {
	info     Info
	settings settings
	prepare  func(string) string
	read     func(name string) ([]byte, error)

	opening sync.Mutex   // held while the files are opened, which takes a second; taken before use
	used    atomic.Int64 // when it was used last, nanoseconds since 1970; 0 while it is not loaded

	use     sync.RWMutex // held for reading by runs, and for writing when the session comes or goes; guards what follows
	closed  bool         // for good
	tokens  *tokenizer.Tokenizer
	session *onnx.Session // nil while it is not loaded
	head    *train.Head   // of a trained one, instead of tokens and session
}

// newModel describes a version; nothing is opened.
func newModel(name string, v *version, read func(name string) ([]byte, error)) (*model, error) {
	prepare, err := preprocessor(v.Settings.Preprocess)
	if err != nil {
		return nil, err
	}
	if prefix := v.Settings.Prefix; prefix != "" {
		text := prepare
		prepare = func(s string) string { return prefix + text(s) }
	}
	return &model{info: v.info(name), settings: v.Settings, prepare: prepare, read: read}, nil
}

// open loads tokenizer and graph, once, and checks that they belong together.
func (m *model) open() error {
	m.opening.Lock()
	defer m.opening.Unlock()
	if m.used.Load() != 0 {
		return nil
	}
	text, err := m.read(tokenizerFile)
	if err != nil {
		return err
	}
	graph, err := m.read(onnxFile)
	if err != nil {
		return err
	}
	tokens, err := tokenizer.Load(text)
	if err != nil {
		return err
	}
	if size := m.settings.VocabSize; size > 0 && tokens.Size() > size {
		return fmt.Errorf("the tokenizer has ids up to %d, the model knows %d", tokens.Size()-1, size)
	}
	if err := onnx.SelfContained(graph); err != nil {
		return err
	}
	outputs := []string{"logits"}
	if m.settings.Kind == Encoder {
		outputs = []string{"sentence_embedding", "last_hidden_state", "token_embeddings"}
	}
	if m.settings.Output != "" {
		outputs = []string{m.settings.Output}
	}
	session, err := onnx.Open(graph, m.settings.Inputs, outputs...)
	if err != nil {
		return err
	}
	width := session.Width()
	if m.settings.Kind == Classifier && width != 0 && width != len(m.settings.Labels) {
		return errors.Join(fmt.Errorf("the model has %d outputs, its configuration %d labels", width, len(m.settings.Labels)), session.Close())
	}
	if m.settings.Kind == Encoder && m.settings.Dimension != 0 && width != 0 && width != m.settings.Dimension {
		return errors.Join(fmt.Errorf("the model has %d outputs, its configuration says dimension %d", width, m.settings.Dimension), session.Close())
	}
	m.use.Lock()
	defer m.use.Unlock()
	if m.closed {
		return errors.Join(m.gone(), session.Close())
	}
	m.tokens, m.session = tokens, session
	m.used.Store(time.Now().UnixNano())
	return nil
}

func (m *model) gone() error {
	return fmt.Errorf("%w: version %d of %q was dropped, or the models are closed", ErrUnknownModel, m.info.Version, m.info.Name)
}

// acquire keeps the session until release; ok is false where there is none now.
func (m *model) acquire() (release func(), ok bool, err error) {
	m.use.RLock()
	if m.closed || m.session == nil && m.head == nil && m.settings.Remote == nil {
		defer m.use.RUnlock()
		if m.closed {
			err = m.gone()
		}
		return nil, false, err
	}
	m.used.Store(time.Now().UnixNano())
	return m.use.RUnlock, true, nil
}

// unload frees the session of a model that nobody uses in this moment; its next call opens it again.
func (m *model) unload() error {
	if !m.opening.TryLock() {
		return nil
	}
	defer m.opening.Unlock()
	if !m.use.TryLock() {
		return nil
	}
	defer m.use.Unlock()
	if m.session == nil {
		return nil
	}
	err := m.session.Close()
	m.session, m.tokens = nil, nil
	m.used.Store(0)
	return err
}

// close frees the session. It waits for runs.
func (m *model) close() error {
	m.use.Lock()
	defer m.use.Unlock()
	if m.closed = true; m.session == nil {
		return nil
	}
	err := m.session.Close()
	m.session = nil
	m.used.Store(0)
	if err != nil {
		return fmt.Errorf("close model %q: %w", m.info.Name, err)
	}
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
	if c.Score = probabilities[best]; c.Score >= m.settings.Abstain {
		c.Label = m.info.Labels[best]
	}
	if m.info.MultiLabel {
		c.Selected = m.selected(c.Scores)
	}
	return c, nil
}

// selected returns the labels that reach their thresholds, most likely first.
func (m *model) selected(scores []LabelScore) []string {
	var over []LabelScore
	for i, s := range scores {
		if s.Score >= m.settings.Thresholds[i] {
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
