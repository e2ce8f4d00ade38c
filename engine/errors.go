package engine

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer/analyzererrors"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/mysql"

	"smelt/models"
	"smelt/models/remote"
	"smelt/models/train"
	"smelt/queries"
	"smelt/queries/lexer"
	"smelt/queries/spark"
	"smelt/tables"
)

// sqlCode is a MySQL error number with its SQLSTATE: clients decide by both.
type sqlCode struct {
	number int
	state  string
}

// The errors that this server sends, by MySQL's own numbers.
var (
	errUnknown            = sqlCode{1105, "HY000"}
	errDatabaseExists     = sqlCode{1007, "HY000"}
	errDatabaseAccess     = sqlCode{1044, "42000"}
	errNoSuchDatabase     = sqlCode{1008, "HY000"}
	errNoDatabaseSelected = sqlCode{1046, "3D000"}
	errUnknownDatabase    = sqlCode{1049, "42000"}
	errTableExists        = sqlCode{1050, "42S01"}
	errUnknownTable       = sqlCode{1051, "42S02"}
	errAmbiguousColumn    = sqlCode{1052, "23000"}
	errUnknownColumn      = sqlCode{1054, "42S22"}
	errDupFieldName       = sqlCode{1060, "42S21"}
	errSyntax             = sqlCode{1064, "42000"}
	errNotUnique          = sqlCode{1066, "42000"}
	errNullNotAllowed     = sqlCode{1048, "23000"}
	errColumnCount        = sqlCode{1136, "21S01"}
	errMixOfGroup         = sqlCode{1140, "42000"}
	errResultTooBig       = sqlCode{1104, "42000"}
	errNoSuchTable        = sqlCode{1146, "42S02"}
	errUnknownVariable    = sqlCode{1193, "HY000"}
	errOperandColumns     = sqlCode{1241, "21000"}
	errAccessDenied       = sqlCode{1227, "42000"}
	errNotSupportedYet    = sqlCode{1235, "42000"}
	errSubqueryRows       = sqlCode{1242, "21000"}
	errNotInsertable      = sqlCode{1471, "HY000"}
	errWrongValue         = sqlCode{1525, "HY000"} // in a comparison
	errTruncatedValue     = sqlCode{1292, "22007"} // of a column
	errNotUpdatable       = sqlCode{1288, "HY000"}
	errFilePrivilege      = sqlCode{1290, "HY000"}
	errWrongArguments     = sqlCode{1210, "HY000"}
	errFunctionExists     = sqlCode{1304, "42000"}
	errUnknownFunction    = sqlCode{1305, "42000"}
	errLimitReached       = sqlCode{1226, "42000"}
	errOutOfMemory        = sqlCode{1038, "HY001"}
	errQueryInterrupted   = sqlCode{1317, "70100"}
	errWrongObject        = sqlCode{1347, "HY000"}
	errViewRecursive      = sqlCode{1462, "HY000"}
	errCheckViolated      = sqlCode{3819, "HY000"}
	errDataTooLong        = sqlCode{1406, "22001"}
	errValueOutOfRange    = sqlCode{1690, "22003"}
	errDataOutOfRange     = sqlCode{1264, "22003"}
	errBadParameterCount  = sqlCode{1582, "42000"}
	errQueryTimeout       = sqlCode{3024, "HY000"}
	errLockWait           = sqlCode{1205, "HY000"}
	errDependentObject    = sqlCode{3730, "HY000"}
)

// internalErrorText is all that a client learns of a fault inside the server; the log has the rest.
const internalErrorText = "internal error; the server's log says more"

// syntaxText is MySQL's wording, by which some tools recognise a syntax error.
const syntaxText = "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version " +
	"for the right syntax to use near '%s' at line %d"

// mysqlError returns an error that reaches the client with code and the formatted text.
func mysqlError(code sqlCode, format string, args ...any) error {
	return mysql.NewSQLError(code.number, code.state, format, args...)
}

// errorRule restates a message of go-mysql-server in MySQL's words. Its format takes the arguments of the message.
type errorRule struct {
	message string // the Message of the error kind; %s, %q, %v and %d stand for arguments
	code    sqlCode
	format  string // "" keeps the text; $1, $2 are the arguments
}

