package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/deploy/npm"
)

func TestNPMRepair(t *testing.T) {
	project := t.TempDir()
	if r := execute(t, "", "npm-repair", project); r.code != exitFailed || !strings.Contains(r.err, "npm install") {
		t.Errorf("without the client: %+v", r)
	}
	client := filepath.Join(project, "node_modules", filepath.FromSlash(npm.Client))
	if err := os.MkdirAll(client, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ version, out, err string }{
		{"0.1.0", "repaired: ", ""},
		{"0.1.0", "was repaired already: ", ""},
		{"0.2.0", "was repaired already: ", "made for 0.1.0"},
	} {
		if err := os.WriteFile(filepath.Join(client, "package.json"), []byte(`{"version":"`+c.version+`"}`), 0o644); err != nil {
			t.Fatal(err)
		}
		r := execute(t, "", "npm-repair", project)
		if r.code != exitOK || !strings.HasPrefix(r.out, c.out) || !strings.Contains(r.err, c.err) || c.err == "" && r.err != "" {
			t.Errorf("%+v: %+v", c, r)
		}
	}
	file, err := os.ReadFile(filepath.Join(project, "node_modules", "@llm-dev-ops", "proto", "memory_graph.proto"))
	if r := execute(t, "", "npm-repair", "--print"); err != nil || r.out != string(file) || !strings.Contains(r.out, "string sessionId") {
		t.Errorf("%v, %.200s", err, r.out)
	}
	if r := execute(t, "", "npm-repair", "a", "b"); r.code != exitUsage {
		t.Errorf("two projects: %+v", r)
	}
}
