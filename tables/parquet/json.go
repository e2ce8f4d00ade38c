package parquet

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"smelt/tables/batch"
)

// leafText appends value i of a column as JSON.
type leafText func(out []byte, col *batch.Column, i int) ([]byte, error)

// leafForm returns how the values of a leaf are read, and how they are written as JSON.
func leafForm(typ pq.Type) (conversion, leafText, error) {
	t, text := leafType(typ)
	if text == nil {
		return conversion{}, nil, fmt.Errorf("nested values of type %s are not supported", typ)
	}
	c, err := convert(t, typ)
	return c, text, err
}

func leafType(typ pq.Type) (batch.Type, leafText) {
	var logical any
	if l := typ.LogicalType(); l != nil {
		logical = l.Value
	}
	if scale := decimalScale(typ); scale >= 0 {
		return batch.Type{Kind: batch.Decimal, Precision: 38, Scale: scale}, decimalJSON(scale)
	}
	switch typ.Kind() {
	case pq.Boolean:
		return batch.Type{Kind: batch.Boolean}, boolJSON
	case pq.Int32:
		if _, ok := logical.(*format.DateType); ok {
			return batch.Type{Kind: batch.Date}, dateJSON
		}
		if l, ok := logical.(*format.IntType); ok && !l.IsSigned {
			return batch.Type{Kind: batch.Long}, unsigned32JSON
		}
		return batch.Type{Kind: batch.Long}, intJSON
	case pq.Int64:
		if _, ok := timestampUnit(typ); ok {
			return batch.Type{Kind: batch.Timestamp}, timeJSON
		}
		if l, ok := logical.(*format.IntType); ok && !l.IsSigned {
			return batch.Type{Kind: batch.Long}, unsigned64JSON
		}
		return batch.Type{Kind: batch.Long}, intJSON
	case pq.Int96:
		return batch.Type{Kind: batch.Timestamp}, timeJSON
	case pq.Float:
		return batch.Type{Kind: batch.Float}, floatJSON(32)
	case pq.Double:
		return batch.Type{Kind: batch.Double}, floatJSON(64)
	case pq.ByteArray:
		switch logical.(type) {
		case *format.StringType, *format.EnumType, *format.JsonType:
			return batch.Type{Kind: batch.String}, textJSON
		}
		return batch.Type{Kind: batch.Binary}, binaryJSON
	case pq.FixedLenByteArray:
		return batch.Type{Kind: batch.Binary}, binaryJSON
	default:
		return batch.Type{}, nil
	}
}

// appendText appends a JSON string; what is no UTF-8 in it becomes U+FFFD.
func appendText(out []byte, s string) []byte {
	quoted, err := jsontext.AppendQuote(out, strings.ToValidUTF8(s, string(utf8.RuneError)))
	if err != nil { // cannot be: all of it is UTF-8
		return append(out, "null"...)
	}
	return quoted
}

func textJSON(out []byte, col *batch.Column, i int) ([]byte, error) {
	return appendText(out, col.Strings[i]), nil
}

func binaryJSON(out []byte, col *batch.Column, i int) ([]byte, error) {
	return appendText(out, base64.StdEncoding.EncodeToString([]byte(col.Strings[i]))), nil
}

func boolJSON(out []byte, col *batch.Column, i int) ([]byte, error) {
	return strconv.AppendBool(out, col.Bools[i]), nil
}

func intJSON(out []byte, col *batch.Column, i int) ([]byte, error) {
	return strconv.AppendInt(out, col.Ints[i], 10), nil
}

func unsigned32JSON(out []byte, col *batch.Column, i int) ([]byte, error) {
	return strconv.AppendUint(out, uint64(uint32(col.Ints[i])), 10), nil
}

func unsigned64JSON(out []byte, col *batch.Column, i int) ([]byte, error) {
	return strconv.AppendUint(out, uint64(col.Ints[i]), 10), nil
}

// floatJSON writes the shortest number that reads back as the same; what JSON has no number for is a text.
func floatJSON(bits int) leafText {
	return func(out []byte, col *batch.Column, i int) ([]byte, error) {
		v := col.Floats[i]
		switch {
		case math.IsNaN(v):
			return append(out, `"NaN"`...), nil
		case math.IsInf(v, 1):
			return append(out, `"Infinity"`...), nil
		case math.IsInf(v, -1):
			return append(out, `"-Infinity"`...), nil
		case v == math.Trunc(v) && math.Abs(v) < 1e7:
			return strconv.AppendFloat(out, v, 'f', 1, bits), nil // 3.0, so that it stays a float
		}
		if bits == 32 {
			text, err := json.Marshal(float32(v))
			return append(out, text...), err
		}
		text, err := json.Marshal(v)
		return append(out, text...), err
	}
}

func decimalJSON(scale int) leafText {
	return func(out []byte, col *batch.Column, i int) ([]byte, error) {
		return append(out, decimalText(col.Decimals[i].Big(), scale)...), nil
	}
}

func dateJSON(out []byte, col *batch.Column, i int) ([]byte, error) {
	return appendText(out, day(col.Ints[i])), nil
}

// timeJSON writes milliseconds as Spark does, and microseconds only where there are some.
func timeJSON(out []byte, col *batch.Column, i int) ([]byte, error) {
	form := statTime
	if mod(col.Ints[i], int64(time.Millisecond/time.Microsecond)) != 0 {
		form = "2006-01-02T15:04:05.000000Z"
	}
	return appendText(out, time.UnixMicro(col.Ints[i]).UTC().Format(form)), nil
}
