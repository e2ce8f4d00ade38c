package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/google/uuid"

	"smelt/engine/runs"
	"smelt/models"
	"smelt/models/metrics"
	"smelt/queries"
	"smelt/queries/ddl"
	"smelt/tables"
)

// Limits of one EVALUATE. Its time is that of a statement: what was scored until then is in the ledger, and a second try
// goes on there.
const (
	// maxEvaluatedRows bounds the rows: the scores of fewer say the same to four digits.
	maxEvaluatedRows = 10_000_000
	// maxParameterBytes bounds what a run keeps of a statement.
	maxParameterBytes = 64 << 10
)

// Files of a run.
const (
	matrixPicture = "confusion_matrix.png"
	matrixFile    = "confusion_matrix.json"
)

// evaluation is one EVALUATE on its way.
type evaluation struct {
	statement *ddl.OnModel
	model     models.Info
	average   metrics.Average
	labels    map[string]bool // that the model says

	matrix        metrics.Matrix
	probabilities metrics.Probabilities
	sets          bool             // the labels are JSON arrays, and a row has any number
	rows          int64            // all of them
	unlabelled    int64            // rows without a label
	unpredicted   int64            // rows with a label and without a prediction
	unknown       map[string]int64 // labels that the model never says, and how many rows have them
	read          []tableVersion
}

// onEvaluate returns the plan of EVALUATE MODEL.
func (e *sqlEngine) onEvaluate(s *ddl.OnModel) *node {
	return &node{name: "Evaluate model " + s.Name, schema: evaluationColumns, run: func(ctx *sql.Context) (sql.RowIter, error) {
		if e.config.Models == nil || e.config.Runs == nil {
			return nil, mysqlError(errNotSupportedYet, "This server has no registry of models")
		}
		run, err := e.evaluate(ctx, s)
		if err != nil {
			return nil, err
		}
		values := make(map[string]float64, len(run.Metrics))
		for _, m := range run.Metrics {
			values[m.Key] = m.Value
		}
		return sql.RowsToRowIter(evaluationRow(run.ID, run.Name, run.Model, int64(run.Version), run.Params["average"], values)), nil
	}}
}

// evaluate judges and keeps the run.
func (e *sqlEngine) evaluate(ctx *sql.Context, s *ddl.OnModel) (runs.Run, error) {
	v := &evaluation{statement: s, average: metrics.Weighted, labels: map[string]bool{}, unknown: map[string]int64{}}
	run := runs.Run{Name: s.Evaluation.Run, Started: time.Now().UTC(), User: ctx.Session.Client().User}
	var err error
	if s.Evaluation.Average != "" {
		if v.average, err = metrics.ParseAverage(s.Evaluation.Average); err != nil {
			return run, err
		}
	}
	if v.model, err = e.evaluatedModel(s); err != nil {
		return run, err
	}
	for _, label := range v.model.Labels {
		v.labels[label] = true
	}
	if err = e.judge(ctx, v); err != nil {
		return run, err
	}
	if err = v.complete(ctx); err != nil {
		return run, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return run, fmt.Errorf("name a run: %w", err)
	}
	run.ID, run.Model, run.Version, run.Digest = id.String(), v.model.Name, v.model.Version, v.model.Digest
	run.Params, run.Metrics = v.params(), v.metrics()
	if run.Artifacts, err = v.artifacts(); err != nil {
		return run, err
	}
	run.Ended = time.Now().UTC()
	return run, e.config.Runs.Add(ctx, run)
}

// evaluatedModel finds the version that is meant: the one that the function of the model uses where none is named.
func (e *sqlEngine) evaluatedModel(s *ddl.OnModel) (models.Info, error) {
	ref := "models:/" + s.Name
	switch {
	case s.Version > 0:
		ref += "/" + strconv.FormatInt(s.Version, 10)
	case s.Alias != "":
		ref += "@" + s.Alias
	default:
		m, err := e.model(s.Name)
		if err != nil {
			return models.Info{}, err
		}
		ref += "/" + strconv.Itoa(m.Current)
	}
	info, err := e.config.Models.Resolve(ref)
	if err == nil && info.Kind != models.Classifier {
		err = mysqlError(errWrongArguments, "Model '%s' is an encoder: only classifiers have labels to be judged by", info.Name)
	}
	return info, err
}

