//go:build !linux

package autoload

// writersOf would report whether a process has the file open for writing; known is false: only Linux can tell.
func writersOf(string) (writers, known bool) { return false, false }
