package remote

import (
	"context"
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Clock is the time, and how one waits for it.
type Clock interface {
	Now() time.Time
	// Sleep waits, or returns the context's error.
	Sleep(ctx context.Context, d time.Duration) error
}

type realClock struct{}

// Now implements Clock.
func (realClock) Now() time.Time { return time.Now() }

// Sleep implements Clock.
func (realClock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Pauses between the tries of a request: the first, doubled each time, and the longest. What the server asks for by
// Retry-After is waited for up to longestAsked; a text whose server wants more has no answer.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 30 * time.Second
	longestAsked = 5 * time.Minute
)

// pace is the limits of one model, and what they need to be kept.
type pace struct {
	limits   Limits
	slots    chan struct{} // one for each request under way
	requests *rate.Limiter // nil: any number
	tokens   *rate.Limiter
}

func newPace(l Limits) *pace {
	p := &pace{limits: l, slots: make(chan struct{}, l.Concurrency)}
	if l.RequestsPerMinute > 0 {
		p.requests = rate.NewLimiter(rate.Limit(float64(l.RequestsPerMinute)/60), 1) // evenly: servers count in windows of their own
	}
	if l.TokensPerMinute > 0 {
		p.tokens = rate.NewLimiter(rate.Limit(float64(l.TokensPerMinute)/60), max(1, l.TokensPerMinute/6)) // at most ten seconds of them at once
	}
	return p
}

// turn waits until a request of about so many tokens may begin; done must be called when it has ended.
func (c *Client) turn(ctx context.Context, p *pace, tokens int) (done func(), err error) {
	if err := c.wait(ctx, p.requests, 1); err != nil {
		return nil, err
	}
	if err := c.wait(ctx, p.tokens, tokens); err != nil {
		return nil, err
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		c.mu.Lock()
		d := c.pause.Sub(c.cfg.Clock.Now())
		c.mu.Unlock()
		if d <= 0 {
			return func() { <-p.slots }, nil
		}
		if err := c.cfg.Clock.Sleep(ctx, d); err != nil {
			<-p.slots
			return nil, err
		}
	}
}

func (c *Client) wait(ctx context.Context, l *rate.Limiter, n int) error {
	if l == nil {
		return nil
	}
	now := c.cfg.Clock.Now()
	r := l.ReserveN(now, min(max(n, 1), l.Burst()))
	if err := c.cfg.Clock.Sleep(ctx, r.DelayFrom(now)); err != nil {
		r.CancelAt(c.cfg.Clock.Now())
		return err
	}
	return nil
}

// hold keeps all requests back for as long as the server asks.
func (c *Client) hold(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := c.cfg.Clock.Now().Add(d); until.After(c.pause) {
		c.pause = until
	}
}

// backOff is the pause behind a try, counted from 0: between half and all of it by chance, so that those who failed together
// do not come back together.
func (c *Client) backOff(try int) time.Duration {
	d := min(float64(longestPause), float64(firstPause)*math.Pow(2, float64(try)))
	return time.Duration(d/2 + c.cfg.Jitter()*d/2)
}
