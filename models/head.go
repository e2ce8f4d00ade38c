package models

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"smelt/models/train"
)

// trainedSource is the source of a version that was trained here.
const trainedSource = "trained"

// Train makes a version of a model that learns from rows: a head on the vectors of an encoder that is there. It is trained
// before anything is stored, so a training that was stopped leaves nothing. A model that is there is replaced, left alone
// with IfNotExists, or, with Retrain, given a version that is not used before the alias production says so. changed is false
// where the same rows gave the version in use; report is nil where there was nothing to do.
func (r *Registry) Train(ctx context.Context, l *train.Lesson) (info Info, report *train.Report, changed bool, err error) {
	verb := "create model"
	if l.Retrain {
		verb = "retrain model"
	}
	name := strings.ToLower(l.Name)
	if left, err := r.MayTrain(l); left || err != nil {
		return Info{}, nil, false, err
	}
	material, report, err := r.learn(ctx, l)
	if err != nil {
		return Info{}, nil, false, fmt.Errorf("%s %q: %w", verb, name, err)
	}
	info, changed, err = r.addTrained(ctx, name, l, material, report)
	if err != nil {
		return Info{}, nil, false, fmt.Errorf("%s %q: %w", verb, name, err)
	}
	return info, report, changed, nil
}

// MayTrain refuses before the work what would be refused after it; left is true for a model that is to be left alone.
func (r *Registry) MayTrain(l *train.Lesson) (left bool, err error) {
	name := strings.ToLower(l.Name)
	e := r.catalog.Load().Models[name]
	switch {
	case r.cfg.Disk == nil:
		return false, fmt.Errorf("%w: this server keeps no models", ErrInvalid)
	case l.Retrain && (e == nil || e.Training == nil):
		return false, fmt.Errorf("retrain model %q: %w: no model of that name was trained here", name, ErrUnknownModel)
	case l.Retrain:
		return false, nil // its options were checked when it was made
	}
	if left, err := r.exists(name, l.Replace, l.IfNotExists); left || err != nil {
		return left, err
	}
	switch {
	case e == nil && !namePattern.MatchString(name):
		return false, fmt.Errorf("create model %q: %w: want a name of letters, digits and underscores that can be a function's", name, ErrInvalid)
	case e == nil:
		if err := r.checkName(name, Classifier); err != nil {
			return false, fmt.Errorf("create model %q: %w", name, err)
		}
	}
	if err := l.Check(); err != nil {
		return false, fmt.Errorf("create model %q: %w", name, err)
	}
	return false, nil
}

// learn embeds the texts and fits the head.
func (r *Registry) learn(ctx context.Context, l *train.Lesson) (*material, *train.Report, error) {
	p, err := l.Plan()
	if err != nil {
		return nil, nil, err
	}
	ref := p.Encoder
	if name, rest, ok := strings.Cut(ref, "@"); ok && !strings.Contains(name, "/") {
		ref = "models:/" + name + "@" + rest
	} else if strings.Count(ref, "/") == 1 && !strings.HasPrefix(strings.ToLower(ref), "models:/") {
		ref = "models:/" + ref
	}
	encoder, err := r.loaded(ref, Encoder)
	if err != nil {
		return nil, nil, fmt.Errorf("option encoder = %q: %w", p.Encoder, err)
	}
	unique := slices.Compact(slices.Clone(p.Texts)) // they are sorted
	vectors, _, err := r.embed(ctx, encoder, unique)
	if err != nil {
		return nil, nil, err
	}
	if at := slices.IndexFunc(vectors, func(v []float32) bool { return v == nil }); at >= 0 {
		return nil, nil, fmt.Errorf("%w: the encoder %q gives no numbers for the text %.40q", ErrInvalid, encoder.info.Name, unique[at])
	}
	for i, k := 0, -1; i < len(p.Texts); i++ {
		if i == 0 || p.Texts[i] != p.Texts[i-1] {
			k++
		}
		p.Vectors = append(p.Vectors, vectors[k])
	}
	h, report, err := train.Fit(ctx, p.Data, p.Options)
	if err != nil {
		return nil, nil, err
	}
	h.RowsDigest, h.Encoder = p.Digest, r.encoderOf(encoder)
	file, err := h.Encode()
	if err != nil {
		return nil, nil, err
	}
	s := settings{Kind: Classifier, Labels: h.Labels, Function: h.Function, Thresholds: h.Thresholds, MaxTokens: encoder.info.MaxTokens,
		License: encoder.info.License, Encoder: encoder.info.ID, Abstain: p.Abstain}
	return &material{files: map[string][]byte{headFile: file}, settings: s}, report, nil
}

