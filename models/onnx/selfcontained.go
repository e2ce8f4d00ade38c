package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errMalformed is returned for bytes that are no protocol buffer.
var errMalformed = errors.New("it is no ONNX file, or a damaged one")

// Numbers of the fields of ONNX's protocol buffers that lead to tensors, by message.
const (
	inModel = iota
	inGraph
	inNode
	inAttribute
	inSparse
	inTensor
	inFunction
)

// externalData and dataLocation are the fields of a tensor whose values lie in another file.
const (
	externalData = 13
	dataLocation = 14
)

var nested = map[int]map[uint64]int{
	inModel:     {7: inGraph, 25: inFunction},
	inFunction:  {7: inNode},
	inGraph:     {1: inNode, 5: inTensor, 15: inSparse},
	inNode:      {5: inAttribute},
	inAttribute: {5: inTensor, 6: inGraph, 10: inTensor, 11: inGraph, 22: inSparse, 23: inSparse},
	inSparse:    {1: inTensor, 2: inTensor},
}

// maxNesting bounds graphs inside of graphs.
const maxNesting = 64

// SelfContained refuses a model whose tensors lie in other files: ONNX Runtime would open whatever path it names.
func SelfContained(model []byte) error {
	if err := walk(model, inModel, 0); err != nil {
		return fmt.Errorf("read model: %w", err)
	}
	return nil
}

func walk(message []byte, kind, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("it is nested more than %d levels deep", maxNesting)
	}
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return errMalformed
		}
		message = message[n:]
		field := tag >> 3
		if kind == inTensor && (field == externalData || field == dataLocation && len(message) > 0 && message[0] != 0) {
			return errors.New("its tensors lie in another file (external data); export it as one file")
		}
		body, rest, err := cutField(message, tag&7)
		if err != nil {
			return err
		}
		message = rest
		if inner, ok := nested[kind][field]; ok && tag&7 == 2 {
			if err := walk(body, inner, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutField splits off the value of a field by its wire type.
func cutField(b []byte, wire uint64) (body, rest []byte, err error) {
	size := uint64(0)
	switch wire {
	case 0:
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, nil, errMalformed
		}
		size = uint64(n)
	case 1:
		size = 8
	case 2:
		length, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, nil, errMalformed
		}
		b, size = b[n:], length
	case 5:
		size = 4
	default:
		return nil, nil, errMalformed
	}
	if size > uint64(len(b)) {
		return nil, nil, errMalformed
	}
	return b[:size], b[size:], nil
}
