package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"smelt/autoload"
)

// ErrDifference is returned by Check when something is not as it must be; what and where was printed.
var ErrDifference = errors.New("differences found")

// Check opens a data directory that no server has open and proves, table by table, that the data files are those of the
// log, that streaming tables hold what their batches and ledgers say, and that each view equals its SELECT. It prints
// one line for each comparison on out, and the first difference of those that fail. Nothing is changed.
func Check(ctx context.Context, cfg Config, out io.Writer) (err error) {
	cfg.Listen, cfg.HTTP, cfg.Pipelines, cfg.LedgerBytes = "", "", nil, -1
	if _, err := os.Stat(cfg.DataDir); err != nil {
		return fmt.Errorf("open data directory: %w", err) // to open it would make it
	}
	e, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close(context.WithoutCancel(ctx))) }()
	failed := 0
	tell := func(table, what string, proven bool, err error) {
		switch {
		case err != nil:
			failed++
			fmt.Fprintf(out, "FAULT %s: %s: %v\n", table, what, err)
		case proven:
			fmt.Fprintf(out, "ok    %s: %s\n", table, what)
		default:
			fmt.Fprintf(out, "-     %s: %s\n", table, what)
		}
	}
	for _, database := range e.store.Databases() {
		for _, t := range e.store.Tables(database) {
			now := t.Snapshot()
			stray, err := t.Verify(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			tell(database+"."+t.Name(), fmt.Sprintf("%d rows in %d data files are those of version %d", now.Rows(), now.Files(), now.Version()), true, err)
			if stray > 0 {
				tell(database+"."+t.Name(), fmt.Sprintf("%d data files belong to no version; VACUUM removes them when they are old", stray), false, nil)
			}
		}
	}
	if err := e.graph.Check(ctx, tell); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d", ErrDifference, failed)
	}
	return nil
}

// ledger counts the rows of the files that a feed has taken in.
func (e *Engine) ledger(_ context.Context, stateDir string, committed int64) (rows int64, files int, err error) {
	list, err := autoload.ReadLedger(stateDir, committed)
	if err != nil {
		return 0, 0, err
	}
	for _, f := range list {
		if (f.State == autoload.Loaded || f.State == autoload.Changed) && f.Batch > 0 {
			rows += f.Rows
			files++
		}
	}
	return rows, files, nil
}
