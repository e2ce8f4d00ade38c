package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"smelt/models/train"
)

// Disk keeps the registry's files. Names are relative, with slashes. A written file is whole and durable when Write
// returns, and replaces an older one.
type Disk interface {
	Read(name string) ([]byte, error) // fs.ErrNotExist for a missing one
	Write(name string, content []byte) error
	Remove(name string) error // a missing one is no error
	// Names returns the files of a directory; none for a missing one.
	Names(dir string) ([]string, error)
}

const (
	catalogFile = "registry.json"
	filesDir    = "files" // each file under its SHA-256
)

// Limits of the catalogue: it is one file, written anew by each change.
const (
	maxModels   = 1000
	maxVersions = 1000 // of one model
	maxChanges  = 10_000
)

// Production is the alias that m(text) follows; without it the newest version answers.
const Production = "production"

// latest is no alias: it always means the newest version.
const latest = "latest"

// Model is everything that the registry knows of one name.
type Model struct {
	Name     string
	Comment  string
	Aliases  map[string]int    // alias, lower case -> number of a version
	Current  int               // number of the version that m(text) uses
	Versions []Info            // by number
	Training *train.Definition // how it is trained again; nil for one that is not trained here
	Learned  *train.Learned    // what it learned last; nil for nothing yet
}

// Change is one entry of a model's history.
type Change struct {
	Time       time.Time         `json:"time"`
	User       string            `json:"user"`
	Model      string            `json:"model"`
	Operation  string            `json:"operation"`
	Parameters map[string]string `json:"parameters,omitempty"`
	Current    int               `json:"current"` // version in use after it, 0 for none
}

// catalog is the state of the registry: one file, replaced whole by each change. It is not changed once it is in use.
type catalog struct {
	Models  map[string]*entry `json:"models"`
	Changes []Change          `json:"changes"` // oldest first
}

// entry is one model of the catalogue.
type entry struct {
	Comment  string            `json:"comment,omitempty"`
	Next     int               `json:"next"` // number of the next version; none is given twice
	Aliases  map[string]int    `json:"aliases"`
	Versions []*version        `json:"versions"`
	Training *train.Definition `json:"training,omitempty"`
	Learned  *train.Learned    `json:"learned,omitempty"`
}

// version is one version of a model. The versions that ship are built anew at each start and not stored.
type version struct {
	Number   int               `json:"number"`
	Source   string            `json:"source"` // as the statement says it
	Commit   string            `json:"commit,omitempty"`
	Options  map[string]string `json:"options"`
	Comment  string            `json:"comment,omitempty"`
	Created  time.Time         `json:"created"`
	User     string            `json:"user"`
	Files    map[string]string `json:"files"` // name -> SHA-256
	Bytes    int64             `json:"bytes"`
	Settings settings          `json:"settings"`
	Digest   string            `json:"digest"`
	Query    string            `json:"query,omitempty"`  // of a trained one: what it learned from
	Scores   *train.Summary    `json:"scores,omitempty"` // of a trained one: how well it did on rows that it had not seen

	builtin bool
}

func (c *catalog) clone() *catalog {
	out := &catalog{Models: map[string]*entry{}, Changes: slices.Clone(c.Changes)}
	for name, e := range c.Models {
		copied := *e
		copied.Aliases, copied.Versions = maps.Clone(e.Aliases), slices.Clone(e.Versions)
		if copied.Aliases == nil {
			copied.Aliases = map[string]int{}
		}
		out.Models[name] = &copied
	}
	return out
}

// note appends to the history.
func (c *catalog) note(user, model, operation string, parameters map[string]string, now time.Time) {
	change := Change{Time: now.UTC(), User: user, Model: model, Operation: operation, Parameters: parameters}
	if e := c.Models[model]; e != nil {
		change.Current = e.current()
	}
	c.Changes = append(c.Changes, change)
	if extra := len(c.Changes) - maxChanges; extra > 0 {
		c.Changes = c.Changes[extra:]
	}
}

// current returns the number of the version that the model's functions use.
func (e *entry) current() int {
	if n, ok := e.Aliases[Production]; ok {
		return n
	}
	return e.newest()
}

func (e *entry) newest() int {
	n := 0
	for _, v := range e.Versions {
		n = max(n, v.Number)
	}
	return n
}

func (e *entry) version(number int) *version {
	for _, v := range e.Versions {
		if v.Number == number {
			return v
		}
	}
	return nil
}

