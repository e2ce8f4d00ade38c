package lint

import (
	"go/ast"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func TestNoInitNoSleepInTestsNoUnfinishedWords(t *testing.T) {
	unfinished := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	var faults []string
	for _, f := range load(t) {
		for _, group := range f.ast.Comments {
			if unfinished.MatchString(group.Text()) {
				faults = append(faults, f.line(group.Pos())+": finish it or write an issue")
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					faults = append(faults, f.line(n.Pos())+": init() hides work from the reader of main")
				}
			case *ast.CallExpr:
				if f.test && calls(n, "time", "Sleep") {
					faults = append(faults, f.line(n.Pos())+": wait for the condition, not for time")
				}
			}
			return true
		})
	}
	report(t, faults)
}

func calls(c *ast.CallExpr, pkg, name string) bool {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}

// TestErrorsAreLowerCaseAndWrap holds the wording of errors: lower case, what was being done, and %w for the cause.
func TestErrorsAreLowerCaseAndWrap(t *testing.T) {
	var faults []string
	for _, f := range load(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 || !(calls(call, "fmt", "Errorf") || calls(call, "errors", "New")) {
				return true
			}
			lit, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			faults = append(faults, errorFaults(f, call, text)...)
			return true
		})
	}
	report(t, faults)
}

func errorFaults(f goFile, call *ast.CallExpr, text string) []string {
	var faults []string
	first, rest := firstRunes(text)
	// An acronym such as SELECT or ONNX may open an error; a capitalised word may not.
	if unicode.IsUpper(first) && unicode.IsLower(rest) {
		faults = append(faults, f.line(call.Pos())+": error begins with a capital: "+text)
	}
	if strings.HasSuffix(text, ".") || strings.HasSuffix(text, "!") {
		faults = append(faults, f.line(call.Pos())+": error ends like a sentence: "+text)
	}
	if strings.HasPrefix(text, "failed to ") {
		faults = append(faults, f.line(call.Pos())+": say what was being done, not that it failed: "+text)
	}
	last, ok := call.Args[len(call.Args)-1].(*ast.Ident)
	if ok && (last.Name == "err" || strings.HasSuffix(last.Name, "Err")) && !strings.Contains(text, "%w") {
		faults = append(faults, f.line(call.Pos())+": error drops its cause, use %w: "+text)
	}
	return faults
}

func firstRunes(s string) (first, second rune) {
	runes := []rune(s)
	if len(runes) > 0 {
		first = runes[0]
	}
	if len(runes) > 1 {
		second = runes[1]
	}
	return first, second
}

// TestEachDirectDependencyHasItsReason compares go.mod with the table of dependencies.
func TestEachDirectDependencyHasItsReason(t *testing.T) {
	mod, err := os.ReadFile(root + "/go.mod")
	require.NoError(t, err)
	design, err := os.ReadFile(root + "/engine/DESIGN.md")
	require.NoError(t, err)
	direct := regexp.MustCompile(`(?m)^\s+(\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1)
	require.NotEmpty(t, direct)
	for _, m := range direct {
		short := strings.TrimPrefix(m[1], "github.com/")
		if !strings.Contains(string(design), short) {
			t.Errorf("go.mod: %s has no line in engine/DESIGN.md that says why", m[1])
		}
	}
}

// TestDesignPagesNameWhatExists fails when a DESIGN.md names a Go file that is gone.
func TestDesignPagesNameWhatExists(t *testing.T) {
	known := map[string]bool{}
	for _, f := range load(t) {
		known[f.path[strings.LastIndex(f.path, "/")+1:]] = true
	}
	names := regexp.MustCompile("`([a-z0-9_/]+\\.go)`")
	for _, folder := range []string{"autoload", "engine", "functions", "models", "queries", "tables"} {
		page, err := os.ReadFile(root + "/" + folder + "/DESIGN.md")
		require.NoError(t, err)
		require.Less(t, strings.Count(string(page), "\n"), 200, folder+"/DESIGN.md is a page, not a book")
		for _, m := range names.FindAllStringSubmatch(string(page), -1) {
			if !known[m[1][strings.LastIndex(m[1], "/")+1:]] {
				t.Errorf("%s/DESIGN.md names %s, which does not exist", folder, m[1])
			}
		}
	}
}
