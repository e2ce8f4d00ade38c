package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"smelt/tables/batch"
)

// nestedReader puts the values of a nested column together as JSON text, one for each row, as Spark's to_json does:
// a struct is an object without its null fields, an array is an array, a map is an object.
type nestedReader struct {
	root *nestedNode
	text []byte // buffer
}

type nestedShape uint8

const (
	nestedLeaf nestedShape = iota
	nestedObject
	nestedList
	nestedMap // its children are the key and the value
)

// nestedNode is one value in the shape of a column. The levels of its first leaf say whether it is there.
type nestedNode struct {
	name     string
	shape    nestedShape
	present  int // definition level from which on it is not null
	element  int // of lists and maps: definition level from which on there is an element
	repeat   int // of lists and maps: repetition level of elements behind the first
	children []*nestedNode
	leaves   []*leafReader // of itself and its children
}

// leafReader walks the levels and values of one leaf.
type leafReader struct {
	chunkReader
	repeats []byte // levels of the page; nil if all are 0
	defines []byte // nil if all are the highest
	highest byte   // definition level of a value
	n       int    // levels of the page
	at      int    // next of them
	present batch.Column
	used    int // values of present that were taken
	text    leafText
}

// openNested opens all leaves under a column.
func (f *File) openNested(group int, c *pq.Column) (column, error) {
	root, err := f.nest(group, c)
	if err != nil {
		if root != nil {
			err = errors.Join(err, (&nestedReader{root: root}).close())
		}
		return nil, err
	}
	if len(root.leaves) == 0 {
		return nil, errors.New("a struct without fields is not supported")
	}
	return &nestedReader{root: root}, nil
}

// nest returns the value that a column is, with its repetition: without any annotation that makes it a list.
func (f *File) nest(group int, c *pq.Column) (*nestedNode, error) {
	if c.Repeated() {
		n := &nestedNode{name: c.Name(), shape: nestedList, present: c.MaxDefinitionLevel() - 1, element: c.MaxDefinitionLevel(), repeat: c.MaxRepetitionLevel()}
		return n, f.adopt(group, n, c, f.nestOne)
	}
	return f.nestOne(group, c)
}

// nestOne returns the value that a column is once, whatever its own repetition.
func (f *File) nestOne(group int, c *pq.Column) (*nestedNode, error) {
	n := &nestedNode{name: c.Name(), present: c.MaxDefinitionLevel()}
	if c.Leaf() {
		leaf, err := f.openLeaf(group, c)
		if leaf != nil {
			n.leaves = []*leafReader{leaf}
		}
		return n, err
	}
	inner := c.Columns()
	if len(inner) == 1 && inner[0].Repeated() {
		repeated := inner[0]
		n.element, n.repeat = repeated.MaxDefinitionLevel(), repeated.MaxRepetitionLevel()
		switch {
		case annotated[*format.MapType](c, deprecated.Map, deprecated.MapKeyValue) && len(repeated.Columns()) == 2:
			n.shape = nestedMap
			return n, errors.Join(f.adopt(group, n, repeated.Columns()[0], f.nest), f.adopt(group, n, repeated.Columns()[1], f.nest))
		case annotated[*format.ListType](c, deprecated.List):
			n.shape = nestedList
			if isElement(c, repeated) {
				return n, f.adopt(group, n, repeated, f.nestOne)
			}
			return n, f.adopt(group, n, repeated.Columns()[0], f.nest)
		}
	}
	n.shape = nestedObject
	var errs []error
	for _, child := range inner {
		errs = append(errs, f.adopt(group, n, child, f.nest))
	}
	return n, errors.Join(errs...)
}

func (f *File) adopt(group int, n *nestedNode, c *pq.Column, nest func(int, *pq.Column) (*nestedNode, error)) error {
	child, err := nest(group, c)
	if child != nil {
		n.children = append(n.children, child)
		n.leaves = append(n.leaves, child.leaves...)
	}
	return err
}

// isElement reports whether the repeated field of a list is the element itself, as old writers had it, and not a group
// around the element. The rules are those of the Parquet format.
func isElement(list, repeated *pq.Column) bool {
	inner := repeated.Columns()
	return repeated.Leaf() || len(inner) != 1 || inner[0].Repeated() || repeated.Name() == "array" || repeated.Name() == list.Name()+"_tuple"
}

func annotated[T any](c *pq.Column, old ...deprecated.ConvertedType) bool {
	typ := c.Type()
	if l := typ.LogicalType(); l != nil {
		if _, ok := l.Value.(T); ok {
			return true
		}
	}
	converted := typ.ConvertedType()
	return converted != nil && slices.Contains(old, *converted)
}

func (f *File) openLeaf(group int, c *pq.Column) (*leafReader, error) {
	conv, text, err := leafForm(c.Type())
	if err == nil {
		err = checkCodecs(f.file.Metadata(), c.Index())
	}
	if err != nil {
		return nil, fmt.Errorf("field %q: %w", c.Name(), err)
	}
	src, err := f.openPages(group, c.Index(), false)
	if err != nil {
		return nil, err
	}
	return &leafReader{chunkReader: chunkReader{conversion: conv, src: src}, highest: byte(c.MaxDefinitionLevel()), text: text}, nil
}

// forEachLeaf calls do for the leaves of a column, which may be nil.
func forEachLeaf(c *pq.Column, do func(*pq.Column)) {
	switch {
	case c == nil:
	case c.Leaf():
		do(c)
	default:
		for _, child := range c.Columns() {
			forEachLeaf(child, do)
		}
	}
}

