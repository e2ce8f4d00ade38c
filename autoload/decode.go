package autoload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"smelt/tables"
)

// chunkRows is how many rows a batch of rows holds at most: enough to make its overhead small, and few enough that the
// next stage starts early.
const chunkRows = 8192

// errContent marks a file whose content cannot be loaded: trying again is of no use before it changes.
var errContent = errors.New("content")

// silent carries an error for errors.Is without adding to the text.
type silent struct{ error }

// Error implements error.
func (silent) Error() string { return "" }

// Unwrap returns what it carries.
func (s silent) Unwrap() error { return s.error }

// walker finds the JSON objects of one file after another: one object, several with or without lines between them,
// and arrays of objects. It checks the whole syntax on the way.
type walker struct {
	json *jsontext.Decoder
	data []byte // of the piece at hand
	line int    // lines in front of it
}

// fault describes bad content by line.
func (w *walker) fault(at int, format string, args ...any) error {
	line := w.line + 1 + bytes.Count(w.data[:min(at, len(w.data))], []byte("\n"))
	return fmt.Errorf("line %d: %s%w", line, fmt.Sprintf(format, args...), silent{errContent})
}

// objects calls f in front of every object of a file; f reads it.
func (w *walker) objects(data []byte, f func() error) error {
	w.data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(w.data) {
		return w.fault(firstInvalid(w.data), "not UTF-8 text")
	}
	return w.walk(f)
}

// walk calls f in front of every object of the piece at hand.
func (w *walker) walk(f func() error) error {
	if w.json == nil {
		w.json = new(jsontext.Decoder)
	}
	// Of equal keys the last counts. Half a surrogate pair, which producers make when they cut texts, becomes U+FFFD;
	// that is all that the second option allows, because bytes that are no UTF-8 were refused above.
	w.json.Reset(bytes.NewBuffer(w.data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		kind := w.json.PeekKind()
		switch {
		case kind == '{':
			if err := f(); err != nil {
				return err
			}
			continue
		case kind == '[' && w.json.StackDepth() == 0:
			// Rows are told apart by lines or by brackets of their own, but [][] is more likely a fault.
			if at := w.json.InputOffset(); at > 0 && w.data[at-1] == ']' && w.data[at] == '[' {
				return w.fault(int(at), "not JSON: an array begins where another ends; they must stand apart")
			}
		case kind != ']' && kind != 0: // 0 is a fault or the end, and reading says which
			return w.refuse()
		}
		if _, err := w.json.ReadToken(); err == io.EOF {
			return nil
		} else if err != nil {
			return w.syntaxError(err)
		}
	}
}

// refuse reports a value that is no object where one must stand, or what is wrong inside it.
func (w *walker) refuse() error {
	value, err := w.json.ReadValue()
	if err != nil {
		return w.syntaxError(err)
	}
	at := int(w.json.InputOffset()) - len(value)
	if w.json.StackDepth() > 0 {
		return w.fault(at, "want a JSON object in the array, got %s", excerpt(string(value)))
	}
	return w.fault(at, "want a JSON object or an array of objects, got %s", excerpt(string(value)))
}

// syntaxError says where JSON is wrong and why.
func (w *walker) syntaxError(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return w.fault(int(w.json.InputOffset()), "%v", err)
	}
	reason := strings.TrimPrefix(syntax.Err.Error(), "jsontext: ")
	if errors.Is(syntax.Err, io.ErrUnexpectedEOF) {
		reason = "the file ends inside a value"
	}
	if syntax.JSONPointer != "" {
		reason += " at " + excerpt(string(syntax.JSONPointer))
	}
	return w.fault(int(syntax.ByteOffset), "not JSON: %s", reason)
}

