package train

import (
	"encoding/binary"
	"math"
)

// Versions of the format: what operators Gemm, Softmax and Sigmoid have meant since, and what ONNX Runtime of 2021 on reads.
const (
	onnxFormat    = 7
	onnxOperators = 13
)

// Types of the fields of ONNX, which are those of Protocol Buffers.
const (
	wireNumber, wireBytes = 0, 2
	typeFloat             = 1 // of tensors, and of attributes
	typeInt               = 2 // of attributes
)

// message is a text of Protocol Buffers.
type message []byte

func (m message) key(field, wire uint64) message { return binary.AppendUvarint(m, field<<3|wire) }

func (m message) number(field uint64, v int) message {
	return binary.AppendUvarint(m.key(field, wireNumber), uint64(v))
}

func (m message) bytes(field uint64, v []byte) message {
	return append(binary.AppendUvarint(m.key(field, wireBytes), uint64(len(v))), v...)
}

func (m message) text(field uint64, v string) message { return m.bytes(field, []byte(v)) }

// ONNX returns the head as a graph: embeddings of length 1 in (rows x dimension), "logits" and "probabilities" out (rows x
// labels). The temperature is in the weights.
func (h *Head) ONNX() []byte {
	final := "Softmax"
	if h.Function == sigmoid {
		final = "Sigmoid"
	}
	var weights, bias []byte
	scaled := func(b []byte, v float32) []byte {
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(float64(v)/h.Temperature)))
	}
	for k, row := range h.Weights {
		for _, w := range row {
			weights = scaled(weights, w)
		}
		bias = scaled(bias, h.Bias[k])
	}
	n, dim := len(h.Labels), h.Dimension()
	gemm := message{}.text(1, "embedding").text(1, "weights").text(1, "bias").text(2, "logits").text(4, "Gemm").
		bytes(5, message{}.text(1, "transB").number(3, 1).number(20, typeInt))
	last := message{}.text(1, "logits").text(2, "probabilities").text(4, final)
	if final == "Softmax" {
		last = last.bytes(5, message{}.text(1, "axis").number(3, 1).number(20, typeInt))
	}
	graph := message{}.bytes(1, gemm).bytes(1, last).text(2, "head").
		bytes(5, tensor("weights", weights, n, dim)).bytes(5, tensor("bias", bias, n)).
		bytes(11, value("embedding", dim)).bytes(12, value("logits", n)).bytes(12, value("probabilities", n))
	return message{}.number(1, onnxFormat).text(2, "smelt").bytes(7, graph).bytes(8, message{}.number(2, onnxOperators))
}

func tensor(name string, values []byte, dims ...int) message {
	m := message{}
	for _, d := range dims {
		m = m.number(1, d)
	}
	return m.number(2, typeFloat).text(8, name).bytes(9, values)
}

// value describes rows of some width, as many as there are.
func value(name string, width int) message {
	shape := message{}.bytes(1, message{}.text(2, "rows")).bytes(1, message{}.number(1, width))
	return message{}.text(1, name).bytes(2, message{}.bytes(1, message{}.number(1, typeFloat).bytes(2, shape)))
}
