package memorygraph_test

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines     = 500
	maxFunctionLines = 80
)

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	comments := map[string]string{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		if _, seen := comments[f.dir]; !seen {
			comments[f.dir] = ""
		}
		if !f.generated && f.syntax.Doc != nil {
			comments[f.dir] += f.syntax.Doc.Text()
		}
	}
	for dir, comment := range comments {
		if len(strings.Fields(comment)) < 8 {
			t.Errorf("%s: the package comment must say what it holds, promises and refuses to know; got %q", dir, comment)
		}
	}
}

func TestFilesAndFunctionsFitTheScreen(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.generated || f.test {
			continue
		}
		if n := lines(f.text); n > maxFileLines {
			t.Errorf("%s has %d lines, at most %d", f.name, n, maxFileLines)
		}
		for _, decl := range f.syntax.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := f.positions.Position(fn.End()).Line - f.positions.Position(fn.Pos()).Line + 1
			if n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, at most %d", f.place(fn), fn.Name.Name, n, maxFunctionLines)
			}
		}
	}
}

func TestNothingHappensAtImport(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.generated {
			continue
		}
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: no init: constructors take what they need", f.place(fn))
			}
		}
	}
}

func TestFoldersAreNamedForWhatTheyHold(t *testing.T) {
	for _, f := range goFiles(t) {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "manager", "misc"}, path.Base(f.dir)) {
			t.Errorf("%s: the name of its folder says nothing", f.name)
		}
	}
}

// TestTestsDoNotSleep: they wait for the event. Files that test in a bubble of testing/synctest, where time is virtual and
// sleeping is what moves it, may.
func TestTestsDoNotSleep(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test && !f.inside("jepsen") || slices.Contains(f.imports, "testing/synctest") {
			continue
		}
		for _, call := range f.calls("time", "Sleep") {
			t.Errorf("%s: wait for the event instead", call)
		}
	}
}

// The words are put together here so that this file passes its own test.
var (
	unfinished = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}, "|") + `)\b`)
	// In prose such a word may be spoken of; a mark is followed by a colon or a name.
	unfinishedProse = regexp.MustCompile(unfinished.String() + `[:(]`)
	// Where this or another machine keeps things, and where modules, packages and images are fetched from.
	machine = regexp.MustCompile(`/(work|ro` + `ot)/\w|proxy\.gol` + `ang\.org|registry\.np` + `mjs\.org|docker\.` + `io/`)
)

func TestNothingIsLeftUnfinished(t *testing.T) {
	var seen int
	walk(t, func(name string) {
		marks := unfinished
		switch {
		case filepath.Ext(name) == ".md":
			marks = unfinishedProse
		case !isText(name):
			return
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		for i, line := range strings.Split(string(text), "\n") {
			if mark := marks.FindString(line); mark != "" {
				t.Errorf("%s:%d: %s", name, i+1, mark)
			}
			if place := machine.FindString(line); place != "" {
				t.Errorf("%s:%d: %s is a place outside the repository", name, i+1, place)
			}
		}
	})
	if seen < 20 {
		t.Errorf("only %d files were looked at", seen)
	}
}

// isText reports whether people write the file by hand.
func isText(name string) bool {
	known := []string{".go", ".proto", ".sh", ".yaml", ".yml", ".conf", ".json", ".html"}
	return slices.Contains(known, filepath.Ext(name)) ||
		slices.Contains([]string{"Makefile", "Dockerfile"}, path.Base(name)) || name == ".ci/run"
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
	walk(t, func(name string) {
		if filepath.Ext(name) != ".md" {
			return
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			if _, err := os.Stat(path.Join(path.Dir(name), string(m[1]))); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	})
}
