package autoload

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"smelt/tables"
)

// Defaults of a batch. A thousand small files cost about as much as one commit; 64 MiB decode in about a second on one
// core and keep the memory of a batch at a few hundred MiB.
const (
	defaultMaxFiles = 1000
	defaultMaxBytes = 64 << 20
)

// Options of a watched directory, by Auto Loader's names. Use ParseOptions.
type Options struct {
	Format          string // auto, json, csv, text or parquet
	Hints           tables.Schema
	Glob            string // pattern for file names; "" takes all
	Recursive       bool   // look into sub-directories
	MaxFiles        int    // files in one batch
	MaxBytes        int64  // bytes of files in one batch
	IncludeExisting bool   // load files that were there before the table was made
	AllowOverwrites bool   // load a file again when it changes
	TextOnly        bool   // columns without a hint are strings; otherwise their type is inferred
	Rescued         string // name of the column for what does not fit
	content         contentOptions
	excluded        []string // names of fields that are no columns, because the table has columns of these names

	Partitions    []string      // columns whose values stand in the path, as in day=2026-01-01/
	IgnoreMissing bool          // a file that vanished before it was read is no failed file
	Backfill      time.Duration // every file is looked at again after so long at most; 0 for now and then
	Clean         cleanMode     // what becomes of a file when all flows that read it have loaded it
	MoveTo        string        // directory for cleanMove
	Retain        time.Duration // for how long a loaded file stays before Clean
}

// cleanMode is what cleanSource does with loaded files.
type cleanMode string

const (
	cleanOff    cleanMode = "OFF"
	cleanMove   cleanMode = "MOVE"
	cleanDelete cleanMode = "DELETE"
)

// defaultRetain is Auto Loader's.
const defaultRetain = 30 * 24 * time.Hour

type optionParser func(o *Options, value string) error

// known are the options, by lower-case name.
var known = map[string]optionParser{
	"schemahints":         func(o *Options, v string) (err error) { o.Hints, err = parseHints(v); return err },
	"pathglobfilter":      func(o *Options, v string) error { o.Glob = v; _, err := filepath.Match(v, "x"); return err },
	"recursivefilelookup": func(o *Options, v string) (err error) { o.Recursive, err = parseBool(v); return err },
	"maxfilespertrigger": func(o *Options, v string) (err error) {
		if o.MaxFiles, err = strconv.Atoi(v); err != nil {
			return errors.New("want a whole number")
		}
		return positive(int64(o.MaxFiles), nil)
	},
	"maxbytespertrigger": func(o *Options, v string) (err error) {
		o.MaxBytes, err = parseBytes(v)
		return positive(o.MaxBytes, err)
	},
	"includeexistingfiles": func(o *Options, v string) (err error) { o.IncludeExisting, err = parseBool(v); return err },
	"allowoverwrites":      func(o *Options, v string) (err error) { o.AllowOverwrites, err = parseBool(v); return err },
	"partitioncolumns":     func(o *Options, v string) (err error) { o.Partitions, err = parseNames(v); return err },
	"ignoremissingfiles":   func(o *Options, v string) (err error) { o.IgnoreMissing, err = parseBool(v); return err },
	"backfillinterval": func(o *Options, v string) (err error) {
		o.Backfill, err = parseInterval(v)
		return positive(int64(o.Backfill), err)
	},
	"cleansource": func(o *Options, v string) error {
		o.Clean = cleanMode(strings.ToUpper(v))
		if o.Clean != cleanOff && o.Clean != cleanMove && o.Clean != cleanDelete {
			return fmt.Errorf("want %s, %s or %s", cleanOff, cleanMove, cleanDelete)
		}
		return nil
	},
	"cleansource.movedestination":   func(o *Options, v string) error { o.MoveTo = v; return nil },
	"cleansource.retentionduration": func(o *Options, v string) (err error) { o.Retain, err = parseInterval(v); return err },
	"infercolumntypes": func(o *Options, v string) error {
		typed, err := parseBool(v)
		o.TextOnly = !typed
		return err
	},
	"rescueddatacolumn": func(o *Options, v string) error {
		o.Rescued, o.content.rescues = v, true
		if v == "" || clean(v) != v {
			return fmt.Errorf("%q is no column name", v)
		}
		return nil
	},
}

// names lists the options as users write them.
var names = []string{"allowOverwrites", "backfillInterval", "cleanSource", "cleanSource.moveDestination", "cleanSource.retentionDuration",
	"ignoreMissingFiles", "includeExistingFiles", "inferColumnTypes", "maxBytesPerTrigger", "maxFilesPerTrigger", "partitionColumns",
	"pathGlobFilter", "recursiveFileLookup", "rescuedDataColumn", "schemaHints"}

func positive(n int64, err error) error {
	if err == nil && n <= 0 {
		return fmt.Errorf("%d is not positive", n)
	}
	return err
}

