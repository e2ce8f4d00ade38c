package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/models/remote/remotetest"
)

// fakeClock passes as soon as somebody sleeps.
type fakeClock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d > 0 {
		c.now = c.now.Add(d)
		c.slept = append(c.slept, d)
	}
	return ctx.Err()
}

// sleeps returns the pauses since the last call.
func (c *fakeClock) sleeps() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.slept
	c.slept = nil
	return all
}

type lab struct {
	*Client
	server *remotetest.Server
	clock  *fakeClock
}

// newLab is a client of a fake server; change may be nil.
func newLab(t *testing.T, change func(*Config), options ...string) *lab {
	t.Helper()
	l := &lab{server: remotetest.New(t), clock: &fakeClock{now: time.Unix(1e9, 0)}}
	all := map[string]string{"provider": "openai", "endpoint": l.server.Endpoint, "model": "m", "api_key_env": "TEST_API_KEY"}
	for i := 0; i < len(options); i += 2 {
		if all[options[i]] = options[i+1]; options[i+1] == "" {
			delete(all, options[i])
		}
	}
	c := Config{Allow: []string{"http://127.0.0.1:*"}, Getenv: environment, Clock: l.clock, Jitter: func() float64 { return 0 }}
	if change != nil {
		change(&c)
	}
	spec, limits, err := Parse(all, c.Getenv)
	require.NoError(t, err)
	l.Client = New(spec, limits, c)
	return l
}

func environment(name string) string {
	return map[string]string{"TEST_API_KEY": remotetest.Key, "OTHER_API_KEY": "of another", "EMPTY_API_KEY": " ", "BAD_API_KEY": "a\nb"}[name]
}

// said is what there is of each text: its label or its fault.
func (l *lab) said(t *testing.T, texts ...string) ([]string, error) {
	t.Helper()
	out := make([]string, len(texts))
	var mu sync.Mutex
	err := l.Complete(t.Context(), texts, func(i int, a Answer, f *Fault) {
		mu.Lock()
		defer mu.Unlock()
		if out[i] != "" {
			t.Errorf("text %d was told twice", i)
		}
		if out[i] = a.Text; f != nil {
			out[i] = "! " + f.Error()
		}
	})
	return out, err
}

func TestAnswersComeInTheOrderOfTheTextsAndTogetherAsAlone(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	l := newLab(t, nil, "labels", "positive,neutral,negative", "concurrency", "8")
	texts, want := make([]string, 200), make([]string, 200)
	for i := range texts {
		texts[i] = fmt.Sprintf("%s %d", []string{"love", "hate", "see"}[random.IntN(3)], i)
		want[i] = remotetest.Mood(texts[i])
	}
	got, err := l.said(t, texts...)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for text, n := range l.server.Texts() {
		require.Equal(t, 1, n, text)
	}
	require.LessOrEqual(t, l.server.Most(), 8)
	require.Equal(t, Spending{Requests: 200, InputTokens: 2000, OutputTokens: 200, Updated: l.clock.Now().UTC()}, l.Spent())
}

// patience is a time-out that only that misbehaviour meets which is about time.
func patience(misbehaviour string) string {
	if misbehaviour == "no answer in time" {
		return "1"
	}
	return "60"
}

// TestEveryMisbehaviourIsOfOneTextOnly has the server misbehave for some texts among others.
func TestEveryMisbehaviourIsOfOneTextOnly(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(remotetest.Misbehaviours)) {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, nil, "timeout_s", patience(name), "max_retries", "2")
			l.server.Want(remotetest.Key)
			bad := remotetest.Misbehaviours[name]
			l.server.Intercept(func(w http.ResponseWriter, r *http.Request, got remotetest.Request) bool {
				if strings.HasPrefix(got.Texts[0], "bad") {
					bad(w, r)
					return true
				}
				return false
			})
			got, err := l.said(t, "I love it", "bad 1", "I hate it", "bad 2", "well")
			require.NoError(t, err)
			t.Log(got[1])
			require.Equal(t, []string{"positive", "negative", "neutral"}, []string{got[0], got[2], got[4]})
			for _, i := range []int{1, 3} {
				require.True(t, strings.HasPrefix(got[i], "! "), got[i])
				require.NotContains(t, got[i], remotetest.Key)
				require.NotContains(t, got[i], remotetest.Key[1:])
			}
			tries := 1
			if slices.Contains(remotetest.Transient, name) {
				tries = 3
			}
			asked := l.server.Texts()
			require.Equal(t, tries, asked["bad 1"])
			require.Equal(t, 1, asked["well"])
			require.EqualValues(t, 3+2*tries, l.Spent().Requests)
		})
	}
}

