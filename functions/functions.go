// Package functions lets SQL say what models predict: it owns the SQL functions over text and Apply, the plan node that
// gathers the texts of many rows so that a model sees them in one run. Expressions stay as they are and read what Apply
// has found, so a plan in which Apply has no place is slow, never wrong. NULL gives NULL; empty text is no error.
package functions

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/sqltypes"

	"smelt/models"
)

// Names of the models behind the functions that bear no model's name.
const (
	encoderModel = "encoder"
	topicModel   = "topic"
)

// labelChars is the declared length of a label: VARCHAR, because dashboards leave TEXT columns untyped.
const labelChars = 255

// labelType is what sentiment(t) and its like return.
var labelType = types.MustCreateString(sqltypes.VarChar, labelChars, sql.Collation_Default)

// Predictor is what the functions need of the models; *models.Registry provides it. Texts are given once each.
type Predictor interface {
	Models() []models.Info
	// Resolve returns the version that a name means now: that of a model, models:/..., or the ID of a version.
	Resolve(ref string) (models.Info, error)
	Classify(ctx context.Context, model string, texts []string) ([]models.Classification, error)
	Embed(ctx context.Context, model string, texts []string) ([][]float32, error)
	Keywords(ctx context.Context, model string, texts []string, o models.KeywordOptions) ([][]models.Keyword, error)
}

// Set is the functions over one predictor. It is safe for concurrent use.
type Set struct {
	predictor Predictor
}

// New returns the functions over the predictor's models. The models are not loaded.
func New(p Predictor) *Set { return &Set{predictor: p} }

// spec says what a function takes and gives.
type spec struct {
	name        string
	least, most int // number of arguments
	description string
	typ         sql.Type
	model       string // whose functions it is one of, or that it asks; "" for none, or one that an argument names
	// plan checks the arguments of one row and says which predictions the result needs; none for NULL.
	plan func(resolve resolver, args []any) (job, error)
}

// resolver returns the version of a model that the statement uses, for every row the same.
type resolver func(ref string) (models.Info, error)

// job is the work of one call for one row.
type job struct {
	needs  []need
	result func(found []any) (any, error) // makes the value of the call; found belongs to needs
}

// Function returns the function of that name: the fixed ones, m, m_score and m_json for each classifier or generator m,
// and m for each encoder m.
func (s *Set) Function(name string) (sql.Function, bool) {
	if j := judges[strings.ToLower(name)]; j != nil {
		return j.function(), true
	}
	sp, ok := s.spec(strings.ToLower(name))
	if !ok {
		return nil, false
	}
	return s.function(sp), true
}

type promisedKey struct{}

// Promise returns a context in which statements may be bound that call classifiers which are not there yet.
func Promise(ctx context.Context, classifiers []string) context.Context {
	return context.WithValue(ctx, promisedKey{}, classifiers)
}

// Promised returns a function of a classifier that the context promises.
func (s *Set) Promised(ctx context.Context, name string) (sql.Function, bool) {
	promised, _ := ctx.Value(promisedKey{}).([]string)
	for _, m := range promised {
		if sp, ok := classifierSpec(strings.ToLower(m), models.Classifier, strings.ToLower(name)); ok {
			return s.function(sp), true
		}
	}
	return nil, false
}

func (s *Set) function(sp *spec) sql.Function {
	return sql.FunctionN{Name: sp.name, Fn: func(_ *sql.Context, args ...sql.Expression) (sql.Expression, error) {
		if len(args) < sp.least || len(args) > sp.most {
			want := fmt.Sprint(sp.least)
			if sp.least != sp.most {
				want = fmt.Sprintf("%d to %d", sp.least, sp.most)
			}
			return nil, sql.ErrInvalidArgumentNumber.New(sp.name, want, len(args))
		}
		return &call{set: s, spec: sp, args: args}, nil
	}}
}

// Names returns the names of all functions, sorted.
func (s *Set) Names() []string {
	names := []string{"topics", keywordsName, "embed", "similarity", "mentions", "hashtags", predictName}
	for _, m := range s.predictor.Models() {
		names = append(names, m.Name)
		if m.Kind != models.Encoder {
			names = append(names, m.Name+"_score", m.Name+"_json")
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Refers returns the model that a function asks, as Resolve takes it; literals are its arguments as far as they are texts
// in the statement, "" for the others. ok is false for a function that asks no model.
func (s *Set) Refers(function string, literals []string) (ref string, ok bool) {
	sp, found := s.spec(strings.ToLower(function))
	switch {
	case !found:
		return "", false
	case sp.name == predictName && len(literals) > 0:
		return normal(literals[0]), true
	case sp.name == keywordsName && len(literals) > 1:
		return keywordsModel(literals[1]), true
	}
	return sp.model, sp.model != ""
}

// normal is the form in which a statement remembers how a model was named.
func normal(ref string) string { return strings.ToLower(strings.TrimSpace(ref)) }

func (s *Set) spec(name string) (*spec, bool) {
	switch name {
	case "topics":
		return selectedSpec(name, topicModel), true
	case keywordsName:
		return keywordsSpec(), true
	case "embed":
		return embedSpec(name, encoderModel), true
	case "similarity":
		return similaritySpec(), true
	case "mentions":
		return textSpec(name, "names behind @ in a text, each once, in order", Mentions), true
	case "hashtags":
		return textSpec(name, "words behind # in a text, each once, in order", Hashtags), true
	case predictName:
		return predictSpec(), true
	}
	for _, m := range s.predictor.Models() {
		lower := strings.ToLower(m.Name)
		switch {
		case m.Kind == models.Encoder && name == lower:
			return embedSpec(name, lower), true
		case m.Kind != models.Encoder:
			if sp, ok := classifierSpec(lower, m.Kind, name); ok {
				return sp, true
			}
		}
	}
	return nil, false
}

// classifierSpec returns the function of that name among those of a classifier or generator, model and name in lower case.
func classifierSpec(model, kind, name string) (*spec, bool) {
	switch name {
	case model:
		return labelSpec(name, kind), true
	case model + "_score":
		return scoreSpec(name, model), true
	case model + "_json":
		return jsonSpec(name, model), true
	}
	return nil, false
}
