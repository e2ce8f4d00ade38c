package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	habitKills      = 30
	habitKillsShort = 6
)

// habits is a producer with the habits of many, and the model of what it wrote: each row has its file and a number.
type habits struct {
	random *rand.Rand
	dir    string
	next   int
	whole  map[string][][]string // contents that each file had while nobody wrote it
	gone   map[string]bool       // deleted since
}

func (h *habits) rows(name string, n int) (rows []string) {
	for range n {
		h.next++
		rows = append(rows, fmt.Sprintf("%s:%d", name, h.next))
	}
	return rows
}

func linesOf(rows []string) string {
	var text strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&text, "{\"text\": %q}\n", r)
	}
	return text.String()
}

// rename puts a content into its place at once, over another if there is one.
func (h *habits) rename(name string, rows []string) error {
	hidden := filepath.Join(h.dir, "."+name)
	if err := os.WriteFile(hidden, []byte(linesOf(rows)), 0o644); err != nil {
		return err
	}
	h.whole[name] = append(h.whole[name], rows)
	return os.Rename(hidden, filepath.Join(h.dir, name))
}

// write writes to the end of a file in pieces, in the middle of rows, with pauses between them.
func (h *habits) write(name string, rows []string, had []string) error {
	f, err := os.OpenFile(filepath.Join(h.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	h.whole[name] = append(h.whole[name], slices.Concat(had, rows))
	text := linesOf(rows)
	for text != "" {
		n := 1 + h.random.IntN(len(text))
		if _, err := f.WriteString(text[:n]); err != nil {
			return err
		}
		text = text[n:]
		<-time.After(time.Duration(h.random.Int64N(int64(longestPause))))
	}
	return f.Close()
}

// act does one thing that producers do.
func (h *habits) act() error {
	var names []string // that there are
	for name := range h.whole {
		if !h.gone[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	action := h.random.IntN(8)
	if len(names) == 0 || action < 4 {
		name := fmt.Sprintf("%05d.json", len(h.whole))
		if rows := h.rows(name, 1+h.random.IntN(3)); action%2 == 0 {
			return h.rename(name, rows)
		} else {
			return h.write(name, rows, nil)
		}
	}
	name := names[len(names)-1-h.random.IntN(min(len(names), 5))] // a late one: it may not have been read yet
	last := h.whole[name][len(h.whole[name])-1]
	switch action {
	case 4, 5:
		return h.write(name, h.rows(name, 1), last)
	case 6:
		return h.rename(name, h.rows(name, 2))
	default:
		h.gone[name] = true
		return os.Remove(filepath.Join(h.dir, name))
	}
}

// produce acts until it is stopped.
func (h *habits) produce(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(time.Duration(h.random.Int64N(int64(longestPause)))):
		}
		if err := h.act(); err != nil {
			return err
		}
	}
}

// TestRandomKillsWhileProducersHaveTheirHabits kills the server while files are renamed into place, written slowly,
// appended to, replaced and deleted. In the end bronze has of each file one content, whole, and that once.
func TestRandomKillsWhileProducersHaveTheirHabits(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	kills := habitKills
	if testing.Short() {
		kills = habitKillsShort
	}
	m := &mortal{t: t, watch: t.TempDir(), data: t.TempDir(), pipeline: t.TempDir()}
	put(t, filepath.Join(m.pipeline, "p.sql"), `
CREATE OR REFRESH STREAMING TABLE bronze AS SELECT text, _metadata.file_name AS file FROM STREAM read_files('in', schemaHints => 'text STRING');
CREATE OR REFRESH STREAMING TABLE silver AS SELECT text, file FROM STREAM(bronze);`)
	h := &habits{random: rand.New(rand.NewPCG(seed, 1)), dir: filepath.Join(m.watch, "in"), whole: map[string][][]string{}, gone: map[string]bool{}}
	require.NoError(t, os.MkdirAll(h.dir, 0o755))
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- h.produce(stop) }()
	for range kills {
		cmd := m.launch()
		<-time.After(time.Duration(random.Int64N(int64(longestLife))))
		require.NoError(t, cmd.Process.Kill())
		killed(t, cmd, "the server ended by itself")
	}
	close(stop)
	require.NoError(t, <-stopped)

	s := start(t, nil, m.args()...)
	var missing []string
	require.True(t, poll(startTimeout, func() bool {
		read := map[string]bool{}
		for _, row := range s.rows("SELECT DISTINCT file FROM silver") {
			read[row[0]] = true
		}
		missing = nil
		for name := range h.whole {
			if !read[name] && !h.gone[name] {
				missing = append(missing, name)
			}
		}
		return len(missing) == 0
	}), "never read: %v", missing)
	got := map[string][]string{}
	for _, row := range s.rows("SELECT file, text FROM bronze") {
		got[row[0]] = append(got[row[0]], row[1])
	}
	t.Logf("%d files, %d of them deleted, %d rows written, %d files in bronze", len(h.whole), len(h.gone), h.next, len(got))
	for name, rows := range got {
		slices.Sort(rows)
		require.True(t, slices.ContainsFunc(h.whole[name], func(want []string) bool {
			want = slices.Clone(want)
			slices.Sort(want)
			return slices.Equal(want, rows)
		}), "%s: %v is no content that was whole: %v", name, rows, h.whole[name])
	}
	require.Equal(t, s.rows("SELECT text FROM bronze ORDER BY text"), s.rows("SELECT text FROM silver ORDER BY text"))
	s.stop()
	(&edited{mortal: m}).proven()
}
