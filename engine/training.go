package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/models"
	"smelt/models/train"
	"smelt/queries"
	"smelt/queries/cron"
	"smelt/queries/ddl"
	"smelt/queries/training"
	"smelt/tables"
)

// trainingColumns are those of CREATE MODEL ... AS SELECT and of ALTER MODEL ... RETRAIN: a row for each class, and a last one
// without a class for all of them, whose precision, recall and f1 are means over the classes.
var trainingColumns = sql.Schema{
	{Name: "class", Type: stringType, Nullable: true},
	{Name: "precision", Type: types.Float64}, {Name: "recall", Type: types.Float64}, {Name: "f1", Type: types.Float64},
	{Name: "support", Type: types.Int64},
	{Name: "threshold", Type: types.Float64, Nullable: true},
	{Name: "accuracy", Type: types.Float64, Nullable: true}, {Name: "log_loss", Type: types.Float64, Nullable: true}, {Name: "ece", Type: types.Float64, Nullable: true},
	{Name: "temperature", Type: types.Float64, Nullable: true}, {Name: "c", Type: types.Float64, Nullable: true}, {Name: "version", Type: types.Int64, Nullable: true},
}

// trains reports whether a statement has a model learn.
func trains(s *ddl.OnModel) bool { return s.Verb == "RETRAIN" || s.Verb == "CREATE" && s.Query != "" }

// trainModel runs CREATE MODEL ... AS SELECT and ALTER MODEL ... RETRAIN.
func (e *sqlEngine) trainModel(ctx *sql.Context, s *ddl.OnModel) (sql.RowIter, error) {
	work, done := untimed(ctx)
	defer done()
	l := lessonOf(s, e.database(ctx, ""))
	l.User = ctx.Session.Client().User
	if s.Verb == "RETRAIN" {
		m, err := e.model(s.Name)
		if err != nil {
			return nil, err
		}
		if m.Training != nil {
			l.Definition = *m.Training
		}
	}
	info, report, err := e.train(work, l)
	if err != nil || report == nil {
		return sql.RowsToRowIter(), err
	}
	if l.Skipped > 0 {
		ctx.Warn(errUserWarning, "Model '%s': %d rows without a text or a label were left out", info.Name, l.Skipped)
	}
	if few := report.SmallestClasses; len(few) > 0 {
		ctx.Warn(errUserWarning, "Model '%s': fewer than %d rows have the label %s: its scores are mostly chance", info.Name, train.FewRows, strings.Join(few, ", "))
	}
	e.cautionModel(ctx, info.Name)
	return sql.RowsToRowIter(trainingRows(info, report)...), nil
}

// lessonOf is what a CREATE statement has a model learn; its names are looked up in the database.
func lessonOf(s *ddl.OnModel, database string) *train.Lesson {
	l := &train.Lesson{Definition: train.Definition{Query: s.Query, Database: database, Options: maps.Clone(s.Options)},
		Name: s.Name, Comment: s.Comment, Replace: s.OrReplace, IfNotExists: s.IfNotExists, Retrain: s.Verb == "RETRAIN"}
	if s.Schedule != nil {
		l.Schedule = s.Schedule.Text
	}
	return l
}

// trainingStatement is the statement by which a model learns.
func trainingStatement(m models.Model) string {
	s := ddl.OnModel{Verb: "CREATE", Name: m.Name, Options: m.Training.Options, Comment: m.Comment, Query: m.Training.Query}
	if m.Training.Schedule != "" {
		s.Schedule = &cron.Schedule{Text: m.Training.Schedule}
	}
	return s.Print()
}

// describeTraining adds what DESCRIBE MODEL says of one that learns.
func describeTraining(m models.Model, v models.Info, add func(field, value string)) {
	if m.Training != nil {
		add("training", m.Training.Query)
		add("schedule", m.Training.Schedule)
	}
	if v.Scores == nil {
		return
	}
	add("encoder", v.Encoder)
	add("rows", strconv.Itoa(v.Scores.Rows))
	score := func(name string, value float64) { add(name, strconv.FormatFloat(round4(value), 'f', -1, 64)) }
	score("accuracy", v.Scores.Accuracy)
	score("macro_f1", v.Scores.MacroF1)
	score("log_loss", v.Scores.LogLoss)
	score("ece", v.Scores.ECE)
}

