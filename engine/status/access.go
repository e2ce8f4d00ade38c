package status

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
)

// tokenVariable is where the token comes from; answers name it.
const tokenVariable = "SMELT_INGEST_TOKEN"

// mayPost decides who may store rows and ask models. On loopback everybody on this machine may, unless a token is set, but not a
// page of another site in a browser of this machine; off loopback the token is asked for.
func (s *Server) mayPost(w http.ResponseWriter, r *http.Request) error {
	if err := s.sameSite.Check(r); err != nil {
		return refuse(http.StatusForbidden, "a page of another site may not do this here")
	}
	if s.cfg.Token != "" {
		return s.authorized(w, r, false)
	}
	if !s.loopback {
		return refuse(http.StatusForbidden, "closed: the server can be reached from other machines and has no token; start it with %s set", tokenVariable)
	}
	// A page of a site whose name was made to lead here would pass for one of ours.
	if !loopbackHost(r.Host) {
		return refuse(http.StatusForbidden, "asked for as %q: without a token only localhost and its addresses are answered", r.Host)
	}
	return nil
}

// authorized asks for the token: as bearer, and for pages also as the password of a browser's dialog.
func (s *Server) authorized(w http.ResponseWriter, r *http.Request, dialog bool) error {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given = strings.TrimSpace(given)
	_, password, basic := r.BasicAuth()
	switch {
	case dialog && basic:
		given = password
	case !strings.EqualFold(scheme, "Bearer") || given == "":
		challenge := `Bearer realm="smelt"`
		if dialog {
			challenge = `Basic realm="smelt"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		return refuse(http.StatusUnauthorized, "send the header Authorization: Bearer and the token of %s", tokenVariable)
	}
	if !same(given, s.cfg.Token) {
		return refuse(http.StatusForbidden, "the token is not that of %s", tokenVariable)
	}
	return nil
}

// same compares in a time that tells neither length nor content.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// alive are the paths that only say that the server lives.
var alive = map[string]bool{"/healthz": true, "/ping": true, "/health": true, "/version": true}

// guarded asks for the token on everything that shows something, off loopback. What only says that the server lives
// is free, and what is posted has rules of its own: mayPost.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.loopback || alive[r.URL.Path] || strings.HasPrefix(r.URL.Path+"/", "/ingest/") || strings.HasSuffix(r.URL.Path, "/invocations") {
			next.ServeHTTP(w, r)
			return
		}
		err := refuse(http.StatusForbidden, "closed: the server can be reached from other machines and has no token; start it with %s set", tokenVariable)
		if s.cfg.Token != "" {
			err = s.authorized(w, r, true)
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopbackHost reports whether a Host header names this machine itself.
func loopbackHost(header string) bool {
	host := header
	if name, _, err := net.SplitHostPort(header); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