// ParseOptions reads options as a statement gives them, names in any case and with or without "cloudFiles.". An
// unknown name is an error that lists the known ones.
func ParseOptions(m map[string]string) (Options, error) {
	o := Options{Format: formatAuto, MaxFiles: defaultMaxFiles, MaxBytes: defaultMaxBytes, IncludeExisting: true, Rescued: "_rescued_data",
		Clean: cleanOff, Retain: defaultRetain}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		name := strings.TrimPrefix(strings.ToLower(k), "cloudfiles.")
		parse, ok := known[name]
		if !ok {
			parse, ok = contentKnown[name]
		}
		if !ok {
			all := append(slices.Clone(names), contentNames...)
			slices.Sort(all)
			return o, fmt.Errorf("read option %q: there is no such option; known are %s", k, strings.Join(all, ", "))
		}
		if err := parse(&o, m[k]); err != nil {
			return o, fmt.Errorf("read option %s = %q: %w", k, m[k], err)
		}
	}
	for _, hint := range o.Hints {
		if isOwn(hint.Name, o) {
			return o, fmt.Errorf("read option schemaHints: column %q is smelt's own", hint.Name)
		}
	}
	for _, name := range o.Partitions {
		if isOwn(name, o) {
			return o, fmt.Errorf("read option partitionColumns: column %q is smelt's own", name)
		}
	}
	if (o.Clean == cleanMove) != (o.MoveTo != "") {
		return o, fmt.Errorf("read option cleanSource.moveDestination = %q: cleanSource => 'MOVE' and the directory go together", o.MoveTo)
	}
	return o, nil
}

func parseBool(v string) (bool, error) {
	is, err := strconv.ParseBool(v)
	if err != nil {
		return false, errors.New("want true or false")
	}
	return is, nil
}

// parseNames reads column names with commas between them.
func parseNames(v string) ([]string, error) {
	var names []string
	for _, name := range strings.Split(v, ",") {
		name = strings.TrimSpace(name)
		switch {
		case name == "" || clean(name) != name:
			return nil, fmt.Errorf("%q is no column name", name)
		case slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }):
			return nil, fmt.Errorf("column %q is named twice", name)
		}
		names = append(names, name)
	}
	return names, nil
}

// units of an interval, as Spark writes them.
var units = map[string]time.Duration{"millisecond": time.Millisecond, "second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour}

// parseInterval reads "30 days", "1 hour 30 minutes" or "interval 1 week".
func parseInterval(v string) (time.Duration, error) {
	words := strings.Fields(strings.ToLower(v))
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, errInterval
	}
	var total time.Duration
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseInt(words[i], 10, 32)
		unit, ok := units[strings.TrimSuffix(words[i+1], "s")]
		if err != nil || !ok || n < 0 {
			return 0, errInterval
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}

var errInterval = errors.New("want a number and a unit of milliseconds to weeks, as in 30 days")

// parseBytes reads a number with an optional unit of 1024: 10m, 1g, 512k, 100b.
func parseBytes(v string) (int64, error) {
	unit := int64(1)
	text := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(v)), "b")
	for suffix, size := range map[string]int64{"k": 1 << 10, "m": 1 << 20, "g": 1 << 30} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = rest, size
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, errors.New("want a number of bytes, as in 10485760 or 10m")
	}
	return n * unit, nil
}

// hintKinds are Spark's names of types.
var hintKinds = map[string]tables.Kind{
	"boolean": tables.Boolean, "tinyint": tables.Byte, "byte": tables.Byte, "smallint": tables.Short, "short": tables.Short,
	"int": tables.Integer, "integer": tables.Integer, "bigint": tables.Long, "long": tables.Long, "float": tables.Float, "real": tables.Float,
	"double": tables.Double, "string": tables.String, "timestamp": tables.Timestamp, "date": tables.Date, "json": tables.JSON, "variant": tables.JSON,
}

// parseHints reads "id STRING, ts TIMESTAMP, price DECIMAL(10,2)". Names may stand in backticks.
func parseHints(text string) (tables.Schema, error) {
	var schema tables.Schema
	for _, part := range splitOutsideBrackets(text) {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, typ, ok := strings.Cut(part, " ")
		if rest, quoted := strings.CutPrefix(part, "`"); quoted {
			name, typ, ok = strings.Cut(rest, "`")
		}
		if !ok || name == "" {
			return nil, fmt.Errorf("hint %q: want a name and a type", part)
		}
		t, err := parseHintType(strings.ToLower(strings.Join(strings.Fields(typ), "")))
		if err != nil {
			return nil, fmt.Errorf("hint %q: %w", part, err)
		}
		if schema.Index(name) >= 0 {
			return nil, fmt.Errorf("hint %q: the column is hinted twice", part)
		}
		schema = append(schema, tables.Field{Name: name, Type: t})
	}
	return schema, nil
}

func parseHintType(name string) (tables.Type, error) {
	if k, ok := hintKinds[name]; ok {
		return tables.Type{Kind: k}, nil
	}
	if strings.HasPrefix(name, "array<") || strings.HasPrefix(name, "struct<") || strings.HasPrefix(name, "map<") {
		return tables.Type{Kind: tables.JSON}, nil
	}
	t := tables.Type{Kind: tables.Decimal}
	if n, err := fmt.Sscanf(name, "decimal(%d,%d)", &t.Precision, &t.Scale); err == nil && n == 2 && t.Precision >= 1 && t.Precision <= 38 && t.Scale >= 0 && t.Scale <= t.Precision {
		return t, nil
	}
	return t, fmt.Errorf("there is no type %q", name)
}

// splitOutsideBrackets cuts at the commas that stand in no brackets and no backticks.
func splitOutsideBrackets(text string) []string {
	var parts []string
	depth, start := 0, 0
	quoted := false
	for i, c := range text {
		switch {
		case c == '`':
			quoted = !quoted
		case quoted:
		case c == '(', c == '<':
			depth++
		case c == ')', c == '>':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}
