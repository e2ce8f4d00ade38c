package engine

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lossless checks that no value of any file is ever lost, whatever the definition of a table was and becomes.
type lossless struct {
	*watcher
	random *rand.Rand
	files  map[string][]string // ids of the rows, by file
	rows   map[string]map[string]any
}

// values are what a field may hold: of all types, and beyond them.
var values = []string{"1", "-7", "9007199254740993", "9223372036854775808", "0.25", "-3.5", "1e3", `"text"`, `"2026-01-02"`, `"2026-01-02T03:04:05Z"`, "true", "null", `{"k": [1]}`, "[]", `""`}

func (l *lossless) dropFile() {
	var text strings.Builder
	name := fmt.Sprintf("%03d.json", len(l.files))
	l.files[name] = nil
	for range 1 + l.random.IntN(3) {
		id := strconv.Itoa(len(l.rows) + 1)
		line := `{"id": ` + id
		row := map[string]any{}
		for _, field := range []string{"a", "b", "B", "c d", "e", "E"} {
			if l.random.IntN(3) > 0 {
				continue
			}
			value := values[l.random.IntN(len(values))]
			if l.random.IntN(2) == 0 {
				value = values[l.random.IntN(3)] // mostly of one type
			}
			line += fmt.Sprintf(", %q: %s", field, value)
			if value != "null" {
				row[field] = decoded(l.t, value)
			}
		}
		text.WriteString(line + "}\n")
		l.rows[id] = row
		l.files[name] = append(l.files[name], id)
	}
	l.drop(name, text.String())
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v), text)
	return v
}

// define gives bronze other options.
func (l *lossless) define() string {
	options := ", schemaEvolutionMode => '" + []string{"addNewColumns", "rescue", "failOnNewColumns", "addNewColumnsWithTypeWidening", "addNewColumnsWithTypeWidening"}[l.random.IntN(5)] + "'"
	if hint := []string{"", "", "", "e INT", "e DOUBLE, b STRING", "a TIMESTAMP"}[l.random.IntN(6)]; hint != "" {
		options += ", schemaHints => '" + hint + "'"
	}
	if l.random.IntN(3) == 0 {
		options += ", maxFilesPerTrigger => '2'"
	}
	l.defined(options)
	return options
}

func (l *lossless) defined(options string) {
	l.t.Helper()
	require.Equal(l.t, "ok", l.run("CREATE OR REFRESH STREAMING TABLE bronze AS SELECT *, source_file FROM STREAM read_files('in'"+options+")"), options)
}

// onFile takes a file out, or has it read again.
func (l *lossless) onFile() string {
	statement := []string{"UNLOAD", "RELOAD"}[l.random.IntN(2)] + fmt.Sprintf(" FILE '%03d.json' FROM bronze", l.random.IntN(len(l.files)))
	l.run(statement) // which is refused for a file that was not read yet, and says so of one that fails again
	return statement
}

// holds checks each row of the files that are loaded, and that there are no others.
func (l *lossless) holds(history string) {
	t := l.t
	t.Helper()
	require.Equal(t, "ok", l.run("REFRESH STREAMING TABLE bronze"), history)
	want := 0
	for _, name := range strings.Fields(strings.TrimPrefix(l.run("SELECT SUBSTRING_INDEX(path, '/', -1) AS n FROM smelt.files WHERE `table` = 'bronze' AND state = 'loaded'"), "n\n")) {
		want += len(l.files[name])
	}
	rows, err := l.db.Query("SELECT * FROM bronze")
	require.NoError(t, err, history)
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(t, err)
	seen := map[string]bool{}
	for rows.Next() {
		cells, to := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range cells {
			to[i] = &cells[i]
		}
		require.NoError(t, rows.Scan(to...))
		row := map[string]sql.NullString{}
		for i, name := range names {
			row[strings.ToLower(name)] = cells[i]
		}
		id := row["id"].String
		require.False(t, seen[id], "row %s came twice, %s", id, history)
		seen[id] = true
		rescued := map[string]any{}
		if row["_rescued_data"].Valid {
			rescued = decoded(t, row["_rescued_data"].String).(map[string]any)
		}
		for field, value := range l.rows[id] {
			column := row[strings.ReplaceAll(strings.ToLower(field), " ", "_")]
			if kept, ok := rescued[field]; ok {
				require.Equal(t, value, kept, "row %s, field %s, %s", id, field, history)
				continue
			}
			require.True(t, column.Valid && same(column.String, value), "row %s, field %s: %v became %v, rescued are %v, %s", id, field, value, column, rescued, history)
		}
	}
	require.NoError(t, rows.Err())
	require.Len(t, seen, want, history)
	l.eventually(l.run("SELECT id FROM bronze ORDER BY id"), "SELECT id FROM silver ORDER BY id")
	l.eventually(l.run("SELECT COUNT(*) AS n, SUM(id) AS ids, COUNT(rescued) AS rescued FROM (SELECT id, _rescued_data AS rescued FROM bronze) q"), "SELECT * FROM app")
}

// same compares what a client is shown of a column with the value in the file.
func same(shown string, value any) bool {
	switch v := value.(type) {
	case json.Number:
		a, okA := new(big.Rat).SetString(shown)
		b, okB := new(big.Rat).SetString(v.String())
		if okA && okB && a.Cmp(b) == 0 {
			return true
		}
		f, err := strconv.ParseFloat(shown, 64) // a double is shown with as many digits as tell it from others
		return err == nil && okB && new(big.Rat).SetFloat64(f).Cmp(b) == 0
	case bool:
		return shown == strconv.FormatBool(v) || shown == map[bool]string{true: "1", false: "0"}[v]
	case string:
		return shown == v || shown == strconv.Quote(v) || strings.HasPrefix(shown, strings.NewReplacer("T", " ", "Z", "").Replace(v))
	default:
		var back any
		d := json.NewDecoder(strings.NewReader(shown))
		d.UseNumber()
		return d.Decode(&back) == nil && reflect.DeepEqual(back, value)
	}
}

// TestNoValueIsLostWhateverTheDefinition drops, unloads and reloads files, changes options and restarts at random, and
// looks at the tables behind, too.
func TestNoValueIsLostWhateverTheDefinition(t *testing.T) {
	for range 3 {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		l := &lossless{watcher: newWatcher(t), random: rand.New(rand.NewPCG(seed, 0)), files: map[string][]string{}, rows: map[string]map[string]any{}}
		l.dropFile()
		history := l.define()
		require.Equal(t, "ok", l.run("CREATE STREAMING TABLE silver AS SELECT id FROM STREAM(bronze)"))
		require.Equal(t, "ok", l.run("CREATE MATERIALIZED VIEW app AS SELECT COUNT(*) AS n, SUM(id) AS ids, COUNT(_rescued_data) AS rescued FROM bronze"))
		for range 25 {
			switch l.random.IntN(6) {
			case 0, 1:
				history = l.define() + " after " + history
			case 2:
				if l.random.IntN(4) == 0 {
					l.proven()
				} else {
					history = l.onFile() + " after " + history
				}
			default:
				l.dropFile()
			}
			l.holds(history)
		}
		l.defined("")
		l.holds("in the end, after " + history)
		l.eventually("n\n0\n", "SELECT COUNT(*) AS n FROM smelt.files WHERE state NOT IN ('loaded', 'unloaded')")
	}
}
