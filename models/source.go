package models

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"smelt/models/archive"
	"smelt/models/builtin"
	"smelt/models/hub"
	"smelt/models/tokenizer"
)

// Limits of what a model may bring.
const (
	maxModelBytes  = 2 << 30  // of model.onnx: the format itself ends there
	maxConfigBytes = 64 << 20 // of every other file; the largest vocabularies have a fifth of it
)

const (
	builtinPrefix = "builtin:"
	hubPrefix     = "hf:"
)

// sourceFiles opens the files of a model; a missing one is fs.ErrNotExist.
type sourceFiles func(name string, limit int64) ([]byte, error)

// source is where the files of a version come from.
type source struct {
	open    sourceFiles
	commit  string // of a repository; "" elsewhere
	license string // as the repository states it; "" elsewhere

	remote *settings // of a model that has no files here, instead of all else
}

// openSource returns what is behind OPTIONS (source = ...). It may take long, and is done before the registry is held.
func (r *Registry) openSource(ctx context.Context, name string, options map[string]string) (*source, error) {
	if r.cfg.Disk == nil {
		return nil, fmt.Errorf("%w: this server keeps no models", ErrInvalid)
	}
	if !namePattern.MatchString(name) {
		return nil, fmt.Errorf("%w: want a name of letters, digits and underscores that can be a function's", ErrInvalid)
	}
	if options[optionProvider] != "" {
		return r.openRemote(ctx, name, options)
	}
	if err := checkOptions(options); err != nil {
		return nil, err
	}
	from := options[optionSource]
	if name, ok := strings.CutPrefix(from, builtinPrefix); ok {
		files, err := builtin.Files(strings.ToLower(name))
		if err != nil {
			return nil, fmt.Errorf("%w: source %q: shipped are %s", ErrInvalid, from, strings.Join(builtin.Names(), ", "))
		}
		return &source{open: func(name string, _ int64) ([]byte, error) { return fs.ReadFile(files, name) }}, nil
	}
	if name, ok := strings.CutPrefix(from, hubPrefix); ok {
		return r.pull(ctx, name, options[optionVariant])
	}
	if !r.permits(from) {
		return nil, fmt.Errorf("%w: source %q: it is under none of --watch, the pipelines' directories and --allow-path", ErrInvalid, from)
	}
	info, err := os.Stat(from)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: source: %w", ErrInvalid, err)
	case !info.IsDir() && archive.Is(from):
		return openArchive(ctx, from, options[optionVariant])
	case !info.IsDir():
		return nil, fmt.Errorf("%w: source %q: it is no directory, and no .zip, .tar, .tar.gz, .tgz or .tar.zst", ErrInvalid, from)
	}
	return &source{open: func(name string, limit int64) ([]byte, error) {
		return r.readSource(filepath.Join(from, filepath.FromSlash(name)), limit)
	}}, nil
}

// pull returns a model of the hub, from its cache if it is there.
func (r *Registry) pull(ctx context.Context, name, variant string) (*source, error) {
	if r.cfg.Hub == nil {
		return nil, fmt.Errorf("%w: source %q: there is no hub here; give the directory of an export", ErrInvalid, hubPrefix+name)
	}
	found, err := r.cfg.Hub.Pull(ctx, name, variant)
	switch {
	case err == nil:
		return &source{open: found.ReadFile, commit: found.Commit, license: found.License}, nil
	case ctx.Err() == nil && (errors.Is(err, hub.ErrNotFound) || errors.Is(err, hub.ErrDenied) || errors.Is(err, hub.ErrUnsupported)):
		return nil, wrapInvalid(err)
	}
	return nil, err
}

// archived are the kinds of files of an export that are read, besides its graph.
var archived = []string{".json", ".txt", ".model", ".codes"}

// openArchive reads the files of a packed export into memory: all but the weights in other formats and the graphs of
// other variants.
func openArchive(ctx context.Context, file, variant string) (*source, error) {
	files, err := archive.Read(ctx, file, func(name string) int64 {
		switch {
		case path.Base(name) == path.Base(cmp.Or(variant, onnxFile)):
			return maxModelBytes
		case slices.Contains(archived, path.Ext(name)):
			return maxConfigBytes
		}
		return 0
	})
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		return nil, wrapInvalid(err)
	}
	return &source{open: func(name string, limit int64) ([]byte, error) {
		data, ok := files[name]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: file + "/" + name, Err: fs.ErrNotExist}
		}
		if int64(len(data)) > limit {
			return nil, fmt.Errorf("%w: %s has %d bytes; at most %d are read", ErrInvalid, name, len(data), limit)
		}
		return data, nil
	}}, nil
}

