package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// unknownPenalty is how much less likely than the rarest piece an unknown character is, as SentencePiece has it.
const unknownPenalty = 10

// unigram is SentencePiece's model: of all ways to cut a word into known pieces the most likely one.
type unigram struct {
	pieces  pieceTrie
	scores  []float64 // by id
	unknown int64
	least   float64 // score of an unknown character
	words   metaspace
	scratch sync.Pool // *lattice
}

// metaspace is how a text is cut into words: blanks become marks, and each mark begins a word.
type metaspace struct {
	mark   string // for a blank, U+2581 as a rule
	prefix string // "always", "first" or "never": whether a text that begins with no mark gets one
	split  bool   // at marks; else the whole text is one word
	blanks bool   // cut at white space before, so that each part begins with a mark
}

// scored is one entry of the vocabulary: ["piece", score].
type scored struct {
	piece string
	score float64
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *scored) UnmarshalJSON(text []byte) error {
	var score *float64
	pair := []any{&s.piece, &score}
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	if len(pair) != 2 || score == nil {
		return fmt.Errorf("%.40s is no piece with its score", text)
	}
	s.score = *score
	return nil
}

func loadUnigram(f file) (model, map[string]int64, error) {
	var m struct {
		Unknown      *int64   `json:"unk_id"`
		ByteFallback bool     `json:"byte_fallback"`
		Vocab        []scored `json:"vocab"`
	}
	if err := json.Unmarshal(f.Model, &m); err != nil {
		return nil, nil, fmt.Errorf("read Unigram model: %w", err)
	}
	switch {
	case m.ByteFallback:
		return nil, nil, fmt.Errorf("%w: Unigram with byte fallback", ErrUnsupported)
	case m.Unknown == nil:
		return nil, nil, fmt.Errorf("%w: Unigram without an unknown token", ErrUnsupported)
	case *m.Unknown < 0 || *m.Unknown >= int64(len(m.Vocab)):
		return nil, nil, fmt.Errorf("read Unigram model: unk_id is %d, the vocabulary has %d pieces", *m.Unknown, len(m.Vocab))
	}
	u := &unigram{unknown: *m.Unknown, least: math.Inf(1)}
	u.scratch.New = func() any { return &lattice{} }
	vocab := make(map[string]int64, len(m.Vocab))
	for id, p := range m.Vocab {
		if len(p.piece) > maxTokenBytes {
			return nil, nil, fmt.Errorf("read Unigram model: piece %.20q has %d bytes, at most %d are read", p.piece, len(p.piece), maxTokenBytes)
		}
		vocab[p.piece] = int64(id) // the last of those that are there twice, as the official library does
		u.scores = append(u.scores, p.score)
		u.least = min(u.least, p.score)
	}
	u.least -= unknownPenalty
	u.pieces = newPieceTrie(vocab)
	if f.PreTokenizer == nil {
		return nil, nil, fmt.Errorf("%w: Unigram without a pre-tokenizer", ErrUnsupported)
	}
	if err := u.words.load(*f.PreTokenizer); err != nil {
		return nil, nil, err
	}
	if u.words.prefix == "first" && f.Normalizer != nil && bytes.Contains(*f.Normalizer, []byte(`"String"`)) {
		// The official library takes a text whose beginning was replaced for one that begins elsewhere.
		return nil, nil, fmt.Errorf(`%w: Metaspace with prepend_scheme "first" behind the normalizer "Replace"`, ErrUnsupported)
	}
	return u, vocab, nil
}

// load accepts Metaspace, alone or behind WhitespaceSplit.
func (w *metaspace) load(part json.RawMessage) error {
	kind, err := kindOf(&part)
	if err != nil {
		return err
	}
	if kind == "Sequence" {
		var s struct {
			Parts []json.RawMessage `json:"pretokenizers"`
		}
		if err := json.Unmarshal(part, &s); err != nil {
			return fmt.Errorf("read pre-tokenizer: %w", err)
		}
		if len(s.Parts) != 2 {
			return fmt.Errorf("%w: Unigram behind a sequence of %d pre-tokenizers", ErrUnsupported, len(s.Parts))
		}
		if kind, err = kindOf(&s.Parts[0]); err != nil {
			return err
		}
		if kind != "WhitespaceSplit" {
			return fmt.Errorf("%w: Unigram behind the pre-tokenizer %q in a sequence", ErrUnsupported, kind)
		}
		part, w.blanks = s.Parts[1], true
		if kind, err = kindOf(&part); err != nil {
			return err
		}
	}
	if kind != "Metaspace" {
		return fmt.Errorf("%w: Unigram behind the pre-tokenizer %q", ErrUnsupported, kind)
	}
	return w.read(part)
}

func (w *metaspace) read(part json.RawMessage) error {
	p := struct {
		Mark   string `json:"replacement"`
		Scheme string `json:"prepend_scheme"`
		Prefix *bool  `json:"add_prefix_space"` // before there were schemes
		Split  *bool  `json:"split"`
	}{}
	if err := json.Unmarshal(part, &p); err != nil {
		return fmt.Errorf("read pre-tokenizer: %w", err)
	}
	if utf8.RuneCountInString(p.Mark) != 1 {
		return fmt.Errorf("read pre-tokenizer: its replacement %.20q is not one character", p.Mark)
	}
	w.mark, w.prefix, w.split = p.Mark, p.Scheme, p.Split == nil || *p.Split
	if w.prefix == "" {
		if w.prefix = "always"; p.Prefix != nil && !*p.Prefix {
			w.prefix = "never"
		}
	}
	switch w.prefix {
	case "always", "never":
		return nil
	case "first":
		if !w.blanks {
			return nil
		}
	}
	return fmt.Errorf("%w: Metaspace with prepend_scheme %q (in a sequence: %t)", ErrUnsupported, w.prefix, w.blanks)
}