// judge asks the model for each labelled row and counts what it says.
func (e *sqlEngine) judge(ctx *sql.Context, v *evaluation) error {
	// A row without a label needs no prediction.
	query := queries.Query{Database: e.database(ctx, ""), SQL: fmt.Sprintf("SELECT CAST((%s\n) AS CHAR) AS truth, predict('%s', IF((%s\n) IS NULL, NULL, (%s\n))) AS predicted FROM %s",
		v.statement.Evaluation.Label, v.model.ID, v.statement.Evaluation.Label, v.statement.Evaluation.Asked(), v.statement.Evaluation.From())}
	work, cancel := context.WithCancel(withStatement(ctx, query.SQL, nil))
	defer cancel()
	result, err := e.start(work, query, cancel)
	if err != nil {
		err = inward(work, e.log, err)
		if v.statement.Evaluation.Input == "" && strings.Contains(err.Error(), "column 'text'") {
			return mysqlError(errUnknownColumn, "%s: INPUT says what the model is asked, where that is not the column text", err)
		}
		return err
	}
	defer result.Close()
	err = tables.EachBatch(work, result, func(b *tables.Batch) error {
		if v.rows += int64(b.Len); v.rows > maxEvaluatedRows {
			return mysqlError(errResultTooBig, "EVALUATE reads %d rows at most: give it a SELECT of some of them", maxEvaluatedRows)
		}
		for i := range b.Len {
			if err := v.row(b, i); err != nil {
				return err
			}
		}
		return nil
	})
	v.read = statementOf(work).versions()
	if r, ok := result.(*rowReader); ok {
		for _, w := range r.ctx.Session.Warnings() {
			ctx.Warn(w.Code, "%s", w.Message) // of texts that were cut
		}
	}
	return err
}

// answer is what predict() gives of a classifier.
type answer struct {
	Label  string             `json:"label"`
	Score  float64            `json:"score"`
	Scores map[string]float64 `json:"scores"`
	Labels []string           `json:"labels"` // of one with several labels a text
}

// row counts one row.
func (v *evaluation) row(b *tables.Batch, i int) error {
	if b.Columns[0].Null(i) {
		v.unlabelled++
		return nil
	}
	truth := b.Columns[0].Strings[i]
	var p answer
	if !b.Columns[1].Null(i) {
		if err := json.Unmarshal([]byte(b.Columns[1].Strings[i]), &p); err != nil {
			return fmt.Errorf("read the prediction %.40q: %w", b.Columns[1].Strings[i], err)
		}
	}
	set := strings.HasPrefix(truth, "[")
	first := v.matrix.Rows()+v.unpredicted == 0
	switch {
	case set && !v.model.MultiLabel:
		return mysqlError(errWrongArguments, "Label '%.60s' is a list, and model '%s' gives a text one label", truth, v.model.Name)
	case first:
		v.sets = set
	case set != v.sets:
		return mysqlError(errWrongArguments, "Label '%.60s': some labels are JSON arrays and some are not", truth)
	}
	if b.Columns[1].Null(i) || !set && p.Label == "" { // it abstains, or the text is NULL, or it gave no answer
		v.unpredicted++
		return nil
	}
	if set {
		return v.setRow(truth, p)
	}
	if !v.labels[truth] {
		v.unknown[truth]++
	}
	if !v.model.MultiLabel {
		v.probabilities.Add(p.Scores[truth], p.Score, truth == p.Label)
	}
	return v.counted(v.matrix.Add(truth, p.Label))
}

// setRow counts a row that may have several labels.
func (v *evaluation) setRow(truth string, p answer) error {
	var labels []string
	if err := json.Unmarshal([]byte(truth), &labels); err != nil {
		return mysqlError(errWrongArguments, "Label '%.60s' is no JSON array of texts: %s", truth, err)
	}
	slices.Sort(labels)
	labels = slices.Compact(labels)
	for _, label := range labels {
		if !v.labels[label] {
			v.unknown[label]++
		}
	}
	return v.counted(v.matrix.AddSets(labels, p.Labels))
}

// counted gives an error of the matrix, which has a limit of labels, its number.
func (v *evaluation) counted(err error) error {
	if err != nil {
		return mysqlError(errWrongArguments, "%s: is LABEL %s the right column?", err, v.statement.Evaluation.Label)
	}
	return nil
}

// complete refuses a judgement that says nothing, and warns of rows that do not count.
func (v *evaluation) complete(ctx *sql.Context) error {
	known := strings.Join(v.model.Labels, ", ")
	switch {
	case v.matrix.Rows() == 0:
		return mysqlError(errWrongArguments, "Nothing to judge model '%s' by: of %d rows %d have no label, and %d with a label have no prediction", v.model.Name, v.rows, v.unlabelled, v.unpredicted)
	case len(v.unknown) > 0 && !slices.ContainsFunc(v.matrix.Labels(), func(l string) bool { return v.labels[l] && v.hasTruth(l) }):
		return mysqlError(errWrongArguments, "Model '%s' says none of the labels, such as '%.60s': it says %s; a CASE behind LABEL may translate", v.model.Name, v.unknownLabels()[0], known)
	}
	if v.unlabelled > 0 {
		ctx.Warn(errUserWarning, "%d of %d rows have no label and do not count", v.unlabelled, v.rows)
	}
	if v.unpredicted > 0 {
		ctx.Warn(errUserWarning, "%d of %d rows have a label and no prediction, and do not count", v.unpredicted, v.rows)
	}
	if n := len(v.unknown); n > 0 {
		names := v.unknownLabels()
		ctx.Warn(errUserWarning, "Model '%s' never says %d of the labels: '%s'; it says %s", v.model.Name, n, strings.Join(names[:min(n, 5)], "', '"), known)
	}
	return nil
}

