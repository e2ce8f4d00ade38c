package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/models"
	"smelt/queries"
	"smelt/queries/ddl"
)

// The columns of the statements that show models.
var (
	showModelsColumns = sql.Schema{
		{Name: "Name", Type: stringType}, {Name: "Kind", Type: stringType}, {Name: "Version", Type: types.Int64}, {Name: "Versions", Type: types.Int64},
		{Name: "Aliases", Type: stringType}, {Name: "Comment", Type: stringType},
	}
	showVersionsColumns = sql.Schema{
		{Name: "Version", Type: types.Int64}, {Name: "Current", Type: types.Boolean}, {Name: "Aliases", Type: stringType}, {Name: "Source", Type: stringType},
		{Name: "Digest", Type: stringType}, {Name: "Created", Type: timestampType, Nullable: true}, {Name: "Created_by", Type: stringType}, {Name: "Comment", Type: stringType},
		{Name: "License", Type: stringType}, {Name: "Commit", Type: stringType},
	}
	modelHistoryColumns = sql.Schema{
		{Name: "timestamp", Type: timestampType}, {Name: "user", Type: stringType}, {Name: "operation", Type: stringType}, {Name: "parameters", Type: types.JSON},
		{Name: "version", Type: types.Int64},
	}
)

// errUserWarning is the number of warnings that MySQL itself has none for.
const errUserWarning = 1642

// onModel returns the plan of a statement on models.
func (e *sqlEngine) onModel(s *ddl.OnModel) *node {
	n := &node{name: s.Verb + " model " + s.Name, schema: types.OkResultSchema}
	run := e.changeModel
	if trains(s) {
		n.schema, run = trainingColumns, e.trainModel
	}
	switch s.Verb {
	case "SHOW":
		n.schema, run = showModelsColumns, e.showModels
	case "SHOW VERSIONS":
		n.schema, run = showVersionsColumns, e.showModelVersions
	case "SHOW CREATE":
		n.schema, run = textSchema("Model", "Create Model"), e.showCreateModel
	case "DESCRIBE":
		n.schema, run = textSchema("Field", "Value"), e.describeModel
	case "DESCRIBE HISTORY":
		n.schema, run = modelHistoryColumns, e.modelHistory
	}
	n.run = func(ctx *sql.Context) (sql.RowIter, error) {
		if e.config.Models == nil {
			return nil, mysqlError(errNotSupportedYet, "This server has no registry of models")
		}
		return run(ctx, s)
	}
	return n
}

// changeModel runs a statement that changes the registry, and has the flows look whether it concerns them.
func (e *sqlEngine) changeModel(ctx *sql.Context, s *ddl.OnModel) (sql.RowIter, error) {
	work, done := untimed(ctx)
	defer done()
	r, user, options := e.config.Models, ctx.Session.Client().User, maps.Clone(s.Options)
	if source := options["source"]; source != "" && !strings.HasPrefix(source, "builtin:") && !strings.HasPrefix(source, "hf:") {
		options["source"] = absolute(source, e.config.Base)
	}
	changed := true
	var err error
	switch s.Verb {
	case "CREATE":
		changed, err = r.Create(work, s.Name, user, s.Comment, options, s.OrReplace, s.IfNotExists)
	case "ADD VERSION":
		changed, err = r.AddVersion(work, s.Name, user, s.Comment, options)
	case "SET ALIAS":
		err = r.SetAlias(work, s.Name, user, s.Alias, int(s.Version), e.modelGuard(ctx, s))
	case "UNSET ALIAS":
		err = r.UnsetAlias(work, s.Name, user, s.Alias, e.modelGuard(ctx, s))
	case "ROLLBACK":
		var at time.Time
		if s.Time != "" {
			if at, err = parseTime(ctx, s.Time); err != nil {
				return nil, err
			}
		}
		err = r.Rollback(work, s.Name, user, int(s.Version), at)
	default:
		err = r.Drop(work, s.Name, user, int(s.Version), func(context.Context) error { return e.modelUnused(s) })
		if s.IfExists && errors.Is(err, models.ErrUnknownModel) {
			return okResult(0), nil
		}
	}
	if err != nil {
		return nil, err
	}
	e.modelsChanged()
	if !changed {
		return okResult(0), nil
	}
	if s.Verb == "CREATE" || s.Verb == "ADD VERSION" {
		e.cautionModel(ctx, s.Name)
	}
	return okResult(1), nil
}

