package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"smelt/models/train"
)

// Options of CREATE MODEL and ADD VERSION.
const (
	optionSource     = "source"
	optionKind       = "kind" // or task
	optionTask       = "task"
	optionVariant    = "variant"
	optionMaxLength  = "max_length"
	optionPooling    = "pooling"
	optionLabels     = "labels"
	optionThresholds = "thresholds" // or threshold: one for all
	optionThreshold  = "threshold"
	optionFunction   = "function_to_apply"
	optionProblem    = "problem_type"
	optionOutput     = "output" // of the graph
	optionInputs     = "inputs" // of the graph: input_ids = their_name, ...
	optionPrefix     = "prefix" // stands before every text
	optionPreprocess = "preprocess"
	optionSpecial    = "special_tokens"
	optionLicense    = "license"
)

var knownOptions = []string{optionSource, optionKind, optionTask, optionVariant, optionMaxLength, optionPooling, optionLabels, optionThresholds, optionThreshold,
	optionFunction, optionProblem, optionOutput, optionInputs, optionPreprocess, optionPrefix, optionSpecial, optionLicense}

// How logits become probabilities.
const (
	softmaxFunction = "softmax"
	sigmoidFunction = "sigmoid"
)

// settings is how a version is run: what its configuration says, and the options where they say otherwise. With the
// files it makes the digest.
type settings struct {
	Kind       string            `json:"kind"`
	Labels     []string          `json:"labels,omitempty"`
	Function   string            `json:"function,omitempty"`
	Thresholds []float64         `json:"thresholds,omitempty"`
	MaxTokens  int               `json:"max_tokens"`
	Pooling    string            `json:"pooling,omitempty"`
	Output     string            `json:"output,omitempty"` // of the graph; "" for that of its kind
	Inputs     map[string]string `json:"inputs,omitempty"` // of the graph, that are not called as usual, by the usual name
	Preprocess string            `json:"preprocess,omitempty"`
	Prefix     string            `json:"prefix,omitempty"`    // stands before every text, when it is prepared
	Special    bool              `json:"special,omitempty"`   // special ids stand around the text
	Dimension  int               `json:"dimension,omitempty"` // of embeddings
	VocabSize  int64             `json:"vocab_size,omitempty"`
	Single     bool              `json:"single,omitempty"` // one text a run: a prediction would depend on its neighbours
	License    string            `json:"license,omitempty"`
	Encoder    string            `json:"encoder,omitempty"` // of a head: ID of the version whose vectors it takes
	Abstain    float64           `json:"abstain,omitempty"` // no label is given below this probability

	Remote *remoteSettings `json:"remote,omitempty"` // of a model that is elsewhere
}

// config is the part of a Hugging Face config.json that is read, and our own part of it.
type config struct {
	Architectures []string          `json:"architectures"`
	ModelType     string            `json:"model_type"`
	ID2Label      map[string]string `json:"id2label"`
	ProblemType   string            `json:"problem_type"`
	Function      string            `json:"function_to_apply"`
	MaxPositions  int               `json:"max_position_embeddings"`
	VocabSize     int64             `json:"vocab_size"`
	PadID         *int64            `json:"pad_token_id"`
	Smelt         *struct {
		Kind          string    `json:"kind"`
		Preprocess    string    `json:"preprocess"`
		Thresholds    []float64 `json:"thresholds"`
		Dimension     int       `json:"dimension"`
		SpecialTokens bool      `json:"special_tokens"`
		License       string    `json:"license"`
	} `json:"smelt"`
}

