package autoload

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
}

type optionParser func(o *Options, value string) error

// known are the options, by lower-case name.
var known = map[string]optionParser{
	"schemahints":         func(o *Options, v string) (err error) { o.Hints, err = parseHints(v); return err },
	"pathglobfilter":      func(o *Options, v string) error { o.Glob = v; _, err := filepath.Match(v, "x"); return err },
	"recursivefilelookup": func(o *Options, v string) (err error) { o.Recursive, err = strconv.ParseBool(v); return err },
	"maxfilespertrigger": func(o *Options, v string) (err error) {
		o.MaxFiles, err = strconv.Atoi(v)
		return positive(int64(o.MaxFiles), err)
	},
	"maxbytespertrigger": func(o *Options, v string) (err error) {
		o.MaxBytes, err = parseBytes(v)
		return positive(o.MaxBytes, err)
	},
	"includeexistingfiles": func(o *Options, v string) (err error) { o.IncludeExisting, err = strconv.ParseBool(v); return err },
	"allowoverwrites":      func(o *Options, v string) (err error) { o.AllowOverwrites, err = strconv.ParseBool(v); return err },
	"infercolumntypes": func(o *Options, v string) error {
		typed, err := strconv.ParseBool(v)
		o.TextOnly = !typed
		return err
	},
	"rescueddatacolumn": func(o *Options, v string) error {
		o.Rescued = v
		if v == "" || clean(v) != v {
			return fmt.Errorf("%q is no column name", v)
		}
		return nil
	},
}

// names lists the options as users write them.
var names = []string{"allowOverwrites", "includeExistingFiles", "inferColumnTypes", "maxBytesPerTrigger", "maxFilesPerTrigger",
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
	o := Options{Format: formatAuto, MaxFiles: defaultMaxFiles, MaxBytes: defaultMaxBytes, IncludeExisting: true, Rescued: "_rescued_data"}
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
	for _, own := range []string{o.Rescued, sourceColumn, timeColumn} {
		if o.Hints.Index(own) >= 0 {
			return o, fmt.Errorf("read option schemaHints: column %q is smelt's own", own)
		}
	}
	return o, nil
}

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
	return n * unit, err
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
