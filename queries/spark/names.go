package spark

import (
	"maps"
	"slices"
	"strings"
)

// Functions and marks that the translator writes and the tree, or package functions/spark, reads.
const (
	pathFunction     = "smelt_path"      // (json, '$.path'): a field; becomes one of the next three
	textFunction     = "get_json_object" // (json, '$.path'): as text
	jsonFunction     = "smelt_json"      // (json, '$.path'): as JSON, whose numbers compare as numbers
	truthFunction    = "smelt_truth"     // (json, '$.path'): as a condition
	unquoteFunction  = "json_unquote"
	itemFunction     = "smelt_item"    // (json, index or key)
	exceptFunction   = "smelt_except"  // ('column', ...): behind a star
	filterFunction   = "smelt_filter"  // (aggregate, condition)
	qualifyFunction  = "smelt_qualify" // (condition): the last part of HAVING
	entriesFunction  = "smelt_entries" // (json, 'explode' | 'explode_outer' | 'posexplode' | 'posexplode_outer', columns)
	groupByAllColumn = "all:group"     // the column that stands for ALL in GROUP BY ALL
	columnMark       = "column:"       // before the name of a column of explode(...)
)

// explodes reports whether a function makes a row of each element.
func explodes(name string) bool {
	switch strings.ToLower(name) {
	case "explode", "explode_outer", "posexplode", "posexplode_outer":
		return true
	}
	return false
}

// casts are the functions that cast to a type of Spark's which MySQL's CAST has not. All give NULL for what is not of the
// type, as TRY_CAST does and CAST did before Spark 4: the expectations of the scripts count on it.
var casts = map[string]string{
	"INT": "smelt_cast_int", "INTEGER": "smelt_cast_int", "BIGINT": "smelt_cast_bigint", "LONG": "smelt_cast_bigint",
	"SMALLINT": "smelt_cast_smallint", "SHORT": "smelt_cast_smallint", "TINYINT": "smelt_cast_tinyint", "BYTE": "smelt_cast_tinyint",
	"BOOLEAN": "smelt_cast_boolean", "BOOL": "smelt_cast_boolean",
	"TIMESTAMP": "smelt_cast_timestamp", "TIMESTAMP_NTZ": "smelt_cast_timestamp", "TIMESTAMP_LTZ": "smelt_cast_timestamp",
}

// tryCasts are those that MySQL's CAST has, too, but not with NULL for what is not of the type.
var tryCasts = map[string]string{
	"DATE": "smelt_cast_date", "DATETIME": "smelt_cast_timestamp", "DOUBLE": "smelt_cast_double", "FLOAT": "smelt_cast_double", "REAL": "smelt_cast_double",
	"SIGNED": "smelt_cast_bigint", "JSON": "smelt_cast_json", "VARIANT": "smelt_cast_json",
}

// spells reports whether a type is one of Spark's names, for which MySQL's error would say nothing.
func spells(typ string) bool {
	name, _, _ := strings.Cut(typ, "(")
	return casts[name] != "" || name == "STRING" || name == "VARCHAR"
}

func castTypes() string {
	return strings.Join(slices.Sorted(maps.Keys(casts)), ", ") + ", DATE, DECIMAL, DOUBLE, FLOAT, STRING, STRUCT<...>, ARRAY<...>, MAP<...>"
}

// castTo returns what stands before and behind the operand of a cast; ok is false for a type that is MySQL's own, unless
// all is set, and for no type at all.
func castTo(typ string, all bool) (before, after string, ok bool) {
	name, digits, bracketed := strings.Cut(typ, "(")
	switch {
	case name == "STRING":
		return "CAST(", " AS CHAR)", true
	case name == "VARCHAR" || all && name == "CHAR":
		return "CAST(", " AS CHAR" + strings.TrimPrefix(typ, name) + ")", true
	case casts[typ] != "":
		return casts[typ] + "(", ")", true
	case strings.HasPrefix(typ, "STRUCT<"), strings.HasPrefix(typ, "ARRAY<"), strings.HasPrefix(typ, "MAP<"):
		return "smelt_cast_json(", ")", true
	case !all:
		return "", "", false
	case tryCasts[typ] != "":
		return tryCasts[typ] + "(", ")", true
	case name == "DECIMAL" || name == "NUMERIC" || name == "DEC":
		if !bracketed {
			digits = "10,0)"
		}
		return "CAST(smelt_number(", ") AS DECIMAL(" + digits + ")", true
	}
	return "", "", false
}
