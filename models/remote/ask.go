package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Limits of a conversation.
const (
	connectTimeout = 10 * time.Second
	idleTimeout    = 90 * time.Second
	maxRedirects   = 3
	maxErrorBytes  = 64 << 10 // of an answer that is a refusal
)

// newHTTP returns a client that follows a redirect only to the same server, and only where the request stays what it is.
func newHTTP() *http.Client {
	dialer := &net.Dialer{Timeout: connectTimeout}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: connectTimeout,
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: maxConcurrency, IdleConnTimeout: idleTimeout}
	return &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, before []*http.Request) error {
		first := before[0]
		if next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host || next.Method != first.Method || len(before) > maxRedirects {
			return errRedirected
		}
		return nil
	}}
}

var errRedirected = errors.New("it redirects to another server, or too often, which is not followed")

// trial is a try that failed.
type trial struct {
	err   error // a *Fault, or what ends the call
	again bool  // another try may do better
	after time.Duration
	open  bool // nobody knows whether the server has worked for it
}

// ask posts a body until there is an answer or no try is left. output is how many tokens the answer may have at most, limit how
// many bytes.
func (c *Client) ask(ctx context.Context, path string, body []byte, output int, limit int64) ([]byte, error) {
	if err := allowed(c.cfg.Allow, c.spec.Endpoint); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		p := c.pace.Load()
		key, err := c.key(p.limits)
		if err != nil {
			return nil, err
		}
		data, failed, err := c.try(ctx, p, path, key, body, output, limit)
		if failed == nil || err != nil {
			return data, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !failed.again || try >= p.limits.MaxRetries || failed.after > longestAsked {
			return nil, failed.err
		}
		if failed.after > 0 {
			c.hold(failed.after)
		}
		if err := c.cfg.Clock.Sleep(ctx, max(failed.after, c.backOff(try))); err != nil {
			return nil, err
		}
	}
}

// try is one request, counted.
func (c *Client) try(ctx context.Context, p *pace, path, key string, body []byte, output int, limit int64) ([]byte, *trial, error) {
	const bytesPerToken = 4 // roughly, for the rate; a token has at least one byte, for the costs
	done, err := c.turn(ctx, p, len(body)/bytesPerToken+output)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	worst := p.limits.price(Spending{Requests: 1, InputTokens: int64(len(body)), OutputTokens: int64(output)})
	if err := c.meter.take(ctx, p.limits, worst); err != nil {
		return nil, nil, err
	}
	real := Spending{Requests: 1, Failed: 1}
	defer func() {
		real.Updated = c.cfg.Clock.Now().UTC()
		c.meter.settle(worst, p.limits.price(real))
	}()
	data, failed := c.send(ctx, p.limits, path, key, body, limit)
	switch {
	case failed == nil:
		real = usageOf(data, worst)
	case failed.open:
		real.InputTokens, real.OutputTokens = worst.InputTokens, worst.OutputTokens
	}
	return data, failed, nil
}

// send is one exchange over the network.
func (c *Client) send(ctx context.Context, l Limits, path, key string, body []byte, limit int64) ([]byte, *trial) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.Timeout, errSlow)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.spec.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, &trial{err: fmt.Errorf("%w: the endpoint is no address", ErrRefused)}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "smelt")
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unanswered(ctx, l, err, key)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, c.refusal(response, l, key)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, c.unanswered(ctx, l, err, key)
	case int64(len(data)) > limit:
		return nil, &trial{err: fault("the answer has more than %d bytes", limit), open: true}
	case key != "" && bytes.Contains(data, []byte(key)):
		return nil, &trial{err: fault("the answer repeats the key, and cannot be shown"), open: true}
	}
	return data, nil
}

var errSlow = errors.New("too slow")

