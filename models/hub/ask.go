package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Limits of a conversation with the hub.
const (
	connectTimeout  = 10 * time.Second
	answerTimeout   = 30 * time.Second // until the first byte of an answer
	stallTimeout    = 30 * time.Second // without another byte
	maxTries        = 5                // in a row, without a byte gained
	maxTriesInAll   = 50               // of one file, however little each of them gains
	firstPause      = 500 * time.Millisecond
	maxPause        = 30 * time.Second // also of what the hub asks for by Retry-After
	maxRedirects    = 5
	maxListingBytes = 16 << 20 // of what the hub says of a repository: a few hundred bytes a file
	maxListedFiles  = 10_000
)

// newHTTP returns a client whose redirects follow the rules: the token never leaves the host that it is for, and what
// began encrypted stays so.
func newHTTP() *http.Client {
	dialer := &net.Dialer{Timeout: connectTimeout}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: connectTimeout,
		ResponseHeaderTimeout: answerTimeout, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: parallel, IdleConnTimeout: answerTimeout}
	return &http.Client{Transport: transport, CheckRedirect: redirected}
}

func redirected(next *http.Request, before []*http.Request) error {
	first, last := before[0], before[len(before)-1]
	if len(before) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if last.URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errors.New("redirected from https to an address without it")
	}
	if next.URL.Scheme == first.URL.Scheme && next.URL.Host == first.URL.Host {
		return nil
	}
	if first.Method == http.MethodHead {
		return http.ErrUseLastResponse // it has what the hub says of the file; the other host only has the file
	}
	next.Header.Del("Authorization")
	next.Header.Del("Cookie")
	return nil
}

// answerError is an answer of the hub that is none.
type answerError struct {
	status int
	code   string // X-Error-Code
	retry  time.Duration
	denied bool // the token is not accepted at all
}

// Error implements error. What the hub writes is left out: it may hold anything.
func (e *answerError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %s", e.status, printable(e.code)))
}

// printable keeps what an error code is made of.
func printable(code string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, code[:min(len(code), 40)])
}

// ask sends one request for a path of the hub. The answer's body is the caller's to close, and ends when no byte comes for
// too long.
func (c *Client) ask(ctx context.Context, method, path string, header map[string]string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	request, err := http.NewRequestWithContext(ctx, method, c.cfg.Endpoint+path, nil)
	if err != nil || request.URL.Host == "" {
		cancel(nil)
		return nil, fmt.Errorf("%w: HF_ENDPOINT is no http address", ErrNotFound)
	}
	request.Header.Set("User-Agent", "smelt")
	request.Header.Set("Accept-Encoding", "identity") // hashes and ranges are those of the file itself
	for key, value := range header {
		request.Header.Set(key, value)
	}
	if c.cfg.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, c.quiet(err))
	}
	watched := &stalling{body: response.Body, cancel: cancel, limit: c.stall, quiet: c.quiet}
	watched.timer = time.AfterFunc(c.stall, func() { cancel(fmt.Errorf("no byte for %s", c.stall)) })
	response.Body = watched
	if response.StatusCode < 400 || response.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return response, nil
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // a date, or nothing: our own pause then
	refused := &answerError{status: response.StatusCode, code: response.Header.Get("X-Error-Code"), retry: time.Duration(min(max(seconds, 0), 3600)) * time.Second,
		denied: strings.Contains(response.Header.Get("X-Error-Message"), "Invalid credentials")}
	return nil, errors.Join(refused.sorted(), response.Body.Close())
}

// sorted gives an answer the error that callers know.
func (e *answerError) sorted() error {
	switch {
	case e.status == http.StatusTooManyRequests || e.status == http.StatusRequestTimeout || e.status >= 500:
		return fmt.Errorf("%w: %w", ErrUnreachable, e)
	case e.denied || e.code == "GatedRepo" || e.status == http.StatusForbidden || e.status == http.StatusUnauthorized && e.code == "":
		return fmt.Errorf("%w: %w", ErrDenied, e)
	}
	return fmt.Errorf("%w: %w", ErrNotFound, e)
}