func TestTriesComeAgainWithPausesAndEndWithAnAnswer(t *testing.T) {
	for _, name := range remotetest.Transient {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, nil, "timeout_s", patience(name))
			fails := 3
			var mu sync.Mutex
			l.server.Intercept(func(w http.ResponseWriter, r *http.Request, _ remotetest.Request) bool {
				mu.Lock()
				fails--
				bad := fails >= 0
				mu.Unlock()
				if bad {
					remotetest.Misbehaviours[name](w, r)
				}
				return bad
			})
			got, err := l.said(t, "love")
			require.NoError(t, err)
			require.Equal(t, []string{"positive"}, got)
			want := []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second} // half of the pause: no jitter
			if name == "overload" {
				want = []time.Duration{7 * time.Second, 7 * time.Second, 7 * time.Second} // Retry-After
			}
			require.Equal(t, want, l.clock.sleeps())
		})
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0.5": 500 * time.Millisecond, "-3": 0, "soon": 0, "NaN": 0, "1e300": 24 * time.Hour,
		"Fri, 01 May 2026 12:01:00 GMT": time.Minute, "Fri, 01 May 2026 11:00:00 GMT": 0, "Fri, 01 May 2036 11:00:00 GMT": 24 * time.Hour,
	} {
		require.Equal(t, want, retryAfter(http.Header{"Retry-After": {text}}, now), text)
	}
}

func TestAServerThatWantsALongPauseIsLeftAlone(t *testing.T) {
	l := newLab(t, nil)
	l.server.Intercept(func(w http.ResponseWriter, _ *http.Request, _ remotetest.Request) bool {
		w.Header().Set("Retry-After", "3600")
		remotetest.Refuse(w, http.StatusTooManyRequests, "busy", "")
		return true
	})
	got, err := l.said(t, "love")
	require.NoError(t, err)
	require.Equal(t, []string{"! no answer: status 429 (busy)"}, got)
	require.Len(t, l.server.Requests(), 1)
	require.Empty(t, l.clock.sleeps())
}

func TestAServerThatIsGoneIsNotAskedAboutEveryText(t *testing.T) {
	l := newLab(t, nil, "max_retries", "1", "concurrency", "2")
	l.server.Close()
	got, err := l.said(t, make([]string, 500)...)
	require.NoError(t, err)
	require.Contains(t, got[0], "connection refused")
	require.Contains(t, got[499], "was not asked any more")
	require.LessOrEqual(t, l.Spent().Requests, int64(2*(maxDown+2)))
}

func TestWhatIsWrongForEveryTextEndsTheCall(t *testing.T) {
	for name, c := range map[string]struct {
		options []string
		change  func(*Config)
		want    error
		text    string
	}{
		"a wrong key":     {options: []string{"api_key_env", "OTHER_API_KEY"}, want: ErrRefused, text: "does not accept the key in OTHER_API_KEY"},
		"no key":          {options: []string{"api_key_env", ""}, want: ErrRefused, text: "it wants a key"},
		"an unset key":    {options: []string{"api_key_env", "NO_API_KEY"}, want: ErrRefused, text: "has no usable NO_API_KEY"},
		"an empty key":    {options: []string{"api_key_env", "EMPTY_API_KEY"}, want: ErrRefused, text: "EMPTY_API_KEY"},
		"no key at all":   {options: []string{"api_key_env", "BAD_API_KEY"}, want: ErrRefused, text: "BAD_API_KEY"},
		"not let in":      {change: func(c *Config) { c.Allow = []string{"https://*"} }, want: ErrNotAllowed, text: "--allow-endpoint http://127.0.0.1:"},
		"nobody let in":   {change: func(c *Config) { c.Allow = nil }, want: ErrNotAllowed},
		"nothing is left": {options: []string{"max_requests", "1"}, want: ErrSpent, text: "max_requests = 1"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, c.change, c.options...)
			l.server.Want(remotetest.Key)
			_, err := l.said(t, "a", "b", "c")
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
			require.NotContains(t, err.Error(), remotetest.Key)
			require.NotContains(t, err.Error(), "of another")
			require.LessOrEqual(t, len(l.server.Requests()), 3)
		})
	}
	l := newLab(t, nil)
	l.server.Intercept(func(w http.ResponseWriter, _ *http.Request, _ remotetest.Request) bool {
		remotetest.Refuse(w, http.StatusTooManyRequests, "insufficient_quota", "")
		return true
	})
	_, err := l.said(t, "a")
	require.ErrorIs(t, err, ErrRefused)
	l = newLab(t, nil)
	l.spec.Endpoint += "/elsewhere"
	_, err = l.said(t, "a")
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "status 404 (model_not_found): check endpoint")
}