// readCatalog reads the state that the last change wrote; an empty one where there was none.
func readCatalog(disk Disk) (*catalog, error) {
	c := &catalog{Models: map[string]*entry{}}
	text, err := disk.Read(catalogFile)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(text, c)
	}
	if err != nil {
		return nil, fmt.Errorf("read the registry of models %s: %w", catalogFile, err)
	}
	for name, e := range c.Models {
		if e == nil || slices.Contains(e.Versions, nil) {
			return nil, fmt.Errorf("read the registry of models %s: model %q has no content", catalogFile, name)
		}
	}
	return c, nil
}

// stored returns the catalogue as it is written: without what ships and was never touched.
func (c *catalog) stored() *catalog {
	out := c.clone()
	for name, e := range out.Models {
		e.Versions = slices.DeleteFunc(e.Versions, func(v *version) bool { return v.builtin })
		if len(e.Versions) == 0 && len(e.Aliases) == 0 && e.Comment == "" && e.Training == nil && e.Next <= 2 && c.Models[name].version(1) != nil && c.Models[name].version(1).builtin {
			delete(out.Models, name)
		}
	}
	return out
}

// encodeCatalog returns the catalogue as it is written.
func encodeCatalog(c *catalog) ([]byte, error) {
	text, err := json.MarshalIndent(c.stored(), "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode the registry of models: %w", err)
	}
	return text, nil
}

// addBuiltin puts the shipped models in as version 1 of theirs.
func (c *catalog) addBuiltin(shipped map[string]*version) {
	for name, v := range shipped {
		e := c.Models[name]
		if e == nil {
			e = &entry{Next: 2, Aliases: map[string]int{}}
			c.Models[name] = e
		}
		e.Versions = append([]*version{v}, slices.DeleteFunc(e.Versions, func(v *version) bool { return v.Number == 1 })...)
	}
}

// reference is a parsed name of a version.
type reference struct {
	name   string
	digest string // of name#digest
	number int
	alias  string
}

// referencePattern is a name, name#digest, or MLflow's models:/name, models:/name/2, models:/name/Production, models:/name@alias.
var referencePattern = regexp.MustCompile(`^(?i:(models:/)?)([^/@#]+)(?:#([0-9a-f]{64})|/([0-9]+)|[/@]([^/@#]+))?$`)

// parseReference reads how a version is named; a version or an alias is only for models:/.
func parseReference(text string) (reference, error) {
	m := referencePattern.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil || m[1] == "" && (m[4] != "" || m[5] != "") {
		return reference{}, fmt.Errorf("%w: %q is no model: want its name, models:/name/2, models:/name@alias or models:/name/Production", ErrUnknownModel, text)
	}
	r := reference{name: strings.ToLower(m[2]), digest: m[3], alias: strings.ToLower(m[5])}
	if m[4] != "" {
		n, err := strconv.Atoi(m[4])
		if err != nil {
			return reference{}, fmt.Errorf("%w: %q: no version of that number", ErrUnknownModel, text)
		}
		r.number = n
	}
	return r, nil
}

// find returns the version that a reference means now.
func (c *catalog) find(r reference) (*version, error) {
	e := c.Models[r.name]
	if e == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownModel, r.name)
	}
	number := e.current()
	switch {
	case r.number > 0:
		number = r.number
	case r.alias == latest:
		number = e.newest()
	case r.alias != "":
		n, ok := e.Aliases[r.alias]
		if !ok {
			return nil, fmt.Errorf("%w: model %q has no alias %q; it has %s", ErrUnknownModel, r.name, r.alias, orNone(slices.Sorted(maps.Keys(e.Aliases))))
		}
		number = n
	}
	v := e.version(number)
	if v == nil && len(e.Versions) == 0 {
		return nil, fmt.Errorf("%w: model %q has learned nothing yet: smelt.models says what it waits for", ErrUnknownModel, r.name)
	}
	if v == nil {
		return nil, fmt.Errorf("%w: model %q has no version %d", ErrUnknownModel, r.name, number)
	}
	return v, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// VersionID is the ID of a version, as Info has it.
func VersionID(name, digest string) string { return name + "#" + digest }

// info describes a version of a model.
func (v *version) info(name string) Info {
	s := v.Settings
	return Info{Name: name, ID: VersionID(name, v.Digest), Version: v.Number, Kind: s.Kind, Digest: v.Digest, License: s.License, Labels: s.Labels,
		MultiLabel: s.Function == sigmoidFunction, Dimension: s.Dimension, MaxTokens: s.MaxTokens, Source: v.Source, Commit: v.Commit, Options: v.Options, Comment: v.Comment,
		Created: v.Created, User: v.User, Bytes: v.Bytes, Encoder: s.Encoder, Query: v.Query, Scores: v.Scores}
}