// settingsOf reads the configuration and then the options.
func settingsOf(text []byte, extra extras, options map[string]string) (settings, error) {
	var c config
	if err := json.Unmarshal(text, &c); err != nil {
		return settings{}, fmt.Errorf("%w: read %s: %w", ErrInvalid, configFile, err)
	}
	s := settings{MaxTokens: maxLength(c, extra), Special: true, Pooling: meanPooling, VocabSize: c.VocabSize, Dimension: extra.Pooling.dimension(), Preprocess: preprocessOf(options[optionSource])}
	if c.Smelt != nil {
		s.Kind, s.Preprocess, s.Special, s.Thresholds = c.Smelt.Kind, c.Smelt.Preprocess, c.Smelt.SpecialTokens, c.Smelt.Thresholds
		s.Dimension, s.License = c.Smelt.Dimension, c.Smelt.License
	}
	if s.Kind == "" && extra.Pooling.there() {
		s.Kind = Encoder // whatever head the architecture was trained with
	}
	if s.Kind == "" {
		s.Kind = kindOf(c)
	}
	if err := s.files(extra, options); err != nil {
		return s, err
	}
	if err := s.labels(c); err != nil {
		return s, err
	}
	if err := s.apply(options); err != nil {
		return s, err
	}
	if err := s.check(); err != nil {
		return s, err
	}
	if n := positions(c); c.Smelt == nil && n > 0 && s.MaxTokens > n {
		return s, fmt.Errorf("%w: %s = %d: the model has positions for %d tokens", ErrInvalid, optionMaxLength, s.MaxTokens, n)
	}
	if options[optionThreshold]+options[optionThresholds] != "" && len(s.Thresholds) == 0 {
		return s, fmt.Errorf("%w: thresholds are for labels that are decided each by itself; say %s = '%s'", ErrInvalid, optionFunction, sigmoidFunction)
	}
	return s, nil
}

// kindOf judges by the architecture; "" leaves it to the outputs of the graph.
func kindOf(c config) string {
	for _, a := range c.Architectures {
		switch {
		case strings.HasSuffix(a, "ForSequenceClassification"):
			return Classifier
		case strings.Contains(a, "For"):
			return a // refused by its name
		case strings.HasSuffix(a, "Model"):
			return Encoder
		}
	}
	return ""
}

// labels reads id2label and how many of the labels a text may have.
func (s *settings) labels(c config) error {
	for i := range len(c.ID2Label) {
		label, ok := c.ID2Label[strconv.Itoa(i)]
		if !ok {
			return fmt.Errorf("%w: read %s: id2label has %d labels and none for %d", ErrInvalid, configFile, len(c.ID2Label), i)
		}
		s.Labels = append(s.Labels, label)
	}
	// The rule of the text-classification pipeline of transformers: one label alone is a sigmoid, too.
	switch {
	case c.ProblemType == "regression":
		s.Function = "regression"
	case c.ProblemType == multiLabelProblem, len(s.Labels) == 1:
		s.Function = sigmoidFunction
	case c.Function == "none" || c.Function == "":
		s.Function = softmaxFunction
	default:
		s.Function = c.Function
	}
	return nil
}

// apply takes what the options say over what the files say.
func (s *settings) apply(options map[string]string) (err error) {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		switch value := options[name]; name {
		case optionKind, optionTask:
			s.Kind, err = kindOption(value)
		case optionMaxLength:
			s.MaxTokens, err = strconv.Atoi(value)
		case optionPooling:
			s.Pooling = strings.ToLower(value)
		case optionLabels:
			s.Labels, err = train.List(value)
		case optionFunction:
			s.Function = strings.ToLower(value)
		case optionProblem:
			s.Function, err = problemOption(value)
		case optionInputs:
			s.Inputs, err = inputsOption(value)
		case optionOutput:
			s.Output = value
		case optionPrefix:
			s.Prefix = value
		case optionPreprocess:
			s.Preprocess = strings.ToLower(value)
		case optionSpecial:
			s.Special, err = strconv.ParseBool(value)
		case optionLicense:
			s.License = value
		}
		if err != nil {
			return fmt.Errorf("%w: option %s = %q: %w", ErrInvalid, name, options[name], err)
		}
	}
	return s.applyThresholds(options)
}