// round4 leaves as many digits as scores of some hundred rows have.
func round4(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// train has a model learn from the rows of its SELECT; report is nil where there was nothing to do.
func (e *sqlEngine) train(ctx context.Context, l *train.Lesson) (models.Info, *train.Report, error) {
	if left, err := e.config.Models.MayTrain(l); left || err != nil {
		return models.Info{}, nil, err
	}
	if err := e.readLesson(ctx, l); err != nil {
		return models.Info{}, nil, fmt.Errorf("read what model %q is to learn from: %w", l.Name, err)
	}
	info, report, _, err := e.config.Models.Train(ctx, l)
	if err == nil {
		e.modelsChanged()
	}
	return info, report, err
}

// retrain has a model learn again by the definition that it has.
func (e *sqlEngine) retrain(ctx context.Context, name string) error {
	m, err := e.model(name)
	if err != nil || m.Training == nil {
		return err // another statement took the training away
	}
	_, _, err = e.train(ctx, &train.Lesson{Definition: *m.Training, Name: name, User: trainer, Retrain: true})
	if err != nil {
		return inward(ctx, e.log, err)
	}
	return nil
}

// trainer stands in the registry for who made a version of a model that learned on its own.
const trainer = "smelt"

// declare gives a model of a pipeline its name; it learns when its rows are there.
func (e *sqlEngine) declare(ctx context.Context, m *ddl.OnModel, database string, columns []string) (undo func() error, err error) {
	l := lessonOf(m, database)
	l.User = trainer
	if columns != nil {
		if _, _, err := l.Columns(columns); err != nil {
			return nil, inward(ctx, e.log, err)
		}
	}
	changed, undo, err := e.config.Models.Declare(ctx, l)
	if err != nil {
		return nil, inward(ctx, e.log, err)
	}
	if changed {
		e.modelsChanged()
	}
	return undo, nil
}

// modelsChanged has flows and trainings look whether a change of the registry concerns them.
func (e *sqlEngine) modelsChanged() {
	if e.config.Flows != nil {
		e.config.Flows.ModelsChanged()
	}
	if e.config.Wake != nil {
		e.config.Wake()
	}
}

// learners lists the models that learn from the rows of a SELECT.
func (e *Engine) learners() []training.Model {
	var list []training.Model
	for _, m := range e.models.Catalog() {
		if m.Training == nil {
			continue
		}
		one := training.Model{Name: m.Name, Query: m.Training.Query, Database: m.Training.Database}
		var err error
		if one.Definition, err = m.Training.Digest(); err != nil {
			e.log.Error("read how a model learns", "model", m.Name, "err", err)
			continue
		}
		if s, err := ddl.Parse(trainingStatement(m)); err == nil {
			one.Schedule = s.(*ddl.OnModel).Schedule
		}
		if m.Learned != nil {
			one.Fresh, one.Trained, one.Sources = m.Learned.Digest == one.Definition, m.Learned.At, m.Learned.Sources
		}
		if encoder := versionOf(m, m.Current).Encoder; encoder != "" && one.Schedule != nil {
			if _, err := e.models.Resolve(encoder); err != nil {
				one.Fresh = false // this program ships another encoder
			}
		}
		list = append(list, one)
	}
	return list
}

// readLesson runs the SELECT of a training. What its tables become meanwhile is learned another time.
func (e *sqlEngine) readLesson(ctx context.Context, l *train.Lesson) error {
	var unknown error
	if e.config.Flows != nil {
		var sources []*tables.Table
		sources, unknown = e.config.Flows.SourcesOf(l.Query, l.Database)
		l.Sources = versionsOf(sources)
	}
	result, err := e.query(ctx, queries.Query{Database: l.Database, SQL: l.Query})
	if err != nil {
		return err // in the words of SQL
	}
	defer result.Close()
	if unknown != nil {
		return unknown
	}
	schema := result.Schema()
	text, label, err := l.Columns(schema.Names())
	if err != nil {
		return err
	}
	for _, at := range []int{text, label} {
		if c := schema[at]; !spoken(c.Type.Kind) {
			return mysqlError(errWrongArguments, "Column '%s' is neither text nor a whole number, as a text or a label is: write CAST(%s AS CHAR)", c.Name, c.Name)
		}
	}
	return tables.EachBatch(ctx, result, func(b *tables.Batch) error {
		for i := range b.Len {
			null := b.Columns[text].Null(i) || b.Columns[label].Null(i)
			if err := l.Add(saidBy(b, text, i), saidBy(b, label, i), null); err != nil {
				return err
			}
		}
		return nil
	})
}

func versionsOf(sources []*tables.Table) map[string]int64 {
	versions := map[string]int64{}
	for _, t := range sources {
		now := t.Snapshot()
		versions[now.ID()] = now.Version()
	}
	return versions
}

// spoken reports whether values of a kind are texts or labels.
func spoken(kind tables.Kind) bool {
	switch kind {
	case tables.String, tables.JSON, tables.Boolean, tables.Byte, tables.Short, tables.Integer, tables.Long:
		return true
	}
	return false
}

// saidBy returns a value as text, "" for NULL. Of JSON a string is what it says.
func saidBy(b *tables.Batch, column, row int) string {
	c := &b.Columns[column]
	if c.Null(row) {
		return ""
	}
	switch b.Schema[column].Type.Kind {
	case tables.String:
		return c.Strings[row]
	case tables.JSON:
		var text string
		if json.Unmarshal([]byte(c.Strings[row]), &text) == nil {
			return text
		}
		return c.Strings[row]
	case tables.Boolean:
		return strconv.Itoa(int(int8Of(c.Bools[row])))
	}
	return strconv.FormatInt(c.Ints[row], 10)
}

// trainingRows are the scores of a training by its cross-validation.
func trainingRows(info models.Info, r *train.Report) []sql.Row {
	var rows []sql.Row
	for i, label := range info.Labels {
		s, _ := r.Matrix.Class(label)
		var threshold any
		if info.MultiLabel {
			threshold = round4(r.Thresholds[i])
		}
		rows = append(rows, sql.NewRow(label, round4(s.Precision), round4(s.Recall), round4(s.F1), s.Support, threshold, nil, nil, nil, nil, nil, nil))
	}
	s, all := r.Macro(), r.Summary(0)
	return append(rows, sql.NewRow(nil, round4(s.Precision), round4(s.Recall), round4(s.F1), int64(all.Rows), nil,
		round4(all.Accuracy), round4(all.LogLoss), round4(all.ECE), round4(all.Temperature), all.C, int64(info.Version)))
}
