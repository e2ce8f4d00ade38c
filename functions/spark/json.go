package spark

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/go-json-experiment/json/jsontext"
)

// jsonFunctions are about one JSON value. Paths are $.name.name[0]['name'], and $ alone; numbers keep all their digits.
var jsonFunctions = map[string]spec{
	"get_json_object": {least: 2, most: 2, typ: types.LongText, description: "the value at a path of a JSON value, as text",
		eval: func(args []any) (any, error) { return atPath(args, textValue) }},
	"smelt_json": {least: 2, most: 2, typ: types.JSON, description: "the value at a path of a JSON value",
		eval: func(args []any) (any, error) {
			return atPath(args, func(raw []byte) any {
				if raw[0] == 'n' {
					return nil
				}
				return types.NewLazyJSONDocument(bytes.Clone(raw))
			})
		}},
	"smelt_truth": {least: 2, most: 2, typ: types.Boolean, description: "whether the value at a path of a JSON value is true",
		eval: func(args []any) (any, error) {
			return atPath(args, func(raw []byte) any { return truthOf(textValue(raw)) })
		}},
	"smelt_item":      {least: 2, most: 2, typ: types.LongText, description: "the element of an array, from 0, or the value of a key", eval: item},
	"element_at":      {least: 2, most: 2, typ: types.LongText, description: "the element of an array, from 1, -1 the last, or the value of a key", eval: elementAt},
	"from_json":       {least: 1, most: 3, typ: types.JSON, description: "the JSON value that a text holds", eval: func(args []any) (any, error) { return document(args[0]) }},
	"smelt_cast_json": {least: 1, most: 1, typ: types.JSON, description: "the JSON value that a text holds", eval: func(args []any) (any, error) { return document(args[0]) }},
	"to_json":         {least: 1, most: 2, typ: types.LongText, description: "a JSON value as text", eval: func(args []any) (any, error) { return jsonOf(args[0]) }},
	"smelt_entries":   {least: 3, most: 3, typ: types.JSON, description: "what explode makes rows of", nulls: true, eval: explode},
}

var jsonOptions = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// jsonOf returns the text of a JSON value, or of a text that is to hold one.
func jsonOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	case types.JSONBytes:
		raw, err := v.GetBytes(context.Background())
		return string(raw), err
	case sql.JSONWrapper:
		value, err := v.ToInterface(context.Background())
		if err != nil {
			return "", fmt.Errorf("read JSON value: %w", err)
		}
		raw, err := types.MarshallJsonValue(value)
		return string(raw), err
	}
	return textOf(v)
}

// document is a JSON value, NULL for what is none.
func document(v any) (any, error) {
	raw, err := jsonOf(v)
	if err != nil {
		return nil, err
	}
	value := jsontext.Value(raw)
	if !value.IsValid(jsonOptions...) || value.Kind() == 'n' {
		return nil, nil
	}
	return types.NewLazyJSONDocument([]byte(raw)), nil
}

// atPath hands the raw value at a path to make; the result is NULL where there is none.
func atPath(args []any, make func(raw []byte) any) (any, error) {
	raw, err := jsonOf(args[0])
	if err != nil {
		return nil, err
	}
	path, err := textOf(args[1])
	if err != nil {
		return nil, err
	}
	steps, ok := stepsOf(path)
	if !ok {
		return nil, nil // as Spark answers for a path that is none
	}
	found := []byte(raw)
	for _, s := range steps {
		if found = child(found, s); found == nil {
			return nil, nil
		}
	}
	if found = bytes.TrimSpace(found); len(found) == 0 || len(steps) == 0 && !jsontext.Value(found).IsValid(jsonOptions...) {
		return nil, nil
	}
	return make(found), nil
}

// step is one step of a path: a name, or an index.
type step struct {
	name  string
	index int // -1 for a name
}

// stepsOf reads a path.
func stepsOf(path string) (steps []step, ok bool) {
	rest, ok := strings.CutPrefix(path, "$")
	for ok && rest != "" {
		var s step
		s, rest, ok = stepAt(rest)
		steps = append(steps, s)
	}
	return steps, ok
}

// stepAt reads the first step of a path.
func stepAt(path string) (s step, rest string, ok bool) {
	switch {
	case strings.HasPrefix(path, `."`):
		quoted, err := strconv.QuotedPrefix(path[1:])
		if err != nil {
			return s, "", false
		}
		name, err := strconv.Unquote(quoted)
		return step{name: name, index: -1}, path[1+len(quoted):], err == nil
	case path[0] == '.':
		n := strings.IndexAny(path[1:], ".[")
		if n < 0 {
			n = len(path) - 1
		}
		return step{name: path[1 : 1+n], index: -1}, path[1+n:], n > 0
	case path[0] == '[':
		inside, rest, ok := strings.Cut(path[1:], "]")
		if name := strings.Trim(inside, `'"`); len(name) == len(inside)-2 {
			return step{name: name, index: -1}, rest, ok
		}
		i, err := strconv.Atoi(inside)
		return step{index: i}, rest, ok && err == nil && i >= 0
	}
	return s, "", false
}