// applyThresholds comes last: one threshold is for as many labels as there are then.
func (s *settings) applyThresholds(options map[string]string) error {
	if one, ok := options[optionThreshold]; ok {
		t, err := strconv.ParseFloat(one, 64)
		if err != nil {
			return fmt.Errorf("%w: option %s = %q: %w", ErrInvalid, optionThreshold, one, err)
		}
		s.Thresholds = slices.Repeat([]float64{t}, len(s.Labels))
	}
	if list, ok := options[optionThresholds]; ok {
		s.Thresholds = nil
		if err := json.Unmarshal([]byte("["+strings.Trim(list, "[] ")+"]"), &s.Thresholds); err != nil {
			return fmt.Errorf("%w: option %s = %q: %w", ErrInvalid, optionThresholds, list, err)
		}
	}
	return nil
}

func kindOption(value string) (string, error) {
	switch v := strings.ToLower(value); v {
	case Classifier, "text-classification", "sentiment-analysis":
		return Classifier, nil
	case Encoder, "feature-extraction", "sentence-similarity":
		return Encoder, nil
	}
	return "", fmt.Errorf("known are %s (text-classification) and %s (feature-extraction)", Classifier, Encoder)
}

// check refuses settings that cannot be run. A kind that is not known yet is judged with the graph.
func (s *settings) check() error {
	if s.MaxTokens <= 0 || s.MaxTokens > maxTokens {
		return fmt.Errorf("%w: it takes %d tokens, which is not between 1 and %d; say %s", ErrInvalid, s.MaxTokens, maxTokens, optionMaxLength)
	}
	if _, err := preprocessor(s.Preprocess); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := checkPooling(s.Pooling); err != nil {
		return err
	}
	switch s.Kind {
	case "":
		return nil
	case Encoder:
		s.Labels, s.Function, s.Thresholds = nil, "", nil
		return nil
	case Classifier:
		s.Pooling, s.Dimension = "", 0
		return s.checkLabels()
	}
	return fmt.Errorf("%w: a model of the kind %q is not supported; known are %s and %s (option %s)", ErrInvalid, s.Kind, Classifier, Encoder, optionKind)
}

func (s *settings) checkLabels() error {
	if len(s.Labels) == 0 {
		return fmt.Errorf("%w: a classifier needs labels: %s has no id2label; say %s = 'a,b'", ErrInvalid, configFile, optionLabels)
	}
	for i, l := range s.Labels {
		if l == "" || slices.Contains(s.Labels[:i], l) {
			return fmt.Errorf("%w: label %d, %q, is empty or there twice", ErrInvalid, i, l)
		}
	}
	if s.Function != softmaxFunction && s.Function != sigmoidFunction {
		return fmt.Errorf("%w: %s %q is not supported; known are %s and %s (option %s)", ErrInvalid, optionFunction, s.Function, softmaxFunction, sigmoidFunction, optionFunction)
	}
	if s.Function == softmaxFunction {
		s.Thresholds = nil // one label is the most likely, whatever its probability
		return nil
	}
	if len(s.Thresholds) == 0 {
		s.Thresholds = slices.Repeat([]float64{defaultThreshold}, len(s.Labels))
	}
	if len(s.Thresholds) != len(s.Labels) {
		return fmt.Errorf("%w: %d thresholds for %d labels", ErrInvalid, len(s.Thresholds), len(s.Labels))
	}
	return nil
}

// digestOf is SHA-256 over everything that a prediction depends on: graph, tokenizer and settings.
func digestOf(files map[string]string, s settings) (string, error) {
	s.License, s.Single = "", false // change no prediction
	if s.Remote != nil {
		s.Remote, s.Dimension = &remoteSettings{Spec: s.Remote.Spec}, 0 // the server gives it
	}
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("digest of settings: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n%s %s\nsettings %s\n", onnxFile, files[onnxFile], tokenizerFile, files[tokenizerFile], text)
	if head, ok := files[headFile]; ok {
		fmt.Fprintf(&b, "%s %s\n", headFile, head)
	}
	return sumOf(b.Bytes()), nil
}

// sumOf is the SHA-256 of data, hexadecimal.
func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
