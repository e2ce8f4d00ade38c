package spark

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/dolthub/go-mysql-server/sql/types"
)

// arrayFunctions are about JSON arrays and objects as Spark's arrays and maps.
var arrayFunctions = map[string]spec{
	"size":           {least: 1, most: 1, typ: types.Int32, description: "how many elements an array or a map has", eval: size},
	"cardinality":    {least: 1, most: 1, typ: types.Int32, description: "how many elements an array or a map has", eval: size},
	"array_size":     {least: 1, most: 1, typ: types.Int32, description: "how many elements an array has", eval: size},
	"array_min":      {least: 1, most: 1, typ: types.LongText, description: "the least element of an array", eval: func(args []any) (any, error) { return extreme(args[0], -1) }},
	"array_max":      {least: 1, most: 1, typ: types.LongText, description: "the greatest element of an array", eval: func(args []any) (any, error) { return extreme(args[0], 1) }},
	"array_contains": {least: 2, most: 2, typ: types.Boolean, description: "whether an array has an element", eval: contains},
	"array_distinct": {least: 1, most: 1, typ: types.JSON, description: "an array without its repeated elements", eval: distinct},
	"array_join":     {least: 2, most: 3, typ: types.LongText, description: "the elements of an array with a text between them", eval: join},
	"sort_array":     {least: 1, most: 2, typ: types.JSON, description: "an array in ascending order, or descending where the second argument is false", eval: sortArray},
	"array_sort":     {least: 1, most: 1, typ: types.JSON, description: "an array in ascending order", eval: sortArray},
	"map_keys":       {least: 1, most: 1, typ: types.JSON, description: "the keys of a map", eval: mapKeys},
	"map_values":     {least: 1, most: 1, typ: types.JSON, description: "the values of a map", eval: mapValues},
}

func size(args []any) (any, error) {
	keys, values, err := members(args[0])
	if err != nil || keys == nil && values == nil && !isArray(args[0]) {
		return nil, err
	}
	return int32(len(values)), nil
}

// arrayOf is the JSON array of raw elements.
func arrayOf(values [][]byte) any {
	raw := append([]byte{'['}, bytes.Join(values, []byte{','})...)
	return types.NewLazyJSONDocument(append(raw, ']'))
}

// textArray is the JSON array of texts.
func textArray(list []string) (any, error) {
	values := make([][]byte, len(list))
	for i, text := range list {
		raw, err := json.Marshal(text)
		if err != nil {
			return nil, err
		}
		values[i] = raw
	}
	return arrayOf(values), nil
}

// compare orders two raw elements: numbers as numbers, all else as text.
func compare(a, b []byte) int {
	x, errX := strconv.ParseInt(string(a), 10, 64)
	y, errY := strconv.ParseInt(string(b), 10, 64)
	if errX == nil && errY == nil {
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	f, errF := strconv.ParseFloat(string(a), 64)
	g, errG := strconv.ParseFloat(string(b), 64)
	if errF == nil && errG == nil {
		switch {
		case f < g:
			return -1
		case f > g:
			return 1
		}
		return 0
	}
	ta, _ := textValue(a).(string)
	tb, _ := textValue(b).(string)
	return strings.Compare(ta, tb)
}

// extreme returns the least element for -1 and the greatest for 1; null elements do not count.
func extreme(v any, sign int) (any, error) {
	values, ok, err := elements(v)
	if err != nil || !ok {
		return nil, err
	}
	var best []byte
	for _, e := range values {
		if e[0] != 'n' && (best == nil || sign*compare(e, best) > 0) {
			best = e
		}
	}
	if best == nil {
		return nil, nil
	}
	return textValue(best), nil
}

func contains(args []any) (any, error) {
	values, ok, err := elements(args[0])
	if err != nil || !ok {
		return nil, err
	}
	sought, err := textOf(args[1])
	if err != nil {
		return nil, err
	}
	null := false
	for _, e := range values {
		switch text := textValue(e); {
		case text == nil:
			null = true
		case text == sought:
			return int8(1), nil
		}
	}
	if null {
		return nil, nil
	}
	return int8(0), nil
}

func distinct(args []any) (any, error) {
	values, ok, err := elements(args[0])
	if err != nil || !ok {
		return nil, err
	}
	seen := map[string]bool{}
	return arrayOf(slices.DeleteFunc(values, func(e []byte) bool {
		known := seen[string(e)]
		seen[string(e)] = true
		return known
	})), nil
}

func join(args []any) (any, error) {
	values, ok, err := elements(args[0])
	if err != nil || !ok {
		return nil, err
	}
	more, err := texts(args[1:])
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, e := range values {
		if text, ok := textValue(e).(string); ok {
			parts = append(parts, text)
		} else if len(more) == 2 {
			parts = append(parts, more[1])
		}
	}
	return strings.Join(parts, more[0]), nil
}

func sortArray(args []any) (any, error) {
	values, ok, err := elements(args[0])
	if err != nil || !ok {
		return nil, err
	}
	slices.SortStableFunc(values, compare)
	if len(args) == 2 && truthOf(args[1]) == int8(0) {
		slices.Reverse(values)
	}
	return arrayOf(values), nil
}

func mapKeys(args []any) (any, error) {
	keys, _, err := members(args[0])
	if err != nil || keys == nil {
		return nil, err
	}
	return textArray(keys)
}

func mapValues(args []any) (any, error) {
	keys, values, err := members(args[0])
	if err != nil || keys == nil {
		return nil, err
	}
	return arrayOf(values), nil
}