// errorRules names each kind of error that clients decide by. The handler of go-mysql-server hands on only text, so a
// kind is recognised by its message; both come from the pinned version.
var errorRules = []errorRule{
	{sql.ErrTableNotFound.Message, errNoSuchTable, "$1"}, // worded by restateMissing
	{sql.ErrTableColumnNotFound.Message, errUnknownColumn, "Unknown column '$1.$2' in 'field list'"},
	{analyzererrors.ErrReadOnlyDatabase.Message, errDatabaseAccess, "Access denied: database '$1' is read-only"},
	{sql.ErrInsertIntoMismatchValueCount.Message, errColumnCount, "Column count doesn't match value count at row 1"},
	{sql.ErrInvalidValue.Message, sqlCode{1366, "HY000"}, "Incorrect $2 value: '$1'"},
	{sql.ErrUnknownTable.Message, errUnknownTable, "Unknown table '$1'"},
	{sql.ErrTableAlreadyExists.Message, errTableExists, "Table '$1' already exists"},
	{sql.ErrExistingView.Message, errTableExists, "Table '$2' already exists"},
	{sql.ErrViewDoesNotExist.Message, errUnknownTable, "Unknown table '$1.$2'"},
	{sql.ErrExpectedTableFoundView.Message, errWrongObject, "'$1' is not BASE TABLE"},
	{sql.ErrDatabaseNotFound.Message, errUnknownDatabase, "Unknown database '$1'"},
	{sql.ErrDatabaseExists.Message, errDatabaseExists, "Can't create database '$1'; database exists"},
	{sql.ErrNoDatabaseSelected.Message, errNoDatabaseSelected, "No database selected"},
	{sql.ErrColumnNotFound.Message, errUnknownColumn, "Unknown column '$1' in 'field list'"},
	{sql.ErrUnknownColumn.Message, errUnknownColumn, ""},
	{sql.ErrMisusedAlias.Message, errUnknownColumn, "Unknown column '$1' in 'field list'"},
	{sql.ErrAmbiguousColumnName.Message, errAmbiguousColumn, "Column '$1' in field list is ambiguous"},
	{sql.ErrAmbiguousColumnOrAliasName.Message, errAmbiguousColumn, "Column '$1' in field list is ambiguous"},
	{sql.ErrAmbiguousColumnInOrderBy.Message, errAmbiguousColumn, "Column '$1' in order clause is ambiguous"},
	{sql.ErrDuplicateAliasOrTable.Message, errNotUnique, "Not unique table/alias: '$1'"},
	{sql.ErrDuplicateColumn.Message, errDupFieldName, "Duplicate column name '$1'"},
	{sql.ErrColumnExists.Message, errDupFieldName, "Duplicate column name '$1'"},
	{sql.ErrColumnSpecifiedTwice.Message, sqlCode{1110, "42000"}, "Column '$1' specified twice"},
	{sql.ErrInvalidIdentifier.Message, sqlCode{1059, "42000"}, "Identifier name '$1' is too long"},
	{sql.ErrInvalidRefInView.Message, sqlCode{1356, "HY000"}, ""},
	{sql.ErrUnknownPreparedStatement.Message, sqlCode{1243, "HY000"}, ""},
	{sql.ErrInvalidJson.Message, sqlCode{3140, "22032"}, ""},
	{types.ErrConvertToDecimalLimit.Message, errDataOutOfRange, "Out of range value for a decimal column"},
	{plan.ErrUpdateNotSupported.Message, errNotUpdatable, "The target table of the UPDATE is not updatable"},
	{plan.ErrDeleteFromNotSupported.Message, errNotUpdatable, "The target table of the DELETE is not updatable"},
	{"expected resolved table: %s", errWrongObject, "'$1' is not BASE TABLE"},
	{sql.ErrFunctionNotFound.Message, errUnknownFunction, "FUNCTION $1 does not exist"},
	{sql.ErrTableFunctionNotFound.Message, errUnknownFunction, "FUNCTION $1 does not exist"},
	{sql.ErrInvalidArgumentNumber.Message, errBadParameterCount, "Incorrect parameter count in the call to native function '$1'"},
	{sql.ErrColValCountMismatch.Message, errColumnCount, ""},
	{sql.ErrInsertIntoNonNullableProvidedNull.Message, errNullNotAllowed, "Column '$1' cannot be null"},
	{sql.ErrInsertIntoNonNullableDefaultNullColumn.Message, sqlCode{1364, "HY000"}, ""},
	// Two places of go-mysql-server leave out the values of this error.
	{sql.ErrNonAggregatedColumnWithoutGroupBy.New().Error(), errMixOfGroup,
		"an aggregate stands beside a column without GROUP BY; this is incompatible with sql_mode=only_full_group_by"},
	{sql.ErrNonAggregatedColumnWithoutGroupBy.Message, errMixOfGroup, ""},
	{"%s: " + remote.ErrSpent.Error() + ": %s", errLimitReached, ""},
	{"%s: " + remote.ErrNotAllowed.Error() + ": %s", errFilePrivilege, ""},
	{sql.ErrExpectedSingleRow.Message, errSubqueryRows, "Subquery returns more than 1 row"},
	{sql.ErrInvalidOperandColumns.Message, errOperandColumns, "Operand should contain $1 column(s)"},
	{sql.ErrUnknownSystemVariable.Message, errUnknownVariable, ""},
	{"expected insert destination to be resolved or unresolved table", errNotInsertable, "The target table of the INSERT is not insertable-into"},
	{"Incorrect datetime value: '%s'", errWrongValue, ""},
	{"create table %q: not a usable name", sqlCode{1103, "42000"}, "Incorrect table name '$1'"},
	{"create view %q: not a usable name", sqlCode{1103, "42000"}, "Incorrect table name '$1'"},
	{"create database %q: not a usable name", sqlCode{1102, "42000"}, "Incorrect database name '$1'"},
	{"commit to %s: unsupported Delta table: %s", errNotSupportedYet, "$1: $2"},
	{sql.ErrInvalidJSONText.Message, sqlCode{3141, "22032"}, ""},
	{sql.ErrUnsupportedFeature.Message, errNotSupportedYet, "This version of smelt doesn't yet support '$1'"},
	{sql.ErrUnsupportedSyntax.Message, errNotSupportedYet, "This version of smelt doesn't yet support '$1'"},
	{sql.ErrSecureFilePriv.Message, errFilePrivilege, ""},
	{sql.ErrImmutableDatabaseProvider.Message, errAccessDenied, ""},
	{sql.ErrCreateTableNotSupported.Message, errAccessDenied, "Tables cannot be created in database '$1'"},
	{sql.ErrDropTableNotSupported.Message, errAccessDenied, "Tables cannot be dropped from database '$1'"},
	{sql.ErrValueOutOfRange.Message, errDataOutOfRange, ""},
	{types.ErrLengthBeyondLimit.Message, errDataTooLong, "Data too long for column '$2'"},
	{plan.ErrInsertIntoNotSupported.Message, errNotInsertable, "The target table of the INSERT is not insertable-into"},
	{plan.ErrReplaceIntoNotSupported.Message, errNotSupportedYet, "This version of smelt doesn't yet support 'REPLACE'"},
	{plan.ErrOnDuplicateKeyUpdateNotSupported.Message, errNotSupportedYet, "This version of smelt doesn't yet support 'ON DUPLICATE KEY UPDATE'"},
	{plan.ErrTruncateNotSupported.Message, errNotInsertable, "The target table of the TRUNCATE is not truncatable"},
}

