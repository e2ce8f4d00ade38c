package batch

import (
	"fmt"
	"time"
)

// AppendRow appends one row of Go's own values: nil and the zero time are NULL, a time is that of a Timestamp, and the others must
// fit the kinds of the schema. It is for small tables that a program makes; a value of another type is its mistake and panics.
func (b *Batch) AppendRow(values ...any) {
	for i, v := range values {
		c := &b.Columns[i]
		switch v := v.(type) {
		case nil:
			c.AppendNull(b.Schema[i].Type.Kind)
		case string:
			c.AppendString(v)
		case int64:
			c.AppendInt(v)
		case int:
			c.AppendInt(int64(v))
		case float64:
			c.AppendFloat(v)
		case bool:
			c.AppendBool(v)
		case time.Time:
			if v.IsZero() {
				c.AppendNull(b.Schema[i].Type.Kind)
			} else {
				c.AppendInt(v.UnixMicro())
			}
		default:
			panic(fmt.Sprintf("append to column %s: no rule for %T", b.Schema[i].Name, v))
		}
	}
	b.Len++
}
