package autoload

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// arenaBytes is how much an arena takes at once: enough for the texts of some hundred rows, and little beside a piece.
const arenaBytes = 64 << 10

// arena holds the texts that had escapes, one behind another, so that none is an allocation of its own. What was written is
// never changed: strings are parts of it.
type arena struct{ free []byte }

// escapes are what stands for a character behind a backslash.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape returns the text of a quoted JSON string whose first backslash stands at a place. It was checked when it was
// read; half a surrogate pair becomes U+FFFD.
func (a *arena) unescape(quoted string, first int) (string, error) {
	// No escape is shorter than what it stands for.
	if cap(a.free)-len(a.free) < len(quoted) {
		a.free = make([]byte, 0, max(arenaBytes, len(quoted)))
	}
	out, rest := a.free, quoted[1:len(quoted)-1]
	for at := first - 1; at >= 0; at = strings.IndexByte(rest, '\\') {
		out = append(out, rest[:at]...)
		rest = rest[at:]
		if len(rest) < 2 {
			return "", fmt.Errorf("read text %s: it ends inside an escape", excerpt(quoted))
		}
		if c := escapes[rest[1]]; c != 0 {
			out, rest = append(out, c), rest[2:]
			continue
		}
		r, length := escapedRune(rest)
		if length == 0 {
			return "", fmt.Errorf("read text %s: %q is no escape", excerpt(quoted), rest[:2])
		}
		out, rest = utf8.AppendRune(out, r), rest[length:]
	}
	out = append(out, rest...)
	text := out[len(a.free):]
	a.free = out
	return unsafe.String(unsafe.SliceData(text), len(text)), nil
}

// escapedRune reads \u and four digits, or two of these that are a surrogate pair; length is 0 if there is none.
func escapedRune(text string) (r rune, length int) {
	high, ok := fourDigits(text)
	switch {
	case !ok:
		return 0, 0
	case !utf16.IsSurrogate(high):
		return high, 6
	}
	if low, ok := fourDigits(text[6:]); ok {
		if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
			return r, 12
		}
	}
	return utf8.RuneError, 6
}

// fourDigits reads \u and its digits.
func fourDigits(text string) (rune, bool) {
	if len(text) < 6 || !strings.HasPrefix(text, `\u`) {
		return 0, false
	}
	n, err := strconv.ParseUint(text[2:6], 16, 16)
	return rune(n), err == nil
}
