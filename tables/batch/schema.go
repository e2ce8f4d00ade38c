package batch

import (
	"fmt"
	"strings"
)

// Kind is the logical kind of a column. Each kind names its Delta type and the slice of Column that holds its values.
type Kind uint8

const (
	Boolean   Kind = iota + 1 // Delta boolean; Column.Bools
	Byte                      // Delta byte, 8-bit signed; Column.Ints
	Short                     // Delta short, 16-bit signed; Column.Ints
	Integer                   // Delta integer, 32-bit signed; Column.Ints
	Long                      // Delta long, 64-bit signed; Column.Ints
	Float                     // Delta float; Column.Floats
	Double                    // Delta double; Column.Floats
	Decimal                   // Delta decimal(p,s), p <= 38; Column.Decimals holds the unscaled value
	String                    // Delta string, UTF-8; Column.Strings
	Binary                    // Delta binary; Column.Strings holds the raw bytes
	Date                      // Delta date; Column.Ints holds days since 1970-01-01
	Timestamp                 // Delta timestamp, UTC; Column.Ints holds microseconds since 1970-01-01T00:00:00Z
	JSON                      // Delta string whose field metadata says "smelt.type": "json"; Column.Strings holds JSON text
)

// Type is the type of a column: a kind and, for Decimal only, its precision (1-38) and scale (0-precision).
type Type struct {
	Kind      Kind
	Precision int
	Scale     int
}

// String returns the Delta name of the type, such as long or decimal(10,2).
func (t Type) String() string {
	switch t.Kind {
	case Boolean:
		return "boolean"
	case Byte:
		return "byte"
	case Short:
		return "short"
	case Integer:
		return "integer"
	case Long:
		return "long"
	case Float:
		return "float"
	case Double:
		return "double"
	case Decimal:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case String, JSON:
		return "string"
	case Binary:
		return "binary"
	case Date:
		return "date"
	case Timestamp:
		return "timestamp"
	default:
		return fmt.Sprintf("unknown kind %d", t.Kind)
	}
}

// Field is one column of a Schema. Every field is nullable: the readers and writers of a Delta table differ in how they
// honour NOT NULL, and go-mysql-server's own claims about nullability are wrong after outer joins.
type Field struct {
	Name    string
	Type    Type
	Comment string // shown to clients as the column comment; "" means none
	Hidden  bool   // not part of SELECT *, only of a Relation that is no table: the file columns of a watched directory
}

// Schema is an ordered list of fields whose names are unique ignoring case.
type Schema []Field

// Index returns the position of the field called name, ignoring case, or -1.
func (s Schema) Index(name string) int {
	for i, f := range s {
		if strings.EqualFold(f.Name, name) {
			return i
		}
	}
	return -1
}

// Names returns the field names in order.
func (s Schema) Names() []string {
	names := make([]string, len(s))
	for i, f := range s {
		names[i] = f.Name
	}
	return names
}

// Select returns the fields called names, in that order. An unknown name is an error.
func (s Schema) Select(names []string) (Schema, error) {
	out := make(Schema, 0, len(names))
	for _, name := range names {
		i := s.Index(name)
		if i < 0 {
			return nil, fmt.Errorf("select columns: no column %q among %s", name, strings.Join(s.Names(), ", "))
		}
		out = append(out, s[i])
	}
	return out, nil
}
