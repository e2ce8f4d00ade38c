package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs/killfs"
)

// changing is a pipeline of change events: their newest rows, and their history, which has two flows.
const changing = `
CREATE OR REFRESH STREAMING TABLE events AS SELECT * FROM STREAM read_files('in', format => 'json', maxFilesPerTrigger => 1,
  schemaHints => 'id BIGINT, city STRING, op STRING, n BIGINT');
CREATE OR REFRESH STREAMING TABLE more AS SELECT * FROM STREAM read_files('more', format => 'json', maxFilesPerTrigger => 1,
  schemaHints => 'id BIGINT, city STRING, op STRING, n BIGINT');
CREATE OR REFRESH STREAMING TABLE newest FLOW AUTO CDC FROM STREAM(events) KEYS (id) APPLY AS DELETE WHEN op = 'D' SEQUENCE BY n COLUMNS (id, city) STORED AS SCD TYPE 1;
CREATE OR REFRESH STREAMING TABLE history;
APPLY CHANGES INTO history FROM STREAM(events) KEYS (id) APPLY AS DELETE WHEN op = 'D' SEQUENCE BY n COLUMNS (id, city) STORED AS SCD TYPE 2;
APPLY CHANGES INTO history FROM STREAM(more) KEYS (id) APPLY AS DELETE WHEN op = 'D' SEQUENCE BY n COLUMNS (id, city) STORED AS SCD TYPE 2;
CREATE OR REFRESH MATERIALIZED VIEW cities AS SELECT city, COUNT(*) AS n FROM newest GROUP BY city;
`

// TestChangesSurviveACrashAtEachPoint kills the real program at each point of its commits, while events come late, doubled
// and out of order, and then compares the tables with what SQL makes of all events, and with smelt check.
func TestChangesSurviveACrashAtEachPoint(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, point := range []string{"data-half-written", "data-synced", "commit-half-written", "commit-synced", "commit-linked", "commit-named", "commit-acknowledged"} {
		t.Run(point, func(t *testing.T) {
			m := &mortal{t: t, watch: t.TempDir(), data: t.TempDir(), pipeline: t.TempDir()}
			put(t, filepath.Join(m.pipeline, "p.sql"), changing)
			rows := 0
			drop := func(files int) {
				for range files {
					var text strings.Builder
					for range 1 + r.IntN(5) {
						// All follows from n, so that an event with the same n is the same again.
						n, op := 1+r.IntN(500), "U"
						if n%4 == 0 {
							op = "D"
						}
						fmt.Fprintf(&text, "{\"id\": %d, \"city\": \"c%d\", \"op\": %q, \"n\": %d}\n", n%7, n%5, op, n)
						rows++
					}
					dir := "in"
					if m.files%4 == 3 {
						dir = "more"
					}
					m.files++
					path := filepath.Join(m.watch, dir, strconv.Itoa(m.files)+".json")
					require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
					put(t, path, text.String())
				}
			}
			drop(8)
			for range 3 {
				at := fmt.Sprintf("%s:%d", point, 1+r.IntN(14))
				dies(t, m.launch(killfs.Variable+"="+at), at)
				drop(6)
			}
			s := start(t, nil, m.args()...)
			s.eventually("SELECT (SELECT COUNT(*) FROM events) + (SELECT COUNT(*) FROM more)", int64(rows))
			s.eventually("SELECT COUNT(*) FROM smelt.streams WHERE state <> 'idle' OR lag_seconds > 0", 0)
			require.Equal(t, s.rows("SELECT id, city FROM (SELECT id, city, op, ROW_NUMBER() OVER (PARTITION BY id ORDER BY n DESC) AS place FROM events) x WHERE place = 1 AND op <> 'D' ORDER BY id"),
				s.rows("SELECT id, city FROM newest ORDER BY id"))
			// Each event that changes something begins a row, but for deletes and repeated values.
			all := "(SELECT DISTINCT id, city, op, n FROM (SELECT id, city, op, n FROM events UNION ALL SELECT id, city, op, n FROM more) e)"
			require.Equal(t, s.rows("SELECT id, city, n FROM (SELECT id, city, op, n, LAG(CONCAT(op, city)) OVER (PARTITION BY id ORDER BY n) AS was FROM "+all+" x) y "+
				"WHERE op = 'U' AND (was IS NULL OR was <> CONCAT(op, city)) ORDER BY id, n"), s.rows("SELECT id, city, __START_AT FROM history ORDER BY id, __START_AT"))
			s.stop()
			out, errs, code := command(t, "check", "--data", m.data)
			require.Zero(t, code, out+errs)
			require.Contains(t, out, "ok    live.newest: equals the replay of its source")
			require.Contains(t, out, "ok    live.history: equals the replay of its source")
		})
	}
}
