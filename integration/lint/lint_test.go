// Package lint holds the project's own rules as tests: which folder may import which, how large a file and a function
// may be, that everything exported is documented, and how errors are written. Each failure names the place.
package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	maxFileLines     = 500
	maxFunctionLines = 70
	maxExportedNames = 25
	// maxExportedTables is the exception for package tables: it shows the names of its package batch again, 23 with the
	// kinds of columns, because rows travel under the name tables.Batch.
	maxExportedTables = 25 + 23
)

// root is the project's folder, seen from this one.
const root = "../.."

type goFile struct {
	path   string // relative to the root, with slashes
	folder string // its directory, "" for the root
	test   bool
	ast    *ast.File
	lines  int
	fset   *token.FileSet
}

// load parses every Go file of the project once.
func load(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "build" || name == "data" || name == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, path, src, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		folder := strings.TrimSuffix(strings.TrimSuffix(rel, name), "/")
		files = append(files, goFile{path: rel, folder: folder, test: strings.HasSuffix(name, "_test.go"), ast: parsed, lines: strings.Count(string(src), "\n"), fset: fset})
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, len(files), 20, "the walk must see the project")
	return files
}

func report(t *testing.T, faults []string) {
	t.Helper()
	slices.Sort(faults)
	for _, f := range faults {
		t.Error(f)
	}
}

func (f goFile) line(p token.Pos) string { return f.path + ":" + strconv.Itoa(f.fset.Position(p).Line) }

// top returns the first folder of a path such as "models/onnx".
func top(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

// mayImport says for each folder which others of ours its packages may import. Folders import their own parts freely.
var mayImport = map[string][]string{
	"":            {"engine", "autoload"},
	"tables":      {},
	"models":      {},
	"autoload":    {"tables"},
	"queries":     {"tables"},
	"functions":   {"models", "tables"},
	"engine":      {"autoload", "tables", "queries", "models", "functions"},
	"integration": {"autoload", "tables", "queries", "models", "functions", "engine"},
}

// onlyIn says which packages may import a library that must stay behind one door.
var onlyIn = map[string][]string{
	"github.com/dolthub/go-mysql-server":        {"engine", "functions"},
	"github.com/dolthub/vitess/go/vt/sqlparser": {"engine", "queries"},
	"github.com/yalue/onnxruntime_go":           {"models/onnx"},
	"github.com/parquet-go/parquet-go":          {"tables/parquet"},
}

func TestImportsRunOneWay(t *testing.T) {
	var faults []string
	for _, f := range load(t) {
		for _, spec := range f.ast.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if ours, ok := strings.CutPrefix(path, "smelt/"); ok {
				from, to := top(f.folder), top(ours)
				if from != to && !slices.Contains(mayImport[from], to) {
					faults = append(faults, f.line(spec.Pos())+": "+from+" must not import "+to)
				}
			}
			faults = append(faults, guarded(f, spec, path)...)
		}
	}
	report(t, faults)
}

func guarded(f goFile, spec *ast.ImportSpec, path string) []string {
	// Benchmarks and tests may open the library itself: they measure against it.
	if f.test || top(f.folder) == "integration" {
		return nil
	}
	for library, doors := range onlyIn {
		if path != library && !strings.HasPrefix(path, library+"/") {
			continue
		}
		inside := slices.ContainsFunc(doors, func(d string) bool {
			// The parser of our statements stands below queries and knows no other parser.
			return (f.folder == d || strings.HasPrefix(f.folder, d+"/")) && f.folder != "queries/ddl"
		})
		if !inside {
			return []string{f.line(spec.Pos()) + ": " + library + " may be imported by " + strings.Join(doors, ", ") + " only"}
		}
	}
	return nil
}

func TestFilesAndFunctionsStaySmall(t *testing.T) {
	var faults []string
	for _, f := range load(t) {
		if f.lines > maxFileLines {
			faults = append(faults, f.path+": "+strconv.Itoa(f.lines)+" lines, limit "+strconv.Itoa(maxFileLines)+": split it by noun")
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			n := f.fset.Position(fn.Body.End()).Line - f.fset.Position(fn.Pos()).Line + 1
			if n > maxFunctionLines {
				faults = append(faults, f.line(fn.Pos())+": "+fn.Name.Name+" has "+strconv.Itoa(n)+" lines, limit "+strconv.Itoa(maxFunctionLines))
			}
		}
	}
	report(t, faults)
}

func TestEverythingExportedIsDocumentedAndLittleIs(t *testing.T) {
	var faults []string
	names := map[string]int{}
	documented := map[string]bool{}
	packages := map[string]string{}
	for _, f := range load(t) {
		if f.test {
			continue
		}
		packages[f.folder] = f.ast.Name.Name
		if f.ast.Doc != nil && (strings.HasPrefix(f.ast.Doc.Text(), "Package "+f.ast.Name.Name+" ") || f.ast.Name.Name == "main") {
			documented[f.folder] = true
		}
		for _, d := range f.ast.Decls {
			exported, bare := exportedNames(d)
			names[f.folder] += exported
			for _, b := range bare {
				faults = append(faults, f.line(b.Pos())+": "+b.Name+" is exported without a comment")
			}
		}
	}
	for folder, name := range packages {
		if !documented[folder] {
			faults = append(faults, folder+": package "+name+" needs a comment that begins \"Package "+name+"\"")
		}
		limit := maxExportedNames
		if folder == "tables" {
			limit = maxExportedTables
		}
		if names[folder] > limit {
			faults = append(faults, folder+": "+strconv.Itoa(names[folder])+" exported names, limit "+strconv.Itoa(limit))
		}
	}
	report(t, faults)
}

// exportedNames counts the exported top-level names of a declaration and returns those without a comment, methods included.
func exportedNames(d ast.Decl) (count int, bare []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() || !exportedReceiver(d) {
			return 0, nil
		}
		if d.Recv == nil {
			count = 1
		}
		if d.Doc == nil {
			bare = append(bare, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			var idents []*ast.Ident
			commented := d.Doc != nil
			switch s := spec.(type) {
			case *ast.TypeSpec:
				idents, commented = []*ast.Ident{s.Name}, commented || s.Doc != nil || s.Comment != nil
			case *ast.ValueSpec:
				idents, commented = s.Names, commented || s.Doc != nil || s.Comment != nil
			}
			for _, id := range idents {
				if id.IsExported() {
					count++
					if !commented {
						bare = append(bare, id)
					}
				}
			}
		}
	}
	return count, bare
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	kind := d.Recv.List[0].Type
	if star, ok := kind.(*ast.StarExpr); ok {
		kind = star.X
	}
	if generic, ok := kind.(*ast.IndexExpr); ok {
		kind = generic.X
	}
	id, ok := kind.(*ast.Ident)
	return ok && id.IsExported()
}
