package spark

import (
	"regexp"
	"strings"
	"sync"
	"unicode"

	"github.com/dolthub/go-mysql-server/sql/types"
)

// textFunctions are about texts. Regular expressions are those of RE2: as in Java, but without looking around and without
// references to groups.
var textFunctions = map[string]spec{
	"split":              {least: 2, most: 3, typ: types.JSON, description: "the parts of a text between the matches of a regular expression", eval: split},
	"regexp_extract":     {least: 2, most: 3, typ: types.LongText, description: "a group of the first match of a regular expression, '' where there is none", eval: extract},
	"regexp_extract_all": {least: 2, most: 3, typ: types.JSON, description: "a group of all matches of a regular expression", eval: extractAll},
	"initcap":            {least: 1, most: 1, typ: types.LongText, description: "a text with the first letter of each word in upper case", eval: initcap},
	"startswith":         {least: 2, most: 2, typ: types.Boolean, description: "whether a text begins with another", eval: compared(strings.HasPrefix)},
	"endswith":           {least: 2, most: 2, typ: types.Boolean, description: "whether a text ends with another", eval: compared(strings.HasSuffix)},
	"contains":           {least: 2, most: 2, typ: types.Boolean, description: "whether a text holds another", eval: compared(strings.Contains)},
}

// maxPatterns bounds the compiled regular expressions that are kept; a statement has a handful.
const maxPatterns = 1000

var patterns = struct {
	sync.Mutex
	byText map[string]*regexp.Regexp
}{byText: map[string]*regexp.Regexp{}}

// pattern compiles a regular expression, once.
func pattern(function, text string) (*regexp.Regexp, error) {
	patterns.Lock()
	defer patterns.Unlock()
	if re, ok := patterns.byText[text]; ok {
		return re, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, badArgument(function, "%q is no regular expression: %v", text, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if len(patterns.byText) >= maxPatterns {
		clear(patterns.byText)
	}
	patterns.byText[text] = re
	return re, nil
}

func split(args []any) (any, error) {
	list, err := texts(args[:2])
	if err != nil {
		return nil, err
	}
	limit := -1
	if len(args) == 3 {
		if limit, err = whole(args[2], "the limit of split"); err != nil {
			return nil, err
		}
		if limit == 0 {
			limit = -1
		}
	}
	re, err := pattern("split", list[1])
	if err != nil {
		return nil, err
	}
	parts := splitAt(re, list[0], limit)
	return textArray(parts)
}

// splitAt cuts as Java does: an empty match at the start makes no empty part.
func splitAt(re *regexp.Regexp, text string, limit int) []string {
	var parts []string
	from := 0
	for _, at := range re.FindAllStringIndex(text, -1) {
		if limit > 0 && len(parts) == limit-1 {
			break
		}
		if at[1] == 0 || at[0] == at[1] && at[0] == len(text) {
			continue
		}
		parts = append(parts, text[from:at[0]])
		from = at[1]
	}
	return append(parts, text[from:])
}

// groupOf reads the arguments of regexp_extract: text, expression and group, which is the first.
func groupOf(function string, args []any) (text string, re *regexp.Regexp, group int, err error) {
	list, err := texts(args[:2])
	if err != nil {
		return "", nil, 0, err
	}
	if re, err = pattern(function, list[1]); err != nil {
		return "", nil, 0, err
	}
	if group = 1; len(args) == 3 {
		if group, err = whole(args[2], "the number of a group"); err != nil {
			return "", nil, 0, err
		}
	}
	if group < 0 || group > re.NumSubexp() {
		return "", nil, 0, badArgument(function, "%q has %d groups, and group %d is asked for; 0 is the whole match", list[1], re.NumSubexp(), group)
	}
	return list[0], re, group, nil
}

func extract(args []any) (any, error) {
	text, re, group, err := groupOf("regexp_extract", args)
	if err != nil {
		return nil, err
	}
	if match := re.FindStringSubmatch(text); match != nil {
		return match[group], nil
	}
	return "", nil
}

func extractAll(args []any) (any, error) {
	text, re, group, err := groupOf("regexp_extract_all", args)
	if err != nil {
		return nil, err
	}
	found := []string{}
	for _, match := range re.FindAllStringSubmatch(text, -1) {
		found = append(found, match[group])
	}
	return textArray(found)
}

func initcap(args []any) (any, error) {
	text, err := textOf(args[0])
	if err != nil {
		return nil, err
	}
	inside := false
	return strings.Map(func(r rune) rune {
		first := !inside
		if inside = !unicode.IsSpace(r); first {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, text), nil
}

func compared(holds func(a, b string) bool) func([]any) (any, error) {
	return func(args []any) (any, error) {
		list, err := texts(args)
		if err != nil {
			return nil, err
		}
		return truth(holds(list[0], list[1])), nil
	}
}

func truth(b bool) any {
	if b {
		return int8(1)
	}
	return int8(0)
}