var argumentVerb = regexp.MustCompile(`%[sqvdT]`)

// similarName is what go-mysql-server adds to the name of an unknown table.
var similarName = regexp.MustCompile(`, maybe you mean .*\?$`)

// compiledRules returns the patterns of errorRules; compiled once because each failing statement looks at all of them.
var compiledRules = sync.OnceValue(func() []*regexp.Regexp {
	out := make([]*regexp.Regexp, len(errorRules))
	for i, rule := range errorRules {
		parts := argumentVerb.FindAllString(rule.message, -1)
		pattern := regexp.QuoteMeta(rule.message)
		for _, verb := range parts {
			group := `(.*?)`
			if verb == "%q" {
				group = `"(.*?)"`
			}
			pattern = strings.Replace(pattern, verb, group, 1)
		}
		out[i] = regexp.MustCompile(`(?s)^` + pattern + `$`)
	}
	return out
})

// restate returns err as the error that the client sees. It is the one place where errors of ours and of
// go-mysql-server get MySQL's number, state and wording; ctx says why a cancelled statement was cancelled.
func restate(ctx context.Context, log *slog.Logger, err error) *mysql.SQLError {
	var known *mysql.SQLError
	if errors.As(err, &known) && known.Num != errUnknown.number {
		return restateKnown(ctx, known)
	}
	text := err.Error()
	if known != nil {
		text = known.Message
	}
	text = strings.ReplaceAll(text, hiddenMark, "")
	if cause := interruption(ctx, err, text); cause != nil {
		return cause
	}
	if ours := restateOurs(err); ours != nil {
		return ours
	}
	if strings.Contains(text, "panic recovered") || strings.Contains(text, "goroutine ") {
		log.Error("statement panicked", "error", text)
		return mysql.NewSQLError(errUnknown.number, errUnknown.state, "%s", internalErrorText)
	}
	if matched := restateText(ctx, text); matched != nil {
		return matched
	}
	if cast := sql.CastSQLError(err); cast.Num != errUnknown.number {
		return restateKnown(ctx, cast)
	}
	return mysql.NewSQLError(errUnknown.number, errUnknown.state, "%s", text)
}

