package status

import (
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// maxRunMetrics bounds the numbers of one page: four for each class.
const maxRunMetrics = 1000

// runsSQL is the newest runs with what one looks at first.
const runsSQL = "SELECT r.run_id, r.run_name, r.model, r.model_version, r.start_time, " +
	"MAX(CASE m.`key` WHEN 'rows' THEN m.value END) AS `rows`, MAX(CASE m.`key` WHEN 'accuracy' THEN m.value END) AS accuracy, " +
	"MAX(CASE m.`key` WHEN 'f1' THEN m.value END) AS f1, MAX(CASE m.`key` WHEN 'macro_f1' THEN m.value END) AS macro_f1 " +
	"FROM (SELECT * FROM smelt.runs ORDER BY start_time DESC LIMIT 20) r JOIN smelt.metrics m ON m.run_id = r.run_id AND m.label IS NULL " +
	"GROUP BY r.run_id, r.run_name, r.model, r.model_version, r.start_time ORDER BY r.start_time DESC"

//go:embed run.html
var runHTML string

// runPage is one run as the template shows it.
type runPage struct {
	ID, Name, Model, Version, Started, User string
	Metrics, Params                         [][]string
	Classes                                 [][]string // label, precision, recall, F1, support
	Files                                   [][]string // path, bytes, address
	Picture                                 string     // address of the confusion matrix, "" for none
}

// serveRuns adds the pages and the files of runs.
func (s *Server) serveRuns(mux *http.ServeMux) error {
	page, err := template.New("run").Parse(runHTML)
	if err != nil {
		return fmt.Errorf("parse page of a run: %w", err)
	}
	mux.HandleFunc("GET /runs/{id}", func(w http.ResponseWriter, r *http.Request) { s.run(w, r, page) })
	mux.HandleFunc("GET /runs/{id}/{path}", s.artifact)
	return nil
}

// runOf reads the id of a request. Only a UUID gets into a statement.
func runOf(r *http.Request) (id string, err error) {
	parsed, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return "", refuse(http.StatusNotFound, "no run %q: want the run_id of smelt.runs", r.PathValue("id"))
	}
	return parsed.String(), nil
}

func (s *Server) run(w http.ResponseWriter, r *http.Request, page *template.Template) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	id, err := runOf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	shown, err := s.runPage(ctx, id)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, shown); err != nil {
		s.cfg.Logger.Warn("write page of a run", "err", err)
	}
}

func (s *Server) runPage(ctx context.Context, id string) (*runPage, error) {
	p := &runPage{ID: id}
	where := " WHERE run_id = '" + id + "'"
	run, err := s.cfg.Query(ctx, "SELECT run_name, model, CAST(model_version AS CHAR), start_time, user FROM smelt.runs"+where)
	if err != nil {
		return nil, err
	}
	if run.Len == 0 {
		return nil, refuse(http.StatusNotFound, "no run %q in smelt.runs", id)
	}
	p.Name, p.Model, p.Version, p.Started, p.User = cell(run, 0, 0), cell(run, 1, 0), cell(run, 2, 0), cell(run, 3, 0), cell(run, 4, 0)
	params, err := s.cfg.Query(ctx, "SELECT `key`, value FROM smelt.params"+where+" ORDER BY `key`")
	if err != nil {
		return nil, err
	}
	p.Params = cells(params)
	list, err := s.cfg.Query(ctx, "SELECT `key`, value, label FROM smelt.metrics"+where+" LIMIT "+strconv.Itoa(maxRunMetrics))
	if err != nil {
		return nil, err
	}
	at := map[string]int{} // row of a class
	for i := range list.Len {
		key, value, label := cell(list, 0, i), cell(list, 1, i), cell(list, 2, i)
		if label == "" {
			p.Metrics = append(p.Metrics, []string{key, value})
			continue
		}
		row, ok := at[label]
		if !ok {
			row, at[label] = len(p.Classes), len(p.Classes)
			p.Classes = append(p.Classes, []string{label, "", "", "", ""})
		}
		what, _, _ := strings.Cut(key, "/")
		for column, name := range []string{"precision", "recall", "f1", "support"} {
			if what == name {
				p.Classes[row][column+1] = value
			}
		}
	}
	files, err := s.cfg.Query(ctx, "SELECT path, bytes FROM smelt.artifacts"+where+" ORDER BY path")
	if err != nil {
		return nil, err
	}
	for _, file := range cells(files) {
		address := "/runs/" + id + "/" + url.PathEscape(file[0])
		p.Files = append(p.Files, append(file, address))
		if strings.HasSuffix(file[0], ".png") {
			p.Picture = address
		}
	}
	return p, nil
}

// artifact sends a file of a run. It is shown as what it says it is and nothing else.
func (s *Server) artifact(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	id, err := runOf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	files, err := s.cfg.Query(ctx, "SELECT path, media_type, content FROM smelt.artifacts WHERE run_id = '"+id+"'")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	for i := range files.Len {
		if cell(files, 0, i) != r.PathValue("path") {
			continue
		}
		w.Header().Set("Content-Type", cell(files, 1, i))
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		w.Header().Set("Cache-Control", "private, max-age=3600, immutable") // a run does not change
		if _, err := w.Write([]byte(cell(files, 2, i))); err != nil {
			s.cfg.Logger.Debug("send a file of a run", "err", err)
		}
		return
	}
	s.fail(w, r, refuse(http.StatusNotFound, "run %s has no file %q", id, r.PathValue("path")))
}