// child returns the raw value of one step inside a raw value, nil if there is none. A text that is no JSON has none. Of
// two equal names the first counts, as in Spark.
func child(raw []byte, s step) []byte {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw), jsonOptions...)
	open, err := d.ReadToken()
	if err != nil {
		return nil
	}
	switch {
	case open.Kind() == '{' && s.index < 0:
		for d.PeekKind() == '"' {
			name, err := d.ReadToken()
			if err != nil {
				return nil
			}
			same := name.String() == s.name
			value, err := d.ReadValue()
			if err != nil {
				return nil
			}
			if same {
				return bytes.Clone(value)
			}
		}
	case open.Kind() == '[' && s.index >= 0:
		for i := 0; d.PeekKind() != ']'; i++ {
			value, err := d.ReadValue()
			if err != nil {
				return nil
			}
			if i == s.index {
				return bytes.Clone(value)
			}
		}
	}
	return nil
}

// textValue is what a raw value is in SQL: a string without quotes, NULL for null, all else as JSON writes it.
func textValue(raw []byte) any {
	switch raw[0] {
	case 'n':
		return nil
	case '"':
		text, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return nil
		}
		return string(text)
	default:
		return string(raw)
	}
}

func item(args []any) (any, error) {
	raw, err := jsonOf(args[0])
	if err != nil {
		return nil, err
	}
	s := step{index: -1}
	switch key := args[1].(type) {
	case string:
		s.name = key
	case []byte:
		s.name = string(key)
	default:
		if s.index, err = whole(key, "the index of an array"); err != nil || s.index < 0 {
			return nil, err
		}
	}
	if found := child([]byte(raw), s); found != nil {
		return textValue(found), nil
	}
	return nil, nil
}

func elementAt(args []any) (any, error) {
	if _, isName := args[1].(string); isName {
		return item(args)
	}
	n, err := whole(args[1], "the index of an array")
	if err != nil || n == 0 {
		return nil, badArgument("element_at", "the first element is 1, and the last is -1: got %v", args[1])
	}
	if n > 0 {
		return item([]any{args[0], n - 1})
	}
	values, ok, err := elements(args[0])
	if err != nil || !ok || -n > len(values) {
		return nil, err
	}
	return textValue(values[len(values)+n]), nil
}

// explode returns the array of which JSON_TABLE makes rows: one object for each element, whose fields are all text.
func explode(args []any) (any, error) {
	names, err := texts(args[1:])
	if err != nil {
		return nil, err
	}
	columns := strings.Split(names[1], ",")
	rows := []any{}
	if args[0] != nil {
		if rows, err = entries(args[0], columns); err != nil {
			return nil, err
		}
	}
	if len(rows) == 0 && strings.HasSuffix(names[0], "_outer") {
		rows = append(rows, map[string]any{})
	}
	return types.JSONDocument{Val: rows}, nil
}

func entries(v any, columns []string) ([]any, error) {
	rows := []any{}
	keyed := columns[len(columns)-1] == "value"
	keys, values, err := members(v)
	if err != nil || keyed != (keys != nil) {
		return rows, err
	}
	for i, raw := range values {
		row := map[string]any{}
		if columns[0] == "pos" {
			row["pos"] = float64(i)
		}
		if keyed {
			row["key"] = keys[i]
		}
		if text := textValue(raw); text != nil {
			row[columns[len(columns)-1]] = text
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// members returns the raw values of an array or an object, and the keys of an object; keys is nil for an array. What is
// neither has none.
func members(v any) (keys []string, values [][]byte, err error) {
	raw, err := jsonOf(v)
	if err != nil {
		return nil, nil, err
	}
	d := jsontext.NewDecoder(strings.NewReader(raw), jsonOptions...)
	open, err := d.ReadToken()
	if err != nil || open.Kind() != '{' && open.Kind() != '[' {
		return nil, nil, nil
	}
	object := open.Kind() == '{'
	if object {
		keys = []string{}
	}
	for d.PeekKind() != ']' && d.PeekKind() != '}' {
		if object {
			name, err := d.ReadToken()
			if err != nil {
				return nil, nil, nil // no JSON: it has no elements
			}
			keys = append(keys, name.String())
		}
		value, err := d.ReadValue()
		if err != nil {
			return nil, nil, nil
		}
		values = append(values, bytes.Clone(value))
	}
	return keys, values, nil
}

// elements returns the raw elements of an array; ok is false for what is none.
func elements(v any) (values [][]byte, ok bool, err error) {
	keys, values, err := members(v)
	if err != nil || keys != nil || values == nil && !isArray(v) {
		return nil, false, err
	}
	return values, true, nil
}

func isArray(v any) bool {
	raw, err := jsonOf(v)
	return err == nil && jsontext.Value(raw).IsValid(jsonOptions...) && strings.HasPrefix(strings.TrimSpace(raw), "[")
}
