package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"smelt/engine/status"
	"smelt/models"
	"smelt/queries"
	"smelt/tables"
)

// servedText is the relation of a request's texts, as its SELECT names it.
const servedText = "smelt.invocation"

var servedSchema = tables.Schema{{Name: "text", Type: textType}}

// predict is the status.PredictFunc of the engine. The texts go through predict() of a SELECT, so that an answer is that of
// SQL, each text is scored once, and the ledger remembers it.
func (e *Engine) predict(ctx context.Context, asked status.Invocation) ([]any, error) {
	model, err := e.served(asked)
	if err != nil {
		return nil, err
	}
	limit := e.cfg.StatementTimeout
	if limit == 0 {
		limit = DefaultStatementTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	texts := tables.NewBatch(servedSchema, len(asked.Texts))
	for _, text := range asked.Texts {
		if text == nil {
			texts.AppendRow(nil)
		} else {
			texts.AppendRow(*text)
		}
	}
	result, err := e.sql.query(ctx, queries.Query{
		Database: "smelt", SQL: "SELECT predict('" + model.ID + "', text) AS p FROM " + servedText,
		Tables: map[string]tables.Relation{servedText: tables.FromBatches(servedSchema, texts)},
	})
	if err != nil {
		return nil, unserved(ctx, model, err)
	}
	defer result.Close()
	out := make([]any, 0, len(asked.Texts))
	err = tables.EachBatch(ctx, result, func(b *tables.Batch) error {
		for i := range b.Len {
			if b.Columns[0].Null(i) {
				out = append(out, nil)
				continue
			}
			value, err := servedValue(model, asked.Output, b.Columns[0].Strings[i])
			if err != nil {
				return err
			}
			out = append(out, value)
		}
		return nil
	})
	if err != nil {
		return nil, unserved(ctx, model, err)
	}
	return out, nil
}

// unserved says why a model gave no answers.
func unserved(ctx context.Context, model models.Info, err error) error {
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), errTimeout) {
		return refuseHTTP(http.StatusGatewayTimeout, "ask model %q: it took longer than a statement may", model.Name)
	}
	return fmt.Errorf("ask model %q: %w", model.Name, err)
}

// served finds the version that a request means.
func (e *Engine) served(asked status.Invocation) (models.Info, error) {
	ref := asked.Model
	if ref == "" {
		ref = e.cfg.ModelURI
	}
	if ref == "" {
		return models.Info{}, refuseHTTP(http.StatusBadRequest, "no model named: POST to /models/{name}/invocations or /invocations?model=name, or start the server with --model-uri")
	}
	if !strings.HasPrefix(strings.ToLower(ref), "models:/") {
		ref = "models:/" + ref
	}
	model, err := e.models.Resolve(ref)
	if err != nil {
		return model, refuseHTTP(http.StatusNotFound, "%s", err)
	}
	if asked.Output != "" && model.Kind != models.Classifier {
		return model, refuseHTTP(http.StatusBadRequest, "params: output = %q: the kind of %q is %s, which gives one thing only", asked.Output, model.Name, model.Kind)
	}
	return model, nil
}

// servedValue makes an answer of what predict() gave.
func servedValue(model models.Info, output, prediction string) (any, error) {
	if model.Kind != models.Classifier || output == status.OutputJSON {
		return json.RawMessage(prediction), nil
	}
	var one struct {
		Label string   `json:"label"`
		Score *float64 `json:"score"` // null where the model gives none
	}
	if err := json.Unmarshal([]byte(prediction), &one); err != nil {
		return nil, fmt.Errorf("read the prediction %.40q: %w", prediction, err)
	}
	switch output {
	case status.OutputLabel:
		return one.Label, nil
	case status.OutputScore:
		return one.Score, nil
	}
	return one, nil
}
