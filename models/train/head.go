package train

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Names of functions that make probabilities of logits.
const (
	softmax = "softmax"
	sigmoid = "sigmoid"
)

// format names the layout of a head's file.
const format = "smelt-head/1"

// maxDimension bounds the vectors of a head that is read.
const maxDimension = 1 << 16

// Encoder says which vectors a head was fitted on. Those of any other encoder mean nothing to it.
type Encoder struct {
	Name            string `json:"name"`
	Version         int    `json:"version"`
	Digest          string `json:"digest"` // of graph, tokenizer and settings
	Source          string `json:"source"`
	GraphSHA256     string `json:"graph_sha256"`
	TokenizerSHA256 string `json:"tokenizer_sha256"`
	Precision       string `json:"precision"` // of its arithmetic: fp32, or int8 where texts run one at a time
	Pooling         string `json:"pooling"`
	Preprocess      string `json:"preprocess"`
	MaxTokens       int    `json:"max_tokens"`
	Dimension       int    `json:"dimension"`
}

// Head turns an embedding of length 1 into a logit for each label. As JSON it is the file that a model keeps.
type Head struct {
	Format      string      `json:"format"`
	Encoder     Encoder     `json:"encoder"`
	Labels      []string    `json:"labels"`
	Function    string      `json:"function"` // softmax or sigmoid
	Weights     [][]float32 `json:"-"`        // labels x dimension
	Bias        []float32   `json:"-"`
	C           float64     `json:"c"`
	Temperature float64     `json:"temperature"` // logits are divided by it
	Thresholds  []float64   `json:"thresholds,omitempty"`
	Rows        int         `json:"rows"`
	RowsDigest  string      `json:"rows_sha256"` // of the texts and labels that it learned from
	Seed        uint64      `json:"seed"`
	Folds       int         `json:"folds"`

	Packed     string `json:"weights"` // Weights, little-endian float32, row by row, in base64
	PackedBias string `json:"bias"`
}

// take sets the weights of a fit; one output for two labels becomes two.
func (h *Head) take(p *problem, w []float64) {
	scales := []float64{1}
	if p.pair {
		scales = []float64{-0.5, 0.5}
	}
	for k := range p.outputs() {
		row := w[k*(p.dim+1) : (k+1)*(p.dim+1)]
		for _, scale := range scales {
			weights := make([]float32, p.dim)
			for j := range weights {
				weights[j] = float32(scale * row[j])
			}
			h.Weights, h.Bias = append(h.Weights, weights), append(h.Bias, float32(scale*row[p.dim]))
		}
	}
}

// Dimension is the length of the embeddings that it takes.
func (h *Head) Dimension() int { return len(h.Weights[0]) }

// Logits returns one for each label, divided by the temperature. The vector must have the head's dimension.
func (h *Head) Logits(vector []float32) []float32 {
	out := make([]float32, len(h.Weights))
	for k, row := range h.Weights {
		z := float64(h.Bias[k])
		for j, w := range row {
			z += float64(w) * float64(vector[j])
		}
		out[k] = float32(z / h.Temperature)
	}
	return out
}

// Encode returns the file of the head. Equal heads have equal files.
func (h *Head) Encode() ([]byte, error) {
	out := *h
	out.Format, out.Packed, out.PackedBias = format, pack(slices.Concat(h.Weights...)), pack(h.Bias)
	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode head: %w", err)
	}
	return text, nil
}

// Decode reads the file of a head; one that could not have been written by Encode is an error.
func Decode(text []byte) (*Head, error) {
	h := &Head{}
	if err := json.Unmarshal(text, h); err != nil {
		return nil, fmt.Errorf("read head: %w", err)
	}
	if h.Format != format {
		return nil, fmt.Errorf("read head: its format is %q, this version reads %s", h.Format, format)
	}
	n, dim := len(h.Labels), h.Encoder.Dimension
	if n < 1 || n > MaxLabels || dim < 1 || dim > maxDimension || h.Function != softmax && h.Function != sigmoid {
		return nil, fmt.Errorf("read head: it has %d labels, vectors of %d and the function %q", n, dim, h.Function)
	}
	if !(h.Temperature >= minTemperature/2 && h.Temperature <= 2*maxTemperature) {
		return nil, fmt.Errorf("read head: its temperature is %v", h.Temperature)
	}
	if h.Function == sigmoid && len(h.Thresholds) != n {
		return nil, fmt.Errorf("read head: %d thresholds for %d labels", len(h.Thresholds), n)
	}
	weights, err := unpack(h.Packed, n*dim)
	if err != nil {
		return nil, fmt.Errorf("read the weights of the head: %w", err)
	}
	if h.Bias, err = unpack(h.PackedBias, n); err != nil {
		return nil, fmt.Errorf("read the bias of the head: %w", err)
	}
	h.Weights = slices.Collect(slices.Chunk(weights, dim))
	h.Packed, h.PackedBias = "", ""
	return h, nil
}

func pack(values []float32) string {
	b := make([]byte, 0, 4*len(values))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return base64.StdEncoding.EncodeToString(b)
}

func unpack(text string, n int) ([]float32, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	if len(b) != 4*n {
		return nil, fmt.Errorf("%d bytes for %d numbers", len(b), n)
	}
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		if v := float64(out[i]); math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("number %d is %v", i, v)
		}
	}
	return out, nil
}
