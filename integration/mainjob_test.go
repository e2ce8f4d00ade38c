package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	airlineRows  = 14640
	rowsPerFile  = 10
	airlineFiles = airlineRows / rowsPerFile
	kills        = 20
	// killRate spreads the replay over about as long as the kills last, so that each of them can hit a batch.
	killRate = 900
)

// expected is what the pipeline must make of the file, counted here by other means than its own.
type expected struct {
	rows     int64
	mentions map[string]int64 // texts that mention each name
	total    int64            // sum of mentions
}

// count reads the file with encoding/json and finds mentions by a hand-written scan: an @ that follows no letter,
// digit or underscore, then a run of ASCII letters, digits and underscores; a name counts once in a text.
func count(t *testing.T, path string) expected {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	e := expected{mentions: map[string]int64{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var tweet struct{ Text string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &tweet))
		e.rows++
		for _, name := range mentionsOf(tweet.Text) {
			e.mentions[name]++
			e.total++
		}
	}
	require.NoError(t, lines.Err())
	return e
}

func mentionsOf(text string) []string {
	var names []string
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		if runes[i] != '@' && runes[i] != '＠' || i > 0 && wordRune(runes[i-1]) {
			continue
		}
		end := i + 1
		for end < len(runes) && runes[end] < 128 && wordRune(runes[end]) {
			end++
		}
		if name := string(runes[i+1 : end]); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func TestTheMainJobOnRealTweets(t *testing.T) {
	file := sharedData(t, "dscc/airline.jsonl")
	env := needLibrary(t)
	want := count(t, file)
	require.EqualValues(t, airlineRows, want.rows)
	watch, data := t.TempDir(), t.TempDir()
	s := start(t, env, "--data", data, "--watch", watch, "--pipeline", pipeline("sentiment"))
	out, errs, code := command(t, "replay", file, "--into", filepath.Join(watch, "tweets"), "--rows", strconv.Itoa(rowsPerFile))
	require.Zero(t, code, errs)
	require.Contains(t, out, fmt.Sprintf("%d rows in %d files", airlineRows, airlineFiles))
	checkAirline(s, want)
}

func TestKillNineTwentyTimesLosesAndDoublesNothing(t *testing.T) {
	file := sharedData(t, "dscc/airline.jsonl")
	env := needLibrary(t)
	if testing.Short() {
		t.Skip("skipped: twenty restarts take too long for -short")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	want := count(t, file)
	watch, data := t.TempDir(), t.TempDir()
	replay := exec.Command(binary, "replay", file, "--into", filepath.Join(watch, "tweets"),
		"--rows", strconv.Itoa(rowsPerFile), "--rate", strconv.Itoa(killRate))
	require.NoError(t, replay.Start())
	for range kills {
		s := start(t, env, "--data", data, "--watch", watch, "--pipeline", pipeline("sentiment"))
		delay := time.NewTimer(time.Duration(random.IntN(700)) * time.Millisecond)
		<-delay.C
		s.kill()
	}
	s := start(t, env, "--data", data, "--watch", watch, "--pipeline", pipeline("sentiment"))
	require.NoError(t, replay.Wait())
	checkAirline(s, want)
	s.stop()
	for _, e := range env {
		k, v, _ := cut(e)
		t.Setenv(k, v)
	}
	out, errs, code := command(t, "check", "--data", data)
	require.Zero(t, code, out+errs)
	require.Contains(t, out, fmt.Sprintf("ok    live.bronze: read the %d rows of the %d files in its ledger", airlineRows, airlineFiles))
	require.Contains(t, out, "ok    live.app: equals its SELECT")
}

// checkAirline waits until everything has arrived and compares all four tables with what they must be.
func checkAirline(s *server, want expected) {
	t := s.t
	t.Helper()
	s.eventually("SELECT COUNT(*) FROM bronze", want.rows)
	s.eventually("SELECT COUNT(*) FROM silver", want.total)
	s.eventually("SELECT COUNT(*) FROM gold", want.total)
	s.eventually("SELECT COALESCE(SUM(total), 0) FROM app", want.total)

	require.Equal(t, [][]string{{strconv.Itoa(airlineFiles)}}, s.rows("SELECT COUNT(DISTINCT source_file) FROM bronze"))
	got := map[string]int64{}
	for _, r := range s.rows("SELECT mention, COUNT(*) FROM silver GROUP BY mention") {
		n, err := strconv.ParseInt(r[1], 10, 64)
		require.NoError(t, err)
		got[r[0]] = n
	}
	require.Equal(t, want.mentions, got, "texts per mention")
	none, err := s.number("SELECT COUNT(*) FROM gold WHERE predicted_sentiment IS NULL OR predicted_score IS NULL")
	require.NoError(t, err)
	require.Zero(t, none, "gold rows without a prediction")

	byHand := "SELECT mention, MIN(`timestamp`), MAX(`timestamp`), SUM(predicted_sentiment = 'negative'), SUM(predicted_sentiment = 'neutral')," +
		" SUM(predicted_sentiment = 'positive'), COUNT(*) FROM gold GROUP BY mention ORDER BY mention"
	require.Equal(t, s.rows(byHand), s.rows("SELECT mention, min_timestamp, max_timestamp, negative, neutral, positive, total FROM app ORDER BY mention"))

	batches, err := s.number("SELECT COUNT(*) FROM smelt.progress WHERE `table` = 'gold'")
	require.NoError(t, err)
	require.Positive(t, batches, "smelt.progress shows the batches of gold")
	in, err := s.number("SELECT SUM(rows_out) FROM smelt.progress WHERE `table` = 'bronze'")
	require.NoError(t, err)
	require.Equal(t, want.rows, in, "smelt.progress accounts for every bronze row")
}

func TestRunProcessesAPipelineOnceWithAProgressBar(t *testing.T) {
	file := sharedData(t, "dscc/airline.jsonl")
	env := needLibrary(t)
	for _, e := range env {
		k, v, _ := cut(e)
		t.Setenv(k, v)
	}
	want := count(t, file)
	watch, data := t.TempDir(), t.TempDir()
	_, errs, code := command(t, "replay", file, "--into", filepath.Join(watch, "tweets"))
	require.Zero(t, code, errs)
	_, errs, code = command(t, "run", pipeline("sentiment"), "--data", data, "--watch", watch)
	require.Zero(t, code, errs)
	require.Contains(t, errs, "100%", "the progress bar ends full")
	s := start(t, env, "--data", data)
	checkAirline(s, want)
}