func TestACallThatIsCancelledStopsAtOnceAndTellsWhatItHas(t *testing.T) {
	l := newLab(t, nil, "concurrency", "4")
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := make(chan struct{}, 10)
	var mu sync.Mutex
	told := 0
	l.server.Intercept(func(w http.ResponseWriter, r *http.Request, got remotetest.Request) bool {
		if got.Texts[0] == "first" {
			return false
		}
		mu.Lock()
		ready := told == 1
		mu.Unlock()
		if ready {
			cancel(errors.New("KILL"))
		}
		<-r.Context().Done()
		gone <- struct{}{}
		return true
	})
	first := make(chan struct{})
	err := l.Complete(ctx, []string{"first"}, func(int, Answer, *Fault) { close(first) })
	require.NoError(t, err)
	<-first
	mu.Lock()
	told = 1
	mu.Unlock()
	err = l.Complete(ctx, []string{"a", "b", "c", "d", "e", "f"}, func(i int, _ Answer, f *Fault) { t.Errorf("text %d was told %v", i, f) })
	require.ErrorIs(t, err, context.Canceled)
	<-gone // the server sees it
	require.LessOrEqual(t, len(l.server.Requests()), 5)
	require.Empty(t, l.clock.sleeps())
}

func TestRatesAreKept(t *testing.T) {
	l := newLab(t, nil, "requests_per_minute", "120", "concurrency", "1")
	began := l.clock.Now()
	_, err := l.said(t, make([]string, 21)...)
	require.NoError(t, err)
	require.InDelta(t, 10, l.clock.Now().Sub(began).Seconds(), 0.01, "twenty pauses of half a second")

	l = newLab(t, nil, "tokens_per_minute", "6000", "max_output_tokens", "50", "prompt", strings.Repeat("a", 200), "concurrency", "1")
	began = l.clock.Now()
	_, err = l.said(t, make([]string, 100)...)
	require.NoError(t, err)
	seconds := l.clock.Now().Sub(began).Seconds()
	require.Greater(t, seconds, 100*100.0/100-15, "about 130 tokens each, 100 a second")
	require.Less(t, seconds, 200.0)
}

