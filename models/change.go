package models

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"smelt/models/builtin"
)

// maxDropped is how many dropped versions stay loaded, because statements that began before may still use them.
const maxDropped = 4

// namePattern keeps the name of a model usable as that of a function.
var namePattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,59}$`)

// aliasPattern keeps an alias apart from a number.
var aliasPattern = regexp.MustCompile(`^[a-z_][a-z0-9_.-]{0,59}$`)

// Guard judges a change at the moment when nothing else can change; false or an error keeps it from happening. nil lets
// it pass.
type Guard func(ctx context.Context) error

// shippedVersions describes what ships.
func shippedVersions() (map[string]*version, error) {
	shipped := map[string]*version{}
	for _, name := range builtin.Names() {
		files, err := builtin.Files(name)
		if err != nil {
			return nil, fmt.Errorf("open model %q: %w", name, err)
		}
		m, err := gather(func(name string, _ int64) ([]byte, error) { return fs.ReadFile(files, name) }, nil)
		if err != nil {
			return nil, fmt.Errorf("open model %q: %w", name, err)
		}
		v, err := m.version(builtinPrefix+name, nil)
		if err != nil {
			return nil, fmt.Errorf("open model %q: %w", name, err)
		}
		v.Number, v.builtin = 1, true
		shipped[name] = v
	}
	return shipped, nil
}

// version describes the material; number, time and user are not set.
func (m *material) version(source string, options map[string]string) (*version, error) {
	v := &version{Source: source, Options: maps.Clone(options), Files: map[string]string{}, Settings: m.settings}
	delete(v.Options, optionSource)
	for name, data := range m.files {
		v.Files[name] = sumOf(data)
		v.Bytes += int64(len(data))
	}
	var err error
	v.Digest, err = digestOf(v.Files, v.Settings)
	return v, err
}

// readFile reads a file of a version and verifies it.
func (r *Registry) readFile(v *version, name string) ([]byte, error) {
	if v.builtin {
		files, err := builtin.Files(strings.TrimPrefix(v.Source, builtinPrefix))
		if err != nil {
			return nil, err
		}
		return fs.ReadFile(files, name)
	}
	sum := v.Files[name]
	data, err := r.cfg.Disk.Read(filesDir + "/" + sum)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if got := sumOf(data); got != sum {
		return nil, fmt.Errorf("read %s: it is damaged: its SHA-256 is %.12s and should be %.12s", name, got, sum)
	}
	return data, nil
}

// Create makes a model of OPTIONS. One that exists is left alone with ifNotExists; with replace it gets another version
// and uses it from then on, unless it uses the same already. changed tells whether anything was.
func (r *Registry) Create(ctx context.Context, name, user, comment string, options map[string]string, replace, ifNotExists bool) (changed bool, err error) {
	name = strings.ToLower(name)
	if done, err := r.exists(name, replace, ifNotExists); done || err != nil {
		return false, err // nothing is fetched for it
	}
	from, err := r.openSource(ctx, name, options)
	if err != nil {
		return false, fmt.Errorf("create model %q: %w", name, err)
	}
	r.change.Lock()
	defer r.change.Unlock()
	if done, err := r.exists(name, replace, ifNotExists); done || err != nil {
		return false, err // another made it meanwhile
	}
	now := r.catalog.Load()
	e := now.Models[name]
	v, m, err := r.prepare(ctx, name, from, options)
	if err != nil {
		return false, fmt.Errorf("create model %q: %w", name, err)
	}
	if e == nil {
		if err := r.checkName(name, v.Settings.Kind); err != nil {
			return false, fmt.Errorf("create model %q: %w", name, errors.Join(err, m.close()))
		}
	} else if used := e.version(e.current()); used != nil && used.same(v) && (comment == "" || comment == e.Comment) {
		return false, m.close()
	}
	next := now.clone()
	if e = next.Models[name]; e == nil {
		e = &entry{Next: 1, Aliases: map[string]int{}}
		next.Models[name] = e
	}
	if comment != "" {
		e.Comment = comment
	}
	return true, r.add(next, name, e, v, m, user, comment, "CREATE MODEL")
}

// exists tells whether CREATE MODEL has nothing to do, or must not.
func (r *Registry) exists(name string, replace, ifNotExists bool) (done bool, err error) {
	now := r.catalog.Load()
	there := now.Models[name] != nil
	switch {
	case there && ifNotExists:
		return true, nil
	case there && !replace:
		return false, fmt.Errorf("%w: %q; CREATE OR REPLACE MODEL or ALTER MODEL ... ADD VERSION gives it another version", ErrExists, name)
	case !there && len(now.Models) >= maxModels:
		return false, fmt.Errorf("%w: there are %d models already", ErrInvalid, maxModels)
	}
	return false, nil
}

// AddVersion gives a model another version; it is used at once unless the alias production stands. The same as the newest
// one adds nothing.
func (r *Registry) AddVersion(ctx context.Context, name, user, comment string, options map[string]string) (changed bool, err error) {
	name = strings.ToLower(name)
	if r.catalog.Load().Models[name] == nil {
		return false, fmt.Errorf("%w: %q", ErrUnknownModel, name)
	}
	from, err := r.openSource(ctx, name, options)
	if err != nil {
		return false, fmt.Errorf("add a version to model %q: %w", name, err)
	}
	r.change.Lock()
	defer r.change.Unlock()
	now := r.catalog.Load()
	e := now.Models[name]
	if e == nil { // it was dropped meanwhile
		return false, fmt.Errorf("%w: %q", ErrUnknownModel, name)
	}
	v, m, err := r.prepare(ctx, name, from, options)
	if err != nil {
		return false, fmt.Errorf("add a version to model %q: %w", name, err)
	}
	if newest := e.version(e.newest()); newest != nil && newest.same(v) {
		return false, m.close()
	}
	next := now.clone()
	return true, r.add(next, name, next.Models[name], v, m, user, comment, "ADD VERSION")
}

// add puts a prepared version into the catalogue that is to come, and stores it.
func (r *Registry) add(next *catalog, name string, e *entry, v *version, m *model, user, comment, operation string) error {
	if len(e.Versions) >= maxVersions {
		return errors.Join(fmt.Errorf("%w: model %q has %d versions already", ErrInvalid, name, maxVersions), m.close())
	}
	v.Number, v.User, v.Comment, v.Created = e.Next, user, comment, time.Now().UTC()
	e.Next++
	e.Versions = append(e.Versions, v)
	if was, ok := e.Aliases[Production]; ok && operation == "CREATE MODEL" && was != v.Number {
		e.Aliases[Production] = v.Number
	}
	parameters := map[string]string{"version": strconv.Itoa(v.Number), "source": v.Source, "digest": v.Digest}
	if v.Commit != "" {
		parameters["commit"] = v.Commit
	}
	next.note(user, name, operation, parameters, v.Created)
	if err := r.store(next); err != nil {
		return errors.Join(err, m.close())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m.info = v.info(name)
	if _, ok := r.models[m.info.ID]; ok {
		return m.close()
	}
	r.models[m.info.ID] = m
	return nil
}

// prepare reads what a source has, writes its files, and opens and runs the model: what cannot run is refused before it has a name.
func (r *Registry) prepare(ctx context.Context, name string, from *source, options map[string]string) (v *version, m *model, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: its files cannot be read: %v", ErrInvalid, fault)
		}
	}()
	if from.remote != nil {
		return prepareRemote(name, *from.remote, options)
	}
	material, err := gather(from.open, options)
	if err != nil {
		return nil, nil, err
	}
	if material.settings.License == "" {
		material.settings.License = from.license
	}
	if v, err = material.version(options[optionSource], options); err != nil {
		return nil, nil, err
	}
	v.Commit = from.commit
	if material.settings.Kind == "" {
		return nil, nil, fmt.Errorf("%w: %s does not say what kind it is; say %s = '%s' or '%s'", ErrInvalid, configFile, optionKind, Classifier, Encoder)
	}
	m, err = newModel(name, v, func(file string) ([]byte, error) { return material.files[file], nil })
	if err != nil {
		return nil, nil, wrapInvalid(err)
	}
	if err := r.open(m); err != nil {
		if errors.Is(err, ErrNoLibrary) {
			return nil, nil, err
		}
		return nil, nil, errors.Join(wrapInvalid(err), m.close())
	}
	if err := r.probe(ctx, m); err != nil {
		return nil, nil, errors.Join(err, m.close())
	}
	v.Settings = m.settings
	if v.Digest, err = digestOf(v.Files, v.Settings); err == nil {
		err = r.keep(material, v)
	}
	if err != nil {
		return nil, nil, errors.Join(err, m.close())
	}
	m.read = func(file string) ([]byte, error) { return r.readFile(v, file) }
	return v, m, nil
}

// keep writes the files of a version that are not there yet, each under its SHA-256.
func (r *Registry) keep(m *material, v *version) error {
	there, err := r.cfg.Disk.Names(filesDir)
	if err != nil {
		return fmt.Errorf("list the files of models: %w", err)
	}
	for name, data := range m.files {
		if slices.Contains(there, v.Files[name]) {
			if _, err := r.readFile(v, name); err == nil {
				continue
			}
		}
		if err := r.cfg.Disk.Write(filesDir+"/"+v.Files[name], data); err != nil {
			return fmt.Errorf("keep %s: %w", name, err)
		}
	}
	return nil
}

// checkName refuses names whose functions exist already.
func (r *Registry) checkName(name, kind string) error {
	functions := []string{name}
	if kind != Encoder {
		functions = append(functions, name+"_score", name+"_json")
	}
	for _, f := range functions {
		if r.cfg.Taken != nil && r.cfg.Taken(f) {
			return fmt.Errorf("%w: there is a function %s(), or the name is a word of SQL; give the model another name", ErrInvalid, f)
		}
	}
	return nil
}

// store makes a catalogue durable and then the one in use.
func (r *Registry) store(next *catalog) error {
	text, err := encodeCatalog(next)
	if err != nil {
		return err
	}
	if r.cfg.Disk == nil {
		return fmt.Errorf("%w: this server keeps no models", ErrInvalid)
	}
	if err := r.cfg.Disk.Write(catalogFile, text); err != nil {
		return fmt.Errorf("store the registry of models: %w", err)
	}
	r.catalog.Store(next)
	return nil
}

// sweep removes files that no version has: of a model that was dropped, or that a crash kept from being made.
func (r *Registry) sweep(state *catalog) {
	names, err := r.cfg.Disk.Names(filesDir)
	if err != nil {
		r.cfg.Logger.Warn("list the files of models", "err", err)
		return
	}
	used := map[string]bool{}
	for _, e := range state.Models {
		for _, v := range e.Versions {
			for _, sum := range v.Files {
				used[sum] = used[sum] || !v.builtin
			}
		}
	}
	for _, name := range names {
		if used[name] {
			continue
		}
		if err := r.cfg.Disk.Remove(filesDir + "/" + name); err != nil {
			r.cfg.Logger.Warn("remove a file of no model", "file", name, "err", err)
		}
	}
}
