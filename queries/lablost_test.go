package queries

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"

	"smelt/tables/vfs"
)

var errLost = errors.New("the answer is lost")

// lostAnswer is a file system on which commits stand and their answers are lost, as when the last sync fails. Whoever then
// reads the log to learn what stands syncs it, too: with two lost answers in a row it stays open.
type lostAnswer struct {
	vfs.FS

	mu         sync.Mutex
	skip, lose int // syncs of logs that succeed first, and that fail then
	lost       int
}

// SyncDir implements vfs.FS.
func (f *lostAnswer) SyncDir(path string) error {
	if filepath.Base(path) == "_delta_log" && f.fails() {
		return &fs.PathError{Op: "sync", Path: path, Err: errLost}
	}
	return f.FS.SyncDir(path)
}

func (f *lostAnswer) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.skip > 0 && f.lose > 0:
		f.skip--
	case f.lose > 0:
		f.lose--
		f.lost++
		return true
	}
	return false
}

// arm has some answers lost, behind some that are not.
func (f *lostAnswer) arm(skip, lose int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.skip, f.lose, f.lost = skip, lose, 0
}

// disarm lets all answers come, and returns how many were lost.
func (f *lostAnswer) disarm() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose = 0
	return f.lost
}

// doubtful does some work while answers of the disk are lost, and returns how many were: it is not known then what was done.
func (l *lab) doubtful(r *rand.Rand, work func() error) (lost int, err error) {
	l.lost.arm(r.IntN(10), 1+r.IntN(4))
	err = work()
	return l.lost.disarm(), err
}

func (l *lab) runOnce() error { return l.graph.RunOnce(context.Background(), nil) }
