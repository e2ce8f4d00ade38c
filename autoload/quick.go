package autoload

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/go-json-experiment/json/jsontext"
)

// quickLines decodes a piece whose lines are values. A line that is one object without escapes in its names, as nearly all
// are, is read here, in a third of the time; every other goes to the walker, which knows all of JSON and says what is wrong.
func (d *decoder) quickLines(p *piece) error {
	text := d.text
	number := p.line
	d.lineOf = func() int { return number }
	for at := 0; at < len(p.data); {
		line := p.data[at:]
		length := bytes.IndexByte(line, '\n') + 1
		if length == 0 {
			length = len(line)
		}
		line = line[:length]
		number++
		if !d.check {
			d.text = text[at : at+length]
		}
		at += length
		d.beginRow()
		if d.quick(line) {
			if err := d.appendRow(); err != nil {
				return err
			}
			continue
		}
		d.data, d.line = line, number-1
		if err := d.walk(d.row); err != nil {
			return err
		}
	}
	return nil
}

// quick reads the fields of a line into the row at hand; false if the line is anything but one plain object.
func (d *decoder) quick(line []byte) bool {
	at := blanks(line, 0)
	if at == len(line) || line[at] != '{' {
		return false
	}
	at = blanks(line, at+1)
	for next := 0; ; {
		name, bare := quickText(line[at:])
		if !bare {
			return false
		}
		place := d.columns.expect(line[at+1:at+name-1], next)
		next = place + 1
		nameAt := at
		at = blanks(line, at+name)
		if at == len(line) || line[at] != ':' {
			return false
		}
		at = blanks(line, at+1)
		length, bare := quickValue(line[at:])
		if length == 0 {
			return false
		}
		if !d.check || place < 0 {
			d.take(place, line[nameAt+1:nameAt+name-1], line[at:at+length], at, bare)
		}
		at = blanks(line, at+length)
		if at == len(line) {
			return false
		}
		if line[at] == '}' {
			return blanks(line, at+1) == len(line)
		}
		if line[at] != ',' {
			return false
		}
		at = blanks(line, at+1)
	}
}

// take puts a value, which stands at a place of the line, into the row at hand.
func (d *decoder) take(place int, name, raw []byte, at int, bare bool) {
	v := value{kind: jsontext.Kind(raw[0]), bare: bare}
	if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' {
		v.kind = '0'
	}
	if d.check {
		v.raw = string(raw)
	} else {
		v.raw = d.text[at : at+len(raw)]
	}
	if place >= 0 {
		d.values[place] = v
	} else {
		d.strays = append(d.strays, stray{string(name), v})
	}
}

// blanks returns where the white space ends that stands at a place.
func blanks(line []byte, at int) int {
	for at < len(line) && (line[at] == ' ' || line[at] == '\n' || line[at] == '\r' || line[at] == '\t') {
		at++
	}
	return at
}

// quickValue returns the length of the JSON value that b begins with, 0 if there is none, and whether it is a text without
// escapes.
func quickValue(b []byte) (length int, bare bool) {
	if len(b) == 0 {
		return 0, false
	}
	switch b[0] {
	case '"':
		return quickText(b)
	case 't':
		return literal(b, "true"), false
	case 'f':
		return literal(b, "false"), false
	case 'n':
		return literal(b, "null"), false
	case '{', '[':
		length = quickNested(b)
		if !jsontext.Value(b[:length]).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			return 0, false
		}
		return length, false
	default:
		return quickNumber(b), false
	}
}

func literal(b []byte, word string) int {
	if !bytes.HasPrefix(b, []byte(word)) {
		return 0
	}
	return len(word)
}

// quickText returns the length of the JSON text in quotes that b begins with, 0 if there is none or it is not right, and
// whether there is one and it has no escapes.
func quickText(b []byte) (length int, bare bool) {
	if len(b) == 0 || b[0] != '"' {
		return 0, false
	}
	bare = true
	for at := 1; ; {
		at += ordinary(b[at:])
		if at >= len(b) || b[at] < ' ' {
			return 0, false
		}
		if b[at] == '"' {
			return at + 1, bare
		}
		escape := escapeLength(b[at:])
		if escape == 0 {
			return 0, false
		}
		bare = false
		at += escape
	}
}

// ordinary returns how many bytes come before the first that is a quote, a backslash or a control character. It looks at
// eight at a time.
func ordinary(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	at := 0
	for ; at+8 <= len(b); at += 8 {
		x := binary.LittleEndian.Uint64(b[at:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		found := ((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((x - ones*' ') &^ x)
		if found &= highs; found != 0 {
			return at + bits.TrailingZeros64(found)/8
		}
	}
	for at < len(b) && b[at] != '"' && b[at] != '\\' && b[at] >= ' ' {
		at++
	}
	return at
}

// escapeLength returns the length of the escape that b begins with, 0 if JSON has no such escape.
func escapeLength(b []byte) int {
	switch {
	case len(b) < 2:
		return 0
	case b[1] != 'u':
		if bytes.IndexByte([]byte(`"\/bfnrt`), b[1]) < 0 {
			return 0
		}
		return 2
	case len(b) < 6:
		return 0
	}
	for _, c := range b[2:6] {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return 0
		}
	}
	return 6
}

// quickNested returns the length of an object or array, as its brackets tell; what is in it is not looked at.
func quickNested(b []byte) int {
	depth := 0
	for at := 0; at < len(b); at++ {
		switch b[at] {
		case '"':
			length := textLength(b[at:])
			if length == 0 {
				return len(b)
			}
			at += length - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		}
	}
	return len(b)
}

// quickNumber returns the length of the JSON number that b begins with, 0 if there is none.
func quickNumber(b []byte) int {
	at := 0
	if b[0] == '-' {
		at++
	}
	whole := digits(b, at)
	if whole == at || b[at] == '0' && whole > at+1 {
		return 0
	}
	at = whole
	if at < len(b) && b[at] == '.' {
		fraction := digits(b, at+1)
		if fraction == at+1 {
			return 0
		}
		at = fraction
	}
	if at < len(b) && b[at]|0x20 == 'e' {
		at++
		if at < len(b) && (b[at] == '+' || b[at] == '-') {
			at++
		}
		power := digits(b, at)
		if power == at {
			return 0
		}
		at = power
	}
	return at
}

// digits returns where the digits end that stand at a place.
func digits(b []byte, at int) int {
	for at < len(b) && b[at] >= '0' && b[at] <= '9' {
		at++
	}
	return at
}
