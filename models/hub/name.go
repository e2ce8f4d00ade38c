package hub

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// defaultRevision is the branch that a repository begins with.
const defaultRevision = "main"

// maxRevisionBytes bounds the name of a branch, which becomes the name of a file.
const maxRevisionBytes = 200

var (
	namePattern     = regexp.MustCompile(`^([A-Za-z0-9_]([\w.-]{0,94}[A-Za-z0-9_])?/)?[A-Za-z0-9_]([\w.-]{0,94}[A-Za-z0-9_])?$`)
	revisionPattern = regexp.MustCompile(`^[A-Za-z0-9_][\w./+-]*$`)
	commitPattern   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// repository is a model as it is asked for.
type repository struct {
	name     string // org/name; the oldest models have no org
	revision string
	commit   string // that the revision means; "" while it is not known
}

// Check reports what is wrong with org/name[@revision]; nil for one that can be asked for.
func Check(name string) error {
	_, err := parse(name)
	return err
}

func parse(text string) (repository, error) {
	name, revision, given := strings.Cut(text, "@")
	if !given {
		revision = defaultRevision
	}
	if !namePattern.MatchString(name) || strings.Contains(name, "--") || strings.Contains(name, "..") || strings.HasSuffix(name, ".git") {
		return repository{}, fmt.Errorf("%w: the name %.200q: want org/name or org/name@revision", ErrNotFound, text)
	}
	if len(revision) > maxRevisionBytes || !revisionPattern.MatchString(revision) || !filepath.IsLocal(revision) || strings.Contains(revision, "..") || strings.Contains(revision, "//") {
		return repository{}, fmt.Errorf("%w: the revision of %.300q: want a branch, a tag or a commit", ErrNotFound, text)
	}
	r := repository{name: name, revision: revision}
	if commitPattern.MatchString(revision) {
		r.commit = revision
	}
	return r, nil
}

// pinned reports whether the revision is a commit.
func (r repository) pinned() bool { return r.commit != "" && r.commit == r.revision }
