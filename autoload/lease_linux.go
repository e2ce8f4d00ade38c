package autoload

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// writersOf reports whether a process has the file open for writing. Linux grants a read lease on a file to its owner
// or a privileged process exactly if nobody has; ours is given back at once, and a writer who comes in between waits
// for that. known is false where leases are not to be had.
func writersOf(path string) (writers, known bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, false
	}
	defer f.Close() // which gives back the lease, too
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	switch err {
	case nil:
		return false, true
	case unix.EAGAIN:
		return true, true
	default:
		return false, false
	}
}
