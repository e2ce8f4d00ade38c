package engine

import (
	"regexp"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
)

// notYet is the refusal of a statement that later versions may know.
func notYet(what string) error {
	return mysqlError(errNotSupportedYet, "This version of smelt doesn't yet support '%s'", what)
}

// filesCall is a directory in a query.
var filesCall = regexp.MustCompile(`(?i)\b(?:from|join|,)\s*(?:stream\s*\(?\s*)?(?:read_files|cloud_files)\s*\(`)

// guardFiles refuses queries of directories: which of their files count is known to the ledger of a table only.
func guardFiles(query string, sources []ddl.Source) error {
	reads := slices.ContainsFunc(sources, func(s ddl.Source) bool { return s.Files != nil })
	if reads || strings.Contains(query, "_files") && filesCall.Match(masked(query)) {
		return notYet("read_files() outside of a STREAMING TABLE (CREATE STREAMING TABLE t AS SELECT ... FROM STREAM read_files(...), and then t, is)")
	}
	return nil
}

// guard refuses statements that go-mysql-server would run in part, without effect, or without asking who asks.
// streams says that the statement reads STREAM(...).
func (p *parser) guard(statement sqlparser.Statement, streams bool) error {
	switch s := statement.(type) {
	case *sqlparser.Select:
		return guardInto(s.Into)
	case *sqlparser.SetOp:
		return guardInto(s.Into)
	case *sqlparser.Explain:
		return p.guard(s.Statement, streams)
	case *sqlparser.Load:
		return mysqlError(errFilePrivilege, "LOAD DATA is off: drop files into a directory read by read_files()")
	case *sqlparser.Update:
		if len(s.TableExprs) != 1 || joins(s.TableExprs[0]) {
			return notYet("UPDATE of joined tables (WHERE may hold a subquery)")
		}
		if len(s.Returning) > 0 {
			return notYet("RETURNING")
		}
	case *sqlparser.Delete:
		if len(s.Returning) > 0 {
			return notYet("RETURNING")
		}
	case *sqlparser.AlterTable:
		return guardAlter(s)
	case *sqlparser.Insert:
		if s.Action == sqlparser.ReplaceStr {
			return notYet("REPLACE")
		}
		if len(s.OnDup) > 0 {
			return notYet("ON DUPLICATE KEY UPDATE")
		}
		if len(s.Returning) > 0 {
			return notYet("RETURNING")
		}
	case *sqlparser.Set:
		return guardSet(s)
	case *sqlparser.DDL:
		return guardDDL(s, streams)
	}
	return guardAccounts(statement)
}

func joins(t sqlparser.TableExpr) bool {
	_, ok := t.(*sqlparser.JoinTableExpr)
	return ok
}

func guardInto(into *sqlparser.Into) error {
	if into != nil && (into.Outfile != "" || into.Dumpfile != "") {
		return mysqlError(errFilePrivilege, "The MySQL server is running with the --secure-file-priv option so it cannot execute this statement")
	}
	return nil
}

// guardSet refuses to change variables of the whole process: go-mysql-server lets every user do it.
func guardSet(s *sqlparser.Set) error {
	for _, e := range s.Exprs {
		switch e.Scope {
		case sqlparser.SetScope_Global, sqlparser.SetScope_Persist, sqlparser.SetScope_PersistOnly:
			return mysqlError(errAccessDenied, "Access denied; you need (at least one of) the SUPER or SYSTEM_VARIABLES_ADMIN privilege(s) for this operation")
		}
	}
	return nil
}

// guardAccounts refuses statements on accounts: they would be gone after a restart.
func guardAccounts(statement sqlparser.Statement) error {
	switch statement.(type) {
	case *sqlparser.CreateUser, *sqlparser.DropUser, *sqlparser.RenameUser, *sqlparser.CreateRole, *sqlparser.DropRole,
		*sqlparser.GrantPrivilege, *sqlparser.GrantRole, *sqlparser.GrantProxy,
		*sqlparser.RevokePrivilege, *sqlparser.RevokeRole, *sqlparser.RevokeProxy:
		return notYet("account management")
	case *sqlparser.CreateSpatialRefSys:
		return notYet("CREATE SPATIAL REFERENCE SYSTEM")
	}
	return nil
}