// unanswered is a try without an answer. Words of the network are shown, for they are this machine's; addresses are not.
func (c *Client) unanswered(ctx context.Context, l Limits, err error, key string) *trial {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	var dial *net.OpError
	refused := errors.As(err, &dial) && dial.Op == "dial"
	switch {
	case errors.Is(err, errRedirected):
		return &trial{err: fault("the server has no answer: %w", errRedirected)}
	case errors.Is(context.Cause(ctx), errSlow):
		return &trial{err: &Fault{err: fmt.Errorf("no answer in timeout_s = %g", l.Timeout.Seconds()), down: true}, again: true, open: true}
	case key != "" && strings.Contains(err.Error(), key): // a server that sends it where HTTP wants something else
		err = errors.New("what it sent cannot be shown")
	}
	return &trial{err: &Fault{err: fmt.Errorf("no answer: %w", err), down: true}, again: true, open: !refused}
}

// errorCode is what codes of errors look like; what else servers write is not repeated.
var errorCode = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)

// refusal is an answer that says no.
func (c *Client) refusal(r *http.Response, l Limits, key string) *trial {
	data, _ := io.ReadAll(io.LimitReader(r.Body, maxErrorBytes)) // what there is
	var said struct {
		Error struct{ Code, Type any }
	}
	_ = json.Unmarshal(data, &said) // a page of HTML has no code
	what := fmt.Sprintf("status %d", r.StatusCode)
	code, ok := said.Error.Code.(string)
	if !ok || code == "" {
		code, _ = said.Error.Type.(string)
	}
	if errorCode.MatchString(code) && (key == "" || !strings.Contains(code, key)) {
		what += " (" + code + ")"
	}
	switch status := r.StatusCode; {
	case status == http.StatusUnauthorized && l.KeyEnv == "":
		return &trial{err: fmt.Errorf("%w: %s: it wants a key; say api_key_env = 'NAME'", ErrRefused, what)}
	case status == http.StatusUnauthorized:
		return &trial{err: fmt.Errorf("%w: %s: it does not accept the key in %s", ErrRefused, what, l.KeyEnv)}
	case status == http.StatusPaymentRequired, code == "insufficient_quota":
		return &trial{err: fmt.Errorf("%w: %s: the account has nothing left", ErrRefused, what)}
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusGone:
		return &trial{err: fmt.Errorf("%w: %s: check endpoint = %q and model = %q", ErrRefused, what, c.spec.Endpoint, c.spec.Model)}
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= 500:
		return &trial{err: &Fault{err: fmt.Errorf("no answer: %s", what), down: true}, again: true, after: retryAfter(r.Header, c.cfg.Clock.Now())}
	}
	return &trial{err: &Fault{err: fmt.Errorf("the server refuses the text: %s", what), reject: true}}
}

// retryAfter reads for how long the server wants to be left alone, 0 if it does not say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	const longest = 24 * time.Hour // what is longer says no more
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(seconds) {
		return time.Duration(min(max(seconds, 0), longest.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), longest)
	}
	return 0
}

// key returns the key, "" where none is wanted.
func (c *Client) key(l Limits) (string, error) {
	if l.KeyEnv == "" {
		return "", nil
	}
	key := strings.TrimSpace(c.cfg.Getenv(l.KeyEnv))
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("%w: the environment of the server has no usable %s", ErrRefused, l.KeyEnv)
	}
	return key, nil
}

// usageOf reads what an answer did cost: what the server says, or where it says nothing the most that it may be.
func usageOf(data []byte, worst Spending) Spending {
	var said struct {
		Usage struct {
			Prompt     *int64 `json:"prompt_tokens"`
			Completion int64  `json:"completion_tokens"`
		}
	}
	if err := json.Unmarshal(data, &said); err != nil || said.Usage.Prompt == nil || *said.Usage.Prompt < 0 || said.Usage.Completion < 0 {
		unread := Spending{Requests: 1, InputTokens: worst.InputTokens, OutputTokens: worst.OutputTokens}
		if err != nil {
			unread.Failed = 1
		}
		return unread
	}
	return Spending{Requests: 1, InputTokens: *said.Usage.Prompt, OutputTokens: said.Usage.Completion}
}
