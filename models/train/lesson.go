package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxTextBytes bounds the texts of one training, which are held in memory.
const maxTextBytes = 256 << 20

// Lesson is a model to be trained and the rows to learn from. The order in which rows are added does not matter.
type Lesson struct {
	Definition
	Name, User, Comment  string
	Replace, IfNotExists bool
	Retrain              bool // a model that is there gets another version, which is not used before an alias says so

	Sources map[string]int64 // versions of the tables that the rows came from, by id

	Skipped int // rows without a text or a label
	rows    []example
	bytes   int
}

type example struct{ text, label string }

// Add takes a row; a NULL among it, or an empty text, is counted and left out. More rows or bytes than are learned from are an
// error.
func (l *Lesson) Add(text, label string, null bool) error {
	if null || strings.TrimSpace(text) == "" || label == "" {
		l.Skipped++
		return nil
	}
	if l.bytes += len(text) + len(label); len(l.rows) == MaxRows || l.bytes > maxTextBytes {
		return fmt.Errorf("%w: there are more than %d rows or %d MB of text; take a sample", ErrData, MaxRows, maxTextBytes>>20)
	}
	l.rows = append(l.rows, example{text, label})
	return nil
}

// Plan is a lesson made ready: Data lacks the vectors of Texts only.
type Plan struct {
	Options
	Data
	Texts   []string
	Digest  string  // SHA-256 of texts and labels
	Encoder string  // whose vectors are learned from, as models:/ has it or a name
	Abstain float64 // no label is given below this probability
}

// Plan reads the options and the labels. An option that nothing reads is an error.
func (l *Lesson) Plan() (*Plan, error) {
	p := &Plan{Options: Options{Balanced: true, Folds: 5, Seed: 1, Calibrate: true}}
	classes, err := p.read(l.Options)
	if err != nil {
		return nil, err
	}
	if len(l.rows) == 0 && l.Skipped > 0 {
		return nil, fmt.Errorf("%w: of %d none has a text and a label", ErrData, l.Skipped)
	}
	// Rows come in the order of files; what is learned must not depend on it.
	rows := slices.Clone(l.rows)
	slices.SortFunc(rows, func(a, b example) int {
		if c := strings.Compare(a.text, b.text); c != 0 {
			return c
		}
		return strings.Compare(a.label, b.label)
	})
	sets, found, sum := make([][]string, len(rows)), map[string]bool{}, sha256.New()
	for i, row := range rows {
		fmt.Fprintf(sum, "%d %s%d %s", len(row.text), row.text, len(row.label), row.label)
		if sets[i], err = p.labels(row.label); err != nil {
			return nil, err
		}
		for _, label := range sets[i] {
			if found[label] = true; classes != nil && !slices.Contains(classes, label) {
				return nil, fmt.Errorf("%w: a row has the label %q, which classes does not name", ErrData, label)
			}
		}
		p.Texts = append(p.Texts, row.text)
	}
	if p.Digest, p.Labels = hex.EncodeToString(sum.Sum(nil)), classes; classes == nil {
		p.Labels = slices.Sorted(maps.Keys(found))
	}
	at := map[string]int{}
	for i, label := range p.Labels {
		at[label] = i
	}
	for _, set := range sets {
		truth := make([]int, len(set))
		for i, label := range set {
			truth[i] = at[label]
		}
		p.Truth = append(p.Truth, truth)
	}
	return p, nil
}

// labels of one row: one, or those of a JSON array, each once.
func (p *Plan) labels(text string) ([]string, error) {
	if !p.MultiLabel {
		return []string{text}, nil
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("%w: the label %.60q is no JSON array of texts, as multi_label wants it", ErrData, text)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// optionNames are those of CREATE MODEL ... AS SELECT.
var optionNames = []string{"encoder", "input", "label", "classes", "multi_label", "c", "class_weight", "folds", "seed", "threshold", "abstain", "calibrate", "promote"}

// Values of the option promote: whether a version that was trained again is used at once.
const (
	PromoteNever  = "never"
	PromoteAlways = "always"
	PromoteBetter = "better" // if it was right more often than the one in use, by the macro-F1 of the cross-validation
)

// read reads the options; classes is nil where none are named.
func (p *Plan) read(options map[string]string) (classes []string, err error) {
	for name, value := range options {
		switch name {
		case "encoder":
			p.Encoder = value
		case optionInput, optionLabel: // Columns reads them
		case "classes":
			classes, err = classList(value)
		case "multi_label":
			p.MultiLabel, err = strconv.ParseBool(value)
		case "c":
			if !strings.EqualFold(value, "auto") {
				p.C, err = number(value, math.SmallestNonzeroFloat64, 1e6)
			}
		case "class_weight":
			p.Balanced, err = balanced(value)
		case "folds":
			if p.Folds, err = strconv.Atoi(value); err == nil && (p.Folds < 2 || p.Folds > maxFolds) {
				err = fmt.Errorf("want a whole number from 2 to %d", maxFolds)
			}
		case "seed":
			p.Seed, err = strconv.ParseUint(value, 10, 64)
		case "threshold":
			if !strings.EqualFold(value, "auto") {
				p.Threshold, err = number(value, 1e-9, 1)
			}
		case "abstain":
			p.Abstain, err = number(value, 0, 1)
		case "calibrate":
			p.Calibrate, err = strconv.ParseBool(value)
		case "promote":
			if !slices.Contains([]string{PromoteNever, PromoteAlways, PromoteBetter}, strings.ToLower(value)) {
				err = fmt.Errorf("want %s, %s or %s", PromoteNever, PromoteAlways, PromoteBetter)
			}
		default:
			err = fmt.Errorf("there is none of that name; known are %s", strings.Join(optionNames, ", "))
		}
		if err != nil {
			return nil, fmt.Errorf("%w: option %s = %q: %w", ErrOption, name, value, err)
		}
	}
	switch {
	case p.Encoder == "":
		return nil, fmt.Errorf("%w: OPTIONS needs encoder = 'encoder', or another model of that kind", ErrOption)
	case p.Threshold > 0 && !p.MultiLabel:
		return nil, fmt.Errorf("%w: threshold is for multi_label; of labels that exclude one another abstain leaves out the unlikely", ErrOption)
	case p.Abstain > 0 && p.MultiLabel:
		return nil, fmt.Errorf("%w: abstain is for labels that exclude one another; multi_label has thresholds", ErrOption)
	}
	return classes, nil
}

func balanced(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "balanced":
		return true, nil
	case "none", "":
		return false, nil
	}
	return false, fmt.Errorf("want balanced or none")
}

func number(value string, least, most float64) (float64, error) {
	x, err := strconv.ParseFloat(value, 64)
	if err == nil && !(x >= least && x <= most) {
		err = fmt.Errorf("want a number of at least %g and at most %g", least, most)
	}
	return x, err
}

// List reads a JSON array of texts, or texts with commas between them.
func List(value string) ([]string, error) {
	if strings.HasPrefix(strings.TrimSpace(value), "[") {
		var list []string
		err := json.Unmarshal([]byte(value), &list)
		return list, err
	}
	list := strings.Split(value, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list, nil
}

// classList reads the labels that there may be.
func classList(value string) ([]string, error) {
	list, err := List(value)
	for i, class := range list {
		if err == nil && (class == "" || slices.Contains(list[:i], class)) {
			err = fmt.Errorf("class %d, %q, is empty or there twice", i, class)
		}
	}
	return list, err
}