// quiet takes the address out of an error of net/http, which may be signed, and the token, should a server send it back.
func (c *Client) quiet(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if c.cfg.Token != "" && strings.Contains(err.Error(), c.cfg.Token) {
		return errors.New("an answer that cannot be shown")
	}
	return err
}

// stalling is a body that gives up when no byte comes for too long.
type stalling struct {
	body   io.ReadCloser
	cancel context.CancelCauseFunc
	limit  time.Duration
	timer  *time.Timer
	quiet  func(error) error
}

// Read implements io.Reader.
func (s *stalling) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if n > 0 {
		s.timer.Reset(s.limit)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrUnreachable, s.quiet(err))
	}
	return n, err
}

// Close implements io.Closer.
func (s *stalling) Close() error {
	s.timer.Stop()
	err := s.body.Close()
	s.cancel(nil)
	return err
}

// again tells whether a failure may pass, and how long to wait before the try of that number, from 1.
func again(err error, try int) (time.Duration, bool) {
	if !errors.Is(err, ErrUnreachable) || try >= maxTries {
		return 0, false
	}
	d := firstPause << (try - 1)
	d += rand.N(d / 2) // those who were cut off together do not come back together
	var answer *answerError
	if errors.As(err, &answer) {
		d = max(d, answer.retry)
	}
	return min(d, maxPause), true
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// listing is what the hub says of a commit.
type listing struct {
	Commit  string `json:"commit"`
	License string `json:"license,omitempty"`
	Files   []File `json:"files"` // those that could be asked for
}

// list asks the hub which commit a revision means, and what it holds.
func (c *Client) list(ctx context.Context, r repository) (*listing, error) {
	for try := 1; ; try++ {
		found, err := c.listOnce(ctx, r)
		if err == nil {
			return found, nil
		}
		d, ok := again(err, try)
		if !ok || errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err // nobody is there: waiting does not help, and the cache may
		}
		if err := c.pause(ctx, d); err != nil {
			return nil, err
		}
	}
}

func (c *Client) listOnce(ctx context.Context, r repository) (*listing, error) {
	response, err := c.ask(ctx, http.MethodGet, "/api/models/"+r.name+"/revision/"+url.PathEscape(r.revision)+"?blobs=true", nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxListingBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxListingBytes {
		return nil, fmt.Errorf("%w: what the hub says of it has more than %d bytes", ErrUnsupported, maxListingBytes)
	}
	found, err := readListing(text)
	if err == nil && r.pinned() && found.Commit != r.commit {
		err = fmt.Errorf("%w: the hub answers with commit %s", ErrDamaged, found.Commit)
	}
	return found, err
}

// readListing reads what the hub says of a repository.
func readListing(text []byte) (*listing, error) {
	var said struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name   string `json:"rfilename"`
			Size   *int64 `json:"size"`
			BlobID string `json:"blobId"`
			LFS    *struct {
				SHA256 string `json:"sha256"`
				Size   *int64 `json:"size"`
			} `json:"lfs"`
		} `json:"siblings"`
		Card any      `json:"cardData"`
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, fmt.Errorf("%w: what the hub says of it: %w; HF_ENDPOINT must be a Hugging Face hub", ErrUnsupported, err)
	}
	if !commitPattern.MatchString(said.SHA) {
		return nil, fmt.Errorf("%w: the hub names no commit; HF_ENDPOINT must be a Hugging Face hub", ErrUnsupported)
	}
	found := &listing{Commit: said.SHA, License: licenseOf(said.Card, said.Tags)}
	for _, s := range said.Siblings {
		if !useful(s.Name) {
			continue
		}
		f := File{Name: s.Name, Size: -1}
		size := s.Size
		if isHash(s.BlobID) {
			f.Hash = s.BlobID
		}
		if s.LFS != nil && isHash(s.LFS.SHA256) {
			f.Hash, size = s.LFS.SHA256, cmp.Or(s.LFS.Size, s.Size)
		}
		if size != nil && *size >= 0 {
			f.Size = *size
		}
		if found.Files = append(found.Files, f); len(found.Files) > maxListedFiles {
			return nil, fmt.Errorf("%w: it has more than %d files", ErrUnsupported, maxListedFiles)
		}
	}
	return found, nil
}
