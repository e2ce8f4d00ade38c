package engine

import (
	"regexp"
	"strings"
)

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
