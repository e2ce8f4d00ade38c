package tokenizer

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/graphemes"
)

const (
	maxGrapheme    = 6  // bytes: shorter ones are looked up whole, as the official library does
	maxReplacement = 64 // bytes of what stands for one; Unicode's longest has 33
)

// charsMap is SentencePiece's table of what is written for which characters: a double array (darts-clone) over the bytes
// of a key, whose values are places in a list of texts that end with a zero byte.
type charsMap struct {
	units []uint32
	texts string
}

func loadPrecompiled(part json.RawMessage) (func(string) string, error) {
	var p struct {
		Map string `json:"precompiled_charsmap"`
	}
	if err := json.Unmarshal(part, &p); err != nil {
		return nil, err
	}
	if p.Map == "" {
		return nil, nil
	}
	data, err := base64.StdEncoding.DecodeString(p.Map)
	if err != nil {
		return nil, fmt.Errorf("read precompiled_charsmap: %w", err)
	}
	if len(data) < 4 {
		return nil, fmt.Errorf("read precompiled_charsmap: it has %d bytes", len(data))
	}
	size := uint64(binary.LittleEndian.Uint32(data))
	if data = data[4:]; size == 0 || size%4 != 0 || size > uint64(len(data)) {
		return nil, fmt.Errorf("read precompiled_charsmap: its trie has %d bytes of %d", size, len(data))
	}
	m := &charsMap{units: make([]uint32, size/4), texts: string(data[size:])}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	if !utf8.ValidString(m.texts) {
		return nil, errors.New("read precompiled_charsmap: its texts are no UTF-8")
	}
	for text := range bytes.SplitSeq(data[size:], []byte{0}) {
		if len(text) > maxReplacement {
			return nil, fmt.Errorf("read precompiled_charsmap: a replacement has %d bytes, at most %d are written", len(text), maxReplacement)
		}
	}
	return m.apply, nil
}

// lookup returns what is written for a key: the text of the shortest key that it begins with.
func (m *charsMap) lookup(key string) (text string, ok bool) {
	at := uint32(0)
	unit := m.units[0]
	at ^= offset(unit)
	for i := range len(key) {
		if key[i] == 0 {
			return "", false
		}
		if at ^= uint32(key[i]); int(at) >= len(m.units) {
			return "", false
		}
		if unit = m.units[at]; unit&(1<<31|0xFF) != uint32(key[i]) {
			return "", false
		}
		if at ^= offset(unit); int(at) >= len(m.units) {
			return "", false
		}
		if unit>>8&1 == 1 {
			return m.text(m.units[at] &^ (1 << 31))
		}
	}
	return "", false
}

func offset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// text returns the one that begins at a place.
func (m *charsMap) text(at uint32) (string, bool) {
	if int(at) > len(m.texts) || int(at) < len(m.texts) && !utf8.RuneStart(m.texts[at]) {
		return "", false
	}
	text := m.texts[at:]
	if end := strings.IndexByte(text, 0); end >= 0 {
		text = text[:end]
	}
	return text, true
}

// apply normalizes a text: graphemes of under six bytes are looked up whole, the others character by character.
func (m *charsMap) apply(text string) string {
	var out strings.Builder
	out.Grow(len(text) + len(text)/8)
	for it := graphemes.FromString(text); it.Next(); {
		grapheme := it.Value()
		if len(grapheme) < maxGrapheme {
			if to, ok := m.lookup(grapheme); ok {
				out.WriteString(to)
				continue
			}
		}
		for i, r := range grapheme {
			char := grapheme[i : i+utf8.RuneLen(r)]
			if to, ok := m.lookup(char); ok {
				char = to
			}
			out.WriteString(char)
		}
	}
	return out.String()
}
