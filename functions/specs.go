package functions

import (
	"fmt"
	"math"
	"strconv"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/shopspring/decimal"

	"smelt/models"
	"smelt/models/remote"
)

// null is the job of a call whose result is NULL.
var null = job{result: func([]any) (any, error) { return nil, nil }}

// predictName is the function that is told which version of which model it asks.
const predictName = "predict"

// classify plans a call that needs the classification of its first argument.
func classify(model string, result func(models.Classification) any) func(resolver, []any) (job, error) {
	return func(resolve resolver, args []any) (job, error) {
		text, ok, err := textOf(args[0])
		if err != nil || !ok {
			return null, err
		}
		m, err := resolve(model)
		if err != nil {
			return null, err
		}
		return job{
			needs:  []need{{task: task{kind: taskClassify, model: m.ID}, text: text}},
			result: func(found []any) (any, error) { return result(found[0].(models.Classification)), nil },
		}, nil
	}
}

func labelSpec(name, kind string) *spec {
	typ, what := labelType, "the label that model "
	if kind == remote.Generator {
		typ, what = types.LongText, "what model "
	}
	return &spec{name: name, model: name, least: 1, most: 1, typ: typ, description: what + name + " gives a text",
		plan: classify(name, func(c models.Classification) any { return givenLabel(c) })}
}

// givenLabel is NULL where the model abstains.
func givenLabel(c models.Classification) any {
	if c.Label == "" {
		return nil
	}
	return c.Label
}

func scoreSpec(name, model string) *spec {
	return &spec{name: name, model: model, least: 1, most: 1, typ: types.Float64, description: "the probability of the label that model " + model + " gives a text, 0 to 1",
		plan: classify(model, scoreOf)}
}

func jsonSpec(name, model string) *spec {
	return &spec{name: name, model: model, least: 1, most: 1, typ: types.JSON, description: "label, score and all scores that model " + model + " gives a text; of one with several labels a text also those",
		plan: classify(model, scoresJSON)}
}

// scoreOf is NULL where a model elsewhere gives no probabilities.
func scoreOf(c models.Classification) any {
	if math.IsNaN(c.Score) {
		return nil
	}
	return c.Score
}

func scoresJSON(c models.Classification) any {
	scores := make(map[string]any, len(c.Scores))
	for _, s := range c.Scores {
		scores[s.Label] = s.Score
	}
	out := map[string]any{"label": givenLabel(c), "score": scoreOf(c), "scores": scores}
	if c.Selected != nil {
		out["labels"] = jsonArray(c.Selected).Val // those over their thresholds
	}
	return types.JSONDocument{Val: out}
}

// predictSpec is predict('models:/name/2', text): a classifier gives label, score and scores, an encoder the embedding.
func predictSpec() *spec {
	return &spec{name: predictName, least: 2, most: 2, typ: types.JSON, description: "what one version of a model says of a text: predict('models:/name/2' or 'models:/name@alias', text)",
		plan: func(resolve resolver, args []any) (job, error) {
			ref, ok, err := textOf(args[0])
			if err != nil || !ok {
				return null, err
			}
			m, err := resolve(ref)
			if err != nil {
				return null, err
			}
			plan := classify(ref, scoresJSON)
			if m.Kind == models.Encoder {
				plan = embedding(ref)
			}
			return plan(resolve, args[1:])
		}}
}

func selectedSpec(name, model string) *spec {
	return &spec{name: name, model: model, least: 1, most: 1, typ: types.JSON, description: "all labels that model " + model + " gives a text, most likely first",
		plan: classify(model, func(c models.Classification) any { return jsonArray(c.Selected) })}
}

func jsonArray(texts []string) types.JSONDocument {
	list := make([]any, len(texts))
	for i, t := range texts {
		list[i] = t
	}
	return types.JSONDocument{Val: list}
}

func embedSpec(name, model string) *spec {
	return &spec{name: name, model: model, least: 1, most: 1, typ: types.JSON, description: "the embedding of a text by model " + model + ", a JSON array of numbers", plan: embedding(model)}
}

// embedding plans a call that needs the embedding of its first argument.
func embedding(model string) func(resolver, []any) (job, error) {
	return func(resolve resolver, args []any) (job, error) {
		text, ok, err := textOf(args[0])
		if err != nil || !ok {
			return null, err
		}
		m, err := resolve(model)
		if err != nil {
			return null, err
		}
		return job{needs: []need{{task: task{kind: taskEmbed, model: m.ID}, text: text}}, result: func(found []any) (any, error) {
			vector := found[0].([]float32)
			list := make([]any, len(vector))
			for i, v := range vector {
				list[i] = float64(v)
			}
			return types.JSONDocument{Val: list}, nil
		}}, nil
	}
}

func similaritySpec() *spec {
	return &spec{name: "similarity", model: encoderModel, least: 2, most: 2, typ: types.Float64, description: "how alike two texts are: the cosine of their embeddings, -1 to 1", plan: func(resolve resolver, args []any) (job, error) {
		a, okA, err := textOf(args[0])
		if err != nil {
			return null, err
		}
		b, okB, err := textOf(args[1])
		if err != nil || !okA || !okB {
			return null, err
		}
		m, err := resolve(encoderModel)
		if err != nil {
			return null, err
		}
		t := task{kind: taskEmbed, model: m.ID}
		return job{needs: []need{{t, a}, {t, b}}, result: func(found []any) (any, error) {
			x, y := found[0].([]float32), found[1].([]float32)
			sum := 0.0
			for i := range min(len(x), len(y)) {
				sum += float64(x[i]) * float64(y[i])
			}
			return sum, nil
		}}, nil
	}}
}

// textSpec is a function of a text that needs no model.
func textSpec(name, description string, f func(string) []string) *spec {
	return &spec{name: name, least: 1, most: 1, typ: types.JSON, description: description, plan: func(_ resolver, args []any) (job, error) {
		text, ok, err := textOf(args[0])
		if err != nil || !ok {
			return null, err
		}
		return job{result: func([]any) (any, error) { return jsonArray(f(text)), nil }}, nil
	}}
}

// numberOf reads a number in whichever form SQL has it.
func numberOf(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case float32:
		return float64(v), nil
	case decimal.Decimal:
		f, _ := v.Float64()
		return f, nil
	case string:
		return strconv.ParseFloat(v, 64)
	}
	n, _, err := types.Float64.Convert(sql.NewEmptyContext(), v)
	if err != nil {
		return 0, err
	}
	f, ok := n.(float64)
	if !ok {
		return 0, fmt.Errorf("no number: %v", v)
	}
	return f, nil
}
