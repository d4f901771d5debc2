package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/importer"
)

const chat = `{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"One?"},{"role":"assistant","content":"1","name":"counter",
 "tool_calls":[{"id":"c","function":{"name":"count","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"Error: no"},{"role":"wizard"}]}`

func chatFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chat.json")
	if err := os.WriteFile(path, []byte(chat), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImportCounts(t *testing.T) {
	f := startFake(t)
	path := chatFile(t)
	want := map[string]int64{"sessions": 1, "prompts": 1, "responses": 1, "tool_invocations": 1, "tool_invocations_failed": 1, "templates": 1, "agents": 1,
		"edges": 3 + 1 + 1 + 1 + 2, "skipped": 1, "files": 1, "created": 14, "unchanged": 0}
	for _, again := range []bool{false, true} {
		if again {
			want["created"], want["unchanged"] = 0, 14
		}
		var got map[string]int64
		if err := json.Unmarshal([]byte(f.must(t, "import", path, "-o", "json")), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("again %v: counts (-want +got):\n%s", again, diff)
		}
	}
	r := execute(t, chat, "import", "-")
	if r.code != exitOK || !strings.Contains(r.out, "0 records created, 14 were there already\nsee one: memory-graph session show ") {
		t.Errorf("standard input: %+v", r)
	}
	if !strings.Contains(r.err, `skipped: -: conversation 1, message 5: role "wizard" is unknown`) {
		t.Errorf("the problem is not told: %s", r.err)
	}
	_, id, _ := strings.Cut(strings.TrimSpace(r.out), "session show ")
	if tree := f.must(t, "session", "show", id); !strings.Contains(tree, "agent counter") || !strings.Contains(tree, "failed: Error: no") {
		t.Errorf("tree:\n%s", tree)
	}
}

func TestImportDryRun(t *testing.T) {
	f := startFake(t)
	if got := f.must(t, "import", chatFile(t), "--dry-run", "--format", "openai"); !strings.Contains(got, "nothing was sent") || len(f.calls) != 0 {
		t.Errorf("calls %v, output\n%s", f.calls, got)
	}
}

// TestStrictImportFails: the same import succeeds without --strict.
func TestStrictImportFails(t *testing.T) {
	f := startFake(t)
	r := execute(t, "", "import", "--strict", chatFile(t), "--address", f.address)
	if r.code != exitFailed || !strings.Contains(r.err, `stopped at the first problem: `) || !strings.Contains(r.err, `role "wizard" is unknown`) {
		t.Errorf("%+v", r)
	}
	f.must(t, "import", chatFile(t))
}

// TestOneUnreadableFileOfAFolder: the others are read, and the counts are told; with --strict they are told, too.
func TestOneUnreadableFileOfAFolder(t *testing.T) {
	f := startFake(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"a.json": `[{"role":"user","content":"hi"}]`, "b.json.gz": "\x1f\x8b", "c.json": `[{"role":"user","content":"ho"}]`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := execute(t, "", "import", dir, "--address", f.address)
	if r.code != exitOK || !strings.Contains(r.err, "skipped: "+filepath.Join(dir, "b.json.gz")+": ") || !strings.Contains(r.out, "6 records created, 0 were there already\n") {
		t.Errorf("%+v", r)
	}
	r = execute(t, "", "import", dir, "--strict", "-o", "json", "--address", f.address)
	var counts map[string]int64
	if err := json.Unmarshal([]byte(r.out), &counts); err != nil || r.code != exitFailed || counts["prompts"] == 0 || counts["skipped"] != 1 {
		t.Errorf("strict: %v: %+v", err, r)
	}
	r = execute(t, "", "import", filepath.Join(dir, "b.json.gz"), "--address", f.address)
	if r.code != exitFailed || !strings.Contains(r.err, "b.json.gz: ") || !strings.Contains(r.out, "as far as the server has said") {
		t.Errorf("alone: %+v", r)
	}
}

// TestLogsOfClaudeCodePassStrict: lines that the program writes for itself are told and are no fault; unknown ones are one.
func TestLogsOfClaudeCodePassStrict(t *testing.T) {
	f := startFake(t)
	const log = `{"type":"file-history-snapshot","messageId":"m","snapshot":{}}
{"type":"user","uuid":"u","parentUuid":null,"sessionId":"s","timestamp":"2026-01-02T03:04:05Z","message":{"role":"user","content":"hi"}}
{"type":"system","uuid":"v","parentUuid":"u","sessionId":"s","content":"noticed"}
`
	for _, tt := range []struct {
		more string
		code int
	}{{"", exitOK}, {`{"type":"surprise","uuid":"w","sessionId":"s"}` + "\n", exitFailed}} {
		path := filepath.Join(t.TempDir(), "log.jsonl")
		if err := os.WriteFile(path, []byte(log+tt.more), 0o644); err != nil {
			t.Fatal(err)
		}
		r := execute(t, "", "import", "--strict", path, "--address", f.address)
		if r.code != tt.code || !strings.Contains(r.err, `left out: `+path+`: 1 lines of type "system" hold no message`) {
			t.Errorf("%q: %+v", tt.more, r)
		}
	}
}

func TestImportFailures(t *testing.T) {
	f := startFake(t)
	dir := t.TempDir()
	other := filepath.Join(dir, "other.json")
	if err := os.WriteFile(other, []byte(`{"a": 1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, want string }{
		{filepath.Join(dir, "absent"), "no such file"}, {t.TempDir(), "no .json"}, {other, "nothing found"}, {os.DevNull, "not a regular file"},
	}
	for _, tt := range tests {
		r := execute(t, "", "import", tt.path, "--address", f.address)
		if r.code != exitFailed || !strings.Contains(r.err, tt.want) {
			t.Errorf("%s: %+v, want %q", tt.path, r, tt.want)
		}
	}
}

func TestManyProblemsAreSummedUp(t *testing.T) {
	f := startFake(t)
	lines := chat + strings.Repeat("\nbroken", maxProblems+5)
	path := filepath.Join(t.TempDir(), "chat.jsonl")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(chat, "\n", "")+lines[len(chat):]), 0o644); err != nil {
		t.Fatal(err)
	}
	r := execute(t, "", "import", path, "--address", f.address)
	if r.code != exitOK || strings.Count(r.err, "skipped: ") != maxProblems+1 || !strings.Contains(r.err, "skipped: 6 more") {
		t.Errorf("exit code %d:\n%s", r.code, r.err)
	}
}

func TestSampleIsCleanAndRich(t *testing.T) {
	raw, err := sampleFiles.ReadFile("sample/lighthouse.json")
	if err != nil || !json.Valid(raw) {
		t.Fatalf("the sample is no JSON: %v", err)
	}
	sources, done, err := importer.Sources([]string{"sample"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	got, err := importer.Import(t.Context(), nil, sources, importer.Options{DryRun: true})
	want := importer.Summary{Sessions: 1, Prompts: 3, Responses: 6, ToolInvocations: 4, FailedToolInvocations: 1, Templates: 1, Agents: 1, Edges: 13 + 2 + 6 + 4 + 1 + 9, Files: 1}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: counts (-want +got):\n%s", err, diff)
	}
}

func TestNamesOfFormatsAreInTheHelp(t *testing.T) {
	r := execute(t, "", "import", "--help")
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "IMPORT.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range importer.Formats() {
		if !strings.Contains(r.out, fmt.Sprint(f)) {
			t.Errorf("%s is not in the help", f)
		}
		if f != importer.FormatAuto && !strings.Contains(string(page), fmt.Sprintf("`%s`", f)) {
			t.Errorf("%s is not in docs/IMPORT.md", f)
		}
	}
}