// encoderOf describes an encoder for the file of a head.
func (r *Registry) encoderOf(m *model) train.Encoder {
	e := train.Encoder{Name: m.info.Name, Version: m.info.Version, Digest: m.info.Digest, Source: m.info.Source, Precision: "fp32", Pooling: m.settings.Pooling,
		Preprocess: m.settings.Preprocess, MaxTokens: m.settings.MaxTokens, Dimension: m.settings.Dimension}
	if m.settings.Single {
		e.Precision = "int8"
	}
	if known := r.catalog.Load().Models[m.info.Name]; known != nil {
		if v := known.version(m.info.Version); v != nil {
			e.GraphSHA256, e.TokenizerSHA256 = v.Files[onnxFile], v.Files[tokenizerFile]
		}
	}
	return e
}

// addTrained stores a version that was trained. The registry may have changed meanwhile.
func (r *Registry) addTrained(ctx context.Context, name string, l *train.Lesson, material *material, report *train.Report) (Info, bool, error) {
	r.change.Lock()
	defer r.change.Unlock()
	if left, err := r.MayTrain(l); left || err != nil {
		return Info{}, false, err
	}
	v, err := material.version(trainedSource, l.Options)
	if err != nil {
		return Info{}, false, err
	}
	scores := report.Summary(l.Skipped)
	v.Query, v.Scores = l.Query, &scores
	next := r.catalog.Load().clone()
	e := next.Models[name]
	if e == nil {
		e = &entry{Next: 1, Aliases: map[string]int{}}
		next.Models[name] = e
	}
	used, err := e.learned(l, scores)
	if err != nil {
		return Info{}, false, err
	}
	used = used || r.orphaned(e)
	if l.Comment != "" {
		e.Comment = l.Comment
	}
	same := e.version(e.newest())
	if used {
		same = e.version(e.current())
	}
	if same != nil && same.Digest == v.Digest {
		return same.info(name), false, r.store(next)
	}
	if used {
		e.Aliases[Production] = e.Next // from now on only a statement moves it, or the option promote
	}
	m, err := newModel(name, v, func(string) ([]byte, error) { return material.files[headFile], nil })
	if err != nil {
		return Info{}, false, err
	}
	if err := r.probeHead(ctx, m); err != nil {
		return Info{}, false, err
	}
	if err := r.keep(material, v); err != nil {
		return Info{}, false, err
	}
	m.read = func(file string) ([]byte, error) { return r.readFile(v, file) }
	operation := "CREATE MODEL"
	if l.Retrain {
		operation = "RETRAIN"
	}
	if err := r.add(next, name, e, v, m, l.User, l.Comment, operation); err != nil {
		return Info{}, false, err
	}
	return v.info(name), true, nil
}

// orphaned reports whether the version in use is a head whose encoder is gone: any other is better than one that cannot answer.
func (r *Registry) orphaned(e *entry) bool {
	v := e.version(e.current())
	if v == nil || v.Settings.Encoder == "" {
		return false
	}
	_, err := r.described(v.Settings.Encoder)
	return err != nil
}