// encode implements model.
func (u *unigram) encode(ids []int64, text string, enough int, first bool) []int64 {
	l := u.scratch.Get().(*lattice)
	defer u.scratch.Put(l)
	for text != "" && len(ids) <= enough {
		part := text
		if text = ""; u.words.blanks {
			part = strings.TrimLeftFunc(part, unicode.IsSpace)
			if end := strings.IndexFunc(part, unicode.IsSpace); end >= 0 {
				part, text = part[:end], part[end:]
			}
		}
		if part != "" {
			ids = u.part(ids, l, part, enough, first)
		}
	}
	return ids
}

// part encodes text that gets a mark at its beginning.
func (u *unigram) part(ids []int64, l *lattice, text string, enough int, first bool) []int64 {
	w := u.words
	l.text = l.text[:0]
	if text[0] != ' ' && !strings.HasPrefix(text, w.mark) && (w.prefix == "always" || w.prefix == "first" && first) {
		l.text = append(l.text, w.mark...)
	}
	for i := range len(text) {
		if text[i] == ' ' {
			l.text = append(l.text, w.mark...)
		} else {
			l.text = append(l.text, text[i])
		}
	}
	for rest := l.text; len(rest) > 0 && len(ids) <= enough; {
		end := len(rest)
		if w.split {
			if at := bytes.Index(rest[1:], []byte(w.mark)); at >= 0 {
				end = at + 1
			}
		}
		ids = u.word(ids, l, rest[:end])
		rest = rest[end:]
	}
	return ids
}

// lattice is what is needed for one word; its slices are reused.
type lattice struct {
	text  []byte
	nodes []latticeNode
	found []int64
}

// latticeNode is the best way to a place in a word: the last piece of it, and where that begins.
type latticeNode struct {
	score float64
	id    int64
	from  int // -1 while there is none
}

// word appends the ids of the most likely pieces; of equals that which was found first. Unknown characters in a row are one.
func (u *unigram) word(ids []int64, l *lattice, word []byte) []int64 {
	l.nodes = slices.Grow(l.nodes[:0], len(word)+1)[:len(word)+1]
	for i := range l.nodes {
		l.nodes[i] = latticeNode{from: -1}
	}
	for at := 0; at < len(word); {
		_, size := utf8.DecodeRune(word[at:])
		single := false
		score := l.nodes[at].score
		node := 0
		for i := at; i < len(word); i++ {
			if node = u.pieces.child(node, word[i]); node < 0 {
				break
			}
			if id := u.pieces.ids[node]; id >= 0 {
				l.offer(i+1, at, int64(id), score+u.scores[id])
				single = single || i+1-at == size
			}
		}
		if !single {
			l.offer(at+size, at, u.unknown, score+u.least)
		}
		at += size
	}
	l.found = l.found[:0]
	for end := len(word); end > 0; {
		n := l.nodes[end]
		if last := len(l.found) - 1; n.id != u.unknown || last < 0 || l.found[last] != u.unknown {
			l.found = append(l.found, n.id)
		}
		end = n.from
	}
	slices.Reverse(l.found)
	return append(ids, l.found...)
}

// offer takes a piece from one place to another if it makes the best way there.
func (l *lattice) offer(to, from int, id int64, score float64) {
	if n := &l.nodes[to]; n.from < 0 || score > n.score {
		*n = latticeNode{score, id, from}
	}
}

// pieceTrie finds all pieces that begin at a place. The children of a node stand in a row, sorted.
type pieceTrie struct {
	root   [256]int32 // child of the root by byte, -1 for none
	labels []byte     // by node: the byte that leads to it
	first  []int32    // by node: its first child; the next node's first is the end
	ids    []int32    // by node: the piece that ends there, -1 for none
}

func newPieceTrie(vocab map[string]int64) pieceTrie {
	pieces := make([]string, 0, len(vocab))
	for p := range vocab {
		pieces = append(pieces, p)
	}
	slices.Sort(pieces)
	type span struct{ from, to, depth int } // pieces that begin alike
	t := pieceTrie{labels: []byte{0}, ids: []int32{-1}}
	for level := []span{{0, len(pieces), 0}}; len(level) > 0; {
		var next []span
		for _, s := range level {
			node := len(t.first)
			t.first = append(t.first, int32(len(t.labels)))
			if s.from < s.to && len(pieces[s.from]) == s.depth {
				t.ids[node] = int32(vocab[pieces[s.from]])
				s.from++
			}
			for s.from < s.to {
				b, end := pieces[s.from][s.depth], s.from+1
				for end < s.to && pieces[end][s.depth] == b {
					end++
				}
				t.labels, t.ids = append(t.labels, b), append(t.ids, -1)
				next = append(next, span{s.from, end, s.depth + 1})
				s.from = end
			}
		}
		level = next
	}
	t.first = append(t.first, int32(len(t.labels)))
	for b := range t.root {
		t.root[b] = -1
	}
	for n := t.first[0]; n < t.first[1]; n++ {
		t.root[t.labels[n]] = n
	}
	return t
}

// child returns the node behind a byte, -1 for none.
func (t *pieceTrie) child(node int, b byte) int {
	if node == 0 {
		return int(t.root[b])
	}
	from, to := int(t.first[node]), int(t.first[node+1])
	if to-from > 8 {
		if i, ok := slices.BinarySearch(t.labels[from:to], b); ok {
			return from + i
		}
		return -1
	}
	for ; from < to; from++ {
		if t.labels[from] == b {
			return from
		}
	}
	return -1
}
