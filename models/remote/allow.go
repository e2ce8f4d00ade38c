package remote

import (
	"fmt"
	"net/url"
	"path"
	"strings"
)

// pattern is a parsed pattern of endpoints.
type pattern struct{ scheme, host, port, path string }

// CheckPattern returns an error for what is no pattern of endpoints: [scheme://]host[:port][/path], of which scheme is https
// if it is left out, host and port may have *, and path, with or without /* behind it, is where the endpoint's begins.
func CheckPattern(text string) error {
	_, err := parsePattern(text)
	return err
}

func parsePattern(text string) (pattern, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "https", text
	}
	authority, below, _ := strings.Cut(rest, "/")
	p := pattern{scheme: strings.ToLower(scheme), host: strings.ToLower(authority), path: "/" + strings.TrimSuffix(strings.TrimSuffix(below, "*"), "/")}
	if at := strings.LastIndex(authority, ":"); at >= 0 && !strings.HasSuffix(authority, "]") {
		p.host, p.port = strings.ToLower(authority[:at]), authority[at+1:]
	} else {
		p.port = defaultPorts[p.scheme]
	}
	p.host = strings.Trim(p.host, "[]")
	_, hostErr := path.Match(p.host, "host")
	_, portErr := path.Match(p.port, "1")
	if defaultPorts[p.scheme] == "" || p.host == "" || p.port == "" || hostErr != nil || portErr != nil || strings.ContainsAny(rest, "@?# ") || strings.Contains(p.path, "*") {
		return p, fmt.Errorf("read pattern %q: want https://host/path, https://*.example.com, http://127.0.0.1:8000 or the like", text)
	}
	return p, nil
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// allowed returns ErrNotAllowed for an endpoint that no pattern lets in. What is not encrypted is let in by patterns that say
// http:// only.
func allowed(patterns []string, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return fmt.Errorf("%w: it is no address", ErrNotAllowed)
	}
	for _, text := range patterns {
		if p, err := parsePattern(text); err == nil && p.matches(u) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is under none of --allow-endpoint; start the server with --allow-endpoint %s", ErrNotAllowed, endpoint, endpoint)
}

func (p pattern) matches(u *url.URL) bool {
	port := u.Port()
	if port == "" {
		port = defaultPorts[u.Scheme]
	}
	host, _ := path.Match(p.host, strings.ToLower(u.Hostname())) // well formed: it was parsed
	number, _ := path.Match(p.port, port)
	below := p.path == "/" || u.Path == p.path || strings.HasPrefix(u.Path, p.path+"/")
	return u.Scheme == p.scheme && host && number && below
}
