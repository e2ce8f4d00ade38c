package autoload

import (
	"slices"
	"strconv"
	"strings"

	"smelt/tables"
)

// need says what values ask of a column whose type does not hold them.
type need uint8

const (
	needWhole    need = 1 << iota // a whole number of 64 bits
	needDigits                    // a whole number of more
	needFraction                  // a number with a point or an exponent
	needTime                      // a time of the day beside the date
	sawLarge                      // it holds whole numbers beyond 2^53, which DOUBLE would change; asks for nothing by itself
)

// maxExact is the number up to which every whole number is a double.
const maxExact = 1 << 53

// needOf returns what a value asks of a column of a kind that does not hold it; 0 if no wider type would.
func needOf(k tables.Kind, v value, texts *arena) need {
	switch k {
	case tables.Byte, tables.Short, tables.Integer, tables.Long, tables.Float:
		if v.kind != '0' && (v.kind != plain || !isNumber(v.raw)) {
			return 0
		}
		if _, err := strconv.ParseInt(v.raw, 10, 64); err == nil {
			return needWhole
		}
		if strings.ContainsAny(v.raw, ".eE") {
			return needFraction
		}
		return needDigits
	case tables.Date:
		text := v.raw
		if v.kind == '"' {
			var err error
			if text, err = unquote(v.raw, texts); err != nil {
				return 0
			}
		}
		if _, _, ok := parseTime(text); ok && (v.kind == '"' || v.kind == plain) {
			return needTime
		}
	}
	return 0
}

// rungs lists the types that a column may become for what is asked of it, the best first.
func rungs(k tables.Kind, n need) []tables.Type {
	decimal := tables.Type{Kind: tables.Decimal, Precision: 38}
	if n&needFraction != 0 {
		decimal.Scale = 18 // and 20 digits in front, as many as 64 bits may have
	}
	double := tables.Type{Kind: tables.Double}
	switch {
	case k == tables.Date && n&needTime != 0:
		return []tables.Type{{Kind: tables.Timestamp}}
	case k == tables.Float && n&(needWhole|needDigits|needFraction) != 0:
		return []tables.Type{double}
	case k == tables.Long && n&needDigits != 0, k == tables.Long && n&needFraction != 0 && n&sawLarge != 0:
		return []tables.Type{decimal}
	case k == tables.Long && n&needFraction != 0:
		return []tables.Type{double, decimal}
	case k == tables.Byte, k == tables.Short, k == tables.Integer:
		if n&(needWhole|needDigits) != 0 {
			return []tables.Type{{Kind: tables.Long}}
		}
		if n&needFraction != 0 {
			return []tables.Type{double}
		}
	}
	return nil
}

// misfit notes what a value asks of the column that does not hold it.
func (d *decoder) misfit(at int, v value) {
	if !d.columns.mayWiden(at) {
		return
	}
	if n := needOf(d.columns.schema[at].Type.Kind, v, &d.texts); n != 0 {
		d.need(at, n)
	}
}

func (d *decoder) need(at int, n need) {
	if d.needs == nil {
		d.needs = map[string]need{}
	}
	d.needs[d.columns.schema[at].Name] |= n
}

// seeLarge notes which columns hold whole numbers that a double would change.
func (d *decoder) seeLarge(b *tables.Batch) {
	if !d.columns.content.widens {
		return
	}
	for at, f := range d.columns.schema {
		if f.Type.Kind == tables.Long && slices.ContainsFunc(b.Columns[at].Ints, func(n int64) bool { return n > maxExact || n < -maxExact }) {
			d.need(at, sawLarge)
		}
	}
}

// mayWiden reports whether a column may become wider: one whose type a hint or its path says does not.
func (c *columns) mayWiden(at int) bool {
	name := c.schema[at].Name
	return c.content.widens && !c.hinted[strings.ToLower(name)] &&
		!slices.ContainsFunc(c.partitions, func(p string) bool { return strings.EqualFold(p, name) })
}

// addNeeds joins what several files ask of columns.
func addNeeds(all, more map[string]need) map[string]need {
	for name, n := range more {
		if all == nil {
			all = map[string]need{}
		}
		all[name] |= n
	}
	return all
}

// widenTypes gives columns wider types for what files ask of them, as far as the table has not refused them, and reports
// whether it did. The caller holds mu.
func (l *Loader) widenTypes(needs map[string]need) (did bool) {
	schema := slices.Clone(l.columns.schema)
	for at, f := range schema {
		for _, to := range rungs(f.Type.Kind, needs[f.Name]) {
			if slices.Contains(l.refused[f.Name], to) || !l.columns.mayWiden(at) {
				continue
			}
			if _, ok := l.narrower[f.Name]; !ok {
				l.narrower[f.Name] = f.Type
			}
			schema[at].Type = to
			did = true
			break
		}
	}
	if did {
		l.columns = newColumns(schema, l.columns.fileNames, l.cfg.Options)
	}
	return did
}

// Remember makes the columns durable that are known so far.
func (l *Loader) Remember() error { return l.writeSchema() }

// Refuse takes back that a column, or if that has not every one, has become wider since the columns were
// durable, because the table cannot follow: values that do not fit are rescued, or the next type is tried. It reports
// whether there was anything to take back.
func (l *Loader) Refuse(column string) bool {
	l.next.Lock()
	defer l.next.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	schema := slices.Clone(l.columns.schema)
	_, known := l.narrower[column] // a column of the SELECT that has another name than those of the directory is made of them
	did := false
	for name, before := range l.narrower {
		if known && name != column {
			continue
		}
		at := schema.Index(name)
		l.refused[name] = append(l.refused[name], schema[at].Type)
		schema[at].Type = before
		delete(l.narrower, name)
		did = true
	}
	l.columns = newColumns(schema, l.columns.fileNames, l.cfg.Options)
	return did
}
