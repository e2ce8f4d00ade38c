package tables

import (
	"encoding/json"
	"fmt"
	"strings"
)

// jsonMark is the field metadata that tells a JSON column from other strings.
const jsonMark = "smelt.type"

// forbiddenInNames are the characters that Delta refuses in column names (Spark's DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES).
const forbiddenInNames = " ,;{}()\n\t="

// structField is one field of Spark's JSON form of a schema.
type structField struct {
	Name     string          `json:"name"`
	Type     json.RawMessage `json:"type"`
	Nullable bool            `json:"nullable"`
	Metadata map[string]any  `json:"metadata"`
}

type structType struct {
	Type   string        `json:"type"`
	Fields []structField `json:"fields"`
}

// checkSchema refuses what a Delta table cannot hold: forbidden characters and names equal but for case.
func checkSchema(s Schema) error {
	seen := map[string]string{}
	for _, f := range s {
		if f.Name == "" || strings.ContainsAny(f.Name, forbiddenInNames) {
			return fmt.Errorf("check column %q: a name must not be empty or hold any of %q", f.Name, forbiddenInNames)
		}
		lower := strings.ToLower(f.Name)
		if other, ok := seen[lower]; ok {
			return fmt.Errorf("check column %q: it differs from column %q in case only", f.Name, other)
		}
		seen[lower] = f.Name
		if f.Type.Kind == Decimal && !possible(f.Type) {
			return fmt.Errorf("check column %q: no decimal has precision %d and scale %d", f.Name, f.Type.Precision, f.Type.Scale)
		}
	}
	return nil
}

// possible reports whether a decimal has digits that Delta has.
func possible(decimal Type) bool {
	const maxDigits = 38
	return 1 <= decimal.Precision && decimal.Precision <= maxDigits && 0 <= decimal.Scale && decimal.Scale <= decimal.Precision
}

// checkEvolution refuses a definition that rows already written cannot be read with: Delta matches columns by name, so a
// column may neither change its type nor go away and come back as another one. New columns are null in old rows.
func checkEvolution(before, after Schema) error {
	for _, f := range before {
		i := after.Index(f.Name)
		if i < 0 {
			return fmt.Errorf("redefine table: column %q cannot go while there are rows", f.Name)
		}
		if before, after := f.Type.String(), after[i].Type.String(); before != after {
			return fmt.Errorf("redefine table: column %q cannot become %s while there are rows with %s", f.Name, after, before)
		}
	}
	return nil
}

// encodeSchema renders the schema as Delta's schemaString.
func encodeSchema(s Schema) (string, error) {
	out := structType{Type: "struct", Fields: make([]structField, len(s))}
	for i, f := range s {
		metadata := map[string]any{}
		if f.Comment != "" {
			metadata["comment"] = f.Comment
		}
		if f.Type.Kind == JSON {
			metadata[jsonMark] = "json"
		}
		name, err := json.Marshal(f.Type.String())
		if err != nil {
			return "", fmt.Errorf("encode type of column %q: %w", f.Name, err)
		}
		out.Fields[i] = structField{Name: f.Name, Type: name, Nullable: true, Metadata: metadata}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return "", fmt.Errorf("encode schema: %w", err)
	}
	return string(text), nil
}

// decodeSchema reads Delta's schemaString. A column of a nested type, which only other writers make, is a JSON column here.
func decodeSchema(text string) (Schema, error) {
	if text == "" {
		return nil, nil
	}
	var in structType
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	schema := make(Schema, len(in.Fields))
	for i, f := range in.Fields {
		t := Type{Kind: JSON}
		if !nested(f.Type) {
			var name string
			if err := json.Unmarshal(f.Type, &name); err != nil {
				return nil, fmt.Errorf("read schema: column %q has the type %s, which is not supported", f.Name, f.Type)
			}
			var err error
			if t, err = parseType(name); err != nil {
				return nil, fmt.Errorf("read schema: column %q: %w", f.Name, err)
			}
		}
		if f.Metadata[jsonMark] == "json" {
			t.Kind = JSON
		}
		comment, _ := f.Metadata["comment"].(string)
		schema[i] = Field{Name: f.Name, Type: t, Comment: comment}
	}
	return schema, nil
}

// nested reports whether a type is a struct, an array or a map.
func nested(text json.RawMessage) bool {
	var t struct {
		Type string `json:"type"`
	}
	return json.Unmarshal(text, &t) == nil && (t.Type == "struct" || t.Type == "array" || t.Type == "map")
}

// nestedColumns lists the columns of a schemaString that are nested: they can be read, as JSON, and not written.
func nestedColumns(text string) []string {
	var in structType
	if text == "" || json.Unmarshal([]byte(text), &in) != nil {
		return nil // decodeSchema says what is wrong
	}
	var names []string
	for _, f := range in.Fields {
		if nested(f.Type) {
			names = append(names, f.Name)
		}
	}
	return names
}

var kindOf = map[string]Kind{
	"boolean": Boolean, "byte": Byte, "short": Short, "integer": Integer, "long": Long, "float": Float, "double": Double,
	"string": String, "binary": Binary, "date": Date, "timestamp": Timestamp, "timestamp_ntz": Timestamp,
}

func parseType(name string) (Type, error) {
	if kind, ok := kindOf[name]; ok {
		return Type{Kind: kind}, nil
	}
	t := Type{Kind: Decimal}
	if n, err := fmt.Sscanf(name, "decimal(%d,%d)", &t.Precision, &t.Scale); err == nil && n == 2 && possible(t) && t.String() == strings.ReplaceAll(name, " ", "") {
		return t, nil
	}
	return Type{}, fmt.Errorf("type %q is not supported", name)
}
