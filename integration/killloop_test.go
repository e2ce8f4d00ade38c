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
	// A life lasts up to lifeStarts times what a start takes, so that about one kill in five hits a start, and shortestLife
	// to longestLife. Where the machine is so busy that less than one life in committingLives commits, the next ones last longer.
	lifeStarts      = 5
	shortestLife    = 200 * time.Millisecond
	longestLife     = 500 * time.Millisecond
	committingLives = 3
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
	m := newMortal(t, 10)
	m.drop(1)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- m.produce(rand.New(rand.NewPCG(seed, 1)), stop) }()
	began := time.Now()
	first := start(t, nil, m.args()...)
	starting := time.Since(began)
	first.kill()
	life := min(max(lifeStarts*starting, shortestLife), longestLife)
	t.Logf("a start takes %s, a life up to %s", starting.Round(time.Millisecond), life)
	for n := range kills {
		cmd := m.launch()
		<-time.After(time.Duration(random.Int64N(int64(life))))
		require.NoError(t, cmd.Process.Kill())
		killed(t, cmd, "the server ended by itself")
		if m.commits() <= (n+1)/committingLives {
			life += life / 8
		}
	}
	close(stop)
	require.NoError(t, <-stopped)
	t.Logf("%d kills in %s, %d rows in %d files, %d commits to bronze", kills, time.Since(began).Round(time.Millisecond), m.rows, m.files, m.commits())
	require.Greater(t, m.commits(), kills/4, "the server lived too short to do anything")
	m.survives()
}

// commits counts the versions of bronze that are there.
func (m *mortal) commits() int {
	versions, err := filepath.Glob(filepath.Join(m.data, "live", "bronze", "_delta_log", "*.json"))
	require.NoError(m.t, err)
	return len(versions)
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
