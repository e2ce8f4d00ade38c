package tokenizer

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// bpe is byte-level BPE: the text is cut into words by GPT-2's pattern, and the bytes of a word are joined pair by pair,
// the pair learned first before all others and the leftmost of equals first.
type bpe struct {
	bytes  [256]int64 // id of each byte, -1 for a byte that is not in the vocabulary
	merges map[pair]merge
	words  map[string]int64 // with ignore_merges: words that are tokens as they stand, in the vocabulary's spelling
	names  [256]string      // that spelling, by byte
	prefix bool             // a blank is put before a text that does not begin with one
	pool   sync.Pool        // *joiner
}

type pair struct{ left, right int64 }

type merge struct {
	rank int
	id   int64
}

func loadBPE(f file) (model, map[string]int64, error) {
	var m struct {
		Dropout      *float64         `json:"dropout"`
		Unknown      *string          `json:"unk_token"`
		Prefix       *string          `json:"continuing_subword_prefix"`
		Suffix       *string          `json:"end_of_word_suffix"`
		ByteFallback bool             `json:"byte_fallback"`
		IgnoreMerges bool             `json:"ignore_merges"`
		Vocab        map[string]int64 `json:"vocab"`
		Merges       []json.RawMessage
	}
	if err := json.Unmarshal(f.Model, &m); err != nil {
		return nil, nil, fmt.Errorf("read BPE model: %w", err)
	}
	switch {
	case m.Dropout != nil && *m.Dropout > 0:
		return nil, nil, fmt.Errorf("%w: BPE with dropout", ErrUnsupported)
	case m.Prefix != nil && *m.Prefix != "" || m.Suffix != nil && *m.Suffix != "":
		return nil, nil, fmt.Errorf("%w: BPE with a prefix or suffix of pieces", ErrUnsupported)
	case m.ByteFallback:
		return nil, nil, fmt.Errorf("%w: BPE with byte fallback", ErrUnsupported)
	}
	b := &bpe{merges: make(map[pair]merge, len(m.Merges)), names: byteNames()}
	b.pool.New = func() any { return &joiner{} }
	if m.IgnoreMerges {
		b.words = m.Vocab
	}
	if err := b.pipeline(f); err != nil {
		return nil, nil, err
	}
	for i, name := range b.names {
		id, ok := m.Vocab[name]
		if !ok && m.Unknown != nil {
			return nil, nil, fmt.Errorf("%w: byte-level BPE whose vocabulary lacks the byte %d", ErrUnsupported, i)
		} else if !ok {
			id = -1
		}
		b.bytes[i] = id
	}
	for rank, raw := range m.Merges {
		left, right, err := mergeOf(raw)
		if err != nil {
			return nil, nil, err
		}
		l, okL := m.Vocab[left]
		r, okR := m.Vocab[right]
		id, ok := m.Vocab[left+right]
		if !ok || !okL || !okR || left == "" || right == "" {
			return nil, nil, fmt.Errorf("read BPE model: merge %d of %.20q and %.20q is not in the vocabulary", rank, left, right)
		}
		if _, twice := b.merges[pair{l, r}]; !twice {
			b.merges[pair{l, r}] = merge{rank, id}
		}
	}
	return b, m.Vocab, nil
}

// mergeOf reads "a b" or ["a", "b"].
func mergeOf(raw json.RawMessage) (left, right string, err error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if left, right, ok := strings.Cut(text, " "); ok {
			return left, right, nil
		}
	}
	var two []string
	if err := json.Unmarshal(raw, &two); err != nil || len(two) != 2 {
		return "", "", fmt.Errorf("read BPE model: %s is no merge", raw)
	}
	return two[0], two[1], nil
}

// pipeline accepts the byte-level pre-tokenizer and nothing else.
func (b *bpe) pipeline(f file) error {
	kind, err := kindOf(f.PreTokenizer)
	if err != nil {
		return err
	}
	if kind != "ByteLevel" {
		return fmt.Errorf("%w: BPE behind the pre-tokenizer %q", ErrUnsupported, kind)
	}
	p := struct {
		Prefix bool  `json:"add_prefix_space"`
		Regex  *bool `json:"use_regex"`
	}{Prefix: true}
	if err := json.Unmarshal(*f.PreTokenizer, &p); err != nil {
		return fmt.Errorf("read pre-tokenizer: %w", err)
	}
	if p.Regex != nil && !*p.Regex {
		return fmt.Errorf("%w: byte-level pre-tokenizer without its pattern", ErrUnsupported)
	}
	b.prefix = p.Prefix
	return nil
}

// byteNames is GPT-2's printable character for each byte: itself where it prints, else one from U+0100 on.
func byteNames() [256]string {
	var names [256]string
	next := rune(256)
	for i := range names {
		r := rune(i)
		if !(r >= '!' && r <= '~' || r >= 0xA1 && r <= 0xAC || r >= 0xAE && r <= 0xFF) {
			r = next
			next++
		}
		names[i] = string(r)
	}
	return names
}

// encode implements model.
func (b *bpe) encode(ids []int64, text string, enough int, _ bool) []int64 {
	if b.prefix && !strings.HasPrefix(text, " ") {
		text = " " + text
	}
	j := b.pool.Get().(*joiner)
	for text != "" && len(ids) <= enough {
		n := nextWord(text)
		if id, ok := b.asItStands(text[:n]); ok {
			ids = append(ids, id)
		} else {
			ids = j.join(b, ids, text[:n])
		}
		text = text[n:]
	}
	b.pool.Put(j)
	return ids
}

