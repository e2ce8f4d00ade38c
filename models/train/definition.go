package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"smelt/models/metrics"
)

// Definition is how a model is trained, and trained again.
type Definition struct {
	Query    string            `json:"query"`              // gives a text and its label
	Database string            `json:"database"`           // in which its names are looked up
	Options  map[string]string `json:"options,omitempty"`  // as the statement has them
	Schedule string            `json:"schedule,omitempty"` // when it is trained again: a SCHEDULE or TRIGGER clause
}

// Learned is what a model has learned last, with or without another version.
type Learned struct {
	Digest  string           `json:"digest"` // of the definition
	At      time.Time        `json:"at"`
	Sources map[string]int64 `json:"sources,omitempty"` // versions of the tables, by id, that the rows came from
}

// Options that name columns, and the names that columns have without them.
const (
	optionInput, optionLabel = "input", "label"
	textColumn, labelColumn  = "text", "label"
)

// Check returns what is wrong with the options.
func (d Definition) Check() error {
	_, err := (&Plan{}).read(d.Options)
	return err
}

// Same reports whether two definitions say the same.
func (d Definition) Same(as Definition) bool {
	return d.Query == as.Query && d.Database == as.Database && d.Schedule == as.Schedule && maps.Equal(d.Options, as.Options)
}

// Digest names what is learned: another query, database or option is another lesson, another schedule is not.
func (d Definition) Digest() (string, error) {
	d.Schedule = ""
	text, err := json.Marshal(d) // with sorted keys
	if err != nil {
		return "", fmt.Errorf("encode the training: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Columns finds the texts and the labels among the columns of the query: as the options input and label name them, else by the
// names text and label, else, of two columns, the first and the second.
func (d Definition) Columns(names []string) (text, label int, err error) {
	find := func(option, usual string) (int, error) {
		name, named := d.Options[option]
		if !named {
			name = usual
		}
		at := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
		if at < 0 && named {
			return 0, fmt.Errorf("%w: option %s = %q: the SELECT has no such column; it has %s", ErrOption, option, name, strings.Join(names, ", "))
		}
		return at, nil
	}
	if text, err = find(optionInput, textColumn); err != nil {
		return 0, 0, err
	}
	if label, err = find(optionLabel, labelColumn); err != nil {
		return 0, 0, err
	}
	if len(names) == 2 {
		switch {
		case text < 0 && label < 0:
			text, label = 0, 1
		case text < 0:
			text = 1 - label
		case label < 0:
			label = 1 - text
		}
	}
	if text < 0 || label < 0 || text == label {
		return 0, 0, fmt.Errorf("%w: want two columns, a text and its label, or columns of the names %s and %s, or options %s and %s that name them; the SELECT has %s",
			ErrOption, textColumn, labelColumn, optionInput, optionLabel, strings.Join(names, ", "))
	}
	return text, label, nil
}

// Summary is what a version keeps of its Report.
type Summary struct {
	Rows        int     `json:"rows"`
	Skipped     int     `json:"skipped"` // rows without a text or a label
	Accuracy    float64 `json:"accuracy"`
	MacroF1     float64 `json:"macro_f1"`
	LogLoss     float64 `json:"log_loss"`
	ECE         float64 `json:"ece"`
	Temperature float64 `json:"temperature"`
	C           float64 `json:"c"`
}

// Macro is the mean of the scores of the classes.
func (r *Report) Macro() metrics.Scores { return r.Matrix.Average(metrics.Macro) }

// Summary shortens the report.
func (r *Report) Summary(skipped int) Summary {
	return Summary{Rows: r.Rows, Skipped: skipped, Accuracy: r.Matrix.Accuracy(), MacroF1: r.Macro().F1,
		LogLoss: r.After.LogLoss(), ECE: r.After.ECE(), Temperature: r.Temperature, C: r.C}
}
