// Package remote asks models that are elsewhere: any server that speaks OpenAI's chat completions or embeddings. It owns
// what may be asked of whom (patterns of endpoints), how (time-outs, retries, rates, a bound of costs) and what an answer
// is. A text that has no answer has a *Fault and the others have theirs; every other error ends the call. Costs are in
// whatever currency the prices are in, durations are seconds where an option says so. Keys come from the environment and
// are in no error.
package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Errors that end a call: whatever the text, there would be no answer.
var (
	// ErrOption is wrapped by what is refused in the options of a model; its text says why.
	ErrOption = errors.New("read the options of a model elsewhere")
	// ErrNotAllowed is returned for an endpoint that the operator has not let in.
	ErrNotAllowed = errors.New("endpoint not allowed")
	// ErrSpent is returned when max_cost or max_requests is reached.
	ErrSpent = errors.New("the limit of what the model may be asked is reached")
	// ErrRefused is returned when the server takes no request at all: no key, a wrong one, no such model.
	ErrRefused = errors.New("refused by the server of the model")
)

// Fault is why one text has no answer.
type Fault struct {
	err    error
	down   bool // the server was not there, or had no time: all tries failed
	answer bool // there was an answer as it must be, and it is none for the model's purpose
	reject bool // the server refused this very request
}

// Error implements error.
func (f *Fault) Error() string { return f.err.Error() }

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.err }

func fault(format string, args ...any) *Fault { return &Fault{err: fmt.Errorf(format, args...)} }

// Config is what a client has of its surroundings; the zero value is the real world, and lets nobody in.
type Config struct {
	Allow  []string                   // patterns of endpoints, see CheckPattern
	Getenv func(name string) string   // nil: the environment
	Clock  Clock                      // nil: the time
	Jitter func() float64             // from 0 to 1, of pauses; nil: random
	Spent  Spending                   // before now
	Save   func(total Spending) error // keeps what was spent, durably; nil: nothing does
}

// Answer is what a model said of a text.
type Answer struct {
	Text  string   `json:"text"`            // the label, where the model has labels
	Score *float64 `json:"score,omitempty"` // its probability; nil where the server gives none
}

// Client asks one model. It is safe for concurrent use.
type Client struct {
	spec  Spec
	cfg   Config
	http  *http.Client
	meter meter
	pace  atomic.Pointer[pace]

	mu    sync.Mutex
	pause time.Time // no request begins before: the server has said so
}

// New returns a client; nothing is asked yet.
func New(s Spec, l Limits, c Config) *Client {
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	if c.Clock == nil {
		c.Clock = realClock{}
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	client := &Client{spec: s, cfg: c, http: newHTTP(), meter: meter{spent: c.Spent, kept: c.Spent, save: c.Save, changed: make(chan struct{})}}
	client.Limit(l)
	return client
}

// Limit sets how the model is asked from the next request on.
func (c *Client) Limit(l Limits) {
	if now := c.pace.Load(); now == nil || now.limits != l {
		c.pace.Store(newPace(l))
	}
}

// Spent returns what was spent so far, requests under way left out.
func (c *Client) Spent() Spending { return c.meter.total() }

// Close keeps exactly what was spent. No request may be under way.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return c.meter.close()
}

// Ready returns why the model cannot be asked as things are, without asking it.
func (c *Client) Ready() error {
	if err := allowed(c.cfg.Allow, c.spec.Endpoint); err != nil {
		return err
	}
	_, err := c.key(c.pace.Load().limits)
	return err
}

// Probe asks the model about one text and returns the length of the embedding, 0 where it gives none. An answer that is
// none of the labels will do: a text that was made up has no label.
func (c *Client) Probe(ctx context.Context) (dimension int, err error) {
	const text = "good"
	if c.spec.Kind == Encoder {
		err = c.Embed(ctx, []string{text}, 0, func(_ int, v []float32, f *Fault) {
			if dimension = len(v); f != nil {
				err = f
			}
		})
		return dimension, err
	}
	var failed *Fault
	err = c.Complete(ctx, []string{text}, func(_ int, _ Answer, f *Fault) { failed = f })
	if err == nil && failed != nil && !failed.answer {
		return 0, failed
	}
	return 0, err
}

// maxDown is how many texts in a row may find no server until the others of the call are not asked any more: each of them
// would wait through all its tries.
const maxDown = 10

// each runs f for 0 to n-1, as many at a time as the limits say. f returns the fault of its share of the texts; after any other
// error none is begun, and those under way end as they do: their answers are paid for.
func (c *Client) each(ctx context.Context, n int, f func(ctx context.Context, i int) error, skip func(i int, f *Fault)) error {
	var down atomic.Int64
	var ended atomic.Bool
	var group errgroup.Group
	group.SetLimit(c.pace.Load().limits.Concurrency)
	for i := range n {
		if ctx.Err() != nil || ended.Load() {
			break
		}
		group.Go(func() error {
			if ended.Load() {
				return nil
			}
			if d := down.Load(); d >= maxDown {
				skip(i, &Fault{err: fmt.Errorf("the server has given no answer %d times in a row, and was not asked any more", d), down: true})
				return nil
			}
			err := f(ctx, i)
			var failed *Fault
			switch {
			case err == nil:
				down.Store(0)
			case !errors.As(err, &failed):
				ended.Store(true)
				return err
			case failed.down:
				down.Add(1)
			default:
				down.Store(0)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
