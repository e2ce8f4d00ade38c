package queries

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"smelt/queries/ddl"
	"smelt/tables"
	"smelt/tables/filter"
)

// Limits of EXPECT UNIQUE.
const (
	// maxUniqueKeys bounds the keys that are held in memory: those of one batch of a stream, all of a view.
	maxUniqueKeys = 10_000_000
	// maxLookUpValues is up to how many values a look-up asks for by name, so that statistics and Bloom filters answer;
	// beyond it asks for what lies between the lowest and the highest.
	maxLookUpValues = 1000
)

// propertyBloom lists the columns whose values files have Bloom filters of.
const propertyBloom = "smelt.bloom.columns"

// soughtColumns are those whose values are looked for: of UNIQUE rules, and of CLUSTER BY. They get Bloom filters.
func soughtColumns(c *ddl.Create) string {
	columns := slices.Clone(c.Cluster)
	for _, e := range c.Expectations {
		if c.Kind == ddl.StreamingTable {
			columns = append(columns, e.Unique...)
		}
	}
	return strings.Join(columns, ",")
}

// uniqueKeys knows which keys were there before a row.
type uniqueKeys struct {
	columns []string
	into    *target // the rows that are there; nil for none
	seen    map[string]bool
}

func newUniqueKeys(columns []string, into *target) *uniqueKeys {
	u := &uniqueKeys{columns: columns, seen: map[string]bool{}}
	if into != nil && !into.replaces && into.now.Rows() > 0 {
		u.into = into
	}
	return u
}

// key returns what a row is told by, "" for a row with a NULL in it: as in SQL, that is equal to no other.
func (u *uniqueKeys) key(b *tables.Batch, row int) string {
	var key []byte
	for _, name := range u.columns {
		at := b.Schema.Index(name)
		if at < 0 || b.Columns[at].Null(row) {
			return ""
		}
		key = append(appendValue(key, b, at, row), ',')
	}
	return string(key)
}

// appendValue appends a value that is not null so that equal values, and no others, look equal.
func appendValue(key []byte, b *tables.Batch, column, row int) []byte {
	c := &b.Columns[column]
	switch b.Schema[column].Type.Kind {
	case tables.Boolean:
		return strconv.AppendBool(key, c.Bools[row])
	case tables.Float, tables.Double:
		v := c.Floats[row]
		if v == 0 {
			v = 0 // no sign
		}
		return strconv.AppendFloat(key, v, 'g', -1, 64)
	case tables.String, tables.Binary, tables.JSON:
		key = append(strconv.AppendInt(key, int64(len(c.Strings[row])), 10), ':')
		return append(key, c.Strings[row]...)
	case tables.Decimal:
		key = strconv.AppendInt(key, c.Decimals[row].Hi, 36)
		return strconv.AppendUint(append(key, '.'), c.Decimals[row].Lo, 36)
	default:
		return strconv.AppendInt(key, c.Ints[row], 36)
	}
}

// lookUp finds which keys of the rows the table has. It reads the columns of the key alone, and of these what statistics
// and Bloom filters, those of the files and one in memory, do not rule out.
func (u *uniqueKeys) lookUp(ctx context.Context, rows []*tables.Batch) error {
	for _, name := range u.columns {
		if u.into.now.Schema().Index(name) < 0 {
			return nil // the column is new, and NULL in all rows that are there
		}
	}
	known, err := u.into.filter(ctx, u)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	values := make([]tables.Column, len(u.columns))
	for _, b := range rows {
		for r := range b.Len {
			key := u.key(b, r)
			if key == "" || wanted[key] || known != nil && !known.has(key) {
				continue
			}
			wanted[key] = true
			for i, name := range u.columns {
				at := b.Schema.Index(name)
				appendFrom(&values[i], &b.Columns[at], b.Schema[at].Type.Kind, r)
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	var conditions []filter.Condition
	schema := u.into.now.Schema()
	for i, name := range u.columns {
		conditions = append(conditions, narrowed(name, schema[schema.Index(name)].Type.Kind, values[i], len(wanted))...)
	}
	r, err := u.into.now.Prune(conditions).Scan(ctx, u.columns)
	if err != nil {
		return err
	}
	defer r.Close()
	read := 0
	err = tables.EachBatch(ctx, r, func(b *tables.Batch) error {
		read += b.Len
		for row := range b.Len {
			if key := u.key(b, row); wanted[key] {
				u.seen[key] = true
			}
		}
		return nil
	})
	u.into.readMany(u, read)
	return err
}

// appendFrom appends a value that is not null.
func appendFrom(to, from *tables.Column, k tables.Kind, row int) {
	switch k {
	case tables.Boolean:
		to.AppendBool(from.Bools[row])
	case tables.Float, tables.Double:
		to.AppendFloat(from.Floats[row])
	case tables.String, tables.Binary, tables.JSON:
		to.AppendString(from.Strings[row])
	case tables.Decimal:
		to.AppendDecimal(from.Decimals[row])
	default:
		to.AppendInt(from.Ints[row])
	}
}

// narrowed returns conditions that hold for each of n values of a column.
func narrowed(name string, k tables.Kind, values tables.Column, n int) []filter.Condition {
	if n <= maxLookUpValues {
		return []filter.Condition{{Column: name, Op: filter.In, Values: values}}
	}
	low, high := 0, 0
	for i := range n {
		v := filter.At(&values, k, i)
		lowest, highest := filter.At(&values, k, low), filter.At(&values, k, high)
		if filter.Compare(k, &v, &lowest) < 0 {
			low = i
		}
		if filter.Compare(k, &v, &highest) > 0 {
			high = i
		}
	}
	var from, to tables.Column
	appendFrom(&from, &values, k, low)
	appendFrom(&to, &values, k, high)
	return []filter.Condition{{Column: name, Op: filter.GreaterEqual, Values: from}, {Column: name, Op: filter.LessEqual, Values: to}}
}
