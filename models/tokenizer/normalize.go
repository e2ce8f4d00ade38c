package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Limits of normalizers, so that none makes a long text of a short one.
const (
	maxSteps  = 16 // in a row
	maxGrowth = 16 // how many times longer replacements may make a text, all together
)

// loadNormalizer returns what is done to a text first; nil for nothing.
func loadNormalizer(part *json.RawMessage) (func(string) string, error) {
	if part == nil {
		return nil, nil
	}
	l := normalizerLoader{growth: 1}
	if err := l.load(part); err != nil {
		return nil, err
	}
	steps := l.steps
	switch len(steps) {
	case 0:
		return nil, nil
	case 1:
		return steps[0], nil
	}
	return func(text string) string {
		for _, step := range steps {
			text = step(text)
		}
		return text
	}, nil
}

type normalizerLoader struct {
	steps       []func(string) string
	growth      int
	precompiled bool
}

// load appends the steps of a normalizer.
func (l *normalizerLoader) load(part *json.RawMessage) error {
	kind, err := kindOf(part)
	if err != nil {
		return err
	}
	var step func(string) string
	switch kind {
	case "Sequence":
		var s struct{ Normalizers []json.RawMessage }
		if err := json.Unmarshal(*part, &s); err != nil {
			return fmt.Errorf("read normalizer: %w", err)
		}
		for i := range s.Normalizers {
			if err := l.load(&s.Normalizers[i]); err != nil {
				return err
			}
		}
		return nil
	case "BertNormalizer":
		var b bertNormalizer
		err = json.Unmarshal(*part, &b)
		step = b.apply
	case "Precompiled":
		if l.precompiled {
			return fmt.Errorf("%w: two normalizers Precompiled", ErrUnsupported)
		}
		l.precompiled = true
		if step, err = loadPrecompiled(*part); step == nil && err == nil {
			return nil
		}
	case "NFC":
		step = norm.NFC.String
	case "NFD":
		step = norm.NFD.String
	case "NFKC":
		step = norm.NFKC.String
	case "NFKD":
		step = norm.NFKD.String
	case "Lowercase":
		step = lower
	case "StripAccents":
		step = func(text string) string { return without(text, func(r rune) bool { return unicode.Is(unicode.M, r) }) }
	case "Strip":
		step, err = loadStrip(*part)
	case "Replace":
		step, err = l.replace(*part)
	default:
		return fmt.Errorf("%w: normalizer %q", ErrUnsupported, kind)
	}
	if err != nil {
		return fmt.Errorf("read normalizer %s: %w", kind, err)
	}
	if l.steps = append(l.steps, step); len(l.steps) > maxSteps {
		return fmt.Errorf("%w: more than %d normalizers", ErrUnsupported, maxSteps)
	}
	return nil
}

// lower writes each character small by itself: no final sigma, but two characters for İ.
func lower(text string) string {
	return strings.Map(unicode.ToLower, strings.ReplaceAll(text, "İ", "i\u0307"))
}

// without removes characters.
func without(text string, drop func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if drop(r) {
			return -1
		}
		return r
	}, text)
}

func loadStrip(part json.RawMessage) (func(string) string, error) {
	var s struct {
		Left  bool `json:"strip_left"`
		Right bool `json:"strip_right"`
	}
	err := json.Unmarshal(part, &s)
	return func(text string) string {
		if s.Left {
			text = strings.TrimLeftFunc(text, unicode.IsSpace)
		}
		if s.Right {
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		}
		return text
	}, err
}

// blanks is the one regular expression that exports of SentencePiece have.
const blanks = " {2,}"

func (l *normalizerLoader) replace(part json.RawMessage) (func(string) string, error) {
	var r struct {
		Pattern struct{ String, Regex *string }
		Content string
	}
	if err := json.Unmarshal(part, &r); err != nil {
		return nil, err
	}
	least := 2
	switch {
	case r.Pattern.String != nil && *r.Pattern.String != "":
		least = len(*r.Pattern.String)
	case r.Pattern.Regex == nil:
		return nil, fmt.Errorf("%w: a pattern that is empty", ErrUnsupported)
	case *r.Pattern.Regex != blanks:
		return nil, fmt.Errorf("%w: the regular expression %.40q; known is %q", ErrUnsupported, *r.Pattern.Regex, blanks)
	}
	if more := (len(r.Content) + least - 1) / least; more > 1 {
		if more > maxGrowth || l.growth*more > maxGrowth {
			return nil, fmt.Errorf("%w: it makes a text more than %d times longer", ErrUnsupported, maxGrowth)
		}
		l.growth *= more
	}
	if r.Pattern.String != nil {
		return func(text string) string { return strings.ReplaceAll(text, *r.Pattern.String, r.Content) }, nil
	}
	return func(text string) string { return replaceBlanks(text, r.Content) }, nil
}

// replaceBlanks writes content for each run of two blanks or more.
func replaceBlanks(text, content string) string {
	var out strings.Builder
	for {
		at := strings.Index(text, "  ")
		if at < 0 {
			break
		}
		out.WriteString(text[:at])
		out.WriteString(content)
		text = strings.TrimLeft(text[at:], " ")
	}
	if out.Len() == 0 {
		return text
	}
	out.WriteString(text)
	return out.String()
}
