// Package memorygraph_test holds the rules of the house that a machine can hold: who may import whom, which modules a room
// may use, how long a file grows, what no file may contain. It reads the source and knows nothing of what it does.
package memorygraph_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/globalbusinessadvisors/llm-memory-graph"

// goFile is one Go file of the repository, names relative to the root with forward slashes.
type goFile struct {
	name      string
	dir       string
	test      bool
	generated bool
	text      []byte
	syntax    *ast.File
	positions *token.FileSet
	imports   []string
}

// calls lists the lines on which a function of the package is named, as `path.name`.
func (f *goFile) calls(importPath string, names ...string) []string {
	local := f.localName(importPath)
	if local == "" {
		return nil
	}
	var lines []string
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(names, s.Sel.Name) {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
				lines = append(lines, f.place(n)+": "+local+"."+s.Sel.Name)
			}
		}
		return true
	})
	return lines
}

// localName is what the file calls an imported package, or nothing.
func (f *goFile) localName(importPath string) string {
	for _, spec := range f.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

func (f *goFile) place(n ast.Node) string {
	return f.name + ":" + strconv.Itoa(f.positions.Position(n.Pos()).Line)
}

// inside reports whether the file lies in the folder or below it.
func (f *goFile) inside(dir string) bool { return f.dir == dir || strings.HasPrefix(f.dir, dir+"/") }

// skipped are folders that hold no source of ours.
var skipped = []string{".git", "bin", "data", "testdata", "vendor", "node_modules"}

// walk visits every file of the repository that is source of ours.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(skipped, entry.Name()):
			return fs.SkipDir
		case entry.Type().IsRegular():
			visit(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goFiles parses every Go file of the module, whatever its build tags. Tools in modules of their own are left out.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var files []*goFile
	walk(t, func(name string) {
		if strings.HasSuffix(name, ".go") && !strings.HasPrefix(name, ".") {
			files = append(files, parse(t, name))
		}
	})
	if len(files) < 10 {
		t.Fatalf("found %d Go files: this test no longer looks at the repository", len(files))
	}
	return files
}

func parse(t *testing.T, name string) *goFile {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f := &goFile{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), text: text, positions: token.NewFileSet()}
	if f.syntax, err = parser.ParseFile(f.positions, name, text, parser.ParseComments); err != nil {
		t.Fatal(err)
	}
	f.generated = ast.IsGenerated(f.syntax)
	for _, spec := range f.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		f.imports = append(f.imports, p)
	}
	return f
}

// lines counts the lines of text.
func lines(text []byte) int { return bytes.Count(text, []byte("\n")) }

// standard reports whether an import path is of the standard library.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// within reports whether an import path is the given one or below it.
func within(importPath, root string) bool {
	return importPath == root || strings.HasPrefix(importPath, root+"/")
}
