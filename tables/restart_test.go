package tables

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs/errorfs"
)

// TestWhatAStartShowsIsDurable ends the process at each operation, starts another, and then loses power: what the start
// showed, others may have built on. A stream that read a commit which then went would pass over the next of that number.
func TestWhatAStartShowsIsDurable(t *testing.T) {
	errKilled := errors.New("the process is gone")
	whole := errorfs.New()
	acknowledged, _ := work(whole)
	require.EqualValues(t, powerCommits, acknowledged)
	for at := 1; at <= whole.Ops()+1; at++ {
		f := errorfs.New()
		ops := 0
		f.FailIf = func(string, string) error {
			if ops++; ops >= at {
				return errKilled
			}
			return nil
		}
		work(f)
		f.FailIf = nil
		f.Unlock() // as the kernel does
		s, err := Open(powerDir, Options{FS: f})
		require.NoError(t, err)
		seen := s.Tables("live")
		s, err = Open(powerDir, Options{FS: f.Crash()})
		require.NoError(t, err)
		for _, was := range seen {
			is, err := s.Table("live", was.Name())
			require.NoError(t, err, "killed at operation %d", at)
			require.Equal(t, was.Snapshot().Version(), is.Snapshot().Version(), "killed at operation %d", at)
			require.Equal(t, was.Snapshot().ID(), is.Snapshot().ID())
		}
	}
}
