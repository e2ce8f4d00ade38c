package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// textColumn is the column of a data frame that is read where it has several.
const textColumn = "text"

// inputFields reads the texts out of each form that MLflow's protocol has for rows.
var inputFields = map[string]func(json.RawMessage) ([]*string, error){
	"dataframe_split":   splitTexts,
	"dataframe_records": recordTexts,
	"instances":         instanceTexts,
	"inputs":            inputTexts,
}

// splitTexts reads {"columns": [...], "data": [[...], ...]}; an index is of no use here.
func splitTexts(raw json.RawMessage) ([]*string, error) {
	var frame struct {
		Columns []any   `json:"columns"` // pandas numbers those without a name
		Data    [][]any `json:"data"`
	}
	if err := json.Unmarshal(raw, &frame); err != nil {
		return nil, err
	}
	names := make([]string, len(frame.Columns))
	for i, c := range frame.Columns {
		names[i] = fmt.Sprint(c)
	}
	if len(names) == 0 && len(frame.Data) > 0 && len(frame.Data[0]) == 1 {
		names = []string{textColumn}
	}
	column, err := pick(names)
	if err != nil && len(frame.Data) > 0 {
		return nil, err
	}
	at := slices.Index(names, column)
	texts := make([]*string, len(frame.Data))
	for i, row := range frame.Data {
		if len(row) != len(names) {
			return nil, fmt.Errorf("row %d has %d values for %d columns", i, len(row), len(names))
		}
		if texts[i], err = textOf(row[at]); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return texts, nil
}

// recordTexts reads [{"text": "..."}, ...]; a record without the column has NULL, as in pandas.
func recordTexts(raw json.RawMessage) ([]*string, error) {
	var records []map[string]any
	if err := json.Unmarshal(raw, &records); err != nil {
		return nil, err
	}
	columns := map[string]bool{}
	for _, r := range records {
		for name := range r {
			columns[name] = true
		}
	}
	column, err := pick(slices.Sorted(maps.Keys(columns)))
	if err != nil && len(columns) > 0 {
		return nil, err
	}
	texts := make([]*string, len(records))
	for i, r := range records {
		if texts[i], err = textOf(r[column]); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return texts, nil
}

// instanceTexts reads rows: texts, lists of one text, or records.
func instanceTexts(raw json.RawMessage) ([]*string, error) {
	var rows []any
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, err
	}
	if len(rows) > 0 {
		if _, ok := rows[0].(map[string]any); ok {
			return recordTexts(raw)
		}
	}
	return rowTexts(rows)
}

// inputTexts reads one text, rows as instances have them, or columns: {"text": [...]}.
func inputTexts(raw json.RawMessage) ([]*string, error) {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case string:
		return []*string{&v}, nil
	case []any:
		return instanceTexts(raw)
	case map[string]any:
		column, err := pick(slices.Sorted(maps.Keys(v)))
		if err != nil {
			return nil, err
		}
		if rows, ok := v[column].([]any); ok {
			return rowTexts(rows)
		}
		return rowTexts([]any{v[column]})
	}
	return nil, errors.New("want a text, a list of texts, or a dictionary with one")
}

func rowTexts(rows []any) (texts []*string, err error) {
	texts = make([]*string, len(rows))
	for i, row := range rows {
		if list, ok := row.([]any); ok && len(list) == 1 {
			row = list[0]
		}
		if texts[i], err = textOf(row); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return texts, nil
}

// pick returns the column with the texts: the only one, or the one of that name.
func pick(columns []string) (string, error) {
	switch {
	case len(columns) == 1:
		return columns[0], nil
	case slices.Contains(columns, textColumn):
		return textColumn, nil
	}
	return "", fmt.Errorf("of the columns %q none is named %q: a model reads one text", columns, textColumn)
}

// textOf takes a text or NULL.
func textOf(value any) (*string, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		return &v, nil
	}
	return nil, fmt.Errorf("want a text, got %.40s", fmt.Sprintf("%T %v", value, value))
}