// excerpt shortens text for an error.
func excerpt(text string) string {
	const most = 40 // bytes: a line of an error must stay readable
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// firstInvalid returns the offset of the first byte that is no UTF-8.
func firstInvalid(data []byte) int {
	at := 0
	for at < len(data) {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}

// decoder turns files into rows of the data columns and the rescued column, one file after another. Columns hold parts
// of one copy of the file's text, so that a value costs no allocation of its own unless it has escapes.
type decoder struct {
	walker
	columns columns
	schema  tables.Schema // of the rows
	path    string
	text    string // the content that values are parts of
	whole   []*tables.Batch
	batch   *tables.Batch
	values  []value        // of the row at hand, by column
	strays  []stray        // of the row at hand: what has no column by its own name
	names   map[int]string // of fields of the row at hand that differ in case from the column that has them
	texts   arena
	unknown map[string]inferred
	order   []string        // unknown names in order of appearance
	needs   map[string]need // what values ask of columns, by column
	rescued int64
	checked int64      // rows that were only checked
	drop    bool       // rows are decoded and counted, not kept
	check   bool       // rows are checked and counted, not kept
	lineOf  func() int // of the row at hand
}

// stray is a field whose name is no column.
type stray struct {
	name string
	value
}

// fileRows is a decoded file.
type fileRows struct {
	batches []*tables.Batch // of at most chunkRows rows each
	rows    int64
	rescued int64       // rows with something in the rescued column
	unknown []namedType // names that are no columns yet, in order of appearance
	needs   map[string]need
	bytes   int64 // of memory that batches take, about

	shape    *shape // of the file
	streamed bool   // the rows are not in batches: the file is read again
	begun    bool   // likewise, and only its beginning was read: the next reading checks it
}

func newDecoder(c columns) *decoder {
	return &decoder{columns: c, schema: c.withRescued(), values: make([]value, len(c.schema))}
}

// decode decodes a piece of a file. A file that was cut on purpose, as a sample, yields what stands before the cut.
func (d *decoder) decode(path string, p *piece, cut bool) (fileRows, error) {
	const bytesPerRow = 256 // a guess for the first capacity: a small tweet
	if p.err != nil {
		return fileRows{}, p.err
	}
	d.check = p.shape.check != nil && p.shape.check.Load()
	if d.drop = d.check && d.columns.content.widens; d.drop {
		d.check = false // what values ask of columns is known when they were read
	}
	d.start(path, len(p.data)/bytesPerRow)
	d.data, d.line = p.data, p.line
	var err error
	switch {
	case !utf8.Valid(p.data):
		err = d.fault(firstInvalid(p.data), "not UTF-8 text")
	case p.shape.format == formatCSV:
		err = d.records(p)
	case p.shape.format == formatText:
		err = d.lines(p)
	default:
		if !d.check {
			d.text = string(p.data)
		}
		if p.shape.byLines {
			err = d.quickLines(p)
			break
		}
		d.lineOf = func() int { return d.line + 1 + bytes.Count(d.data[:d.json.InputOffset()], []byte("\n")) }
		err = d.walk(d.row)
	}
	out := d.finish()
	out.weigh(int64(len(p.data)), len(d.schema))
	if err != nil && !cut {
		return fileRows{}, err
	}
	return out, nil
}

// start begins with the rows of a piece, about so many.
func (d *decoder) start(path string, rows int) {
	d.path, d.whole, d.order, d.unknown, d.needs, d.rescued, d.checked = path, nil, nil, nil, nil, 0, 0
	if d.check {
		rows = 0
	}
	d.batch = tables.NewBatch(d.schema, min(max(rows, 4), chunkRows))
}

// finish returns the rows since start.
func (d *decoder) finish() fileRows {
	out := fileRows{batches: append(d.whole, d.batch), rows: d.checked + int64(len(d.whole)*chunkRows+d.batch.Len), rescued: d.rescued}
	for _, b := range out.batches {
		d.seeLarge(b)
	}
	if out.needs = d.needs; d.drop {
		out.batches = nil
	}
	for _, name := range d.order {
		out.unknown = append(out.unknown, namedType{name: name, typ: d.unknown[name]})
	}
	d.whole, d.batch, d.text, d.data, d.lineOf = nil, nil, "", nil, nil
	return out
}

// beginRow makes room for a row.
func (d *decoder) beginRow() {
	if d.batch.Len == chunkRows {
		d.whole = append(d.whole, d.batch)
		d.batch = tables.NewBatch(d.schema, chunkRows)
	}
	clear(d.values)
	d.strays = d.strays[:0]
	clear(d.names)
}

// row reads one object and appends it.
func (d *decoder) row() error {
	d.beginRow()
	if _, err := d.json.ReadToken(); err != nil {
		return d.syntaxError(err)
	}
	for next := 0; d.json.PeekKind() != '}'; {
		quoted, err := d.json.ReadValue()
		if err != nil {
			return d.syntaxError(err)
		}
		name := ""
		at := d.columns.find(quoted, next)
		if at < 0 {
			if name, err = unquote(string(quoted), &d.texts); err != nil {
				return d.fault(int(d.json.InputOffset()), "read name: %v", err)
			}
			at = d.columns.position(name)
		}
		raw, err := d.json.ReadValue()
		if err != nil {
			return d.syntaxError(err)
		}
		if d.check {
			if next = at + 1; at < 0 {
				d.strays = append(d.strays, stray{name, value{kind: raw.Kind(), raw: string(raw)}})
			}
			continue
		}
		end := int(d.json.InputOffset())
		v := value{kind: raw.Kind(), raw: d.text[end-len(raw) : end]}
		if at >= 0 {
			d.values[at] = v
			next = at + 1
		} else {
			d.strays = append(d.strays, stray{name, v})
		}
	}
	if _, err := d.json.ReadToken(); err != nil {
		return d.syntaxError(err)
	}
	return d.appendRow()
}

// appendRow appends the values at hand. What fits nowhere is rescued.
func (d *decoder) appendRow() error {
	var rescued []stray
	for _, s := range d.strays {
		at, isNew := d.columns.place(s.name)
		mode := d.columns.content.evolution
		switch {
		case isNew && mode == addNewColumns:
			d.see(s.name, s.infer(d.columns.content.times))
		case at >= 0 && d.values[at].kind == 0:
			d.values[at] = s.value // differs in case only, and the row has no field of the exact name
			if d.names == nil {
				d.names = map[int]string{}
			}
			d.names[at] = s.name
		case s.kind == 'n', isNew && mode == ignoreNewColumns && !d.columns.content.rescues:
		case isNew && mode == failOnNewColumns:
			return fmt.Errorf("line %d: field %q is no column, and schemaEvolutionMode is failOnNewColumns%w", d.lineOf(), s.name, silent{errContent})
		default:
			rescued = append(rescued, s)
		}
	}
	if d.check {
		d.checked++
		return nil
	}
	for i, f := range d.columns.schema {
		if !d.values[i].appendTo(&d.batch.Columns[i], f.Type, &d.texts) {
			d.batch.Columns[i].AppendNull(f.Type.Kind)
			d.misfit(i, d.values[i])
			name, differs := d.names[i]
			if !differs {
				name = d.columns.fileNames[i]
			}
			rescued = append(rescued, stray{name, d.values[i]})
		}
	}
	d.batch.Len++
	return d.appendRescued(&d.batch.Columns[len(d.columns.schema)], rescued)
}

// appendRescued appends what was rescued of a row.
func (d *decoder) appendRescued(c *tables.Column, rescued []stray) error {
	if len(rescued) == 0 {
		c.AppendNull(tables.JSON)
		return nil
	}
	text, err := rescuedText(rescued, d.path)
	if err != nil {
		return err
	}
	c.AppendString(text)
	d.rescued++
	return nil
}

// see notes the type of a field that is no column yet.
func (d *decoder) see(name string, typ inferred) {
	if d.unknown == nil {
		d.unknown = map[string]inferred{}
	}
	before, ok := d.unknown[name]
	if !ok {
		d.order = append(d.order, name)
		before = typ
	}
	d.unknown[name] = before.join(typ)
}