// probeHead is the first run of a head.
func (r *Registry) probeHead(ctx context.Context, m *model) error {
	if err := r.open(m); err != nil {
		return err
	}
	return r.run(ctx, m, probeTexts, func(i int, o outcome) error {
		if _, err := m.classification(o.values); err != nil {
			return fmt.Errorf("%w: a first run, of the text %.20q: %w", ErrInvalid, probeTexts[i], err)
		}
		return nil
	})
}

// openHead makes a trained version ready: its file is read, and its encoder must be there, the very same.
func (r *Registry) openHead(m *model) error {
	encoder, err := r.headEncoder(m)
	if err != nil {
		return err
	}
	m.opening.Lock()
	defer m.opening.Unlock()
	m.use.RLock()
	opened := m.head != nil
	m.use.RUnlock()
	if !opened {
		text, err := m.read(headFile)
		if err != nil {
			return fmt.Errorf("open version %d of model %q: %w", m.info.Version, m.info.Name, err)
		}
		h, err := train.Decode(text)
		switch {
		case err != nil:
		case h.Encoder.Digest != encoder.info.Digest || h.Dimension() != encoder.settings.Dimension:
			err = fmt.Errorf("its head is for vectors of %d numbers of the encoder %.12s, and %q gives %d and is %.12s", h.Dimension(), h.Encoder.Digest, encoder.info.Name, encoder.settings.Dimension, encoder.info.Digest)
		case !slices.Equal(h.Labels, m.settings.Labels) || h.Function != m.settings.Function:
			err = fmt.Errorf("its head has %d labels and the function %s, the registry says otherwise", len(h.Labels), h.Function)
		}
		if err != nil {
			return fmt.Errorf("open version %d of model %q: %w", m.info.Version, m.info.Name, err)
		}
		m.use.Lock()
		m.head = h
		m.use.Unlock()
	}
	return r.open(encoder)
}

// headEncoder returns the encoder of a head. No other will do: its vectors would mean something else.
func (r *Registry) headEncoder(m *model) (*model, error) {
	encoder, err := r.described(m.settings.Encoder)
	if err == nil {
		return encoder, nil
	}
	name, digest, _ := strings.Cut(m.settings.Encoder, "#")
	now := "there is no encoder of that name now"
	if other, err := r.described(name); err == nil {
		now = fmt.Sprintf("%q is %.12s now", name, other.info.Digest)
	}
	return nil, fmt.Errorf("%w: version %s of model %q was trained on the vectors of %q as it was with the digest %.12s, and %s; ALTER MODEL %s RETRAIN makes a version for the encoder that is there",
		ErrInvalid, strconv.Itoa(m.info.Version), m.info.Name, name, digest, now, m.info.Name)
}

// runHead is run by a head: the vectors of its encoder, and from each a logit for each label.
func (r *Registry) runHead(ctx context.Context, m *model, texts []string, result func(i int, o outcome) error) error {
	release, err := r.acquire(m)
	if err != nil {
		return err
	}
	defer release()
	encoder, err := r.headEncoder(m)
	if err != nil {
		return err
	}
	head := m.head
	return r.run(ctx, encoder, texts, func(i int, o outcome) error {
		if o.fault != nil {
			return result(i, o)
		}
		if len(o.values) != head.Dimension() {
			return fmt.Errorf("the encoder gave a vector of %d, the head takes %d", len(o.values), head.Dimension())
		}
		if finite(o.values) == nil {
			o.values = head.Logits(normalized(o.values))
		}
		return result(i, o)
	})
}

// headsOn lists the trained versions that take the vectors of one of these versions of a model.
func (c *catalog) headsOn(name string, gone []*version) []string {
	var heads []string
	for other, e := range c.Models {
		for _, v := range e.Versions {
			if slices.ContainsFunc(gone, func(g *version) bool { return v.Settings.Encoder == VersionID(name, g.Digest) }) {
				heads = append(heads, fmt.Sprintf("version %d of %s", v.Number, other))
			}
		}
	}
	slices.Sort(heads)
	return heads
}