// hasTruth reports whether a row has the label.
func (v *evaluation) hasTruth(label string) bool {
	s, _ := v.matrix.Class(label)
	return s.Support > 0
}

func (v *evaluation) unknownLabels() []string { return slices.Sorted(maps.Keys(v.unknown)) }

// params are what the judgement was made with.
func (v *evaluation) params() map[string]string {
	s := v.statement.Evaluation
	again, pinned := *v.statement, *s
	again.Version, again.Alias, again.Evaluation = int64(v.model.Version), "", &pinned
	var names, versions []string
	for _, t := range v.read {
		names, versions = append(names, t.table), append(versions, strconv.FormatInt(t.version, 10))
	}
	if s.Table != "" && s.AsOf == "" && len(v.read) == 1 {
		pinned.AsOf = "FOR VERSION AS OF " + versions[0]
	}
	out := map[string]string{
		"model": v.model.Name, "model_version": strconv.Itoa(v.model.Version), "model_digest": v.model.Digest,
		"data_table": strings.Join(names, ", "), "data_version": strings.Join(versions, ", "),
		"label": s.Label, "input": s.Asked(), "average": string(v.average), "statement": s.Text, "rerun": again.Print(),
	}
	if alias := v.statement.Alias; alias != "" {
		out["model_alias"] = alias
	}
	if len(v.unknown) > 0 {
		out["unknown_labels"] = strings.Join(v.unknownLabels(), ", ")
	}
	for key, value := range out {
		if len(value) > maxParameterBytes {
			out[key] = strings.ToValidUTF8(value[:maxParameterBytes], "") + "..."
		}
	}
	return out
}

// metrics are the numbers of the judgement: those of the statement's average, of each average, and of each class.
func (v *evaluation) metrics() []runs.Metric {
	var out []runs.Metric
	add := func(key string, value float64) { out = append(out, runs.Metric{Key: key, Value: value}) }
	add("rows", float64(v.matrix.Rows()))
	add("without_label", float64(v.unlabelled))
	add("without_prediction", float64(v.unpredicted))
	add("accuracy", v.matrix.Accuracy())
	for _, a := range []metrics.Average{"", metrics.Weighted, metrics.Macro, metrics.Micro} {
		prefix, of := string(a)+"_", a
		if a == "" {
			prefix, of = "", v.average
		}
		s := v.matrix.Average(of)
		add(prefix+"precision", s.Precision)
		add(prefix+"recall", s.Recall)
		add(prefix+"f1", s.F1)
	}
	if v.probabilities.Rows() > 0 && len(v.unknown) == 0 {
		add("log_loss", v.probabilities.LogLoss())
		add("ece", v.probabilities.ECE())
	}
	classes := v.matrix.Classes()
	for i, label := range v.matrix.Labels() {
		class := func(key string, value float64) {
			out = append(out, runs.Metric{Key: key + "/" + label, Label: label, Value: value})
		}
		class("precision", classes[i].Precision)
		class("recall", classes[i].Recall)
		class("f1", classes[i].F1)
		class("support", float64(classes[i].Support))
	}
	return out
}

// artifacts are the confusion matrix as a file to read and as a picture. Rows with several labels have none.
func (v *evaluation) artifacts() ([]runs.Artifact, error) {
	if v.sets {
		return nil, nil
	}
	labels := v.matrix.Labels()
	counts := make([][]int64, len(labels))
	for i, truth := range labels {
		for _, predicted := range labels {
			counts[i] = append(counts[i], v.matrix.Count(truth, predicted))
		}
	}
	text, err := json.Marshal(matrixJSON{Labels: labels, Matrix: counts})
	if err != nil {
		return nil, fmt.Errorf("encode confusion matrix: %w", err)
	}
	out := []runs.Artifact{{Path: matrixFile, MediaType: "application/json", Content: text}}
	if len(labels) > runs.MaxPictureLabels {
		return out, nil
	}
	picture, err := runs.Picture(runs.Confusion{
		Title: fmt.Sprintf("%s, version %d", v.model.Name, v.model.Version), Labels: labels, Count: v.matrix.Count,
		Subtitle: fmt.Sprintf("%d rows · accuracy %.4f · %s F1 %.4f", v.matrix.Rows(), v.matrix.Accuracy(), v.average, v.matrix.Average(v.average).F1),
	})
	return append(out, runs.Artifact{Path: matrixPicture, MediaType: "image/png", Content: picture}), err
}

// matrixJSON is a confusion matrix as the aggregate confusion_matrix() gives it: a row for each truth.
type matrixJSON struct {
	Labels []string  `json:"labels"`
	Matrix [][]int64 `json:"matrix"`
}