func TestTheCostIsBoundAndKeptAcrossAStart(t *testing.T) {
	var kept []Spending
	change := func(c *Config) {
		c.Save = func(s Spending) error { kept = append(kept, s); return nil }
		if len(kept) > 0 {
			c.Spent = kept[len(kept)-1]
		}
	}
	// 10 tokens in at 1 and one out at 10, for a million: 0.00002 a request, which may cost 0.0006 before it is known.
	options := []string{"price_per_million_input_tokens", "1", "price_per_million_output_tokens", "10", "max_output_tokens", "50", "max_cost", "0.001", "concurrency", "8"}
	l := newLab(t, change, options...)
	texts := make([]string, 100)
	got, err := l.said(t, texts...)
	require.ErrorIs(t, err, ErrSpent)
	require.ErrorContains(t, err, "max_cost = 0.001")
	spent := l.Spent()
	require.Greater(t, spent.Requests, int64(15), "requests side by side wait for one another's costs")
	answered := slices.DeleteFunc(got, func(a string) bool { return a == "" })
	require.Len(t, answered, int(spent.Requests), "what is paid for is told")
	require.LessOrEqual(t, spent.Cost, 0.001)
	require.InDelta(t, float64(spent.Requests)*0.00002, spent.Cost, 1e-12)
	for _, k := range kept {
		require.LessOrEqual(t, k.Cost, 0.001)
	}
	// A crash: the disk says no less than what was spent.
	require.GreaterOrEqual(t, kept[len(kept)-1].Cost, spent.Cost)
	require.GreaterOrEqual(t, kept[len(kept)-1].Requests, spent.Requests)
	require.NoError(t, l.Close())
	require.Equal(t, spent, kept[len(kept)-1], "an orderly end writes down exactly that")
	l.server.Requests()

	l = newLab(t, change, options...)
	_, err = l.said(t, "love")
	require.ErrorIs(t, err, ErrSpent)
	require.Empty(t, l.server.Requests(), "nothing is asked beyond it")
	limits := l.pace.Load().limits
	limits.MaxCost = 0.01
	l.Limit(limits)
	_, err = l.said(t, "love")
	require.NoError(t, err)
	require.Equal(t, spent.Requests+1, l.Spent().Requests)
}

func TestARequestThatMayHaveCostIsCountedInFull(t *testing.T) {
	for name, counted := range map[string]bool{"no answer in time": true, "half an answer": true, "a reset connection": true, "no JSON": true, "a huge answer": true, "overload": false, "a refusal": false} {
		l := newLab(t, nil, "timeout_s", patience(name), "max_retries", "0", "max_output_tokens", "30")
		l.server.Intercept(func(w http.ResponseWriter, r *http.Request, _ remotetest.Request) bool {
			remotetest.Misbehaviours[name](w, r)
			return true
		})
		got, err := l.said(t, "love")
		require.NoError(t, err)
		require.Contains(t, got[0], "! ")
		require.Equal(t, counted, l.Spent().OutputTokens == 30, name)
		require.Equal(t, counted, l.Spent().InputTokens > 50, name)
	}
}

func TestWhatCannotBeWrittenDownIsNotSpent(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Save = func(Spending) error { return errors.New("the disk is full") } })
	_, err := l.said(t, "love")
	require.ErrorContains(t, err, "the disk is full")
	require.Empty(t, l.server.Requests())
}

func TestPromptsLabelsAndProbabilities(t *testing.T) {
	l := newLab(t, nil, "labels", `["Positive", "Negative"]`, "logprobs", "true", "parameters", `{"seed": 7}`)
	l.server.Answer(func(text string) string { return text })
	for answer, want := range map[string]string{"positive": "Positive", " **Negative.** ": "Negative", "\"POSITIVE\"\n": "Positive", "both": "!", "positive negative": "!", "": "!"} {
		got, err := l.said(t, answer)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(got[0], want), "%q: %s", answer, got[0])
	}
	require.NoError(t, l.Complete(t.Context(), []string{"positive"}, func(_ int, a Answer, f *Fault) { require.InDelta(t, 0.5, *a.Score, 1e-9) }))
	body := l.server.Requests()[0].Body
	require.EqualValues(t, 7, body["seed"])
	require.EqualValues(t, 0, body["temperature"])
	require.EqualValues(t, labelTokens, body["max_tokens"])
	require.Contains(t, body["messages"].([]any)[0].(map[string]any)["content"], "Positive, Negative")

	l = newLab(t, nil, "prompt", "Of {labels}, what is <{text}>?", "temperature", "default", "parameters", `{"max_completion_tokens": 9}`, "labels", "a,b")
	_, err := l.said(t, "{labels} and {text}")
	require.NoError(t, err)
	body = l.server.Requests()[0].Body
	require.Equal(t, []any{map[string]any{"role": "user", "content": "Of a, b, what is <{labels} and {text}>?"}}, body["messages"])
	require.NotContains(t, body, "temperature")
	require.NotContains(t, body, "max_tokens")
	require.Equal(t, 9, l.spec.MaxOutput)

	l = newLab(t, nil)
	l.server.Intercept(func(w http.ResponseWriter, _ *http.Request, _ remotetest.Request) bool {
		fmt.Fprint(w, `{"choices":[{"finish_reason":"length","message":{"content":"once upon a"}}]}`)
		return true
	})
	got, err := l.said(t, "tell")
	require.NoError(t, err)
	require.Equal(t, []string{"! the answer was cut at max_output_tokens = 1024"}, got)
	got, err = l.said(t, strings.Repeat("a", maxTextBytes+1))
	require.NoError(t, err)
	require.Contains(t, got[0], "at most 524288 are sent")
}