// guardAlter lets columns be added and widened; nothing else of a table can be altered.
func guardAlter(s *sqlparser.AlterTable) error {
	for _, one := range s.Statements {
		if err := guardAlterOne(one); err != nil {
			return err
		}
	}
	return nil
}

func guardAlterOne(s *sqlparser.DDL) error {
	switch strings.ToLower(s.ColumnAction) {
	case sqlparser.AddStr, sqlparser.ModifyStr, sqlparser.ChangeStr, sqlparser.DropStr, sqlparser.RenameStr:
	default:
		return notYet("ALTER TABLE but for ADD COLUMN and MODIFY COLUMN")
	}
	if s.TableSpec != nil {
		return guardTableSpec(s.TableSpec)
	}
	return nil
}

func guardDDL(s *sqlparser.DDL, streams bool) error {
	switch {
	case s.TriggerSpec != nil:
		return notYet("triggers")
	case s.ProcedureSpec != nil:
		return notYet("stored procedures")
	case s.EventSpec != nil:
		return notYet("events")
	case !s.User.IsEmpty():
		return notYet("account management")
	case s.Action == sqlparser.AlterStr:
		return guardAlterOne(s)
	case s.Action == sqlparser.RenameStr:
		return notYet("RENAME TABLE")
	case s.ViewSpec != nil && streams:
		return mysqlError(errWrongObject, "View '%s' reads STREAM(): only a STREAMING TABLE can", s.ViewSpec.ViewName.Name.String())
	case s.Action != sqlparser.CreateStr:
		return nil
	case s.Temporary:
		return notYet("temporary tables")
	case s.OptLike != nil:
		return notYet("CREATE TABLE ... LIKE")
	case s.TableSpec != nil && s.OptSelect != nil:
		return notYet("CREATE TABLE with both columns and AS SELECT")
	case s.TableSpec != nil:
		return guardTableSpec(s.TableSpec)
	}
	return nil
}

// guardTableSpec refuses the clauses of a CREATE TABLE that a table cannot keep. NOT NULL, DEFAULT and comments are
// kept; engine, character set and row format say nothing here and are ignored.
func guardTableSpec(spec *sqlparser.TableSpec) error {
	const keys = "keys and indexes (tables hold every row that comes in, and are read by column)"
	if len(spec.Indexes) > 0 {
		return notYet(keys)
	}
	for _, c := range spec.Constraints {
		if _, ok := c.Details.(*sqlparser.CheckConstraintDefinition); ok {
			return notYet("CHECK (a STREAMING TABLE has CONSTRAINT ... EXPECT)")
		}
		return notYet(keys)
	}
	if spec.PartitionOpt != nil {
		return notYet("PARTITION BY")
	}
	for _, c := range spec.Columns {
		t := c.Type
		switch {
		case t.KeyOpt != sqlparser.ColumnKeyOption(0), t.ForeignKeyDef != nil:
			return notYet(keys)
		case bool(t.Autoincrement):
			return notYet("AUTO_INCREMENT")
		case t.GeneratedExpr != nil:
			return notYet("generated columns")
		case t.OnUpdate != nil:
			return notYet("ON UPDATE")
		case t.Constraint != nil:
			return notYet("CHECK (a STREAMING TABLE has CONSTRAINT ... EXPECT)")
		case strings.HasPrefix(c.Name.Lowered(), "!"), ownColumn(c.Name.String()), strings.ContainsAny(c.Name.String(), " ,;{}()\n\t="): // Delta refuses the latter
			return mysqlError(sqlCode{1166, "42000"}, "Incorrect column name '%s'", c.Name.String())
		}
	}
	return nil
}
