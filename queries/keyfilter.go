package queries

import (
	"context"
	"hash/maphash"
	"strings"

	"smelt/tables"
)

const (
	// manyLookedUp is how many rows a look-up of keys may read before the next one is spared them by a filter: keys that
	// grow never need one, because statistics tell that they are new.
	manyLookedUp = 100_000
	// Each key has so many bits in a filter, of which so many are set: one in 1,700 keys that are new looks like a known one.
	filterBitsPerKey, filterProbes = 16, 8
	// maxFilterKeys bounds the memory of a filter, to 64 MiB.
	maxFilterKeys = 64 << 20 * 8 / filterBitsPerKey
)

// target is the table that rows come into, as EXPECT UNIQUE and EXPECT DRIFT need it.
type target struct {
	table    *tables.Table
	now      *tables.Snapshot
	known    *knownKeys
	replaces bool // they replace the rows that are there
}

// knownKeys holds the filters of one table, by the columns of the key. It is used by one batch at a time.
type knownKeys struct {
	filters map[string]*keyFilter
}

// target returns the flow's table as one that rows come into.
func (f *flow) target(t *tables.Table) *target {
	own := f.own()
	if own.known == nil {
		own.known = &knownKeys{filters: map[string]*keyFilter{}}
	}
	return &target{table: t, now: t.Snapshot(), known: own.known}
}

// filter returns what is known of the keys of the table, up to date; nil if nothing is.
func (into *target) filter(ctx context.Context, u *uniqueKeys) (*keyFilter, error) {
	name := strings.ToLower(strings.Join(u.columns, ","))
	k := into.known.filters[name]
	if k == nil {
		return nil, nil
	}
	err := k.follow(ctx, into, u)
	if err != nil || k.keys > maxFilterKeys {
		delete(into.known.filters, name)
		return nil, err
	}
	return k, nil
}

// readMany notes how many rows a look-up had to read.
func (into *target) readMany(u *uniqueKeys, rows int) {
	if name := strings.ToLower(strings.Join(u.columns, ",")); rows > manyLookedUp && into.now.Rows() <= maxFilterKeys && into.known.filters[name] == nil {
		into.known.filters[name] = &keyFilter{seed: maphash.MakeSeed()}
	}
}

// keyFilter is a Bloom filter of the keys of a table at a version, in memory. It may take a new key for a known one and
// never the other way round.
type keyFilter struct {
	seed    maphash.Seed
	bits    []uint64
	keys    int64 // that were added
	room    int64 // for so many
	id      string
	version int64
}

// follow adds the keys that the table has got since.
func (k *keyFilter) follow(ctx context.Context, into *target, u *uniqueKeys) error {
	add := func(rows tables.Relation) error {
		r, err := rows.Scan(ctx, u.columns)
		if err != nil {
			return err
		}
		defer r.Close()
		return tables.EachBatch(ctx, r, func(b *tables.Batch) error {
			for row := range b.Len {
				if key := u.key(b, row); key != "" {
					k.add(key)
				}
			}
			return nil
		})
	}
	if k.bits != nil && k.id == into.now.ID() {
		added, err := into.table.ChangesUpTo(ctx, k.version, into.now.Version(), 0)
		if err == nil && !added.Rewritten && !added.Replaced && k.keys+added.RowCount <= k.room {
			k.version = into.now.Version()
			return add(added)
		}
	}
	k.id, k.version, k.keys, k.room = into.now.ID(), into.now.Version(), 0, max(2*into.now.Rows(), manyLookedUp)
	k.bits = make([]uint64, k.room*filterBitsPerKey/64+1)
	return add(into.now)
}

func (k *keyFilter) add(key string) {
	k.keys++
	h := maphash.String(k.seed, key)
	for range filterProbes {
		at := h % uint64(len(k.bits)*64)
		k.bits[at/64] |= 1 << (at % 64)
		h = h*0x9E3779B97F4A7C15 + 0x7F4A7C15 // another place each time
	}
}

// has reports whether the table may have the key.
func (k *keyFilter) has(key string) bool {
	h := maphash.String(k.seed, key)
	for range filterProbes {
		at := h % uint64(len(k.bits)*64)
		if k.bits[at/64]&(1<<(at%64)) == 0 {
			return false
		}
		h = h*0x9E3779B97F4A7C15 + 0x7F4A7C15
	}
	return true
}
