package engine

import (
	"regexp"
	"strings"
)

// sparkForm is a spelling of Spark and Databricks that the MySQL parser does not take, and what MySQL writes there. Only
// the text of the groups changes, and it keeps its length: views are cut from the statement by offset.
type sparkForm struct {
	pattern *regexp.Regexp
	becomes []string // of each group
}

// sparkForms are tried on statements that the MySQL parser refused, so that none that it takes can change its meaning.
var sparkForms = []sparkForm{
	{regexp.MustCompile(`(?i)(\bfor\s+version|\bversion|\bfor\s+timestamp|\btimestamp)\s+as\s+of\b`), []string{""}}, // AS OF alone is enough
	{regexp.MustCompile(`(?i)\bas\s+(string)\s*\)`), []string{"CHAR"}},                                              // CAST(x AS STRING)
	{regexp.MustCompile(`(?i)^\s*(?:create|alter)\s+table\b`), nil},                                                 // what follows is for columns only
	{regexp.MustCompile("(?i)[\\w`]\\s+(string)\\b"), []string{"TEXT"}},
	{regexp.MustCompile("(?i)[\\w`]\\s+(timestamp_ntz)\\b"), []string{"DATETIME"}},
}

// sparkEverywhere are those that do not depend on the statement.
var sparkEverywhere = []sparkForm{
	{regexp.MustCompile(`(==)`), []string{"="}},
	{regexp.MustCompile(`(?i)^\s*(?:describe|desc)\s+((?:table\s+)?(?:extended|formatted))\b`), []string{""}},
}

// addColumns is ALTER TABLE ... ADD COLUMNS (...), of which MySQL's parser here knows only one column at a time.
var addColumns = regexp.MustCompile(`(?is)^(\s*alter\s+table\s+.*?\sadd\s+)columns?\s*\((.*)\)\s*$`)

// withoutSpark returns a refused statement in MySQL's spelling, false if it has nothing of Spark's.
func withoutSpark(query string) (string, bool) {
	text := []byte(query)
	change := func(forms []sparkForm) {
		for _, f := range forms {
			found := f.pattern.FindAllSubmatchIndex(masked(string(text)), -1)
			if f.becomes == nil && found == nil {
				return
			}
			for _, at := range found {
				for i, word := range f.becomes {
					from, to := at[2+2*i], at[3+2*i]
					copy(text[from:to], word+strings.Repeat(" ", to-from-len(word)))
				}
			}
		}
	}
	change(sparkEverywhere)
	change(sparkForms)
	if at := addColumns.FindSubmatchIndex(masked(string(text))); at != nil {
		return string(text[:at[3]]) + "COLUMN " + strings.Join(splitColumns(string(text[at[4]:at[5]])), ", ADD COLUMN "), true
	}
	return string(text), string(text) != query
}

// splitColumns cuts a list of columns at its commas, but for those inside brackets and quotes.
func splitColumns(list string) []string {
	var parts []string
	depth, start := 0, 0
	for i, c := range masked(list) {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			parts, start = append(parts, strings.TrimSpace(list[start:i])), i+1
		}
	}
	return append(parts, strings.TrimSpace(list[start:]))
}

// masked returns the text with blanks for comments and for what stands between quotes.
func masked(text string) []byte {
	out := []byte(text)
	blank := func(from, to int) {
		for i := from; i < to; i++ {
			out[i] = ' '
		}
	}
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch {
		case rest[0] == '\'' || rest[0] == '"' || rest[0] == '`':
			n := quotedLength(rest)
			blank(i+1, i+n-1)
			i += n - 1
		case strings.HasPrefix(rest, "/*"):
			n := lengthThrough(rest, "*/", 2)
			blank(i, i+n)
			i += n - 1
		case rest[0] == '#' || strings.HasPrefix(rest, "-- ") || strings.HasPrefix(rest, "--\n") || strings.HasPrefix(rest, "--\t"):
			n := lengthThrough(rest, "\n", 0)
			blank(i, i+n)
			i += n - 1
		}
	}
	return out
}

// sparkMissing are statements of Databricks that are not there: a syntax error would not say whether one was mistyped.
var sparkMissing = []struct {
	pattern *regexp.Regexp
	what    string
}{
	{regexp.MustCompile(`(?i)^\s*merge\s+into\b`), "MERGE INTO (UPDATE, DELETE and INSERT are)"},
	{regexp.MustCompile(`(?i)^\s*insert\s+overwrite\b`), "INSERT OVERWRITE (TRUNCATE and INSERT are, as two commits)"},
	{regexp.MustCompile(`(?i)^\s*copy\s+into\b`), "COPY INTO (a STREAMING TABLE over read_files() is)"},
	{regexp.MustCompile(`(?i)^\s*(?:create\s+or\s+)?replace\s+table\b`), "CREATE OR REPLACE TABLE (DROP TABLE and CREATE TABLE are)"},
	{regexp.MustCompile(`(?i)^\s*create\s+(?:or\s+replace\s+)?table\b.*\b(?:shallow|deep)?\s*clone\b`), "CLONE (CREATE TABLE ... AS SELECT is)"},
	{regexp.MustCompile(`(?i)^\s*comment\s+on\b`), "COMMENT ON (COMMENT in CREATE TABLE is)"},
	{regexp.MustCompile(`(?i)^\s*show\s+tblproperties\b`), "SHOW TBLPROPERTIES (DESCRIBE DETAIL shows them)"},
	{regexp.MustCompile(`(?i)^\s*show\s+partitions\b`), "SHOW PARTITIONS (SELECT DISTINCT of the partition columns is)"},
	{regexp.MustCompile(`(?i)^\s*undrop\b`), "UNDROP"},
	{regexp.MustCompile(`(?is)^\s*alter\s+table\b.*\b(?:un)?set\s+tblproperties\b`), "ALTER TABLE ... SET TBLPROPERTIES (TBLPROPERTIES in CREATE TABLE is)"},
	{regexp.MustCompile(`(?is)^\s*alter\s+table\b.*\balter\s+(?:column\s+)?\S+\s+(?:type|comment)\b`), "ALTER TABLE ... ALTER COLUMN (MODIFY COLUMN is)"},
	{regexp.MustCompile(`(?is)^\s*create\s+table\b.*\bcluster\s+by\b`), "CLUSTER BY (PARTITIONED BY is)"},
	{regexp.MustCompile("(?i)\\b(?:from|join)\\s+\\S+@v\\d"), "table@v1 (VERSION AS OF 1 is)"},
}

// missingSpark returns the refusal of a statement that Databricks has, nil for any other.
func missingSpark(query string) error {
	text := masked(query)
	for _, m := range sparkMissing {
		if m.pattern.Match(text) {
			return notYet(m.what)
		}
	}
	return nil
}