// restateKnown corrects errors that already have a number: go-mysql-server sends most of them with state HY000.
func restateKnown(ctx context.Context, err *mysql.SQLError) *mysql.SQLError {
	if err.State != mysql.SSUnknownSQLState && err.State != "" {
		return err
	}
	if matched := restateText(ctx, err.Message); matched != nil {
		return matched
	}
	return err
}

// parserPosition finds the offset that the MySQL parser states in errors of prepared statements, which it reads before us.
var parserPosition = regexp.MustCompile(`position (\d+)(?: near '(.*?)')?`)

func restateText(ctx context.Context, text string) *mysql.SQLError {
	if match := parserPosition.FindStringSubmatch(text); match != nil && strings.Contains(text, "syntax error at") {
		return mysql.NewSQLError(errSyntax.number, errSyntax.state, syntaxText, match[2], 1)
	}
	for i, pattern := range compiledRules() {
		match := pattern.FindStringSubmatchIndex(text)
		if match == nil {
			continue
		}
		rule := errorRules[i]
		if rule.format != "" {
			text = string(pattern.ExpandString(nil, rule.format, text, match))
		}
		switch rule.code {
		case errNoSuchTable:
			return restateMissing(statementOf(ctx), text)
		case errWrongValue:
			if statementOf(ctx).writes() {
				rule.code = errTruncatedValue
			}
		case errUnknownDatabase:
			if statementOf(ctx).drops() {
				rule.code, text = errNoSuchDatabase, "Can't drop database"+strings.TrimPrefix(text, "Unknown database")+"; database doesn't exist"
			}
		}
		return mysql.NewSQLError(rule.code.number, rule.code.state, "%s", text)
	}
	return nil
}

// restateMissing words the error of an unknown table. The guess at what the user meant, which go-mysql-server adds to
// the name, goes: MySQL has none, and tools read the name from between the quotes.
func restateMissing(s *statement, name string) *mysql.SQLError {
	name = s.qualify(similarName.ReplaceAllString(name, ""))
	if s.drops() {
		return mysql.NewSQLError(errUnknownTable.number, errUnknownTable.state, "Unknown table '%s'", name)
	}
	return mysql.NewSQLError(errNoSuchTable.number, errNoSuchTable.state, "Table '%s' doesn't exist", name)
}

// interruption returns why the statement was stopped from outside, or nil.
func interruption(ctx context.Context, err error, text string) *mysql.SQLError {
	var cause *mysql.SQLError
	if ctx.Err() != nil && errors.As(context.Cause(ctx), &cause) {
		return cause
	}
	if errors.Is(err, context.Canceled) || strings.Contains(text, context.Canceled.Error()) || ctx.Err() != nil {
		return mysql.NewSQLError(errQueryInterrupted.number, errQueryInterrupted.state, "Query execution was interrupted")
	}
	return nil
}

