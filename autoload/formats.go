package autoload

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// Formats of files, as the option format names them.
const (
	formatAuto    = "auto" // by the name of the file
	formatJSON    = "json"
	formatCSV     = "csv"
	formatText    = "text"
	formatParquet = "parquet"
)

// textColumn is the one column of a text file, as in Spark.
const textColumn = "value"

// evolution says what becomes of a field that is no column yet.
type evolution uint8

const (
	addNewColumns    evolution = iota // it becomes one
	rescue                            // its values go to the rescued column
	failOnNewColumns                  // the file fails
	ignoreNewColumns                  // it is passed over
)

// modes are the values of schemaEvolutionMode, in lower case.
var modes = map[string]evolution{"addnewcolumns": addNewColumns, "addnewcolumnswithtypewidening": addNewColumns, "rescue": rescue,
	"failonnewcolumns": failOnNewColumns, "none": ignoreNewColumns}

// contentOptions say how the content of files is read.
type contentOptions struct {
	header    bool
	sep       rune // 0 means by the name of the file or the format
	comment   rune // 0 for none
	unquoted  bool // quotes are characters like others
	null      string
	wholeText bool
	times     bool // look for times in texts when columns are inferred
	evolution evolution
	widens    bool // columns become wider for values that they do not hold
	rescues   bool // the rescued column was asked for: with schemaEvolutionMode none it gets the fields that are no columns
}

// contentKnown are the options about content, by lower-case name.
var contentKnown = map[string]optionParser{
	"format":    parseFormat,
	"header":    func(o *Options, v string) (err error) { o.content.header, err = parseBool(v); return err },
	"sep":       parseSep,
	"delimiter": parseSep,
	"quote": func(o *Options, v string) error {
		o.content.unquoted = v == ""
		return only(v, `"`, "")
	},
	"escape":    func(_ *Options, v string) error { return only(v, `"`) },
	"comment":   func(o *Options, v string) (err error) { o.content.comment, err = oneRune(v); return err },
	"nullvalue": func(o *Options, v string) error { o.content.null = v; return nil },
	"multiline": func(_ *Options, v string) error { _, err := parseBool(v); return err }, // rows may always span lines
	"encoding":  func(_ *Options, v string) error { return only(strings.ToUpper(v), "UTF-8", "UTF8") },
	"wholetext": func(o *Options, v string) (err error) { o.content.wholeText, err = parseBool(v); return err },
	"infertimestamps": func(o *Options, v string) (err error) {
		o.content.times, err = parseBool(v)
		return err
	},
	"schemaevolutionmode": func(o *Options, v string) error {
		mode, ok := modes[strings.ToLower(v)]
		if !ok {
			return fmt.Errorf("there is no mode %q; known are addNewColumns, addNewColumnsWithTypeWidening, rescue, failOnNewColumns, none", v)
		}
		o.content.evolution, o.content.widens = mode, strings.EqualFold(v, "addNewColumnsWithTypeWidening")
		return nil
	},
}

// contentNames lists them as users write them.
var contentNames = []string{"comment", "delimiter", "encoding", "escape", "format", "header", "inferTimestamps", "multiLine", "nullValue", "quote",
	"schemaEvolutionMode", "sep", "wholeText"}

func parseFormat(o *Options, v string) error {
	o.Format = strings.ToLower(v)
	switch o.Format {
	case "tsv":
		o.Format, o.content.sep = formatCSV, '\t'
	case "ndjson", "jsonl":
		o.Format = formatJSON
	case formatAuto, formatJSON, formatCSV, formatText, formatParquet:
	default:
		return fmt.Errorf("format %q is not supported: known are auto, csv, json, parquet, text, tsv", v)
	}
	return nil
}

func parseSep(o *Options, v string) (err error) {
	o.content.sep, err = oneRune(strings.ReplaceAll(v, `\t`, "\t"))
	return err
}

// oneRune takes what may separate fields or begin a comment.
func oneRune(v string) (rune, error) {
	r, size := utf8.DecodeRuneInString(v)
	if size == 0 || size < len(v) || r == utf8.RuneError || strings.ContainsRune("\"\r\n", r) {
		return 0, fmt.Errorf("%q is not one character, or one that cannot be meant", v)
	}
	return r, nil
}

func only(v string, allowed ...string) error {
	for _, a := range allowed {
		if v == a {
			return nil
		}
	}
	return fmt.Errorf("%q is not supported: only %q is", v, allowed)
}

// shape says how one file is read. It does not change once its first row is reached.
type shape struct {
	contentOptions
	format  string
	codec   string   // gz, zst or ""
	names   []string // of the fields of CSV, in order
	byLines bool     // of JSON: each line is a value of its own
	decided bool     // byLines is known

	check *atomic.Bool // set while rows are only checked; nil where they never are
}

// shapeOf tells the shape of a file from the options and its name.
func shapeOf(o Options, path string) *shape {
	s := &shape{contentOptions: o.content, format: o.Format}
	name := strings.ToLower(filepath.Base(path))
	for _, codec := range []string{"gz", "zst"} {
		if rest, ok := strings.CutSuffix(name, "."+codec); ok {
			name, s.codec = rest, codec
		}
	}
	extension := filepath.Ext(name)
	if s.format == "" || s.format == formatAuto {
		switch extension {
		case ".csv", ".tsv":
			s.format = formatCSV
		case ".txt", ".text":
			s.format = formatText
		case ".parquet":
			s.format = formatParquet
		default:
			s.format = formatJSON
		}
	}
	if s.sep == 0 {
		s.sep = ','
		if extension == ".tsv" {
			s.sep = '\t'
		}
	}
	return s
}
