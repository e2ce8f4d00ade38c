package errorfs

import (
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"
)

// node is a directory or a file, whatever its names.
type node struct {
	dir      bool
	modified time.Time

	names   map[string]*node // of a directory, as processes see it
	durable map[string]*node // of a directory, after its last sync
	pending []change         // of a directory, since its last sync, in order

	content []byte // of a file
	synced  int    // how much of content is durable; content only grows
}

// change is what one operation did to the names of a directory; nil removes a name. A rename inside a directory is one
// change, because file systems keep it whole.
type change map[string]*node

func newDirectory() *node {
	return &node{dir: true, names: map[string]*node{}, durable: map[string]*node{}}
}

// apply does a change at once and remembers that it is not durable yet.
func (n *node) apply(c change) {
	c.to(n.names)
	n.pending = append(n.pending, c)
}

func (c change) to(names map[string]*node) {
	for name, v := range c {
		if v == nil {
			delete(names, name)
		} else {
			names[name] = v
		}
	}
}

func (n *node) sync() {
	n.synced = len(n.content)
	if n.dir {
		n.durable, n.pending = maps.Clone(n.names), nil
	}
}

// survivor copies what a power cut leaves of the tree. r decides how much of what was not synced arrived all the same;
// nil for nothing. copies keeps files of two names one file.
func (n *node) survivor(r *rand.Rand, copies map[*node]*node) *node {
	if c := copies[n]; c != nil {
		return c
	}
	out := &node{dir: n.dir, modified: n.modified}
	copies[n] = out
	if !n.dir {
		out.content = n.left(r)
		out.synced = len(out.content)
		return out
	}
	names := maps.Clone(n.durable)
	if r != nil {
		// A journal keeps the order of the changes of one directory.
		for _, c := range n.pending[:r.IntN(len(n.pending)+1)] {
			c.to(names)
		}
	}
	out.names = map[string]*node{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out.names[name] = names[name].survivor(r, copies)
	}
	out.durable = maps.Clone(out.names)
	return out
}

// left returns the content of a file after a power cut: what was synced, and of the rest nothing, a part, or zeros.
func (n *node) left(r *rand.Rand) []byte {
	if r == nil {
		return slices.Clone(n.content[:n.synced])
	}
	kept := slices.Clone(n.content[:n.synced+r.IntN(len(n.content)-n.synced+1)])
	if r.IntN(4) == 0 {
		clear(kept[n.synced:])
	}
	return kept
}

// at returns the node of a path, nil if there is none.
func (n *node) at(p string) *node {
	for _, name := range strings.Split(strings.Trim(path.Clean(p), "/"), "/") {
		if name == "" || name == "." {
			continue
		}
		if n == nil || !n.dir {
			return nil
		}
		n = n.names[name]
	}
	return n
}

// Clone returns the file system as another process sees it now, all of it durable and nothing locked. f stays as it is.
func (f *FS) Clone() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := New()
	after.root = f.root.seen(map[*node]*node{})
	return after
}

// seen copies what stands in the tree, durable or not.
func (n *node) seen(copies map[*node]*node) *node {
	if c := copies[n]; c != nil {
		return c
	}
	out := &node{dir: n.dir, modified: n.modified, content: slices.Clone(n.content), synced: len(n.content)}
	copies[n] = out
	if n.dir {
		out.names = map[string]*node{}
		for name, child := range n.names {
			out.names[name] = child.seen(copies)
		}
		out.durable = maps.Clone(out.names)
	}
	return out
}

// Crash returns the file system as the least that a power cut leaves: nothing that was not synced. f stays as it is.
func (f *FS) Crash() *FS { return f.crash(nil) }

// CrashSome returns the file system after a power cut that some unsynced changes survived: of each directory the first
// few, of each file a part, or zeros in its place. r decides which.
func (f *FS) CrashSome(r *rand.Rand) *FS { return f.crash(r) }

func (f *FS) crash(r *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := New()
	after.root = f.root.survivor(r, map[*node]*node{})
	return after
}
