package engine

import (
	"fmt"
	"io"
	"sync"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer"
	"github.com/dolthub/go-mysql-server/sql/planbuilder"
	vitesslog "github.com/dolthub/vitess/go/vt/log"
	"github.com/sirupsen/logrus"

	"smelt/functions"
)

// noDirectory is where the server may read and write files for clients: nowhere. The check of go-mysql-server compares
// prefixes, so it must be a path that nothing can have.
const noDirectory = "/dev/null/smelt-reads-no-files"

// ruleMendEdits is the id of the one rule that every statement meets; see prepareProcess.
const ruleMendEdits analyzer.RuleId = 20_000

// prepareProcess sets what go-mysql-server keeps in package variables and cannot be told otherwise. It runs once: a
// process may hold several engines, in tests, and they all want the same.
var prepareProcess = sync.OnceValue(func() error {
	// Both libraries log the failed statements of clients to standard error; that is the client's affair.
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.PanicLevel)
	quiet, quietf := func(...any) {}, func(string, ...any) {}
	vitesslog.Info, vitesslog.Warning, vitesslog.Error = quiet, quiet, quiet
	vitesslog.Infof, vitesslog.Warningf, vitesslog.Errorf = quietf, quietf, quietf
	// Without a rule in this list simple SELECTs skip all custom rules, the batching of model calls among them. Simple
	// UPDATEs and DELETEs skip all but these in any case.
	if len(analyzer.AlwaysBeforeDefault) == 0 {
		analyzer.AlwaysBeforeDefault = []analyzer.Rule{{Id: ruleMendEdits, Apply: mendEdits}}
	}
	builtIn := planbuilder.IsAggregateFunc
	planbuilder.IsAggregateFunc = func(name string) bool { return name == sumName || functions.IsAggregate(name) || builtIn(name) }
	err := sql.SystemVariables.AssignValues(map[string]any{
		"version": serverVersion, "version_comment": "smelt", "secure_file_priv": noDirectory, "local_infile": int8(0),
	})
	if err != nil {
		return fmt.Errorf("set system variables: %w", err)
	}
	return nil
})
