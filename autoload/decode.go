package autoload

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"smelt/tables"
)

// maxDepth bounds the nesting of JSON: the parser recurses, and no real record comes near.
const maxDepth = 1000

// errContent marks a file whose content cannot be loaded: trying again is of no use before it changes.
var errContent = errors.New("content")

// contentError describes bad content by line.
func contentError(data []byte, at int, format string, args ...any) error {
	line := 1 + bytes.Count(data[:min(at, len(data))], []byte("\n"))
	return fmt.Errorf("line %d: %s%w", line, fmt.Sprintf(format, args...), silent{errContent})
}

// silent carries an error for errors.Is without adding to the text.
type silent struct{ error }

// Error implements error.
func (silent) Error() string { return "" }

// Unwrap returns what it carries.
func (s silent) Unwrap() error { return s.error }

// eachObject calls f with every JSON object of a file: one or more objects one after another, on lines or not, or
// arrays of objects.
func eachObject(data []byte, f func(object []byte) error) error {
	if !utf8.Valid(data) {
		return contentError(data, firstInvalid(data), "not UTF-8 text")
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for at := skipSpace(data, 0); at < len(data); at = skipSpace(data, at) {
		if data[at] != '{' && data[at] != '[' {
			return contentError(data, at, "want a JSON object or an array of objects, got %q", excerpt(data[at:]))
		}
		end, err := valueEnd(data, at)
		if err != nil {
			return err
		}
		value := data[at:end]
		if !gjson.ValidBytes(value) {
			return contentError(data, at, "not valid JSON: %q", excerpt(value))
		}
		if value[0] == '{' {
			if err := f(value); err != nil {
				return err
			}
		} else if err := eachElement(data, at, value, f); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// eachElement calls f with the objects of an array.
func eachElement(data []byte, at int, array []byte, f func(object []byte) error) error {
	var failed error
	gjson.ParseBytes(array).ForEach(func(_, element gjson.Result) bool {
		if !element.IsObject() {
			failed = contentError(data, at+element.Index, "want a JSON object in the array, got %q", excerpt([]byte(element.Raw)))
			return false
		}
		failed = f([]byte(element.Raw))
		return failed == nil
	})
	return failed
}

func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data)
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\r' || data[i] == '\t') {
		i++
	}
	return i
}

// excerpt shortens data for an error.
func excerpt(data []byte) string {
	const most = 40
	if len(data) <= most {
		return string(data)
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(data[cut]) {
		cut--
	}
	return string(data[:cut]) + "..."
}

// valueEnd returns the offset behind the object or array that begins at start.
func valueEnd(data []byte, start int) (int, error) {
	depth := 0
	for i := start; i < len(data); i++ {
		switch data[i] {
		case '"':
			end := stringEnd(data, i)
			if end < 0 {
				return 0, contentError(data, start, "the text ends inside a value: %q", excerpt(data[start:]))
			}
			i = end
		case '{', '[':
			if depth++; depth > maxDepth {
				return 0, contentError(data, i, "nested deeper than %d", maxDepth)
			}
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		}
	}
	return 0, contentError(data, start, "the text ends inside a value: %q", excerpt(data[start:]))
}

// stringEnd returns the offset of the quote that closes the string beginning at start, or -1.
func stringEnd(data []byte, start int) int {
	for i := start + 1; ; {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		slashes := 0
		for i-1-slashes > start && data[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
		i++
	}
}

// decoder turns the objects of one file into a batch of the data columns and the rescued column.
type decoder struct {
	columns columns
	path    string
	batch   *tables.Batch
	values  []gjson.Result // of the row at hand, by column
	unknown map[string]inferred
	order   []string // unknown names in order of appearance
}

// decodeFile decodes the content of a file. unknown holds the names that are no columns yet, in order of appearance.
func decodeFile(c columns, path string, data []byte) (b *tables.Batch, unknown []namedType, err error) {
	d := &decoder{columns: c, path: path, batch: tables.NewBatch(c.withRescued(), 16), values: make([]gjson.Result, len(c.schema)), unknown: map[string]inferred{}}
	if err := eachObject(data, d.row); err != nil {
		return nil, nil, err
	}
	for _, name := range d.order {
		unknown = append(unknown, namedType{name: name, typ: d.unknown[name]})
	}
	return d.batch, unknown, nil
}

// row appends one object.
func (d *decoder) row(object []byte) error {
	clear(d.values)
	var rescued []rescue
	// The bytes of the file stay alive in the strings of the batch: one copy of each object, not one of each value.
	gjson.Parse(string(object)).ForEach(func(key, value gjson.Result) bool {
		i, ok := d.columns.index[key.Str]
		switch {
		case ok:
			d.values[i] = value // the last of equal keys stands
		case d.columns.takes(key.Str):
			d.see(key.Str, value)
		case value.Type != gjson.Null:
			rescued = append(rescued, rescue{key.Str, value.Raw})
		}
		return true
	})
	for i, f := range d.columns.schema {
		if !appendValue(&d.batch.Columns[i], f.Type, d.values[i]) {
			d.batch.Columns[i].AppendNull(f.Type.Kind)
			rescued = append(rescued, rescue{f.Name, d.values[i].Raw})
		}
	}
	last := &d.batch.Columns[len(d.columns.schema)]
	if len(rescued) == 0 {
		last.AppendNull(tables.JSON)
	} else {
		text, err := rescuedText(rescued, d.path)
		if err != nil {
			return err
		}
		last.AppendString(text)
	}
	d.batch.Len++
	return nil
}

// see notes the type of a value whose name is no column yet.
func (d *decoder) see(name string, value gjson.Result) {
	before, ok := d.unknown[name]
	if !ok {
		d.order = append(d.order, name)
	}
	d.unknown[name] = before.join(inferOf(value))
}
