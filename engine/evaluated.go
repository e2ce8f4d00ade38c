package engine

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/models"
	"smelt/queries"
	"smelt/queries/lexer"
	"smelt/tables"
)

// evaluationMetrics are the columns of an evaluation that are metrics of its run.
var evaluationMetrics = []string{"accuracy", "precision", "recall", "f1", "macro_precision", "macro_recall", "macro_f1", "micro_f1", "weighted_f1", "log_loss", "ece"}

// evaluationColumns are those of EVALUATE and of evaluation().
var evaluationColumns = func() sql.Schema {
	out := sql.Schema{
		{Name: "run_id", Type: stringType}, {Name: "run_name", Type: stringType, Nullable: true}, {Name: "model", Type: stringType}, {Name: "version", Type: types.Int64},
		{Name: "rows", Type: types.Int64}, {Name: "without_label", Type: types.Int64}, {Name: "without_prediction", Type: types.Int64}, {Name: "average", Type: stringType},
	}
	for _, name := range evaluationMetrics {
		out = append(out, &sql.Column{Name: name, Type: types.Float64, Nullable: true})
	}
	return out
}()

// matrixColumns are those of the table function confusion_matrix().
var matrixColumns = sql.Schema{
	{Name: "run_id", Type: stringType}, {Name: "truth", Type: stringType}, {Name: "predicted", Type: stringType}, {Name: "rows", Type: types.Int64},
	{Name: "share", Type: types.Float64, Nullable: true},
}

// evaluationRow is one row of evaluationColumns; metrics that a run has not are NULL.
func evaluationRow(id, name, model string, version int64, average string, metrics map[string]float64) sql.Row {
	row := sql.NewRow(id, orNull(name), model, version, int64(metrics["rows"]), int64(metrics["without_label"]), int64(metrics["without_prediction"]), average)
	for _, key := range evaluationMetrics {
		if value, ok := metrics[key]; ok {
			row = append(row, value)
		} else {
			row = append(row, nil)
		}
	}
	return row
}

// tableFunction is a function behind FROM. Its arguments are constants; they are known when it runs, because a prepared
// statement gets them late.
type tableFunction struct {
	name        string
	least, most int // number of arguments
	schema      sql.Schema
	rows        func(ctx *sql.Context, args []any) ([]sql.Row, error)

	database sql.Database
	args     []sql.Expression
}

var (
	_ sql.TableFunction = (*tableFunction)(nil)
	_ sql.ExecSourceRel = (*tableFunction)(nil)
)

// tableFunctions are the functions behind FROM by lower-case name.
func (e *sqlEngine) tableFunctions() map[string]*tableFunction {
	return map[string]*tableFunction{
		"evaluation":       {name: "evaluation", least: 1, most: 3, schema: evaluationColumns, rows: e.evaluationOf},
		"confusion_matrix": {name: "confusion_matrix", least: 1, most: 1, schema: matrixColumns, rows: e.confusionOf},
	}
}

// NewInstance implements sql.TableFunction.
func (f *tableFunction) NewInstance(_ *sql.Context, database sql.Database, args []sql.Expression) (sql.Node, error) {
	if len(args) < f.least || len(args) > f.most {
		return nil, sql.ErrInvalidArgumentNumber.New(f.name, fmt.Sprintf("%d to %d", f.least, f.most), len(args))
	}
	one := *f
	one.database, one.args = database, args
	return &one, nil
}

// Name implements sql.Nameable.
func (f *tableFunction) Name() string { return f.name }

// String implements sql.Node.
func (f *tableFunction) String() string { return f.name + "()" }

// Resolved implements sql.Node.
func (f *tableFunction) Resolved() bool {
	for _, a := range f.args {
		if !a.Resolved() {
			return false
		}
	}
	return true
}

// Schema implements sql.Node.
func (f *tableFunction) Schema(*sql.Context) sql.Schema {
	out := f.schema.Copy()
	for _, c := range out {
		c.Source = f.name
	}
	return out
}

// IsReadOnly implements sql.Node.
func (f *tableFunction) IsReadOnly() bool { return true }

// Children implements sql.Node.
func (f *tableFunction) Children() []sql.Node { return nil }

// WithChildren implements sql.Node.
func (f *tableFunction) WithChildren(_ *sql.Context, children ...sql.Node) (sql.Node, error) {
	if len(children) > 0 {
		return nil, sql.ErrInvalidChildrenNumber.New(f, len(children), 0)
	}
	return f, nil
}

// Expressions implements sql.Expressioner.
func (f *tableFunction) Expressions() []sql.Expression { return f.args }

// WithExpressions implements sql.Expressioner.
func (f *tableFunction) WithExpressions(_ *sql.Context, args ...sql.Expression) (sql.Node, error) {
	one := *f
	one.args = args
	return &one, nil
}

// Database implements sql.Databaser.
func (f *tableFunction) Database() sql.Database { return f.database }

// WithDatabase implements sql.Databaser.
func (f *tableFunction) WithDatabase(database sql.Database) (sql.Node, error) {
	one := *f
	one.database = database
	return &one, nil
}

// RowIter implements sql.ExecSourceRel.
func (f *tableFunction) RowIter(ctx *sql.Context, row sql.Row) (sql.RowIter, error) {
	args := make([]any, len(f.args))
	for i, a := range f.args {
		var err error
		if args[i], err = a.Eval(ctx, row); err != nil {
			return nil, err
		}
		if args[i] == nil {
			return nil, mysqlError(errWrongArguments, "Incorrect arguments to %s: NULL", f.name)
		}
	}
	rows, err := f.rows(ctx, args)
	if err != nil {
		return nil, edge(err)
	}
	return sql.RowsToRowIter(rows...), nil
}

