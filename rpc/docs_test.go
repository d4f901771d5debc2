package rpc

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEveryMetricIsDocumented, and every metric that is documented as having a part is there.
func TestEveryMetricIsDocumented(t *testing.T) {
	r := start(t)
	families, err := r.server.Metrics().Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	text, missing, _ := strings.Cut(read(t, "..", "docs", "METRICS.md"), "## Names that have no part yet")
	exported := map[string]bool{}
	for _, f := range families {
		if name, ours := strings.CutPrefix(f.GetName(), "memory_graph_"); ours {
			exported[name] = true
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("%s is not documented", name)
			}
		}
	}
	for _, m := range regexp.MustCompile("`([a-z_]+(?:_total|_seconds|_bytes|_size|_sessions|_nodes|_edges|_streams|_connections))`").FindAllStringSubmatch(text, -1) {
		if !exported[m[1]] {
			t.Errorf("%s is documented but not exported", m[1])
		}
	}
	for _, name := range strings.Fields("plugin_executions_total plugin_errors_total plugin_duration_seconds registry_calls_total " +
		"vault_archives_total vault_retrievals_total vault_errors_total") {
		if exported[name] || !strings.Contains(missing, "`"+name) {
			t.Errorf("%s has no part: document it as such", name)
		}
	}
}

// TestEveryReasonIsDocumented reads the reasons from the sources of the rooms that refuse.
func TestEveryReasonIsDocumented(t *testing.T) {
	text := read(t, "..", "docs", "ERRORS.md")
	reason := regexp.MustCompile(`(?:Reason: |Reason\w+ += |codes\.\w+, |precondition\()"([A-Z][A-Z_]+)"`)
	seen := 0
	for _, pattern := range []string{"*.go", "../graph/*.go", "../fsm/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, m := range reason.FindAllStringSubmatch(read(t, name), -1) {
				seen++
				if !strings.Contains(text, "`"+m[1]+"`") {
					t.Errorf("%s: reason %s is not documented", name, m[1])
				}
			}
		}
	}
	if seen < 25 {
		t.Errorf("found only %d reasons", seen)
	}
}
