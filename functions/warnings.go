package functions

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/dolthub/go-mysql-server/sql"

	"smelt/models"
)

// MySQL's numbers of our warnings.
const (
	warnTruncated = 1265 // WARN_DATA_TRUNCATED
	warnNoAnswer  = 1105 // ER_UNKNOWN_ERROR
)

// trouble is what a statement is to be warned of with one model. Its warnings grow with it.
type trouble struct {
	model           *models.Info
	truncated       int
	failed          int
	fault           error // of the first that failed
	cutting, losing *sql.Warning
}

// listening returns a context whose calls of models report to the statement.
func (c *statementCache) listening(ctx context.Context) context.Context {
	if c == nil {
		return ctx
	}
	return models.WithUsage(ctx, false, func(u models.Usage) {
		if u.Truncated+u.Failed == 0 {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		t := c.troubles[u.Model.ID]
		if t == nil {
			t = &trouble{model: u.Model}
			c.troubles[u.Model.ID] = t
		}
		t.truncated, t.failed = t.truncated+u.Truncated, t.failed+u.Failed
		if t.fault == nil {
			t.fault = u.Fault
		}
	})
}

// warn tells the client so far: one warning a model and kind, whose count grows. It is called on the statement's goroutine.
func (c *statementCache) warn(ctx *sql.Context) {
	if c == nil || ctx.Session == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(c.troubles)) {
		t := c.troubles[id]
		if t.truncated > 0 {
			t.cutting = warning(ctx, t.cutting, warnTruncated, fmt.Sprintf("Data truncated: %d of the texts had more tokens than the %d that model '%s' takes, and were cut",
				t.truncated, t.model.MaxTokens, t.model.Name))
		}
		if t.failed > 0 {
			t.losing = warning(ctx, t.losing, warnNoAnswer, fmt.Sprintf("Model '%s' gave no prediction for %d of the texts, which is NULL; the first: %v",
				t.model.Name, t.failed, t.fault))
		}
	}
}

// warning gives a warning the words, a new one if it is nil.
func warning(ctx *sql.Context, w *sql.Warning, code int, text string) *sql.Warning {
	if w == nil {
		w = &sql.Warning{Level: "Warning", Code: code}
		ctx.Session.Warn(w)
	}
	w.Message = text
	return w
}
