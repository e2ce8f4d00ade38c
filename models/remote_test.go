package models

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/models/remote"
	"smelt/models/remote/remotetest"
)

// elsewhere is a registry and a server that it may ask.
type elsewhere struct {
	*Registry
	server *remotetest.Server
	disk   *memoryDisk
	ledger *memoryLedger
}

func newElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	e := &elsewhere{server: remotetest.New(t), disk: newDisk(), ledger: &memoryLedger{outputs: map[string]string{}}}
	e.server.Want(remotetest.Key)
	e.open(t, "http://127.0.0.1:*")
	return e
}

// open starts the registry anew; nobody is let in without a pattern.
func (e *elsewhere) open(t *testing.T, allow ...string) {
	t.Helper()
	if e.Registry != nil {
		require.NoError(t, e.Close())
	}
	r, err := Open(Config{Disk: e.disk, Ledger: e.ledger, Remote: remote.Config{Allow: allow, Getenv: func(name string) string {
		return map[string]string{"TEST_API_KEY": remotetest.Key, "WRONG_API_KEY": "sk-wrong"}[name]
	}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	e.Registry = r
}

// options are those of a model of the server, with changes.
func (e *elsewhere) options(pairs ...string) map[string]string {
	o := map[string]string{"provider": "openai", "endpoint": e.server.Endpoint, "model": "m", "api_key_env": "TEST_API_KEY", "labels": "positive,neutral,negative"}
	for i := 0; i < len(pairs); i += 2 {
		if o[pairs[i]] = pairs[i+1]; pairs[i+1] == "" {
			delete(o, pairs[i])
		}
	}
	return o
}

func (e *elsewhere) create(t *testing.T, name string, pairs ...string) {
	t.Helper()
	changed, err := e.Create(t.Context(), name, "root", "", e.options(pairs...), true, false)
	require.NoError(t, err)
	require.True(t, changed)
}

// labels asks and returns what there is of each text, and the news.
func (e *elsewhere) labels(t *testing.T, name string, texts ...string) (out []string, news Usage) {
	t.Helper()
	var mu sync.Mutex
	ctx := WithUsage(t.Context(), false, func(u Usage) {
		mu.Lock()
		defer mu.Unlock()
		news.Scored, news.Known, news.Failed = news.Scored+u.Scored, news.Known+u.Known, news.Failed+u.Failed
		if u.Fault != nil {
			news.Fault = u.Fault
		}
	})
	found, err := e.Classify(ctx, name, texts)
	require.NoError(t, err)
	for _, c := range found {
		label := c.Label
		if c.Failed {
			label = "!"
		}
		out = append(out, label)
	}
	return out, news
}

func TestAModelElsewhereIsAskedOnceAboutEachText(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	e := newElsewhere(t)
	e.create(t, "mood")
	require.Len(t, e.server.Requests(), 1, "a first request, about a text of our own")
	var texts []string
	for i := range 100 {
		texts = append(texts, fmt.Sprintf("%s %d", []string{"love", "hate", "see"}[random.IntN(3)], i))
	}
	// Several at a time, each a part of the texts in another order.
	var wait sync.WaitGroup
	for range 5 {
		part := slices.Clone(texts)
		random.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		part = part[:60]
		wait.Go(func() {
			got, _ := e.labels(t, "mood", part...)
			for i := range part {
				if got[i] != remotetest.Mood(part[i]) {
					t.Errorf("%s is %s", part[i], got[i])
				}
			}
		})
	}
	wait.Wait()
	_, news := e.labels(t, "mood", texts...)
	require.Equal(t, 100, news.Scored+news.Known)
	asked := e.server.Texts()
	require.Len(t, asked, 100)
	for text, n := range asked {
		require.Equal(t, 1, n, text)
	}
	// Whoever only looks up asks nobody.
	_, err := e.Classify(WithUsage(t.Context(), true, func(Usage) {}), "mood", []string{texts[0], "new"})
	require.NoError(t, err)
	e.cfg.Ledger = nil
	_, err = e.Classify(WithUsage(t.Context(), true, func(Usage) {}), "mood", []string{texts[0], "new"})
	require.NoError(t, err)
	require.Empty(t, e.server.Requests())
	// A start without a network: what is known needs none, and what is not is refused.
	e.open(t)
	got, news := e.labels(t, "models:/mood/1", texts...)
	require.Equal(t, Usage{Known: 100}, news)
	require.Equal(t, remotetest.Mood(texts[7]), got[7])
	_, err = e.Classify(t.Context(), "mood", []string{"new"})
	require.ErrorIs(t, err, remote.ErrNotAllowed)
	require.ErrorIs(t, e.SetAlias(t.Context(), "mood", "root", "production", 1, nil), remote.ErrNotAllowed)
	require.Empty(t, e.server.Requests())
}

func TestATextWithoutAnAnswerIsAskedAboutAgain(t *testing.T) {
	e := newElsewhere(t)
	e.create(t, "mood", "max_retries", "0")
	e.server.Intercept(func(w http.ResponseWriter, r *http.Request, got remotetest.Request) bool {
		if got.Texts[0] == "bad" {
			remotetest.Misbehaviours["a page of HTML"](w, r)
			return true
		}
		return false
	})
	e.server.Requests()
	got, news := e.labels(t, "mood", "love", "bad", "hate")
	require.Equal(t, []string{"positive", "!", "negative"}, got)
	require.Equal(t, 1, news.Failed)
	require.ErrorContains(t, news.Fault, "HTML")
	e.server.Intercept(nil)
	got, news = e.labels(t, "mood", "love", "bad", "hate")
	require.Equal(t, []string{"positive", "neutral", "negative"}, got)
	require.Equal(t, Usage{Scored: 1, Known: 2}, news)
	require.Equal(t, map[string]int{"love": 1, "bad": 2, "hate": 1}, e.server.Texts())

	// With on_error = 'error' the call fails, and what was answered is kept all the same.
	e.server.Answer(func(text string) string { return text })
	changed, err := e.AddVersion(t.Context(), "mood", "root", "", e.options("on_error", "error"))
	require.NoError(t, err)
	require.True(t, changed, "another version, though it says the same")
	_, err = e.Classify(t.Context(), "mood", []string{"positive", "who knows"})
	require.ErrorContains(t, err, "no answer for 1 texts, and on_error is 'error'; the first: the answer is none of the labels")
	_, news = e.labels(t, "mood", "positive", "love")
	require.Equal(t, Usage{Known: 2}, news)
	require.Len(t, e.Catalog()[slices.IndexFunc(e.Catalog(), func(m Model) bool { return m.Name == "mood" })].Versions, 2)
}

func TestACallThatIsStoppedKeepsWhatWasPaidFor(t *testing.T) {
	e := newElsewhere(t)
	e.create(t, "mood", "concurrency", "1")
	ctx, cancel := context.WithCancel(t.Context())
	e.server.Intercept(func(_ http.ResponseWriter, r *http.Request, got remotetest.Request) bool {
		if got.Texts[0] != "c" {
			return false
		}
		cancel()
		<-r.Context().Done()
		return true
	})
	_, err := e.Classify(ctx, "mood", []string{"a", "b", "c", "d"})
	require.ErrorIs(t, err, context.Canceled)
	e.server.Intercept(nil)
	_, news := e.labels(t, "mood", "a", "b", "c", "d")
	require.Equal(t, Usage{Scored: 2, Known: 2}, news)
}

func TestTheDigestIsWhatAnAnswerDependsOn(t *testing.T) {
	e := newElsewhere(t)
	digest := func(pairs ...string) string {
		e.create(t, "mood", pairs...)
		info, err := e.Resolve("mood")
		require.NoError(t, err)
		return info.Digest
	}
	first := digest()
	for _, pairs := range [][]string{{"model", "n"}, {"prompt", "Of {labels}?"}, {"labels", "a,b"}, {"temperature", "1"}, {"max_output_tokens", "7"}, {"parameters", `{"seed":1}`}, {"logprobs", "true"}} {
		require.NotEqual(t, first, digest(pairs...), pairs)
		require.Equal(t, first, digest(), "back")
	}
	for _, pairs := range [][]string{{"timeout_s", "7"}, {"concurrency", "2"}, {"max_requests", "100"}, {"requests_per_minute", "100000"}, {"max_retries", "1"}, {"on_error", "error"}} {
		require.Equal(t, first, digest(pairs...), pairs)
	}
}

func TestLimitsOfANewVersionAreThoseOfItsDigest(t *testing.T) {
	e := newElsewhere(t)
	e.create(t, "mood", "max_requests", "3")
	_, _ = e.labels(t, "mood", "a", "b")
	_, err := e.Classify(t.Context(), "mood", []string{"c"})
	require.ErrorIs(t, err, remote.ErrSpent)
	// Across a start, orderly or not.
	crashed := maps.Clone(e.disk.files)
	e.open(t, "http://127.0.0.1:*")
	_, err = e.Classify(t.Context(), "mood", []string{"c"})
	require.ErrorIs(t, err, remote.ErrSpent)
	e.disk = &memoryDisk{files: crashed, writes: -1}
	e.open(t, "http://127.0.0.1:*")
	_, err = e.Classify(t.Context(), "mood", []string{"c"})
	require.ErrorIs(t, err, remote.ErrSpent)

	requests := len(e.server.Requests())
	e.create(t, "mood", "max_requests", "100")
	require.Empty(t, e.server.Requests(), "it is known to run")
	got, _ := e.labels(t, "models:/mood/1", "love it")
	require.Equal(t, []string{"positive"}, got)
	var total remote.Spending
	for _, s := range e.Spending() {
		total = s
	}
	require.EqualValues(t, requests+1, total.Requests)

	// A damaged file would mean no limit.
	require.NoError(t, e.Close())
	e.disk.files[spendingFile] = []byte("{")
	_, err = Open(Config{Disk: e.disk})
	require.ErrorContains(t, err, spendingFile)
	delete(e.disk.files, spendingFile)
}

func TestEncodersElsewhere(t *testing.T) {
	e := newElsewhere(t)
	e.create(t, "vectors", "labels", "", "kind", "encoder", "batch_size", "3")
	info, err := e.Resolve("vectors")
	require.NoError(t, err)
	require.Equal(t, 4, info.Dimension)
	e.server.Requests()
	texts := []string{"", "good", "better", "best", "of all", "日本"}
	got, err := e.Embed(t.Context(), "vectors", texts)
	require.NoError(t, err)
	require.Len(t, e.server.Requests(), 2)
	for i, v := range got {
		want := make([]float32, 4)
		for k, x := range remotetest.Vector(texts[i]) {
			want[k] = float32(x)
		}
		require.Equal(t, normalized(want), v)
	}
	again, err := e.Embed(t.Context(), "vectors", texts)
	require.NoError(t, err)
	require.Equal(t, got, again)
	words, err := e.Keywords(t.Context(), "vectors", []string{"good better best"}, KeywordOptions{TopN: 2})
	require.NoError(t, err)
	require.Len(t, words[0], 2)

	e.server.Intercept(func(w http.ResponseWriter, _ *http.Request, got remotetest.Request) bool {
		if slices.Contains(got.Texts, "bad") {
			remotetest.Refuse(w, http.StatusBadRequest, "too_long", "")
			return true
		}
		return false
	})
	got, err = e.Embed(t.Context(), "vectors", []string{"nice", "bad", "nicer"})
	require.NoError(t, err)
	require.Equal(t, []bool{false, true, false}, []bool{got[0] == nil, got[1] == nil, got[2] == nil})
	require.False(t, e.Steady("vectors"))
	require.True(t, e.Steady("sentiment"))
}

func TestWhatIsElsewhereIsRefusedWithItsReason(t *testing.T) {
	e := newElsewhere(t)
	for text, pairs := range map[string][]string{
		"does not accept the key in": {"api_key_env", "WRONG_API_KEY"},
		"it wants a key":             {"api_key_env", ""},
		"under none of --allow":      {"endpoint", "http://localhost:1/v1"},
		"status 404":                 {"endpoint", e.server.Endpoint + "/x"},
		"environment only":           {"api_key", "abc"},
		"has no option \"source\"":   {"source", "hf:org/name"},
	} {
		_, err := e.Create(t.Context(), "mood", "root", "", e.options(pairs...), false, false)
		require.ErrorIs(t, err, ErrInvalid, text)
		require.ErrorContains(t, err, text)
		require.NotContains(t, err.Error(), "sk-wrong")
	}
	require.Empty(t, e.History())
	e.create(t, "mood")
	for name, data := range e.disk.files {
		require.False(t, strings.Contains(string(data), remotetest.Key), name)
	}
	_, err := e.Embed(t.Context(), "mood", []string{"a"})
	require.ErrorIs(t, err, ErrWrongKind)
}