// cautionModel warns of the licence of the version that was just made.
func (e *sqlEngine) cautionModel(ctx *sql.Context, name string) {
	m, err := e.model(name)
	if err != nil || len(m.Versions) == 0 {
		return // it was dropped meanwhile
	}
	v := m.Versions[len(m.Versions)-1]
	if caution := v.Caution(); caution != "" {
		ctx.Warn(errUserWarning, "Model '%s', version %d: %s", m.Name, v.Version, caution)
	}
}

func parseTime(ctx *sql.Context, text string) (time.Time, error) {
	value, _, err := timestampType.Convert(ctx, text)
	if at, ok := value.(time.Time); ok && err == nil {
		return at, nil
	}
	return time.Time{}, mysqlError(errWrongValue, "Incorrect DATETIME value: '%s'", text)
}

// modelGuard returns what judges IF (condition), nil without one.
func (e *sqlEngine) modelGuard(ctx *sql.Context, s *ddl.OnModel) models.Guard {
	if s.Condition == "" {
		return nil
	}
	database := e.database(ctx, "")
	return func(work context.Context) error {
		result, err := e.query(work, queries.Query{Database: database, SQL: "SELECT (" + s.Condition + ") IS TRUE AS ok"})
		if err != nil {
			return err
		}
		defer result.Close()
		rows, err := result.Next(work)
		if err != nil {
			return fmt.Errorf("judge the condition: %w", err)
		}
		if rows.Len != 1 || rows.Columns[0].Null(0) || !holds(rows.Columns[0].Bools, rows.Columns[0].Ints) {
			return mysqlError(errCheckViolated, "Condition '%s' is not met: model '%s' stays as it is", s.Condition, s.Name)
		}
		return nil
	}
}

// holds reads the one value of a condition, which is a boolean or a number by how it was written.
func holds(bools []bool, ints []int64) bool {
	return len(bools) == 1 && bools[0] || len(ints) == 1 && ints[0] != 0
}

// modelUnused refuses to drop what a flow calls: a model, or the version that it uses now.
func (e *sqlEngine) modelUnused(s *ddl.OnModel) error {
	if e.config.Flows == nil {
		return nil
	}
	var users []string
	for _, f := range e.config.Flows.Flows() {
		for _, ref := range f.Models {
			info, err := e.config.Models.Resolve(ref)
			if err == nil && strings.EqualFold(info.Name, s.Name) && (s.Version == 0 || info.Version == int(s.Version)) {
				users = append(users, f.Database+"."+f.Table)
				break
			}
		}
	}
	if len(users) == 0 {
		return nil
	}
	what := "Model '" + s.Name + "'"
	if s.Version > 0 {
		what = fmt.Sprintf("Version %d of model '%s'", s.Version, s.Name)
	}
	return mysqlError(errDependentObject, "%s cannot be dropped: %s call it; drop them first", what, strings.Join(users, ", "))
}

// model finds a model by name.
func (e *sqlEngine) model(name string) (models.Model, error) {
	for _, m := range e.config.Models.Catalog() {
		if strings.EqualFold(m.Name, name) {
			return m, nil
		}
	}
	return models.Model{}, fmt.Errorf("%w: %q", models.ErrUnknownModel, name)
}

// aliasesOf lists the aliases of a version.
func aliasesOf(m models.Model, version int) string {
	var names []string
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		if m.Aliases[alias] == version {
			names = append(names, alias)
		}
	}
	return strings.Join(names, ", ")
}

func allAliases(m models.Model) string {
	var out []string
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		out = append(out, alias+" = "+strconv.Itoa(m.Aliases[alias]))
	}
	return strings.Join(out, ", ")
}

func (e *sqlEngine) showModels(_ *sql.Context, s *ddl.OnModel) (sql.RowIter, error) {
	matches := likePattern(s.Like)
	var rows []sql.Row
	for _, m := range e.config.Models.Catalog() {
		if matches.MatchString(m.Name) {
			rows = append(rows, sql.NewRow(m.Name, versionOf(m, m.Current).Kind, int64(m.Current), int64(len(m.Versions)), allAliases(m), m.Comment))
		}
	}
	return sql.RowsToRowIter(rows...), nil
}

func (e *sqlEngine) showModelVersions(_ *sql.Context, s *ddl.OnModel) (sql.RowIter, error) {
	m, err := e.model(s.Name)
	if err != nil {
		return nil, err
	}
	var rows []sql.Row
	for _, v := range m.Versions {
		rows = append(rows, sql.NewRow(int64(v.Version), int8Of(v.Version == m.Current), aliasesOf(m, v.Version), v.Source, v.Digest, timeOrNull(v.Created), v.User, v.Comment,
			v.License, v.Commit))
	}
	return sql.RowsToRowIter(rows...), nil
}

