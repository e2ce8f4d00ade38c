package interop

import (
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// relation is what a query of smelt or a peer yields: each row as one line, in order, so that two can be compared.
type relation struct {
	names []string
	lines []string
}

// selected runs a query of smelt and also returns the types of its columns, which say how to compare values.
func (s *server) selected(query string) (relation, []string) {
	s.t.Helper()
	rows, err := s.db.Query(query)
	require.NoError(s.t, err, "%s\n%s", query, s.logs)
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(s.t, err)
	columns, err := rows.ColumnTypes()
	require.NoError(s.t, err)
	types := make([]string, len(columns))
	for i, c := range columns {
		types[i] = c.DatabaseTypeName()
	}
	var values [][]*string
	for rows.Next() {
		texts, targets := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range texts {
			targets[i] = &texts[i]
		}
		require.NoError(s.t, rows.Scan(targets...))
		line := make([]*string, len(names))
		for i, v := range texts {
			if !v.Valid {
				continue
			}
			if line[i] = &v.String; isBinary(types[i]) {
				text := hex.EncodeToString([]byte(v.String))
				line[i] = &text
			}
		}
		values = append(values, line)
	}
	require.NoError(s.t, rows.Err(), query)
	return relation{names, lines(s.t, values, types)}, types
}

func isBinary(mysqlType string) bool {
	return strings.HasSuffix(mysqlType, "BLOB") || strings.HasSuffix(mysqlType, "BINARY")
}

// lines renders rows so that equal values have equal text, whoever wrote them, and sorts them.
func lines(t *testing.T, rows [][]*string, types []string) []string {
	t.Helper()
	out := make([]string, len(rows))
	for i, row := range rows {
		require.Len(t, row, len(types))
		var b strings.Builder
		for c, v := range row {
			if v == nil {
				b.WriteString(" | NULL")
				continue
			}
			text, err := normal(*v, types[c])
			require.NoError(t, err, "%s %q", types[c], *v)
			b.WriteString(" | " + strconv.Quote(text))
		}
		out[i] = b.String()
	}
	slices.Sort(out)
	return out
}

func normal(text, mysqlType string) (string, error) {
	switch mysqlType {
	case "FLOAT", "DOUBLE":
		bits := 64
		if mysqlType == "FLOAT" {
			bits = 32
		}
		f, err := strconv.ParseFloat(text, bits)
		if f == 0 {
			f = 0 // SQL knows one zero
		}
		return strconv.FormatFloat(f, 'g', -1, bits), err
	case "DATE", "DATETIME", "TIMESTAMP":
		const years = len("0001-01-01") // go-mysql-server prints a year below 1000 without its zeros
		if day, _, _ := strings.Cut(text, " "); len(day) < years {
			text = strings.Repeat("0", years-len(day)) + text
		}
		return text, nil
	case "JSON":
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return "", err
		}
		exact, err := exactNumbers(v)
		if err != nil {
			return "", err
		}
		out, err := json.Marshal(exact)
		return string(out), err
	default:
		return text, nil
	}
}

// exactNumbers replaces each number of a JSON document by a text that is the same for 1, 1.0 and 10e-1.
func exactNumbers(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		r, ok := new(big.Rat).SetString(v.String())
		if !ok {
			return nil, fmt.Errorf("not a number: %s", v)
		}
		return "number " + r.RatString(), nil
	case []any:
		for i := range v {
			e, err := exactNumbers(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = e
		}
	case map[string]any:
		for k := range v {
			e, err := exactNumbers(v[k])
			if err != nil {
				return nil, err
			}
			v[k] = e
		}
	}
	return v, nil
}

// agree compares a table of smelt with what the peer reads in its directory, and the newest versions.
func (s *server) agree(t *testing.T, p *peer, table, dir string) {
	t.Helper()
	s = s.in(t)
	ours, types := s.selected("SELECT * FROM " + table)
	a := p.ask(t, request{Op: "read", Path: dir})
	require.Equal(t, ours.names, a.Names, "%s: columns of %s", p.name, table)
	same(t, ours.lines, lines(t, a.Rows, types), p.name+" reads "+table)
	require.Equal(t, s.history(table)[0].Version, a.Version, "%s: version of %s", p.name, table)
}

// agreeAt compares one older version.
func (s *server) agreeAt(t *testing.T, p *peer, table, dir string, version int64) {
	t.Helper()
	s = s.in(t)
	ours, types := s.selected(fmt.Sprintf("SELECT * FROM %s FOR VERSION AS OF %d", table, version))
	a := p.ask(t, request{Op: "read", Path: dir, Version: &version})
	what := fmt.Sprintf("%s reads %s, version %d", p.name, table, version)
	require.Equal(t, ours.names, a.Names, what)
	same(t, ours.lines, lines(t, a.Rows, types), what)
}

// history is DESCRIBE HISTORY, newest first; its first two columns that peers also have.
func (s *server) history(table string) []commit {
	s.t.Helper()
	rows, err := s.db.Query("DESCRIBE HISTORY " + table)
	require.NoError(s.t, err)
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(s.t, err)
	var out []commit
	for rows.Next() {
		var c commit
		targets := make([]any, len(names))
		for i, name := range names {
			switch name {
			case "version":
				targets[i] = &c.Version
			case "operation":
				targets[i] = &c.Operation
			default:
				targets[i] = new(sql.RawBytes)
			}
		}
		require.NoError(s.t, rows.Scan(targets...))
		out = append(out, c)
	}
	require.NoError(s.t, rows.Err())
	require.NotEmpty(s.t, out)
	return out
}

// same names the first rows that only one side has.
func same(t *testing.T, ours, theirs []string, what string) {
	t.Helper()
	if slices.Equal(ours, theirs) {
		return
	}
	const shown = 5
	only := func(a, b []string) string {
		var out []string
		for _, line := range a {
			if _, ok := slices.BinarySearch(b, line); !ok && len(out) < shown {
				out = append(out, line)
			}
		}
		return strings.Join(out, "\n  ")
	}
	t.Fatalf("%s: smelt has %d rows, it has %d\nonly smelt has:\n  %s\nonly it has:\n  %s", what, len(ours), len(theirs), only(ours, theirs), only(theirs, ours))
}
