package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
)

// Limits of added tokens, of which real files have thousands of a few bytes.
const (
	maxAddedBytes = 256     // of one: at each place of a text as many bytes are compared at most
	maxAddedNodes = 1 << 18 // bytes of all together
)

// addedToken is a text that is one token wherever it stands.
type addedToken struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`     // takes the white space before it
	RStrip     bool   `json:"rstrip"`     // and behind it
	Normalized bool   `json:"normalized"` // is looked for in normalized text
}

// matcher finds added tokens: a trie over their bytes.
type matcher struct {
	starts [256]bool   // bytes that begin one
	edges  map[int]int // node << 8 | byte -> node; 0 is the root
	ends   []int       // by node: index of the token that ends there, -1 for none
	tokens []addedToken
}

// add takes a token that is written so in the text; one added twice stays what it was.
func (m *matcher) add(content string, a addedToken) error {
	if len(content) > maxAddedBytes {
		return fmt.Errorf("added token %.20q has %d bytes, at most %d are looked for", content, len(content), maxAddedBytes)
	}
	if len(m.ends)+len(content) > maxAddedNodes {
		return fmt.Errorf("added tokens have more than %d bytes together", maxAddedNodes)
	}
	if m.edges == nil {
		m.edges, m.ends = map[int]int{}, []int{-1}
	}
	at := 0
	for i := range len(content) {
		edge := at<<8 | int(content[i])
		next, ok := m.edges[edge]
		if !ok {
			next = len(m.ends)
			m.ends = append(m.ends, -1)
			m.edges[edge] = next
		}
		at = next
	}
	if m.ends[at] < 0 {
		m.ends[at] = len(m.tokens)
		m.tokens = append(m.tokens, a)
		m.starts[content[0]] = true
	}
	return nil
}

// longest returns the longest token that text begins with, and its bytes; nil for none.
func (m *matcher) longest(text string) (found *addedToken, size int) {
	at := 0
	for i := range len(text) {
		next, ok := m.edges[at<<8|int(text[i])]
		if !ok {
			break
		}
		if at = next; m.ends[at] >= 0 {
			found, size = &m.tokens[m.ends[at]], i+1
		}
	}
	return found, size
}

// cut appends the ids of the tokens in text, and has plain append those of the text between them; first tells that a piece
// is the beginning. It stops when there are more than enough ids.
func (m *matcher) cut(ids []int64, text string, enough int, plain func(ids []int64, piece string, first bool) []int64) []int64 {
	from := 0 // of what is not encoded yet
	for at := 0; at < len(text) && len(m.tokens) > 0; {
		if !m.starts[text[at]] {
			at++
			continue
		}
		token, size := m.longest(text[at:])
		if token == nil {
			at++
			continue
		}
		start, end := max(at, from), at+size
		at = end
		if token.LStrip {
			start = from + len(strings.TrimRightFunc(text[from:start], unicode.IsSpace))
		}
		if token.RStrip {
			end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
		}
		if from < start {
			ids = plain(ids, text[from:start], from == 0)
		}
		ids = append(ids, token.ID)
		if from = end; len(ids) > enough {
			return ids
		}
	}
	if from < len(text) {
		ids = plain(ids, text[from:], from == 0)
	}
	return ids
}