// readSource reads one file of a directory. Hugging Face's cache is made of links, so a file is judged by where it lies.
func (r *Registry) readSource(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !r.permits(path) {
		return nil, fmt.Errorf("%w: %s links to a file outside of --watch, the pipelines' directories and --allow-path", ErrInvalid, path)
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes, or is no plain file; at most %d bytes are read", ErrInvalid, path, info.Size(), limit)
	}
	return os.ReadFile(path)
}

func (r *Registry) permits(path string) bool {
	return filepath.IsAbs(path) && r.cfg.Permits != nil && r.cfg.Permits(path)
}

// material is what a version is made of, as it is kept.
type material struct {
	files    map[string][]byte // configFile, tokenizerFile, onnxFile
	settings settings
}

// gather reads a source and its options; what is not supported is an error with the reason.
func gather(open sourceFiles, options map[string]string) (*material, error) {
	m := &material{files: map[string][]byte{}}
	var err error
	if m.files[configFile], err = open(configFile, maxConfigBytes); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if m.files[onnxFile], err = openGraph(open, options[optionVariant]); err != nil {
		return nil, err
	}
	extra := extras{}
	for name, into := range extra.names() {
		if err := readOptional(open, name, into); err != nil {
			return nil, err
		}
	}
	if m.files[tokenizerFile], err = openTokenizer(open, extra); err != nil {
		return nil, err
	}
	if m.settings, err = settingsOf(m.files[configFile], extra, options); err != nil {
		return nil, err
	}
	return m, nil
}

// openGraph reads the graph: the variant that is named, else model.onnx beside config.json or in onnx/. None is guessed:
// the quantized ones give other results.
func openGraph(open sourceFiles, variant string) ([]byte, error) {
	names := []string{onnxFile, "onnx/" + onnxFile}
	if variant != "" {
		if !filepath.IsLocal(filepath.FromSlash(variant)) || !strings.HasSuffix(variant, ".onnx") {
			return nil, fmt.Errorf("%w: %s = %q: want the name of an .onnx file in the source", ErrInvalid, optionVariant, variant)
		}
		names = []string{variant, "onnx/" + variant}
	}
	for _, name := range names {
		data, err := open(name, maxModelBytes)
		if err == nil {
			return data, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return nil, fmt.Errorf("%w: the source has none of %s; export the model to ONNX", ErrInvalid, strings.Join(names, ", "))
}

// openTokenizer reads tokenizer.json, or makes one of the vocabulary files of older exports.
func openTokenizer(open sourceFiles, extra extras) ([]byte, error) {
	data, err := open(tokenizerFile, maxConfigBytes)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return data, wrapInvalid(err)
	}
	vocab, err := open("vocab.txt", maxConfigBytes)
	if err == nil {
		codes, err := open("bpe.codes", maxConfigBytes)
		switch {
		case err == nil:
			data, err = tokenizer.FromCodes(vocab, codes, extra.Tokenizer.Vocabulary)
		case errors.Is(err, fs.ErrNotExist):
			data, err = tokenizer.FromVocabulary(vocab, extra.Tokenizer.Vocabulary)
		}
		return data, wrapInvalid(err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, wrapInvalid(err)
	}
	pieces, err := open("vocab.json", maxConfigBytes)
	if err == nil {
		var merges []byte
		if merges, err = open("merges.txt", maxConfigBytes); err == nil {
			data, err = tokenizer.FromMerges(pieces, merges, extra.Tokenizer.Vocabulary)
		}
		return data, wrapInvalid(err)
	}
	return nil, fmt.Errorf("%w: the source has no tokenizer.json, vocab.txt (with bpe.codes for BERTweet), or vocab.json with merges.txt", ErrInvalid)
}

func wrapInvalid(err error) error {
	if err == nil || errors.Is(err, ErrInvalid) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

func readOptional(open sourceFiles, name string, into any) error {
	text, err := open(name, maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("%w: read %s: %w", ErrInvalid, name, err)
	}
	return nil
}

// checkOptions refuses options that nothing reads.
func checkOptions(options map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(knownOptions, name) {
			return fmt.Errorf("%w: there is no option %q; known are %s", ErrInvalid, name, strings.Join(knownOptions, ", "))
		}
	}
	if options[optionSource] == "" {
		return fmt.Errorf("%w: OPTIONS needs source = '/directory', '/archive.zip', 'hf:org/name' or 'builtin:name'", ErrInvalid)
	}
	return nil
}
