package engine

import (
	"hash/maphash"
	"math/rand/v2"
	"strings"

	"smelt/tables"
)

// groupKeys numbers groups in the order in which they come up. Each key column numbers its own values; two numbers make
// one for both, and so on, so that any columns work in any number without bytes being put together.
type groupKeys struct {
	columns []*keyColumn
	pairs   []*wholeIndex // pairs[i] numbers pairs of a number for columns up to i and one for column i+1
	count   int

	groups, codes []int32
}

func newGroupKeys(exprs []vectorExpr) *groupKeys {
	k := &groupKeys{}
	for i, e := range exprs {
		k.columns = append(k.columns, newKeyColumn(e))
		if i > 0 {
			k.pairs = append(k.pairs, newWholeIndex())
		}
	}
	return k
}

// assign returns the group of each of the rows of b. It is valid until the next call.
func (k *groupKeys) assign(b *tables.Batch, rows []int32) []int32 {
	k.groups = resize(k.groups, len(rows))
	if len(k.columns) == 0 {
		clear(k.groups)
		k.count = 1
		return k.groups
	}
	k.columns[0].number(b, rows, k.groups)
	k.count = int(k.columns[0].next)
	for i, pairs := range k.pairs {
		k.codes = resize(k.codes, len(rows))
		k.columns[i+1].number(b, rows, k.codes)
		for j, code := range k.codes {
			k.groups[j] = pairs.number(uint64(k.groups[j])<<32 | uint64(code))
		}
		k.count = int(pairs.count)
	}
	return k.groups
}

// keyColumn numbers the values of one column; null is a value like the others.
type keyColumn struct {
	of       vectorExpr
	next     int32
	null     int32 // -1: no null came up yet
	whole    *wholeIndex
	texts    *textIndex
	decimals map[tables.Int128]int32
	numbers  []int32 // of the values of an index, which does not know of null
}

func newKeyColumn(of vectorExpr) *keyColumn {
	k := &keyColumn{of: of, null: -1}
	switch of.typ().Kind {
	case tables.String:
		k.texts = newTextIndex()
	case tables.Decimal:
		k.decimals = map[tables.Int128]int32{}
	default:
		k.whole = newWholeIndex()
	}
	return k
}

// number writes the number of the value in each of the rows to out.
func (k *keyColumn) number(b *tables.Batch, rows []int32, out []int32) {
	c := k.of.column(b)
	switch kind := k.of.typ().Kind; {
	case kind == tables.String:
		numberAll(k, c, c.Strings, rows, out, k.texts.number)
	case kind == tables.Decimal:
		numberAll(k, c, c.Decimals, rows, out, k.decimal)
	case floating(kind):
		numberAll(k, c, c.Floats, rows, out, func(f float64) int32 { return k.whole.number(groupBits(f)) })
	default:
		numberAll(k, c, c.Ints, rows, out, func(n int64) int32 { return k.whole.number(uint64(n)) })
	}
}

func numberAll[T any](k *keyColumn, c *tables.Column, values []T, rows, out []int32, index func(T) int32) {
	for i, r := range rows {
		if c.Valid != nil && !c.Valid[r] {
			if k.null < 0 {
				k.null = k.next
				k.next++
			}
			out[i] = k.null
			continue
		}
		at := index(values[r])
		if int(at) == len(k.numbers) {
			k.numbers = append(k.numbers, k.next)
			k.next++
		}
		out[i] = k.numbers[at]
	}
}

func (k *keyColumn) decimal(d tables.Int128) int32 {
	n, known := k.decimals[d]
	if !known {
		n = int32(len(k.decimals))
		k.decimals[d] = n
	}
	return n
}

// firstSlots is the size of an empty index, a power of two.
const firstSlots = 64

// wholeIndex numbers 64-bit values in the order in which they come up. It is an open hash table: a Go map takes three
// times as long. A random seed keeps anybody from choosing values that meet in one place.
type wholeIndex struct {
	seed  uint64
	count int32
	slots []wholeSlot
}

type wholeSlot struct {
	key    uint64
	number int32 // plus one; 0 for an empty slot
}

func newWholeIndex() *wholeIndex {
	return &wholeIndex{seed: rand.Uint64(), slots: make([]wholeSlot, firstSlots)}
}

func (x *wholeIndex) number(key uint64) int32 {
	slot := x.slot(key)
	if slot.number == 0 {
		x.count++
		slot.key, slot.number = key, x.count
		if 2*int(x.count) > len(x.slots) {
			x.grow()
		}
		return x.count - 1
	}
	return slot.number - 1
}

// slot returns the slot that has the key or is empty and to have it.
func (x *wholeIndex) slot(key uint64) *wholeSlot {
	mask := uint64(len(x.slots) - 1)
	for at := x.hash(key) & mask; ; at = (at + 1) & mask {
		if slot := &x.slots[at]; slot.number == 0 || slot.key == key {
			return slot
		}
	}
}

func (x *wholeIndex) grow() {
	before := x.slots
	x.slots = make([]wholeSlot, 2*len(before))
	for _, s := range before {
		if s.number > 0 {
			*x.slot(s.key) = s
		}
	}
}

func (x *wholeIndex) hash(key uint64) uint64 {
	key = (key ^ x.seed) * 0x9e3779b97f4a7c15
	key = (key ^ key>>32) * 0xd6e8feb86659fd93
	return key ^ key>>32
}

// textIndex numbers texts in the order in which they come up. It keeps copies, as a text may be part of a whole page of
// a data file.
type textIndex struct {
	seed   maphash.Seed
	slots  []int32 // number+1 of a text, 0 for an empty slot
	texts  []string
	hashes []uint64
}

func newTextIndex() *textIndex {
	return &textIndex{seed: maphash.MakeSeed(), slots: make([]int32, firstSlots)}
}

func (x *textIndex) number(text string) int32 {
	hash := maphash.String(x.seed, text)
	mask := uint64(len(x.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		n := x.slots[at]
		if n == 0 {
			return x.add(text, hash, at)
		}
		if x.hashes[n-1] == hash && x.texts[n-1] == text {
			return n - 1
		}
	}
}

func (x *textIndex) add(text string, hash, at uint64) int32 {
	x.texts, x.hashes = append(x.texts, strings.Clone(text)), append(x.hashes, hash)
	x.slots[at] = int32(len(x.texts))
	if 2*len(x.texts) > len(x.slots) {
		x.slots = make([]int32, 2*len(x.slots))
		mask := uint64(len(x.slots) - 1)
		for i, hash := range x.hashes {
			at := hash & mask
			for x.slots[at] != 0 {
				at = (at + 1) & mask
			}
			x.slots[at] = int32(i + 1)
		}
	}
	return int32(len(x.texts) - 1)
}
