package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// TestVerbs tells a story with all verbs and compares what each prints, as a table and as JSON.
func TestVerbs(t *testing.T) {
	f := startFake(t)
	var b strings.Builder
	do := func(stdin string, args ...string) {
		b.WriteString("$ memory-graph " + strings.Join(args, " ") + "\n")
		b.WriteString(f.mustRead(t, stdin, args...) + "\n")
	}
	do("", "session", "create", "--metadata", "user=ada", "--metadata", "note=a=b")
	do("", "session", "get", "session-1", "-o", "json")
	do("", "node", "add-prompt", "--session", "session-1", "--content", "What is a heron?", "--model", "gpt-4", "--tool", "search", "--custom", "k=v")
	do("from\nstandard input", "node", "add-prompt", "--session", "session-1", "--content", "-", "-o", "json")
	do("", "node", "get", "node-3")
	do("", "node", "add-response", "--prompt", "node-2", "--content", "A wading bird.", "--model", "gpt-4", "--prompt-tokens", "12", "--completion-tokens", "5",
		"--total-tokens", "17", "--latency-ms", "640", "--finish-reason", "length", "--custom", "k=v")
	do("", "node", "add-tool", "--response", "node-4", "--name", "search", "--parameters", `{"q":"heron"}`, "--status", "success", "--result", "[1]", "--duration-ms", "120", "--retries", "1", "--metadata", "k=v")
	do("", "node", "add-tool", "--response", "node-4", "--name", "search", "--status", "failed", "--error", "no net", "-o", "json")
	do(`{"agent": {"name": "planner", "role": "plans", "capabilities": ["a", "b"], "status": "idle"}, "type": "NODE_TYPE_AGENT", "id": "planner"}`, "node", "create")
	do(`[{"agent": {"name": "one"}, "type": "NODE_TYPE_AGENT"}, {"agent": {"name": "two"}, "type": "NODE_TYPE_AGENT"}]`, "node", "create")
	do("", "node", "get", "planner", "-o", "yaml")
	do("", "node", "get", "session-1")
	do("", "node", "get", "planner", "nobody", "node-2")
	do(`{"id": "planner", "agent": {"name": "planner", "status": "busy"}}`, "node", "update", "--expected-revision", "6")
	do("", "node", "delete", "planner")
	do("", "edge", "create", "--from", "node-2", "--to", "planner", "--type", "handled-by", "--property", "k=v")
	do("", "edge", "create", "--from", "planner", "--to", "node-2", "--type", "EDGE_TYPE_REFERENCES", "--id", "mine", "-o", "json")
	do("", "edge", "list", "node-2")
	do("", "edge", "list", "node-2", "--direction", "both", "-o", "json")
	do("", "edge", "list", "node-2", "--direction", "incoming", "--type", "references")
	do("", "edge", "delete", "mine", "-o", "json")
	do("Hey {{name}}", "template", "create", "--name", "greeting", "--text", "-", "--variable", "name", "--parent", "root")
	do(`{"name": "plain", "template_text": "x"}`, "template", "create", "--file", "-", "-o", "json")
	do("", "template", "get", "node-13")
	do("", "template", "list")
	do("", "template", "instantiate", "node-13", "--session", "session-1", "--var", "name=Alice")
	do("", "query", "--session", "session-1", "--type", "prompt", "--limit", "2")
	do("", "query", "--session", "session-1", "--type", "prompt", "--limit", "1", "--skip-total", "--page-token", "1", "-o", "json")
	do("", "query", "--stream", "--type", "tool")
	do("", "query", "--all", "--type", "agent", "-o", "json")
	do("", "query", "--all", "--type", "template", "-o", "yaml")
	do("", "session", "list", "--limit", "5")
	do("", "session", "close", "session-1")
	do("", "session", "delete", "session-1")
	do("", "stats")
	do("", "health")
	golden(t, "verbs.txt", b.String())
}

func TestQueryRequest(t *testing.T) {
	f := startFake(t)
	f.must(t, "query", "--session", "s", "--type", "response", "--after", "2026-03-01", "--before", "2026-03-01T10:00:00+01:00", "--limit", "7", "--offset", "3",
		"--filter", "model=gpt=4", "--filter", "latency_ms>5", "--filter", "metadata.k=")
	session, nodeType := "s", pb.NodeType_NODE_TYPE_RESPONSE
	want := &pb.QueryRequest{SessionId: &session, NodeType: &nodeType, Limit: 7, Offset: 3,
		Filters: map[string]string{"model": "gpt=4", "latency_ms>": "5", "metadata.k": ""}}
	times := &pb.QueryRequest{}
	if err := protojson.Unmarshal([]byte(`{"after":"2026-03-01T00:00:00Z","before":"2026-03-01T09:00:00Z"}`), times); err != nil {
		t.Fatal(err)
	}
	want.After, want.Before = times.After, times.Before
	if diff := cmp.Diff(want, last[*pb.QueryRequest](t, f), protocmp.Transform()); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at, err := parseTime("after", "90m", now)
	if err != nil || !at.AsTime().Equal(now.Add(-90*time.Minute)) {
		t.Errorf("90m: %v, %v", at, err)
	}
}