func (l *lab) vectors(t *testing.T, dimension int, texts ...string) ([][]float32, []string) {
	t.Helper()
	out, faults := make([][]float32, len(texts)), make([]string, len(texts))
	var mu sync.Mutex
	require.NoError(t, l.Embed(t.Context(), texts, dimension, func(i int, v []float32, f *Fault) {
		mu.Lock()
		defer mu.Unlock()
		if out[i] = v; f != nil {
			faults[i] = f.Error()
		}
	}))
	return out, faults
}

func TestEmbeddingsComeInBatches(t *testing.T) {
	l := newLab(t, nil, "kind", "encoder", "batch_size", "16")
	dimension, err := l.Probe(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4, dimension)
	l.server.Requests()
	texts := make([]string, 100)
	for i := range texts {
		texts[i] = strings.Repeat("ab", i)
	}
	got, faults := l.vectors(t, dimension, texts...)
	for i, v := range got {
		require.Empty(t, faults[i])
		for k, x := range remotetest.Vector(texts[i]) {
			require.Equal(t, float32(x), v[k])
		}
	}
	require.Len(t, l.server.Requests(), 7)

	// A text that the server refuses has no vector, and its neighbours have theirs.
	l.server.Intercept(func(w http.ResponseWriter, _ *http.Request, got remotetest.Request) bool {
		if bad := slices.Contains(got.Texts, texts[50]); bad {
			remotetest.Refuse(w, http.StatusBadRequest, "too_long", "")
			return true
		}
		return false
	})
	again, faults := l.vectors(t, dimension, texts...)
	for i := range texts {
		require.Equal(t, i != 50, faults[i] == "", faults[i])
		if i != 50 {
			require.Equal(t, got[i], again[i])
		}
	}
	require.Len(t, l.server.Requests(), 7+2*4, "its batch of 16 is halved four times")
}

func TestEmbeddingsThatAreNoneAreFaults(t *testing.T) {
	answers := map[string]string{
		"one for two":    `{"data":[{"index":0,"embedding":[1,2,3,4]}]}`,
		"three for two":  `{"data":[{"index":0,"embedding":[1,2,3,4]},{"index":1,"embedding":[1,2,3,4]},{"index":2,"embedding":[1,2,3,4]}]}`,
		"the same twice": `{"data":[{"index":0,"embedding":[1,2,3,4]},{"index":0,"embedding":[1,2,3,4]}]}`,
		"out of range":   `{"data":[{"index":0,"embedding":[1,2,3,4]},{"index":9,"embedding":[1,2,3,4]}]}`,
		"negative":       `{"data":[{"index":0,"embedding":[1,2,3,4]},{"index":-1,"embedding":[1,2,3,4]}]}`,
		"shorter":        `{"data":[{"index":0,"embedding":[1,2,3,4]},{"index":1,"embedding":[1,2,3]}]}`,
		"empty":          `{"data":[{"index":0,"embedding":[]},{"index":1,"embedding":[]}]}`,
		"too large":      `{"data":[{"index":0,"embedding":[1,2,3,1e300]},{"index":1,"embedding":[1,2,3,4]}]}`,
		"texts":          `{"data":[{"index":0,"embedding":"AACAPw=="},{"index":1,"embedding":"AACAPw=="}]}`,
		"HTML":           `<html>`,
	}
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		l := newLab(t, nil, "kind", "encoder")
		l.server.Intercept(func(w http.ResponseWriter, _ *http.Request, _ remotetest.Request) bool {
			fmt.Fprint(w, answers[name])
			return true
		})
		got, faults := l.vectors(t, 4, "a", "b")
		require.Equal(t, [][]float32{nil, nil}, got, name)
		require.NotEmpty(t, faults[0], name)
		require.Len(t, l.server.Requests(), 1, name)
	}
}
