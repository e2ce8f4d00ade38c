package hub

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"syscall"
)

// hinted adds to an error what can be done about it.
func (c *Client) hinted(err error, r repository) error {
	var answer *answerError
	status, code, refused := 0, "", false
	if errors.As(err, &answer) {
		status, code, refused = answer.status, answer.code, answer.denied
	}
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC):
		hint = "free space, or name another directory in HF_HUB_CACHE; the cache is " + c.cfg.Cache
	case errors.Is(err, ErrDenied) && (refused || c.cfg.Token != "" && code != "GatedRepo" && status == http.StatusUnauthorized):
		hint = "HF_TOKEN is not accepted: set it to a token that is valid"
	case errors.Is(err, ErrDenied):
		hint = fmt.Sprintf("it is gated or private: accept its conditions on %s/%s, and set HF_TOKEN to a token of that account", c.shown(), r.name)
	case code == "RevisionNotFound":
		hint = fmt.Sprintf("it has no revision %s: name a branch, a tag or a commit", r.revision)
	case code == "EntryNotFound":
		hint = "the file is listed and cannot be fetched: the repository may be changing; try again"
	case code == "RepoNotFound" || status == http.StatusNotFound || status == http.StatusUnauthorized:
		hint = fmt.Sprintf("check the name on %s, and set HF_TOKEN if it is private", c.shown())
	case c.reserved(r) == notLetIn && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged)):
		hint = fmt.Sprintf("bring it into the cache with smelt models pull %s, or let the server fetch it: --allow-hub %s", r.name, r.name)
	case errors.Is(err, ErrDamaged):
		hint = "smelt models verify names the damaged files of the cache; when the hub sends them so, something on the way changes them"
	case errors.Is(err, ErrUnreachable):
		hint = "see to the network, a proxy (HTTPS_PROXY) or HF_ENDPOINT, and try again: what came is kept"
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, hint)
}

// shown is the address of the hub as it may be shown.
func (c *Client) shown() string {
	u, err := url.Parse(c.cfg.Endpoint)
	if err != nil {
		return "the hub"
	}
	u.User = nil
	return u.String()
}