func TestUpdateAndTemplateRequests(t *testing.T) {
	f := startFake(t)
	f.mustRead(t, `{"id": "x"}`, "node", "update", "--expected-revision", "6")
	if got := last[*pb.UpdateNodeRequest](t, f); got.ExpectedRevision == nil || *got.ExpectedRevision != 6 {
		t.Errorf("expected revision %v", got.ExpectedRevision)
	}
	f.mustRead(t, `{"id": "x"}`, "node", "update")
	if got := last[*pb.UpdateNodeRequest](t, f); got.ExpectedRevision != nil {
		t.Errorf("expected revision %v, want none", *got.ExpectedRevision)
	}
	f.must(t, "template", "create", "--name", "n", "--text", "t", "--template-version", "2.0.0", "--parent", "p", "--variable", "v")
	want := &pb.CreateTemplateRequest{Template: &pb.TemplateNode{Id: "node-1", Name: "n", TemplateText: "t", Version: "2.0.0",
		Metadata: map[string]string{"parent_id": "p"}, Variables: []*pb.VariableSpec{{Name: "v", Required: true}}}}
	if diff := cmp.Diff(want, last[*pb.CreateTemplateRequest](t, f), protocmp.Transform()); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestPagesAreFollowed(t *testing.T) {
	f := startFake(t)
	f.pageSize = 2
	f.must(t, "session", "create")
	for range 5 {
		f.must(t, "node", "add-prompt", "--session", "session-1", "--content", "x")
		f.must(t, "edge", "create", "--from", "a", "--to", "b", "--type", "references")
	}
	if got := strings.Count(f.must(t, "query", "--all", "--type", "prompt", "-o", "json"), "\n"); got != 5 {
		t.Errorf("%d nodes, want 5", got)
	}
	if got := strings.Count(f.must(t, "edge", "list", "a"), "REFERENCES"); got != 5 {
		t.Errorf("%d edges, want 5", got)
	}
	if got := strings.Count(f.must(t, "node", "get", "node-2", "node-4", "node-6", "node-8"), "prompt"); got != 4 {
		t.Errorf("%d nodes, want 4", got)
	}
	if got := f.must(t, "query", "--type", "prompt"); !strings.Contains(got, "2 of 5; continue with --page-token 2") {
		t.Errorf("got %s", got)
	}
}

func TestHealthFailsWhenTheServerDoesNotServe(t *testing.T) {
	f := startFake(t)
	f.health = pb.HealthResponse_NOT_SERVING
	r := execute(t, "", "health", "--address", f.address)
	if r.code != exitFailed || !strings.Contains(r.out, "NOT_SERVING") {
		t.Errorf("got %+v", r)
	}
}

func TestTemplateGetRefusesOtherNodes(t *testing.T) {
	f := startFake(t)
	f.must(t, "session", "create")
	r := execute(t, "", "template", "get", "session-1")
	if r.code != exitUsage || !strings.Contains(r.err, "is a session, not a template") {
		t.Errorf("got %+v", r)
	}
}

// hostile is a text that would steer a terminal, hide, or turn around.
const hostile = "a\x00\x1b]0;owned\x07\x1b[2J\u009b31m\u202etxt.exe\u2066\u200b\ufeff\u2028\U000e0041\r\nb\ttab 👩\u200d🚀 é　"

func TestNothingHostileReachesTheTerminal(t *testing.T) {
	f := startFake(t)
	f.must(t, "session", "create", "--metadata", "k="+strings.ReplaceAll(hostile, "\x00", ""))
	f.mustRead(t, hostile, "node", "add-prompt", "--session", "session-1", "--content", "-")
	f.must(t, "node", "add-response", "--prompt", "node-2", "--content", strings.ReplaceAll(hostile, "\x00", ""))
	f.must(t, "node", "add-tool", "--response", "node-3", "--name", "\x1b[1mtool", "--parameters", strings.ReplaceAll(hostile, "\x00", ""))
	f.happen(pb.EventType_EVENT_TYPE_NODE_CREATED, `{"node_id":"\u001b[1m\u202e","session_id":"\u009b"}`)
	for _, args := range [][]string{
		{"session", "show", "session-1"}, {"session", "show", "session-1", "--full", "--ids"}, {"session", "list"}, {"session", "get", "session-1"},
		{"node", "get", "node-2"}, {"node", "get", "node-2", "node-3"}, {"query"}, {"query", "--stream"}, {"events"},
		{"node", "get", "node-2", "-o", "json"}, {"node", "get", "node-2", "-o", "yaml"}, {"session", "show", "session-1", "-o", "json"},
		{"query", "-o", "json"}, {"query", "--stream", "-o", "yaml"}, {"events", "-o", "json"}, {"events", "-o", "yaml"},
	} {
		out := f.must(t, args...)
		for _, r := range out {
			if r != '\n' && unsafe(r) {
				t.Errorf("%q prints %U:\n%s", args, r, out)
				break
			}
		}
	}
}

func TestHostileTextSurvivesJSONAndYAML(t *testing.T) {
	f := startFake(t)
	f.must(t, "session", "create")
	f.mustRead(t, hostile, "node", "add-prompt", "--session", "session-1", "--content", "-")
	var got struct {
		Prompt struct {
			Content string `json:"content" yaml:"content"`
		} `json:"prompt" yaml:"prompt"`
	}
	if err := json.Unmarshal([]byte(f.must(t, "node", "get", "node-2", "-o", "json")), &got); err != nil || got.Prompt.Content != hostile {
		t.Errorf("JSON: %v\n got %q\nwant %q", err, got.Prompt.Content, hostile)
	}
	got.Prompt.Content = ""
	if err := yaml.Unmarshal([]byte(f.must(t, "node", "get", "node-2", "-o", "yaml")), &got); err != nil || got.Prompt.Content != hostile {
		t.Errorf("YAML: %v\n got %q\nwant %q", err, got.Prompt.Content, hostile)
	}
}

func TestYAMLKeepsTypesAndOrder(t *testing.T) {
	got, err := toYAML([]byte(`{"z":"0.10","a":0.10,"t":true,"none":null,"l":[{"x":1},[]],"o":{},"s":"line\nbreak","yes":"no","k\u202e":""}`))
	want := "z: \"0.10\"\na: 0.10\nt: true\nnone: null\nl:\n  - x: 1\n  - []\no: {}\ns: |-\n  line\n  break\n\"yes\": \"no\"\n\"k\\u202e\": \"\"\n"
	if err != nil || got != want {
		t.Errorf("%v: got\n%s\nwant\n%s", err, got, want)
	}
	for _, broken := range []string{"", "{", `{"a":`, "[1,"} {
		if _, err := toYAML([]byte(broken)); err == nil {
			t.Errorf("%q: accepted", broken)
		}
	}
}

func TestCut(t *testing.T) {
	tests := []struct {
		text    string
		columns int
		want    string
	}{
		{"heron", 5, "heron"}, {"herons", 5, "hero…"}, {"旅游旅游", 8, "旅游旅游"}, {"旅游旅游", 7, "旅游旅…"}, {"旅游旅游", 6, "旅游…"}, {"é", 1, "é"}, {"", 0, ""},
	}
	for _, tt := range tests {
		got := cut(tt.text, tt.columns)
		if got != tt.want || columns(got) > tt.columns {
			t.Errorf("cut(%q, %d) = %q, want %q", tt.text, tt.columns, got, tt.want)
		}
	}
}

// failingWriter takes so many bytes and then fails.
type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestFailureToPrintIsReported(t *testing.T) {
	f := startFake(t)
	f.must(t, "session", "create")
	f.happen(pb.EventType_EVENT_TYPE_NODE_CREATED, `{}`)
	for _, line := range []string{"session list", "session get session-1", "query --stream", "query --all", "query -o json", "events", "events --follow --from-beginning",
		"query --stream -o yaml", "session show session-1"} {
		var errs strings.Builder
		code := run(t.Context(), strings.Fields(line), nil, &failingWriter{}, &errs)
		if code != exitFailed || !strings.Contains(errs.String(), "disk full") {
			t.Errorf("%s: exit code %d, %s", line, code, errs.String())
		}
	}
}

func TestInputFiles(t *testing.T) {
	f := startFake(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "node.json")
	if err := os.WriteFile(name, []byte(`{"agent": {"name": "filed"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := f.must(t, "node", "create", "--file", name); !strings.Contains(got, "filed") {
		t.Errorf("got %s", got)
	}
	r := execute(t, "", "node", "create", "--file", filepath.Join(dir, "absent"))
	if r.code != exitFailed || !strings.Contains(r.err, "no such file") {
		t.Errorf("absent file: %+v", r)
	}
	r = execute(t, strings.Repeat(" ", maxInputBytes+1), "node", "create")
	if r.code != exitFailed || !strings.Contains(r.err, "more than") {
		t.Errorf("large input: %+v", r)
	}
}
