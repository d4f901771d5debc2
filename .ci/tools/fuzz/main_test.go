package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestOnlyThatTheTimeWasUpIsPassedOver(t *testing.T) {
	const progress = "fuzz: elapsed: 30s, execs: 40304 (0/sec), new interesting: 104 (total: 108)\n"
	for name, c := range map[string]struct {
		said string
		want bool
	}{
		"time was up": {progress + "--- FAIL: FuzzX (30.20s)\n    context deadline exceeded\nFAIL\nexit status 1\nFAIL\texample.org/m\t30.2s\n", true},
		"a finding": {progress + "--- FAIL: FuzzX (3.20s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:9: bad\n    \n    Failing input written to testdata/fuzz/FuzzX/1\n" +
			"FAIL\n", false},
		"a finding about time": {progress + "--- FAIL: FuzzX (3.20s)\n    context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzX/1\nFAIL\n", false},
		"a seed":               {"failure while testing seed corpus entry: FuzzX/seed#0\n--- FAIL: FuzzX (0.20s)\n    context deadline exceeded\nFAIL\n", false},
		"a worker that died":   {progress + "--- FAIL: FuzzX (3.20s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\nFAIL\n", false},
		"it does not build":    {"x_test.go:3: undefined: y\nFAIL\texample.org/m [build failed]\n", false},
		"another target":       {progress + "--- FAIL: FuzzXY (30.20s)\n    context deadline exceeded\nFAIL\n", false},
		"nothing":              {"", false},
	} {
		if got := timeWasUp(c.said, "FuzzX"); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// module is a folder with a module of one package, which has these tests.
func module(t *testing.T, tests string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.org/m\n\ngo 1.26.0\n", "p/p.go": "package p\n", "p/p_test.go": "package p\n\nimport \"testing\"\n\n" + tests,
		"p/testdata/q_test.go": "func FuzzHidden(f *testing.F) {}\n",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestEveryTargetRuns(t *testing.T) {
	root := module(t, "func FuzzA(f *testing.F) { f.Fuzz(func(*testing.T, []byte) {}) }\n\nfunc FuzzB(f *testing.F) { f.Fuzz(func(*testing.T, string) {}) }\n")
	var out strings.Builder
	if err := run(t.Context(), []string{"-root", root, "-time", "10x"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if text := out.String(); strings.Count(text, "== ") != 2 || !strings.Contains(text, "== p FuzzA\n") || !strings.Contains(text, "== p FuzzB\n") {
		t.Errorf("it ran\n%s", text)
	}
	if err := run(t.Context(), []string{"-root", root, "-time", "10x", "-match", "^FuzzZ"}, &out); err == nil {
		t.Error("that nothing matches is no error")
	}
}

func TestAFindingIsAnError(t *testing.T) {
	root := module(t, "func FuzzA(f *testing.F) {\n\tf.Add(\"x\")\n\tf.Fuzz(func(t *testing.T, s string) { t.Error(s) })\n}\n")
	var out strings.Builder
	if err := run(t.Context(), []string{"-root", root, "-time", "10x"}, &out); err == nil || !strings.Contains(err.Error(), "p FuzzA") {
		t.Errorf("a target that fails: %v\n%s", err, &out)
	}
	if cmd := exec.CommandContext(t.Context(), filepath.Join(root, "nothing")); fuzz(cmd, "FuzzA", &out) == nil {
		t.Error("that there is no go is no error")
	}
}
