package integration

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	randomKills      = 100
	randomKillsShort = 10
	// longestLife is about seven times what a start takes, so that one kill in seven hits a start.
	longestLife = 250 * time.Millisecond
	// longestPause of the producer: some hundred files a second, which the server keeps up with while it lives.
	longestPause = 15 * time.Millisecond
)

// TestRandomKillsWhileFilesKeepComing kills the server with SIGKILL at any moment, its start included, while a producer
// goes on renaming files into the watched directory.
func TestRandomKillsWhileFilesKeepComing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	kills := randomKills
	if testing.Short() {
		kills = randomKillsShort
	}
	m := newMortal(t)
	m.drop(1)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- m.produce(rand.New(rand.NewPCG(seed, 1)), stop) }()
	began := time.Now()
	for range kills {
		cmd := m.launch()
		<-time.After(time.Duration(random.Int64N(int64(longestLife))))
		require.NoError(t, cmd.Process.Kill())
		killed(t, cmd, "the server ended by itself")
	}
	close(stop)
	require.NoError(t, <-stopped)
	t.Logf("%d kills in %s, %d rows in %d files", kills, time.Since(began).Round(time.Millisecond), m.rows, m.files)
	versions, err := filepath.Glob(filepath.Join(m.data, "live", "bronze", "_delta_log", "*.json"))
	require.NoError(t, err)
	require.Greater(t, len(versions), kills/4, "the server lived too short to do anything")
	m.survives()
}

// produce drops files, at random intervals, until it is stopped.
func (m *mortal) produce(random *rand.Rand, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(time.Duration(random.Int64N(int64(longestPause)))):
		}
		path, content := m.next()
		tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
		if err := os.WriteFile(tmp, []byte(content), 0o644); err != nil {
			return err
		}
		if err := os.Rename(tmp, path); err != nil {
			return err
		}
	}
}
