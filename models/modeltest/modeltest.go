// Package modeltest makes models for tests that no file in the repository could hold: as slow as they are wanted.
package modeltest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
)

// Numbers of ONNX's types.
const (
	floatType = 1
	int64Type = 7
	intKind   = 2 // of an attribute
)

// MaxTokens is how many tokens the model of Slow takes; each word of a text is one.
const MaxTokens = 512

// Slow returns the files of an export by their names: a classifier of two labels with the arithmetic of a transformer's inner
// layers, so many of them and so wide, with the same random weights in each. Padding changes nothing.
func Slow(hidden, layers int) map[string][]byte {
	return map[string][]byte{
		"config.json": fmt.Appendf(nil, `{"architectures": ["BertForSequenceClassification"], "max_position_embeddings": %d, "id2label": {"0": "no", "1": "yes"}}`, MaxTokens),
		"tokenizer.json": []byte(`{"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
			"pre_tokenizer": {"type": "BertPreTokenizer"}, "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
			"max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "good": 1, "bad": 2, "the": 3}}}`),
		"model.onnx": slowGraph(hidden, layers),
	}
}

// message is a protocol buffer while it is written.
type message []byte

func (m message) number(field int, v uint64) message {
	return binary.AppendUvarint(binary.AppendUvarint(m, uint64(field)<<3), v)
}

func (m message) bytes(field int, v []byte) message {
	m = binary.AppendUvarint(binary.AppendUvarint(m, uint64(field)<<3|2), uint64(len(v)))
	return append(m, v...)
}

func (m message) text(field int, v string) message { return m.bytes(field, []byte(v)) }

// graph is a GraphProto while it is written.
type graph struct {
	message
	random *rand.Rand
}

// node adds an operation on inputs, whose result has the name out.
func (g *graph) node(operation, out string, attribute message, inputs ...string) {
	var n message
	for _, in := range inputs {
		n = n.text(1, in)
	}
	n = n.text(2, out).text(4, operation)
	if attribute != nil {
		n = n.bytes(5, attribute)
	}
	g.message = g.message.bytes(1, n)
}

// weights adds a table of random numbers that keep what they multiply at about its size.
func (g *graph) weights(name string, rows, columns int) {
	raw := make([]byte, 0, 4*rows*columns)
	scale := 1 / math.Sqrt(float64(rows))
	for range rows * columns {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(g.random.NormFloat64()*scale)))
	}
	g.message = g.message.bytes(5, message{}.number(1, uint64(rows)).number(1, uint64(columns)).number(2, floatType).text(8, name).bytes(9, raw))
}

// axis adds a list of one number.
func (g *graph) axis(name string, v int64) {
	g.message = g.message.bytes(5, message{}.number(1, 1).number(2, int64Type).text(8, name).bytes(9, binary.LittleEndian.AppendUint64(nil, uint64(v))))
}

// value describes an input or output.
func value(name string, kind uint64, dimensions ...any) message {
	var shape message
	for _, d := range dimensions {
		switch d := d.(type) {
		case string:
			shape = shape.bytes(1, message{}.text(2, d))
		case int:
			shape = shape.bytes(1, message{}.number(1, uint64(d)))
		}
	}
	return message{}.text(1, name).bytes(2, message{}.bytes(1, message{}.number(1, kind).bytes(2, shape)))
}

func slowGraph(hidden, layers int) []byte {
	g := &graph{random: rand.New(rand.NewPCG(1, 2))}
	toFloat := message{}.text(1, "to").number(3, floatType).number(20, intKind)
	g.weights("embedding", 1, hidden)
	g.weights("wide", hidden, 4*hidden)
	g.weights("narrow", 4*hidden, hidden)
	g.weights("head", hidden, 2)
	g.axis("last", 2)
	g.axis("middle", 1)
	g.node("Cast", "ids", toFloat, "input_ids")
	g.node("Cast", "shown", toFloat, "attention_mask")
	g.node("Unsqueeze", "columns", nil, "ids", "last")
	g.node("Unsqueeze", "row", nil, "shown", "middle")
	g.node("MatMul", "x0", nil, "columns", "embedding")
	for i := range layers {
		in, up, on, down, out := fmt.Sprint("x", i), fmt.Sprint("up", i), fmt.Sprint("on", i), fmt.Sprint("down", i), fmt.Sprint("x", i+1)
		g.node("MatMul", up, nil, in, "wide")
		g.node("Relu", on, nil, up)
		g.node("MatMul", down, nil, on, "narrow")
		g.node("Tanh", out, nil, down)
	}
	g.node("MatMul", "pooled", nil, "row", fmt.Sprint("x", layers))
	g.node("MatMul", "scores", nil, "pooled", "head")
	g.node("Squeeze", "logits", nil, "scores", "middle")
	g.message = g.text(2, "slow").bytes(11, value("input_ids", int64Type, "batch", "tokens")).bytes(11, value("attention_mask", int64Type, "batch", "tokens")).
		bytes(12, value("logits", floatType, "batch", 2))
	return message{}.number(1, 8).bytes(7, g.message).bytes(8, message{}.number(2, 13))
}
