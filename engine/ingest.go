package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"smelt/autoload"
	"smelt/engine/status"
	"smelt/queries/ddl"
	"smelt/tables/vfs"
)

// leftOver is the age at which a hidden file of a request cannot belong to a running one: its server died.
const leftOver = time.Hour

// ingestTime makes names that sort by time, to the nanosecond.
const ingestTime = "20060102T150405.000000000"

// ingest is the status.IngestFunc of the engine: it drops the body as one file into the directory that a streaming table
// reads, as a careful producer does, and returns when file and name are durable. The table's loader does the rest, so
// that a row which comes this way is as safe, and comes as often, as one in any other file. An error of the server
// leaves open whether the file was stored: a producer that cannot bear a row twice must look before it sends again.
func (e *Engine) ingest(ctx context.Context, database, table string, body io.Reader) (status.Stored, error) {
	target, err := e.landing(database, table)
	if err != nil {
		return status.Stored{}, err
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return status.Stored{}, fmt.Errorf("read body: %w", err)
	}
	rows, err := autoload.CountRows(content)
	if err != nil {
		return status.Stored{}, refuseHTTP(http.StatusBadRequest, "%s", err)
	}
	if rows == 0 {
		return status.Stored{}, refuseHTTP(http.StatusBadRequest, "no row in the body: send JSON objects, one on each line")
	}
	name, err := target.name(time.Now())
	if err != nil {
		return status.Stored{}, err
	}
	if err := ctx.Err(); err != nil {
		return status.Stored{}, fmt.Errorf("store rows: %w", err)
	}
	if err := e.feeds.drop(target.dir, name, content); err != nil {
		return status.Stored{}, err
	}
	return status.Stored{File: name, Bytes: int64(len(content)), Rows: rows}, nil
}

func refuseHTTP(code int, format string, args ...any) error {
	return &status.Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// landing returns the feed whose directory takes the rows of a table, or why none does.
func (e *Engine) landing(database, table string) (*feed, error) {
	var found *feed
	for _, f := range e.feeds.list() {
		db, name, err := f.table(e.cfg.DataDir)
		switch {
		case err != nil:
			return nil, err
		case !strings.EqualFold(db, database) || !strings.EqualFold(name, table):
		case found != nil && found.dir != f.dir:
			return nil, refuseHTTP(http.StatusConflict, "%s.%s reads several directories: drop files into the one that is meant", database, table)
		default:
			found = f
		}
	}
	if found == nil {
		return nil, e.noLanding(database, table)
	}
	if format := found.options.Format; format != "" && format != "json" && format != "auto" {
		return nil, refuseHTTP(http.StatusConflict, "%s.%s reads %s files: only JSON can be sent this way", database, table, format)
	}
	return found, nil
}

// noLanding says why a table has no open feed.
func (e *Engine) noLanding(database, table string) error {
	for _, s := range e.graph.Flows() {
		if !strings.EqualFold(s.Database, database) || !strings.EqualFold(s.Table, table) {
			continue
		}
		statement, err := ddl.Parse(s.Statement)
		create, ok := statement.(*ddl.Create)
		if err != nil || !ok || !readsFiles(create) {
			return refuseHTTP(http.StatusConflict, "%s.%s reads no directory: it is made from %s", s.Database, s.Table, strings.Join(s.Sources, ", "))
		}
		if s.LastError != "" {
			return refuseHTTP(http.StatusServiceUnavailable, "%s.%s does not read its directory now: %s", s.Database, s.Table, s.LastError)
		}
		return refuseHTTP(http.StatusServiceUnavailable, "%s.%s does not read its directory yet: try again", s.Database, s.Table)
	}
	_, noTable := e.store.Table(database, table)
	_, noView := e.store.View(database, table)
	if noTable != nil && noView != nil {
		return refuseHTTP(http.StatusNotFound, "there is no table %s.%s", database, table)
	}
	return refuseHTTP(http.StatusConflict, "%s.%s reads no directory: only streaming tables over read_files do", database, table)
}

func readsFiles(c *ddl.Create) bool {
	for _, s := range c.Sources {
		if s.Files != nil {
			return true
		}
	}
	return false
}

// name makes up a name for rows of this time, one that the table's pathGlobFilter lets through.
func (f *feed) name(at time.Time) (string, error) {
	stem := "ingest-" + at.UTC().Format(ingestTime) + "Z-" + uuid.NewString()[:8]
	for _, extension := range []string{".jsonl", ".json", ".ndjson"} {
		if ok, err := filepath.Match(f.options.Glob, stem+extension); f.options.Glob == "" || ok && err == nil {
			return stem + extension, nil
		}
	}
	return "", refuseHTTP(http.StatusConflict, "the table reads only files named %s: %s.jsonl is not", f.options.Glob, stem)
}

// drop makes a file appear in a watched directory, whole and durable.
func (f *feeds) drop(dir, name string, content []byte) error {
	if !f.permits(dir) { // a symlink may lead elsewhere by now
		return fmt.Errorf("store rows in %q: it is no longer under --watch, the pipelines' directories or --allow-path", dir)
	}
	if err := f.prepare(dir); err != nil {
		return fmt.Errorf("store rows: %w", err)
	}
	if err := vfs.WriteFile(f.files, filepath.Join(dir, name), content); err != nil {
		// The temporary file is of no use, and the disk may be full. Once renamed the file stays: it may be read already.
		_ = f.files.Remove(filepath.Join(dir, "."+name+".tmp"))
		return fmt.Errorf("store rows: %w", err)
	}
	return nil
}

// prepare makes a directory durable if it is not known to be, and clears it of what a crash left behind.
func (f *feeds) prepare(dir string) error {
	f.mu.Lock()
	done := f.prepared[dir]
	f.mu.Unlock()
	if done {
		if _, err := f.files.Stat(dir); err == nil {
			return nil
		}
	}
	if err := vfs.MakeDirs(f.files, dir); err != nil {
		return err
	}
	if err := f.sweep(dir, time.Now()); err != nil {
		f.log.Warn("remove what requests left behind", "directory", dir, "err", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prepared[dir] = true
	return nil
}

// sweep removes the temporary files of requests that a crash ended.
func (f *feeds) sweep(dir string, now time.Time) error {
	list, err := f.files.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	var errs []error
	for _, i := range list {
		if strings.HasPrefix(i.Name, ".ingest-") && strings.HasSuffix(i.Name, ".tmp") && now.Sub(i.Modified) > leftOver {
			errs = append(errs, f.files.Remove(filepath.Join(dir, i.Name)))
		}
	}
	return errors.Join(errs...)
}
