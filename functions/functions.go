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
	model       string // that the function calls; "" for none
	typ         sql.Type
	// plan checks the arguments of one row and says which predictions the result needs; none for NULL.
	plan func(args []any) (job, error)
}

// job is the work of one call for one row.
type job struct {
	needs  []need
	result func(found []any) (any, error) // makes the value of the call; found belongs to needs
}

// Function returns the function of that name: the fixed ones, and m, m_score and m_json for each classifier m.
func (s *Set) Function(name string) (sql.Function, bool) {
	sp, ok := s.spec(strings.ToLower(name))
	if !ok {
		return nil, false
	}
	return sql.FunctionN{Name: sp.name, Fn: func(_ *sql.Context, args ...sql.Expression) (sql.Expression, error) {
		if len(args) < sp.least || len(args) > sp.most {
			want := fmt.Sprint(sp.least)
			if sp.least != sp.most {
				want = fmt.Sprintf("%d to %d", sp.least, sp.most)
			}
			return nil, sql.ErrInvalidArgumentNumber.New(sp.name, want, len(args))
		}
		return &call{set: s, spec: sp, args: args}, nil
	}}, true
}

// Model returns the model that a function calls now; ok is false for a function that calls none.
func (s *Set) Model(function string) (info models.Info, ok bool) {
	sp, ok := s.spec(strings.ToLower(function))
	if !ok || sp.model == "" {
		return models.Info{}, false
	}
	for _, m := range s.predictor.Models() {
		if strings.EqualFold(m.Name, sp.model) {
			return m, true
		}
	}
	return models.Info{}, false
}

// Names returns the names of all functions, sorted.
func (s *Set) Names() []string {
	names := []string{"sentiment", "sentiment_score", "topic", "topic_score", "topics", "keywords", "embed", "similarity", "mentions", "hashtags"}
	for _, m := range s.predictor.Models() {
		if m.Kind == models.Classifier {
			names = append(names, m.Name, m.Name+"_score", m.Name+"_json")
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *Set) spec(name string) (*spec, bool) {
	switch name {
	case "topics":
		return selectedSpec(name, topicModel), true
	case "keywords":
		return keywordsSpec(), true
	case "embed":
		return embedSpec(), true
	case "similarity":
		return similaritySpec(), true
	case "mentions":
		return textSpec(name, "names behind @ in a text, each once, in order", Mentions), true
	case "hashtags":
		return textSpec(name, "words behind # in a text, each once, in order", Hashtags), true
	}
	for _, m := range s.predictor.Models() {
		if m.Kind != models.Classifier {
			continue
		}
		switch name {
		case strings.ToLower(m.Name):
			return labelSpec(name, m.Name), true
		case strings.ToLower(m.Name) + "_score":
			return scoreSpec(name, m.Name), true
		case strings.ToLower(m.Name) + "_json":
			return jsonSpec(name, m.Name), true
		}
	}
	return nil, false
}
