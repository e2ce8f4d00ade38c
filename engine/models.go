package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dolthub/go-mysql-server/sql/expression/function"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/engine/predictions"
	"smelt/models"
	"smelt/tables"
	"smelt/tables/vfs"
)

// modelDir is where a data directory keeps its models; the name is none that a database can have.
const modelDir = "_models"

// modelDisk is the models.Disk over a directory.
type modelDisk struct {
	fs  vfs.FS
	dir string
}

var _ models.Disk = modelDisk{}

func (d modelDisk) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

// Read implements models.Disk.
func (d modelDisk) Read(name string) ([]byte, error) { return d.fs.ReadFile(d.path(name)) }

// Write implements models.Disk.
func (d modelDisk) Write(name string, content []byte) error {
	path := d.path(name)
	if err := vfs.MakeDirs(d.fs, filepath.Dir(path)); err != nil {
		return err
	}
	return vfs.WriteFile(d.fs, path, content)
}

// Remove implements models.Disk.
func (d modelDisk) Remove(name string) error {
	if err := d.fs.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Names implements models.Disk.
func (d modelDisk) Names(dir string) ([]string, error) {
	names, err := d.fs.Names(d.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// taken reports whether a model cannot have a function of that name: there is one, or the MySQL parser reads the name as
// something else.
func (e *sqlEngine) taken(name string) bool {
	if _, ok := e.provider.Function(nil, name); ok {
		return true
	}
	for _, f := range function.BuiltIns {
		if strings.EqualFold(f.FunctionName(), name) {
			return true
		}
	}
	parsed, err := sqlparser.Parse("SELECT " + name + "('x')")
	if err != nil {
		return true
	}
	s, ok := parsed.(*sqlparser.Select)
	if !ok || len(s.SelectExprs) != 1 {
		return true
	}
	one, ok := s.SelectExprs[0].(*sqlparser.AliasedExpr)
	if !ok {
		return true
	}
	call, ok := one.Expr.(*sqlparser.FuncExpr)
	return !ok || !strings.EqualFold(call.Name.String(), name) || call.IsAggregate()
}

var modelsSchema = tables.Schema{
	{Name: "name", Type: textType, Comment: "also the name of the SQL function"},
	{Name: "kind", Type: textType, Comment: "classifier, encoder or generator"},
	{Name: "version", Type: longType, Comment: "that the function uses: the alias production, else the newest"},
	{Name: "labels", Type: jsonType},
	{Name: "multi_label", Type: boolType},
	{Name: "dimension", Type: longType, Comment: "length of an embedding"},
	{Name: "max_tokens", Type: longType, Comment: "longer texts are cut; NULL for a model elsewhere"},
	{Name: "license", Type: textType},
	{Name: "digest", Type: textType, Comment: "SHA-256 over graph, tokenizer and settings"},
	{Name: "versions", Type: longType, Comment: "how many there are"},
	{Name: "aliases", Type: jsonType, Comment: "alias: number of a version"},
	{Name: "comment", Type: textType},
	{Name: "training", Type: textType, Comment: "the SELECT that it learns from; NULL for one that is not trained here"},
	{Name: "schedule", Type: textType, Comment: "when it learns again; NULL for when somebody says so"},
	{Name: "trained", Type: timeType, Comment: "when it last learned, with or without another version, UTC"},
	{Name: "training_state", Type: textType, Comment: "learned, learning, waiting or retrying"},
	{Name: "training_reason", Type: textType, Comment: "what it waits for, or its last error"},
	{Name: "next_training", Type: timeType, Comment: "UTC; NULL for when somebody says so, or a table changes"},
}

func (e *Engine) modelsTable(context.Context) (tables.Relation, error) {
	b := tables.NewBatch(modelsSchema, 0)
	for _, m := range e.models.Catalog() {
		info := versionOf(m, m.Current)
		labels, err := encodedJSON(info.Labels)
		if err != nil {
			return nil, err
		}
		if len(info.Labels) == 0 {
			labels = ""
		}
		aliases, err := encodedJSON(m.Aliases)
		if err != nil {
			return nil, err
		}
		query, schedule, trained := trainingOf(m)
		next := e.training.Status(m.Name)
		b.AppendRow(m.Name, info.Kind, info.Version, orNull(labels), info.MultiLabel, info.Dimension, positive(info.MaxTokens), orNull(info.License), info.Digest,
			len(m.Versions), aliases, orNull(m.Comment), query, schedule, trained,
			orNull(next.State), orNull(next.Why), next.Next)
	}
	return tables.FromBatches(modelsSchema, b), nil
}

// versionOf returns a version of a model; the zero value if there is none.
func versionOf(m models.Model, number int) models.Info {
	for _, v := range m.Versions {
		if v.Version == number {
			return v
		}
	}
	info := models.Info{Name: m.Name}
	if m.Training != nil {
		info.Kind = models.Classifier // that has learned nothing yet
	}
	return info
}

// positive turns 0 into NULL.
func positive(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

func encodedJSON(v any) (string, error) {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // it is shown to people: labels such as "arts_&_culture"
	if err := e.Encode(v); err != nil {
		return "", fmt.Errorf("list models: %w", err)
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}

var modelVersionsSchema = tables.Schema{
	{Name: "name", Type: textType},
	{Name: "version", Type: longType},
	{Name: "current", Type: boolType, Comment: "the function of the model uses it"},
	{Name: "aliases", Type: textType, Comment: "that mean it"},
	{Name: "source", Type: textType, Comment: "where its files came from"},
	{Name: "options", Type: jsonType, Comment: "of the statement that made it"},
	{Name: "comment", Type: textType},
	{Name: "digest", Type: textType, Comment: "SHA-256 over graph, tokenizer and settings"},
	{Name: "bytes", Type: longType, Comment: "of its files"},
	{Name: "created", Type: timeType, Comment: "UTC; NULL for one that ships"},
	{Name: "created_by", Type: textType},
	{Name: "license", Type: textType},
	{Name: "commit", Type: textType, Comment: "of the repository that its files came from"},
	{Name: "encoder", Type: textType, Comment: "of a trained one: the version whose vectors it takes"},
	{Name: "training", Type: textType, Comment: "of a trained one: the SELECT that it learned from"},
	{Name: "training_rows", Type: longType},
	{Name: "scores", Type: jsonType, Comment: "of a trained one, on rows that it had not seen: accuracy, macro_f1, log_loss, ece and more"},
}

func (e *Engine) modelVersionsTable(context.Context) (tables.Relation, error) {
	b := tables.NewBatch(modelVersionsSchema, 0)
	for _, m := range e.models.Catalog() {
		for _, v := range m.Versions {
			options, err := encodedJSON(orEmpty(v.Options))
			if err != nil {
				return nil, err
			}
			rows, scores, err := scoresOf(v)
			if err != nil {
				return nil, err
			}
			b.AppendRow(m.Name, v.Version, v.Version == m.Current, orNull(aliasesOf(m, v.Version)), v.Source, options, orNull(v.Comment), v.Digest,
				v.Bytes, v.Created, orNull(v.User), orNull(v.License), orNull(v.Commit), orNull(v.Encoder), orNull(v.Query), rows, scores)
		}
	}
	return tables.FromBatches(modelVersionsSchema, b), nil
}

var modelSpendingSchema = tables.Schema{
	{Name: "name", Type: textType, Comment: "of a model that is elsewhere: provider = 'openai'"},
	{Name: "versions", Type: textType, Comment: "that share the digest; NULL where none is there now"},
	{Name: "digest", Type: textType},
	{Name: "requests", Type: longType, Comment: "all tries; after a crash up to 16 more than were sent"},
	{Name: "failed_requests", Type: longType, Comment: "without an answer"},
	{Name: "input_tokens", Type: longType, Comment: "as the server says, or the most that they may be"},
	{Name: "output_tokens", Type: longType},
	{Name: "cost", Type: floatType, Comment: "in the currency of the prices"},
	{Name: "max_cost", Type: floatType, Comment: "NULL for no limit"},
	{Name: "max_requests", Type: longType, Comment: "NULL for no limit"},
	{Name: "updated", Type: timeType, Comment: "end of the newest request, UTC"},
}

// modelSpendingTable shows what the models that are elsewhere have cost, dropped ones too.
func (e *Engine) modelSpendingTable(context.Context) (tables.Relation, error) {
	spent := e.models.Spending()
	versions, options := map[string][]string{}, map[string]map[string]string{}
	for _, m := range e.models.Catalog() {
		for _, v := range m.Versions {
			versions[v.ID], options[v.ID] = append(versions[v.ID], strconv.Itoa(v.Version)), v.Options // the newest says the limits
		}
	}
	b := tables.NewBatch(modelSpendingSchema, 0)
	for _, id := range slices.Sorted(maps.Keys(spent)) {
		name, digest, _ := strings.Cut(id, "#")
		s, limits := spent[id], [2]any{}
		if f, err := strconv.ParseFloat(options[id]["max_cost"], 64); err == nil && f > 0 {
			limits[0] = f
		}
		if n, err := strconv.Atoi(options[id]["max_requests"]); err == nil {
			limits[1] = n
		}
		b.AppendRow(name, orNull(strings.Join(versions[id], ", ")), digest, s.Requests, s.Failed, s.InputTokens, s.OutputTokens, math.Round(s.Cost*1e9)/1e9, limits[0], limits[1], s.Updated)
	}
	return tables.FromBatches(modelSpendingSchema, b), nil
}

func (e *Engine) predictionsTable(ctx context.Context) (tables.Relation, error) {
	if e.predictions == nil {
		return tables.FromBatches(predictions.Schema), nil
	}
	return e.predictions.Relation(ctx)
}

// trainingOf is what smelt.models says of how a model learns.
func trainingOf(m models.Model) (query, schedule, trained any) {
	if m.Training == nil {
		return nil, nil, nil
	}
	if m.Learned != nil {
		trained = m.Learned.At
	}
	return m.Training.Query, orNull(m.Training.Schedule), trained
}

// scoresOf is what smelt.model_versions says of how a version has learned.
func scoresOf(v models.Info) (rows, scores any, err error) {
	if v.Scores == nil {
		return nil, nil, nil
	}
	text, err := encodedJSON(v.Scores)
	return v.Scores.Rows, text, err
}

var modelHistorySchema = tables.Schema{
	{Name: "name", Type: textType},
	{Name: "timestamp", Type: timeType, Comment: "UTC"},
	{Name: "user", Type: textType},
	{Name: "operation", Type: textType},
	{Name: "parameters", Type: jsonType},
	{Name: "version", Type: longType, Comment: "in use after it"},
}

func (e *Engine) modelHistoryTable(context.Context) (tables.Relation, error) {
	b := tables.NewBatch(modelHistorySchema, 0)
	for _, c := range e.models.History() {
		parameters, err := encodedJSON(orEmpty(c.Parameters))
		if err != nil {
			return nil, err
		}
		b.AppendRow(c.Model, c.Time, orNull(c.User), c.Operation, parameters, c.Current)
	}
	return tables.FromBatches(modelHistorySchema, b), nil
}