// evaluationOf answers evaluation(model [, version or alias [, name of the run or of the table]]): the newest run in which
// that very version was judged, by digest, and no row where there is none.
func (e *sqlEngine) evaluationOf(ctx *sql.Context, args []any) ([]sql.Row, error) {
	if e.config.Models == nil || e.config.Runs == nil {
		return nil, mysqlError(errNotSupportedYet, "This server has no registry of models")
	}
	info, err := e.referredModel(args)
	if err != nil {
		return nil, err
	}
	where := ""
	if len(args) > 2 {
		named := fmt.Sprint(args[2])
		table := named
		if !strings.Contains(table, ".") {
			table = e.database(ctx, "") + "." + table
		}
		where = fmt.Sprintf(" AND (r.run_name = %s OR t.value = %s)", lexer.QuoteText(named), lexer.QuoteText(table))
	}
	found, err := e.systemRows(ctx, fmt.Sprintf("SELECT r.run_id, r.run_name, a.value FROM smelt.runs r JOIN smelt.params a ON a.run_id = r.run_id AND a.`key` = 'average' "+
		"JOIN smelt.params t ON t.run_id = r.run_id AND t.`key` = 'data_table' WHERE r.model = %s AND r.model_digest = %s AND r.model_version = %d%s ORDER BY r.end_time DESC, r.run_id LIMIT 1",
		lexer.QuoteText(info.Name), lexer.QuoteText(info.Digest), info.Version, where))
	if err != nil || found.Len == 0 {
		return nil, err
	}
	id := found.Columns[0].Strings[0]
	list, err := e.systemRows(ctx, "SELECT `key`, value FROM smelt.metrics WHERE run_id = "+lexer.QuoteText(id)+" AND label IS NULL")
	if err != nil {
		return nil, err
	}
	metrics := make(map[string]float64, list.Len)
	for i := range list.Len {
		metrics[list.Columns[0].Strings[i]] = list.Columns[1].Floats[i]
	}
	return []sql.Row{evaluationRow(id, textAt(found, 1), info.Name, int64(info.Version), textAt(found, 2), metrics)}, nil
}

// textAt is the text in the first row of a column, "" for NULL.
func textAt(b *tables.Batch, column int) string {
	if b.Columns[column].Null(0) {
		return ""
	}
	return b.Columns[column].Strings[0]
}

// referredModel is the version that evaluation() is asked for.
func (e *sqlEngine) referredModel(args []any) (models.Info, error) {
	m, err := e.model(fmt.Sprint(args[0]))
	if err != nil {
		return models.Info{}, err
	}
	ref := "models:/" + m.Name
	if len(args) < 2 {
		return e.config.Models.Resolve(ref + "/" + strconv.Itoa(m.Current))
	}
	asked := fmt.Sprint(args[1])
	if _, err := strconv.Atoi(asked); err == nil {
		return e.config.Models.Resolve(ref + "/" + asked)
	}
	return e.config.Models.Resolve(ref + "@" + asked)
}

// confusionOf answers confusion_matrix(run): a row for each pair of labels of a run, which is named by its id, or by the
// name that the newest one has.
func (e *sqlEngine) confusionOf(ctx *sql.Context, args []any) ([]sql.Row, error) {
	run := lexer.QuoteText(fmt.Sprint(args[0]))
	found, err := e.systemRows(ctx, "SELECT run_id FROM smelt.runs WHERE run_id = "+run+" OR run_name = "+run+" ORDER BY end_time DESC, run_id LIMIT 1")
	if err != nil {
		return nil, err
	}
	if found.Len == 0 {
		return nil, mysqlError(errWrongArguments, "There is no run %s: SELECT run_id, run_name FROM smelt.runs", run)
	}
	id := found.Columns[0].Strings[0]
	file, err := e.systemRows(ctx, "SELECT content FROM smelt.artifacts WHERE run_id = "+lexer.QuoteText(id)+" AND path = "+lexer.QuoteText(matrixFile))
	if err != nil {
		return nil, err
	}
	if file.Len == 0 {
		return nil, mysqlError(errWrongArguments, "Run %s has no confusion matrix: its rows have several labels each", run)
	}
	var m matrixJSON
	if err := json.Unmarshal([]byte(file.Columns[0].Strings[0]), &m); err != nil {
		return nil, fmt.Errorf("read confusion matrix of run %s: %w", id, err)
	}
	var rows []sql.Row
	for i, truth := range m.Labels {
		var of int64
		for _, n := range m.Matrix[i] {
			of += n
		}
		for j, predicted := range m.Labels {
			n := m.Matrix[i][j]
			share := any(nil)
			if of > 0 {
				share = float64(n) / float64(of)
			}
			rows = append(rows, sql.NewRow(id, truth, predicted, n, share))
		}
	}
	return rows, nil
}

// systemRows runs a small SELECT of our own within a statement.
func (e *sqlEngine) systemRows(ctx *sql.Context, text string) (*tables.Batch, error) {
	result, err := e.query(ctx, queries.Query{Database: systemDatabase, SQL: text})
	if err != nil {
		return nil, err
	}
	defer result.Close()
	out := tables.NewBatch(result.Schema(), 0)
	err = tables.EachBatch(ctx, result, func(b *tables.Batch) error { out.Append(b); return nil })
	return out, err
}
