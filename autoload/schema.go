package autoload

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"smelt/tables"
)

// maxColumns bounds what files can make of a table; fields beyond it are rescued.
const maxColumns = 1000

// maxNameBytes bounds a column name; fields with longer ones are rescued. MySQL itself allows 64 characters.
const maxNameBytes = 255

// forbidden are the characters that a Delta column name must not hold; each becomes an underscore, and so do control
// characters.
const forbidden = " ,;{}()\n\t="

// reserved is the place of a name that no field of a file may take.
const reserved = -1

// columns is the data columns of a directory: hinted first, then inferred, in order of appearance. It never changes;
// with makes a wider one.
type columns struct {
	schema     tables.Schema
	fileNames  []string // name in the files of each column
	rescued    string   // name of the column for what does not fit
	textOnly   bool     // new columns are strings
	content    contentOptions
	partitions []string        // columns whose values stand in the path
	hinted     map[string]bool // columns whose type a hint says, in lower case
	index      map[string]int  // name in the files -> place
	folded     map[string]int  // column name in lower case -> place, or reserved
}

func newColumns(schema tables.Schema, fileNames []string, o Options) columns {
	c := columns{schema: schema, fileNames: fileNames, rescued: o.Rescued, textOnly: o.TextOnly, content: o.content, partitions: o.Partitions,
		hinted: map[string]bool{}, index: map[string]int{}, folded: map[string]int{}}
	for _, hint := range o.Hints {
		c.hinted[strings.ToLower(clean(hint.Name))] = true
	}
	for i, f := range schema {
		c.index[fileNames[i]] = i
		c.folded[strings.ToLower(f.Name)] = i
	}
	for _, name := range append(o.excluded, o.Rescued) {
		c.folded[strings.ToLower(name)] = reserved
	}
	for _, own := range hiddenSchema {
		c.folded[own.Name] = reserved
	}
	return c
}

// find returns the place of a column by its name in quotes, -1 for none and for a name with escapes. Rows have their
// fields in the same order mostly, so that next is mostly right.
func (c *columns) find(quoted []byte, next int) int {
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		return -1
	}
	return c.expect(name, next)
}

// expect returns the place of a column by its name in the files, -1 for none; it is likely to be next.
func (c *columns) expect(name []byte, next int) int {
	if next < len(c.fileNames) && c.fileNames[next] == string(name) {
		return next
	}
	return c.position(string(name))
}

// position returns the place of a column by its name in the files, -1 for none.
func (c *columns) position(name string) int {
	if at, ok := c.index[name]; ok {
		return at
	}
	return -1
}

// place returns where a field goes whose exact name is no column: the column whose name differs in case only, if there
// is one; else isNew says whether it becomes a column of its own.
func (c *columns) place(name string) (at int, isNew bool) {
	at, taken := c.folded[strings.ToLower(clean(name))]
	switch {
	case taken && at == reserved:
		return -1, false
	case taken && strings.EqualFold(c.fileNames[at], name):
		return at, false
	}
	return -1, name != "" && len(name) <= maxNameBytes && len(c.schema) < maxColumns
}

// with returns the columns and one more at the end. Two names that become the same one when cleaned get a number.
func (c *columns) with(fileName string, typ inferred, o Options) columns {
	name := clean(fileName)
	for n := 2; ; n++ {
		if _, taken := c.folded[strings.ToLower(name)]; !taken {
			break
		}
		name = clean(fileName) + "_" + strconv.Itoa(n)
	}
	t := typ.columnType()
	if c.textOnly {
		t = tables.Type{Kind: tables.String}
	}
	return newColumns(append(slices.Clone(c.schema), tables.Field{Name: name, Type: t}), append(slices.Clone(c.fileNames), fileName), o)
}

// Exclude has fields go to the rescued column that became columns of these names: the table has such columns, which are
// made of something else. It reports whether there were any.
func (l *Loader) Exclude(names []string) bool {
	l.next.Lock()
	defer l.next.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	schema, fileNames := slices.Clone(l.columns.schema), slices.Clone(l.columns.fileNames)
	before := len(schema)
	for _, name := range names {
		at := schema.Index(name)
		if at < 0 || l.columns.hinted[strings.ToLower(schema[at].Name)] {
			continue
		}
		l.cfg.Logger.Warn("field is rescued: the SELECT has a column of its name", "dir", l.cfg.Dir, "field", fileNames[at])
		l.cfg.Options.excluded = append(l.cfg.Options.excluded, schema[at].Name)
		schema, fileNames = slices.Delete(schema, at, at+1), slices.Delete(fileNames, at, at+1)
	}
	l.columns = newColumns(schema, fileNames, l.cfg.Options)
	return len(schema) < before
}

// clean makes a column name of a field name.
func clean(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(forbidden, r) {
			return '_'
		}
		return r
	}, name)
}

// withRescued is the schema of a decoded file.
func (c *columns) withRescued() tables.Schema {
	return append(slices.Clone(c.schema), tables.Field{Name: c.rescued, Type: tables.Type{Kind: tables.JSON}, Comment: "values that fit no column, with their file"})
}

// full is the schema of the directory: what SELECT * yields, and the hidden columns.
func (c *columns) full() tables.Schema {
	return append(c.withRescued(), hiddenSchema...)
}