// restateOurs maps the sentinels of the packages below; nil means that err is none of them.
func restateOurs(err error) *mysql.SQLError {
	var syntax *lexer.SyntaxError
	var plain *spark.Error
	switch {
	case errors.As(err, &plain):
		line, column := lexer.Place(plain.Source, plain.Offset)
		return mysql.NewSQLError(errSyntax.number, errSyntax.state, syntaxText+", column %d", firstLine(plain.Source[plain.Offset:]), line, column)
	case errors.As(err, &syntax):
		near := strings.Trim(syntax.Got, `"`)
		if strings.HasPrefix(near, "the end of") {
			near = "" // as MySQL says it
		}
		return mysql.NewSQLError(errSyntax.number, errSyntax.state, syntaxText+", column %d: want %s", near, syntax.Line, syntax.Column, syntax.Want)
	case errors.Is(err, tables.ErrNotFound):
		return mysql.NewSQLError(errNoSuchTable.number, errNoSuchTable.state, "%s", err.Error())
	case errors.Is(err, queries.ErrNotFlow):
		return mysql.NewSQLError(errWrongObject.number, errWrongObject.state, "%s", err.Error())
	case errors.Is(err, queries.ErrCycle):
		return mysql.NewSQLError(errViewRecursive.number, errViewRecursive.state, "%s", err.Error())
	case errors.Is(err, queries.ErrUnsupported):
		return mysql.NewSQLError(errNotSupportedYet.number, errNotSupportedYet.state, "%s", err.Error())
	case errors.Is(err, queries.ErrExpectation):
		return mysql.NewSQLError(errCheckViolated.number, errCheckViolated.state, "%s", err.Error())
	case errors.Is(err, models.ErrUnknownModel):
		return mysql.NewSQLError(errUnknownFunction.number, errUnknownFunction.state, "%s", err.Error())
	case errors.Is(err, models.ErrExists):
		return mysql.NewSQLError(errFunctionExists.number, errFunctionExists.state, "%s", err.Error())
	case errors.Is(err, remote.ErrSpent):
		return mysql.NewSQLError(errLimitReached.number, errLimitReached.state, "%s", err.Error())
	case errors.Is(err, remote.ErrNotAllowed):
		return mysql.NewSQLError(errFilePrivilege.number, errFilePrivilege.state, "%s", err.Error())
	case errors.Is(err, models.ErrInvalid), errors.Is(err, models.ErrWrongKind), errors.Is(err, train.ErrData), errors.Is(err, train.ErrOption):
		return mysql.NewSQLError(errWrongArguments.number, errWrongArguments.state, "%s", err.Error())
	case errors.Is(err, tables.ErrExists):
		return mysql.NewSQLError(errTableExists.number, errTableExists.state, "%s", err.Error())
	}
	return nil
}

// errnoSuffix is what *mysql.SQLError adds to its text when it is printed.
var errnoSuffix = regexp.MustCompile(` \(errno \d+\) \(sqlstate \w+\)`)

// edge gives an error of ours its MySQL number before go-mysql-server sees it; errors of go-mysql-server pass unchanged,
// because wrapping one hides its kind. nil stays nil.
func edge(err error) error {
	if err == nil {
		return nil
	}
	var known *mysql.SQLError
	switch {
	case errors.As(err, &known) && err == error(known):
		return known
	case known != nil: // with words around it, which say where it happened
		return mysql.NewSQLError(known.Num, known.State, "%s", errnoSuffix.ReplaceAllString(err.Error(), ""))
	}
	if ours := restateOurs(err); ours != nil {
		return ours
	}
	return err
}

// queryError is an error of a query that the system runs for itself: the words that a client would read, and the cause.
type queryError struct {
	shown *mysql.SQLError
	cause error
}

// Error implements error.
func (e *queryError) Error() string { return e.shown.Message }

// Unwrap lets errors.Is and errors.As see both.
func (e *queryError) Unwrap() []error { return []error{e.shown, e.cause} }

// inward returns err for callers inside the process.
func inward(ctx context.Context, log *slog.Logger, err error) error {
	return &queryError{shown: restate(ctx, log, err), cause: err}
}