// asItStands returns the id of a word that is a token; with ignore_merges only.
func (b *bpe) asItStands(word string) (int64, bool) {
	if b.words == nil || len(word) > maxTokenBytes {
		return 0, false
	}
	var out strings.Builder
	for i := range len(word) {
		out.WriteString(b.names[word[i]])
	}
	id, ok := b.words[out.String()]
	return id, ok
}

// Classes of GPT-2's pattern.
const (
	classSpace = iota
	classLetter
	classNumber
	classOther
)

func classOf(r rune) int {
	switch {
	case unicode.IsSpace(r):
		return classSpace
	case unicode.IsLetter(r):
		return classLetter
	case unicode.IsNumber(r):
		return classNumber
	default:
		return classOther
	}
}

// nextWord returns the length of the first match of GPT-2's pattern in a text that is not empty:
// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func nextWord(text string) int {
	if text[0] == '\'' {
		for _, s := range []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
			if strings.HasPrefix(text, s) {
				return len(s)
			}
		}
	}
	at := 0
	if text[0] == ' ' && len(text) > 1 {
		at = 1
	}
	r, size := utf8.DecodeRuneInString(text[at:])
	class := classOf(r)
	if class == classSpace {
		return spaces(text)
	}
	end := at + size
	for end < len(text) {
		r, size := utf8.DecodeRuneInString(text[end:])
		if classOf(r) != class {
			break
		}
		end += size
	}
	return end
}

// spaces matches \s+(?!\S)|\s+: white space but for its last character when something follows that may take it.
func spaces(text string) int {
	end, last := 0, 0
	for end < len(text) {
		r, size := utf8.DecodeRuneInString(text[end:])
		if !unicode.IsSpace(r) {
			break
		}
		last = end
		end += size
	}
	if end < len(text) && last > 0 {
		return last
	}
	return end
}

// joiner joins the symbols of one word; its slices are reused.
type joiner struct {
	ids     []int64 // -1 for a symbol that was joined to the one before
	starts  []int   // byte of the word at which each begins, where that is asked for
	next    []int   // index of the following symbol, len(ids) at the end
	prev    []int   // index of the symbol before, -1 at the start
	queue   candidates
	pending candidates // for the next round
}

func (j *joiner) reset() {
	j.ids, j.starts, j.next, j.prev, j.queue, j.pending = j.ids[:0], j.starts[:0], j.next[:0], j.prev[:0], j.queue[:0], j.pending[:0]
}

// candidate is a pair that may be joined: the symbols at left and behind it, as they were when it was queued.
type candidate struct {
	rank, left int
	pair       pair
	id         int64
}

// candidates is a heap: lowest rank first, leftmost of equals first.
type candidates []candidate

// Len implements heap.Interface.
func (c candidates) Len() int { return len(c) }

// Less implements heap.Interface.
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].left < c[j].left
}

// Swap implements heap.Interface.
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }

// Push implements heap.Interface.
func (c *candidates) Push(x any) { *c = append(*c, x.(candidate)) }

// Pop implements heap.Interface.
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// join appends the ids of a word.
func (j *joiner) join(b *bpe, out []int64, word string) []int64 {
	j.reset()
	for i := range len(word) {
		if id := b.bytes[word[i]]; id >= 0 {
			j.ids = append(j.ids, id)
		}
	}
	j.merge(b.merges, false)
	for _, id := range j.ids {
		if id >= 0 {
			out = append(out, id)
		}
	}
	return out
}

// merge joins pairs until none is left that can be. With rounds all pairs of one rank are joined before those that come of
// it are looked at, else these wait for no one.
func (j *joiner) merge(merges map[pair]merge, rounds bool) {
	n := len(j.ids)
	for i := range n {
		j.next, j.prev = append(j.next, i+1), append(j.prev, i-1)
	}
	for i := range n - 1 {
		if c, ok := j.candidateAt(merges, i); ok {
			j.queue = append(j.queue, c)
		}
	}
	heap.Init(&j.queue)
	for rank := -1; len(j.queue)+len(j.pending) > 0; {
		if len(j.queue) == 0 || j.queue[0].rank != rank {
			for _, c := range j.pending {
				heap.Push(&j.queue, c)
			}
			j.pending = j.pending[:0]
			rank = j.queue[0].rank
		}
		c := heap.Pop(&j.queue).(candidate)
		right := n
		if j.ids[c.left] >= 0 {
			right = j.next[c.left]
		}
		if right >= n || j.ids[c.left] != c.pair.left || j.ids[right] != c.pair.right {
			continue // one of the two was joined with another meanwhile
		}
		j.ids[c.left], j.ids[right] = c.id, -1
		j.next[c.left] = j.next[right]
		if j.next[right] < n {
			j.prev[j.next[right]] = c.left
		}
		j.push(merges, c.left, rounds)
		if p := j.prev[c.left]; p >= 0 {
			j.push(merges, p, rounds)
		}
	}
}

// candidateAt is the pair that begins at a symbol, if it is joined at all.
func (j *joiner) candidateAt(merges map[pair]merge, left int) (candidate, bool) {
	right := j.next[left]
	if right >= len(j.ids) {
		return candidate{}, false
	}
	p := pair{j.ids[left], j.ids[right]}
	m, ok := merges[p]
	return candidate{m.rank, left, p, m.id}, ok
}

func (j *joiner) push(merges map[pair]merge, left int, rounds bool) {
	c, ok := j.candidateAt(merges, left)
	switch {
	case ok && rounds:
		j.pending = append(j.pending, c)
	case ok:
		heap.Push(&j.queue, c)
	}
}