func int8Of(b bool) int8 {
	if b {
		return 1
	}
	return 0
}

// showCreateModel prints the statements that make the model again, aliases included.
func (e *sqlEngine) showCreateModel(_ *sql.Context, s *ddl.OnModel) (sql.RowIter, error) {
	m, err := e.model(s.Name)
	if err != nil {
		return nil, err
	}
	return sql.RowsToRowIter(sql.NewRow(m.Name, strings.Join(createModel(m), ";\n"))), nil
}

// createModel returns the statements that make a model again. Of versions that were trained there is one statement, which
// trains one version of what the SELECT gives then.
func createModel(m models.Model) []string {
	var out []string
	if m.Training != nil {
		out = append(out, trainingStatement(m))
	}
	trained := false
	for _, v := range m.Versions {
		if trained = trained || v.Query != ""; v.Query != "" {
			continue
		}
		one := ddl.OnModel{Verb: "ADD VERSION", Name: m.Name, Options: maps.Clone(v.Options), Comment: v.Comment}
		if len(out) == 0 {
			one.Verb, one.Comment = "CREATE", m.Comment
		}
		if one.Options == nil {
			one.Options = map[string]string{}
		}
		if one.Options["provider"] == "" { // all that a model elsewhere is made of are its options
			one.Options["source"] = v.Source
		}
		if name, _, _ := strings.Cut(v.Source, "@"); v.Commit != "" {
			one.Options["source"] = name + "@" + v.Commit // a branch may mean something else by then
		}
		out = append(out, one.Print())
	}
	if trained {
		return out // the numbers of the versions would be others
	}
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		out = append(out, fmt.Sprintf("ALTER MODEL `%s` SET ALIAS `%s` = %d", m.Name, alias, m.Aliases[alias]))
	}
	return out
}

func (e *sqlEngine) describeModel(_ *sql.Context, s *ddl.OnModel) (sql.RowIter, error) {
	m, err := e.model(s.Name)
	if err != nil {
		return nil, err
	}
	v := versionOf(m, m.Current)
	functions := m.Name + "(text)"
	if v.Kind != models.Encoder {
		functions += ", " + m.Name + "_score(text), " + m.Name + "_json(text)"
	}
	var rows []sql.Row
	add := func(field, value string) { rows = append(rows, sql.NewRow(field, value)) }
	add("name", m.Name)
	add("kind", v.Kind)
	add("functions", functions)
	add("comment", m.Comment)
	add("version", strconv.Itoa(m.Current))
	add("versions", strconv.Itoa(len(m.Versions)))
	add("aliases", allAliases(m))
	add("source", v.Source)
	describeTraining(m, v, add)
	for _, key := range slices.Sorted(maps.Keys(v.Options)) {
		add("option "+key, v.Options[key])
	}
	switch v.Kind {
	case models.Classifier:
		add("labels", strings.Join(v.Labels, ", "))
		add("multi_label", strconv.FormatBool(v.MultiLabel))
	case models.Encoder:
		add("dimension", strconv.Itoa(v.Dimension))
	}
	if v.MaxTokens > 0 {
		add("max_tokens", strconv.Itoa(v.MaxTokens))
	}
	add("license", v.License)
	if v.Commit != "" {
		add("commit", v.Commit)
	}
	add("digest", v.Digest)
	add("bytes", strconv.FormatInt(v.Bytes, 10))
	return sql.RowsToRowIter(rows...), nil
}

// modelHistory answers newest first, as DESCRIBE HISTORY of a table does; also for a model that was dropped.
func (e *sqlEngine) modelHistory(_ *sql.Context, s *ddl.OnModel) (sql.RowIter, error) {
	var rows []sql.Row
	for _, c := range slices.Backward(e.config.Models.History()) {
		if !strings.EqualFold(c.Model, s.Name) || s.Limit > 0 && int64(len(rows)) == s.Limit {
			continue
		}
		parameters, err := encodedJSON(orEmpty(c.Parameters))
		if err != nil {
			return nil, err
		}
		rows = append(rows, sql.NewRow(c.Time, c.User, c.Operation, jsonOf(parameters), int64(c.Current)))
	}
	if len(rows) == 0 {
		if _, err := e.model(s.Name); err != nil {
			return nil, err
		}
	}
	return sql.RowsToRowIter(rows...), nil
}
