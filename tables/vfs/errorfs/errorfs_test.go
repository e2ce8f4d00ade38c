package errorfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs"
)

// both runs a test on the machine's file system and on this one: what tables rely on must hold for each.
func both(t *testing.T, test func(t *testing.T, f vfs.FS, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, vfs.OS(), t.TempDir()) })
	t.Run("errorfs", func(t *testing.T) {
		f := New()
		require.NoError(t, f.MkdirAll("/tmp/x"))
		test(t, f, "/tmp/x")
	})
}

func write(t *testing.T, f vfs.FS, p, content string) {
	t.Helper()
	file, err := f.Create(p)
	require.NoError(t, err)
	_, err = file.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	require.NoError(t, file.Close())
}

func read(t *testing.T, f vfs.FS, p string) string {
	t.Helper()
	text, err := f.ReadFile(p)
	require.NoError(t, err)
	return string(text)
}

func TestFiles(t *testing.T) {
	both(t, func(t *testing.T, f vfs.FS, dir string) {
		p := path.Join(dir, "a")
		write(t, f, p, "hello")
		_, err := f.Create(p)
		require.ErrorIs(t, err, fs.ErrExist)
		_, err = f.Create(path.Join(dir, "none", "a"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		file, err := f.Open(p)
		require.NoError(t, err)
		size, err := file.Size()
		require.NoError(t, err)
		require.EqualValues(t, 5, size)
		b := make([]byte, 3)
		_, err = file.ReadAt(b, 2)
		require.NoError(t, err)
		require.Equal(t, "llo", string(b))
		_, err = file.ReadAt(b, 3)
		require.Error(t, err, "only two bytes are left")
		require.NoError(t, f.Remove(p))
		_, err = file.ReadAt(b, 0)
		require.NoError(t, err, "an open file stays readable")
		require.NoError(t, file.Close())
		require.Error(t, file.Close())
		_, err = f.Open(p)
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = f.ReadFile(p)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorIs(t, f.Remove(p), fs.ErrNotExist)
	})
}

func TestNames(t *testing.T) {
	both(t, func(t *testing.T, f vfs.FS, dir string) {
		a, b, c := path.Join(dir, "a"), path.Join(dir, "b"), path.Join(dir, "c")
		write(t, f, a, "one")
		write(t, f, b, "two")
		require.ErrorIs(t, f.Link(a, b), fs.ErrExist, "a link never replaces")
		require.Equal(t, "two", read(t, f, b))
		require.NoError(t, f.Link(a, c))
		require.NoError(t, f.Remove(a))
		require.Equal(t, "one", read(t, f, c))
		require.ErrorIs(t, f.Link(a, path.Join(dir, "d")), fs.ErrNotExist)
		require.NoError(t, f.Rename(b, c), "a rename does")
		require.Equal(t, "two", read(t, f, c))
		require.ErrorIs(t, f.Rename(b, a), fs.ErrNotExist)
		info, err := f.Stat(c)
		require.NoError(t, err)
		require.Equal(t, vfs.Info{Name: "c", Size: 3, Modified: info.Modified}, info)
		_, err = f.Stat(b)
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}

func TestDirectories(t *testing.T) {
	both(t, func(t *testing.T, f vfs.FS, dir string) {
		deep := path.Join(dir, "x", "y", "z")
		require.NoError(t, vfs.MakeDirs(f, deep))
		require.NoError(t, vfs.MakeDirs(f, deep), "twice is once")
		write(t, f, path.Join(deep, "b"), "1")
		write(t, f, path.Join(deep, "a"), "22")
		require.NoError(t, f.MkdirAll(path.Join(deep, "c")))
		list, err := f.List(deep)
		require.NoError(t, err)
		require.Len(t, list, 3)
		require.Equal(t, []any{"a", "b", "c", int64(2), true}, []any{list[0].Name, list[1].Name, list[2].Name, list[0].Size, list[2].Dir})
		require.Error(t, f.Remove(path.Join(dir, "x")), "not empty")
		require.NoError(t, f.Rename(path.Join(dir, "x"), path.Join(dir, "w")))
		require.Equal(t, "22", read(t, f, path.Join(dir, "w", "y", "z", "a")))
		require.NoError(t, f.RemoveAll(path.Join(dir, "w")))
		require.NoError(t, f.RemoveAll(path.Join(dir, "w")), "a missing tree is no error")
		_, err = f.List(path.Join(dir, "w"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, f.SyncDir(dir))
		require.ErrorIs(t, f.SyncDir(path.Join(dir, "w")), fs.ErrNotExist)
	})
}

func TestLock(t *testing.T) {
	both(t, func(t *testing.T, f vfs.FS, dir string) {
		p := path.Join(dir, "_lock")
		held, err := f.Lock(p)
		require.NoError(t, err)
		_, err = f.Lock(p)
		require.ErrorIs(t, err, vfs.ErrLocked)
		require.NoError(t, held.Close())
		held, err = f.Lock(p)
		require.NoError(t, err)
		require.NoError(t, held.Close())
	})
}

func TestWriteFileReplacesWhole(t *testing.T) {
	both(t, func(t *testing.T, f vfs.FS, dir string) {
		p := path.Join(dir, "view.json")
		write(t, f, path.Join(dir, ".view.json.tmp"), "what a crash left")
		require.NoError(t, vfs.WriteFile(f, p, []byte("one")))
		require.NoError(t, vfs.WriteFile(f, p, []byte("two")))
		require.Equal(t, "two", read(t, f, p))
		list, err := f.List(dir)
		require.NoError(t, err)
		require.Len(t, list, 1)
	})
}

// TestACrashKeepsWhatWasSynced is the contract of the power-loss model.
func TestACrashKeepsWhatWasSynced(t *testing.T) {
	f := New()
	require.NoError(t, f.MkdirAll("/d/e"))
	require.NoError(t, f.SyncDir("/"))
	require.NoError(t, f.SyncDir("/d"))
	write(t, f, "/d/both", "content and name")
	require.NoError(t, f.SyncDir("/d"))
	write(t, f, "/d/content-only", "x")
	file, err := f.Create("/d/e/name-only")
	require.NoError(t, err)
	_, err = file.Write([]byte("lost"))
	require.NoError(t, err)
	require.NoError(t, f.SyncDir("/d/e"))
	require.NoError(t, f.Remove("/d/both"))
	after := f.Crash()
	require.Equal(t, "content and name", read(t, after, "/d/both"), "its removal was not synced")
	_, err = after.ReadFile("/d/content-only")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, read(t, after, "/d/e/name-only"))
	require.Equal(t, "lost", read(t, f, "/d/e/name-only"), "the file system itself goes on")
}

func TestACrashKeepsADirectoryThatWasRenamedOrRemoved(t *testing.T) {
	f := New()
	require.NoError(t, f.MkdirAll("/d/e"))
	write(t, f, "/d/e/file", "x")
	for _, dir := range []string{"/", "/d", "/d/e"} {
		require.NoError(t, f.SyncDir(dir))
	}
	require.NoError(t, f.Rename("/d/e", "/d/away"))
	require.Equal(t, "x", read(t, f.Crash(), "/d/e/file"))
	require.NoError(t, f.SyncDir("/d"))
	require.NoError(t, f.RemoveAll("/d/away"))
	after := f.Crash()
	require.Equal(t, "x", read(t, after, "/d/away/file"))
	_, err := after.Stat("/d/e")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestSomeUnsyncedChangesMaySurvive sees every outcome that one directory can have, and no other.
func TestSomeUnsyncedChangesMaySurvive(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	f := New()
	write(t, f, "/old", "1234")
	require.NoError(t, f.SyncDir("/"))
	require.NoError(t, f.Rename("/old", "/new"))
	file, err := f.Create("/more")
	require.NoError(t, err)
	_, err = file.Write([]byte("ab"))
	require.NoError(t, err)
	seen := map[string]bool{}
	for range 500 {
		after := f.CrashSome(r)
		list, err := after.List("/")
		require.NoError(t, err)
		state := ""
		for _, e := range list {
			state += e.Name + "=" + read(t, after, "/"+e.Name) + " "
		}
		seen[state] = true
	}
	require.Equal(t, map[string]bool{"old=1234 ": true, "new=1234 ": true, "more= new=1234 ": true, "more=a new=1234 ": true, "more=ab new=1234 ": true,
		"more=\x00 new=1234 ": true, "more=\x00\x00 new=1234 ": true}, seen)
}

func TestFaultsComeWhereTheyAreWanted(t *testing.T) {
	work := func(f *FS) error {
		file, err := f.Create("/a")
		if err != nil {
			return err
		}
		if _, err := file.Write([]byte("abcd")); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
		return errors.Join(f.Link("/a", "/b"), f.SyncDir("/"))
	}
	whole := New()
	require.NoError(t, work(whole))
	require.Equal(t, []string{"create /a", "write /a", "sync /a", "link /a -> /b", "syncdir /"}, whole.Trace())
	require.Equal(t, 5, whole.Ops())

	f := New()
	f.FailAt, f.Err = 4, syscall.EIO
	require.ErrorIs(t, work(f), syscall.EIO)
	_, err := f.Stat("/b")
	require.ErrorIs(t, err, fs.ErrNotExist)

	f = New()
	f.FailAt, f.Err, f.FailLate = 4, syscall.EIO, true
	require.ErrorIs(t, work(f), syscall.EIO)
	require.Equal(t, "abcd", read(t, f, "/b"), "it happened all the same")

	f = New()
	f.FailAt, f.Err = 2, syscall.ENOSPC
	require.ErrorIs(t, work(f), syscall.ENOSPC)
	require.Equal(t, "ab", read(t, f, "/a"), "half of it was written")

	f = New()
	f.CrashAt = 3
	require.ErrorIs(t, work(f), ErrPower)
	_, err = f.ReadFile("/a")
	require.ErrorIs(t, err, ErrPower, "a dead machine answers nothing")

	f = New()
	require.NoError(t, work(f))
	f.FailRead = func(p string) error {
		if p == "/a" {
			return syscall.EIO
		}
		return nil
	}
	_, err = f.ReadFile("/a")
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, "abcd", read(t, f, "/b"))

	f = New()
	f.SkipSync = func(p string, dir bool) bool { return dir }
	require.NoError(t, work(f))
	_, err = f.Crash().Stat("/b")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestACloneIsWhatAnotherProcessSees(t *testing.T) {
	f := New()
	require.NoError(t, f.MkdirAll("/d"))
	write(t, f, "/d/a", "one")
	require.NoError(t, f.Link("/d/a", "/d/b"))
	other := f.Clone()
	require.NoError(t, f.Remove("/d/a"))
	require.Equal(t, "one", read(t, other, "/d/a"), "the original goes on alone")
	require.Equal(t, "one", read(t, other.Crash(), "/d/b"), "all of it is durable")
	require.ErrorIs(t, other.Link("/d/a", "/d/b"), fs.ErrExist)
}

func TestAFullDiskHasRoomAgain(t *testing.T) {
	f := New()
	full := true
	f.FailIf = func(op, path string) error {
		if full && op == "write" {
			return syscall.ENOSPC
		}
		return nil
	}
	file, err := f.Create("/a")
	require.NoError(t, err)
	n, err := file.Write([]byte("abcd"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 2, n)
	full = false
	_, err = file.Write([]byte("cd"))
	require.NoError(t, err)
	require.Equal(t, "abcd", read(t, f, "/a"))
}