func (r *nestedReader) read(col *batch.Column, n int) error {
	for range n {
		if err := r.begin(); err != nil {
			return err
		}
		text, there, err := r.root.render(r.text[:0])
		if err != nil {
			return err
		}
		if r.text = text; there {
			col.AppendString(string(text))
		} else {
			col.AppendNull(batch.JSON)
		}
	}
	return nil
}

// begin makes sure that all leaves stand at the first value of a row.
func (r *nestedReader) begin() error {
	for _, leaf := range r.root.leaves {
		there, err := leaf.more()
		if err != nil {
			return err
		}
		if !there || leaf.repeat() != 0 {
			return errors.New("damaged Parquet data: the fields of a nested column do not end together")
		}
	}
	return nil
}

func (r *nestedReader) skip(n int64) error {
	for ; n > 0; n-- {
		if err := r.begin(); err != nil {
			return err
		}
		for _, leaf := range r.root.leaves {
			for {
				leaf.drop()
				if there, err := leaf.more(); err != nil {
					return err
				} else if !there || leaf.repeat() == 0 {
					break
				}
			}
		}
	}
	return nil
}

func (r *nestedReader) close() error {
	var errs []error
	for _, leaf := range r.root.leaves {
		errs = append(errs, leaf.close())
	}
	return errors.Join(errs...)
}

// render appends the value as JSON, and moves its leaves behind it. A null appends nothing.
func (n *nestedNode) render(out []byte) (text []byte, there bool, err error) {
	if len(n.leaves) == 0 {
		return out, false, nil
	}
	for _, leaf := range n.leaves {
		if there, err := leaf.more(); err != nil || !there {
			return out, false, errors.Join(err, errors.New("damaged Parquet data: the fields of a nested column do not end together"))
		}
	}
	defined := n.leaves[0].defined()
	if defined < n.present {
		n.drop()
		return out, false, nil
	}
	switch n.shape {
	case nestedLeaf:
		out, err = n.leaves[0].render(out)
		return out, true, err
	case nestedObject:
		out, err = n.renderFields(append(out, '{'))
		return append(out, '}'), true, err
	case nestedMap:
		out = append(out, '{')
		if defined < n.element {
			n.drop()
		} else {
			out, err = n.renderElements(out)
		}
		return append(out, '}'), true, err
	default:
		out = append(out, '[')
		if defined < n.element {
			n.drop()
		} else {
			out, err = n.renderElements(out)
		}
		return append(out, ']'), true, err
	}
}

// drop passes over the one level that each leaf has where a value is missing.
func (n *nestedNode) drop() {
	for _, leaf := range n.leaves {
		leaf.drop()
	}
}

func (n *nestedNode) renderFields(out []byte) ([]byte, error) {
	first := true
	for _, child := range n.children {
		begin := len(out)
		if !first {
			out = append(out, ',')
		}
		out = append(appendText(out, child.name), ':')
		text, there, err := child.render(out)
		if err != nil {
			return text, err
		}
		if out = text; there {
			first = false
		} else {
			out = out[:begin]
		}
	}
	return out, nil
}

// renderElements appends what stands between the brackets of a list or a map.
func (n *nestedNode) renderElements(out []byte) ([]byte, error) {
	for {
		value := n.children[len(n.children)-1]
		if n.shape == nestedMap {
			begin := len(out)
			text, _, err := n.children[0].render(out)
			if err != nil {
				return text, err
			}
			if out = text; len(out) == begin || out[begin] != '"' { // keys of JSON are texts
				key := string(out[begin:])
				out = appendText(out[:begin], key)
			}
			out = append(out, ':')
		}
		text, there, err := value.render(out)
		if err != nil {
			return text, err
		}
		if out = text; !there {
			out = append(out, "null"...)
		}
		// The key comes first: it says whether another element follows.
		more, err := n.leaves[0].more()
		if err != nil {
			return out, err
		}
		if !more || n.leaves[0].repeat() < n.repeat {
			return out, nil
		}
		out = append(out, ',')
	}
}

// more makes sure that a level is left, and reports false at the end of the chunk.
func (l *leafReader) more() (bool, error) {
	for l.at >= l.n {
		if l.src.next >= l.src.end {
			return false, nil
		}
		if err := l.nextPage(); err != nil {
			return false, err
		}
		l.repeats, l.defines = l.page.RepetitionLevels(), l.page.DefinitionLevels()
		l.n, l.at, l.used = int(l.page.NumValues()), 0, 0
		there := l.n
		if len(l.defines) > 0 {
			there = bytes.Count(l.defines, []byte{l.highest})
		}
		l.present = batch.Column{}
		if err := l.values(&l.present, 0, there); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (l *leafReader) repeat() int {
	if len(l.repeats) == 0 {
		return 0
	}
	return int(l.repeats[l.at])
}

func (l *leafReader) defined() int {
	if len(l.defines) == 0 {
		return int(l.highest)
	}
	return int(l.defines[l.at])
}

// drop passes over one level, and over its value if it has one.
func (l *leafReader) drop() {
	if l.defined() == int(l.highest) {
		l.used++
	}
	l.at++
}

func (l *leafReader) render(out []byte) ([]byte, error) {
	out, err := l.text(out, &l.present, l.used)
	l.drop()
	return out, err
}
