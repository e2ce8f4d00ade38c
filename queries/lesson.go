package queries

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"smelt/queries/ddl"
	"smelt/tables"
)

// modelMember is CREATE MODEL in a script.
func modelMember(line int, m *ddl.OnModel, base, database string) member {
	if m.Query != "" {
		return member{line: line, model: m, view: m.Print(), db: database}
	}
	return member{line: line, view: inBase(m, base), db: database}
}

// inBase is CREATE MODEL with the directory of its files looked up beside the pipeline. OR REPLACE with the same files
// and options changes nothing, so that it may run at each start.
func inBase(m *ddl.OnModel, base string) string {
	source := m.Options["source"]
	if source != "" && !filepath.IsAbs(source) && !strings.HasPrefix(source, "builtin:") && !strings.HasPrefix(source, "hf:") {
		m.Options["source"] = filepath.Join(base, source)
	}
	return m.Print()
}

// promising returns a context in which SELECTs may call the models that a script makes learn.
func (g *Graph) promising(ctx context.Context, plain []member) context.Context {
	var names []string
	for _, p := range plain {
		if p.model != nil {
			names = append(names, p.model.Name)
		}
	}
	if len(names) == 0 || g.cfg.Promise == nil {
		return ctx
	}
	return g.cfg.Promise(ctx, names)
}

// declare gives the models that learn their names. They learn when their rows are there, which may be later than the script
// is loaded; what asks them waits. Their SELECTs are bound over what the script makes. undo takes all of them back.
func (g *Graph) declare(ctx context.Context, plain []member, overlay map[string]tables.Relation) (undo func() error, err error) {
	var undone []func() error
	undo = func() error {
		var errs []error
		for _, f := range slices.Backward(undone) {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	for _, p := range plain {
		if p.model == nil {
			continue
		}
		columns, err := g.describeLesson(ctx, p, overlay)
		if err == nil && g.cfg.Declare == nil {
			err = fmt.Errorf("model %s: %w: there is no registry of models", p.model.Name, ErrUnsupported)
		}
		if err == nil {
			var f func() error
			if f, err = g.cfg.Declare(ctx, p.model, p.db, columns); err == nil {
				undone = append(undone, f)
			}
		}
		if err != nil {
			return undo, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	return undo, nil
}

// describeLesson returns the columns of the SELECT that a model learns from; none where they are not known yet.
func (g *Graph) describeLesson(ctx context.Context, p member, overlay map[string]tables.Relation) ([]string, error) {
	s, err := shapeOf(p.model.Query, p.db)
	if err != nil {
		return nil, err
	}
	for _, r := range s.reads {
		if known, ok := overlay[r.String()]; ok && len(known.Schema()) == 0 {
			return nil, nil
		}
	}
	waiting := false
	err = g.resolve(s.reads, overlay, func(_ reference, t *tables.Table) { waiting = waiting || len(t.Snapshot().Schema()) == 0 })
	if err != nil || waiting {
		return nil, err
	}
	schema, err := g.cfg.Describe(ctx, Query{Database: p.db, SQL: p.model.Query, Tables: overlay})
	return schema.Names(), err
}
