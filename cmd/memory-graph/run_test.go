package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is what one command line gave.
type result struct {
	code     int
	out, err string
}

// execute runs a command line with text on standard input.
func execute(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// must runs a command line that has to succeed, against the fake.
func (f *fakeServer) must(t *testing.T, args ...string) string {
	t.Helper()
	return f.mustRead(t, "", args...)
}

func (f *fakeServer) mustRead(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	t.Setenv("MEMORY_GRAPH_ADDRESS", f.address)
	r := execute(t, stdin, args...)
	if r.code != exitOK {
		t.Fatalf("%q: exit code %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: run with -update to accept (-want +got):\n%s", name, diff)
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	p := &program{getenv: os.Getenv}
	var walk func(path []string)
	seen := 0
	walk = func(path []string) {
		cmd, _, err := p.root().Find(path)
		if err != nil {
			t.Fatal(err)
		}
		if cmd.Example == "" || cmd.Short == "" || !cmd.Runnable() {
			t.Errorf("%s: no example, no description, or does nothing", cmd.CommandPath())
		}
		seen++
		for _, c := range cmd.Commands() {
			walk(append(path, c.Name()))
		}
		r := execute(t, "", append(path, "--help")...)
		if r.code != exitOK || !strings.Contains(r.out, "Examples:") {
			t.Errorf("%v --help: %+v", path, r)
		}
	}
	walk(nil)
	if seen < 30 {
		t.Errorf("looked at %d commands", seen)
	}
}

func TestWrongUsage(t *testing.T) {
	f := startFake(t)
	t.Setenv("MEMORY_GRAPH_ADDRESS", f.address)
	tests := []struct {
		name, stdin string
		args        []string
		want        string
	}{
		{"nothing", "", nil, "choose one"},
		{"unknown command", "", []string{"sesion"}, "unknown command"},
		{"group alone", "", []string{"session"}, "choose one"},
		{"unknown subcommand", "", []string{"session", "burn"}, "unknown command"},
		{"unknown flag", "", []string{"session", "list", "--limmit", "1"}, "unknown flag"},
		{"missing argument", "", []string{"session", "get"}, "accepts 1 arg"},
		{"missing flag", "", []string{"node", "add-prompt"}, "required flag"},
		{"no number", "", []string{"session", "list", "--limit", "many"}, "invalid"},
		{"output", "", []string{"session", "list", "-o", "xml"}, "table, json or yaml"},
		{"output of version", "", []string{"version", "-o", "xml"}, "table, json or yaml"},
		{"no address", "", []string{"stats", "--address", " , "}, "names no server"},
		{"bad port", "", []string{"stats", "--address", "host:http"}, "1 to 65535"},
		{"metadata", "", []string{"session", "create", "--metadata", "ada"}, "key=value"},
		{"no UTF-8", "\xff", []string{"node", "add-prompt", "--session", "s", "--content", "-"}, "UTF-8"},
		{"no UTF-8 in metadata", "", []string{"session", "create", "--metadata", "k=\xff"}, "UTF-8"},
		{"custom of a prompt", "", []string{"node", "add-prompt", "--session", "s", "--content", "c", "--custom", "=x"}, "key=value"},
		{"custom of a response", "", []string{"node", "add-response", "--prompt", "p", "--custom", "x"}, "key=value"},
		{"metadata of a tool", "", []string{"node", "add-tool", "--response", "r", "--name", "n", "--metadata", "x"}, "key=value"},
		{"values", "", []string{"template", "instantiate", "t", "--session", "s", "--var", "x"}, "key=value"},
		{"property", "", []string{"edge", "create", "--from", "a", "--to", "b", "--type", "follows", "--property", "x"}, "key=value"},
		{"edge type", "", []string{"edge", "create", "--from", "a", "--to", "b", "--type", "likes"}, "belongs_to"},
		{"edge type of a list", "", []string{"edge", "list", "a", "--type", "likes"}, "belongs_to"},
		{"direction", "", []string{"edge", "list", "a", "--direction", "up"}, "incoming"},
		{"node type", "", []string{"query", "--type", "poem"}, "tool_invocation"},
		{"event type", "", []string{"events", "--type", "party"}, "node_created"},
		{"after", "", []string{"query", "--after", "yesterday"}, "RFC 3339"},
		{"before", "", []string{"query", "--before", "-5m"}, "RFC 3339"},
		{"filter", "", []string{"query", "--filter", "model"}, "key=value"},
		{"filter operator", "", []string{"query", "--filter", "latency_ms>=5"}, "there is no >="},
		{"stream and all", "", []string{"query", "--stream", "--all"}, "exclude"},
		{"no JSON", "{", []string{"node", "create"}, "-:"},
		{"broken array", "[{", []string{"node", "create"}, "-:"},
		{"unknown field", `[{"prompt":{"colour":1}}]`, []string{"node", "create"}, "element 1"},
		{"two nodes to update", `[{},{}]`, []string{"node", "update"}, "got 2"},
		{"no JSON of a template", `{`, []string{"template", "create", "--file", "-"}, "-:"},
		{"template from two places", "", []string{"template", "create", "--file", "-", "--name", "x"}, "none of the others"},
		{"format", "", []string{"import", "x", "--format", "csv"}, "kdconv"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := execute(t, tt.stdin, tt.args...)
			if r.code != exitUsage || !strings.Contains(r.err, tt.want) || r.out != "" {
				t.Errorf("%q: got exit code %d, output %q, error\n%s\nwant 2, none, and %q", tt.args, r.code, r.out, r.err, tt.want)
			}
			if !strings.Contains(r.err, "--help") {
				t.Errorf("%q does not say where help is: %s", tt.args, r.err)
			}
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	f := startFake(t)
	t.Setenv("MEMORY_GRAPH_ADDRESS", f.address)
	detailed, err := status.New(codes.InvalidArgument, "bad limit").WithDetails(
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "limit", Description: "at most 10000"}}},
		&errdetails.ErrorInfo{Reason: "LIMIT"}, &errdetails.RetryInfo{RetryDelay: durationpb.New(2e9)},
		&errdetails.ResourceInfo{ResourceType: "Session", ResourceName: "s-1"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		refusal error
		want    []string
	}{
		{detailed.Err(), []string{"bad limit (InvalidArgument)", "limit: at most 10000", "reason: LIMIT", "retry after: 2s", "resource: Session s-1"}},
		{status.Error(codes.NotFound, "\x1b[31mgone"), []string{`\x1b[31mgone (NotFound)`, "session list"}},
		{status.Error(codes.AlreadyExists, "x"), []string{"node get"}},
		{status.Error(codes.Aborted, "x"), []string{"repeat the change"}},
		{status.Error(codes.ResourceExhausted, "x"), []string{"--limit"}},
		{status.Error(codes.FailedPrecondition, "x"), []string{"session get"}},
		{status.Error(codes.PermissionDenied, "x"), []string{"credentials"}},
		{status.Error(codes.Unauthenticated, "x"), []string{"credentials"}},
		{status.Error(codes.OutOfRange, "x"), []string{"memory-graph events"}},
		{status.Error(codes.Unimplemented, "x"), []string{"version"}},
		{status.Error(codes.Internal, "x"), []string{"log"}},
		{status.Error(codes.DeadlineExceeded, "x"), []string{"--timeout"}},
		{status.Error(codes.Unavailable, "x"), []string{"memory-graph dev"}},
	}
	for _, tt := range tests {
		f.refusing("ListSessions", tt.refusal)
		r := execute(t, "", "session", "list")
		if r.code != exitFailed {
			t.Errorf("%v: exit code %d", tt.refusal, r.code)
		}
		for _, want := range tt.want {
			if !strings.Contains(r.err, want) {
				t.Errorf("%v: got\n%s\nwant %q", tt.refusal, r.err, want)
			}
		}
	}
}

// TestEveryCommandReportsRefusals runs each command against a server that refuses its calls.
func TestEveryCommandReportsRefusals(t *testing.T) {
	f := startFake(t)
	t.Setenv("MEMORY_GRAPH_ADDRESS", f.address)
	chat := filepath.Join(t.TempDir(), "chat.json")
	if err := os.WriteFile(chat, []byte(`[{"role":"user","content":"hi"}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	lines := map[string][]string{
		"CreateSession": {"session", "create"}, "GetSession": {"session", "show", "x"}, "ListSessions": {"session", "list"},
		"CloseSession": {"session", "close", "x"}, "DeleteSession": {"session", "delete", "x"},
		"CreateNode": {"node", "create"}, "GetNode": {"node", "get", "x"}, "BatchGetNodes": {"node", "get", "x", "y"},
		"UpdateNode": {"node", "update"}, "DeleteNode": {"node", "delete", "x"},
		"AddPrompt":         {"node", "add-prompt", "--session", "s", "--content", "c"},
		"AddResponse":       {"node", "add-response", "--prompt", "p"},
		"AddToolInvocation": {"node", "add-tool", "--response", "r", "--name", "n"},
		"CreateEdge":        {"edge", "create", "--from", "a", "--to", "b", "--type", "references"},
		"GetEdges":          {"edge", "list", "a"}, "DeleteEdge": {"edge", "delete", "e"},
		"Query": {"query"}, "StreamQuery": {"query", "--stream"}, "StreamEvents": {"events"},
		"CreateTemplate": {"template", "create", "--name", "n", "--text", "t"}, "InstantiateTemplate": {"template", "instantiate", "t", "--session", "s"},
		"Health": {"health"}, "GetMetrics": {"stats"}, "Import": {"import", chat},
	}
	for method, args := range lines {
		f.refusing(method, status.Error(codes.PermissionDenied, "not you"))
		if r := execute(t, "{}", args...); r.code != exitFailed || !strings.Contains(r.err, "not you") {
			t.Errorf("%s: %+v", method, r)
		}
	}
	for method, args := range map[string][]string{
		"Query": {"query", "--all"}, "StreamEvents": {"events", "--follow"}, "GetSession": {"session", "get", "x"},
		"BatchCreateNodes": {"node", "create"}, "GetNode": {"template", "get", "x"},
	} {
		f.refusing(method, status.Error(codes.PermissionDenied, "not you"))
		if r := execute(t, "[{}]", args...); r.code != exitFailed || !strings.Contains(r.err, "not you") {
			t.Errorf("%s: %+v", method, r)
		}
	}
}

func TestNoServer(t *testing.T) {
	r := execute(t, "", "stats", "--address", "127.0.0.1:1")
	if r.code != exitFailed || !strings.Contains(r.err, "start one with: memory-graph dev") {
		t.Errorf("got %+v", r)
	}
}

func TestSecondAddressAnswers(t *testing.T) {
	f := startFake(t)
	for _, address := range []string{"127.0.0.1:1, " + f.address, "ipv4:127.0.0.1:1," + f.address, "passthrough:///" + f.address} {
		if r := execute(t, "", "health", "--address", address, "--timeout", "2m"); r.code != exitOK {
			t.Errorf("%s: %+v", address, r)
		}
	}
}

func TestFlagBeforeEnvironment(t *testing.T) {
	f := startFake(t)
	t.Setenv("MEMORY_GRAPH_ADDRESS", "127.0.0.1:1")
	if r := execute(t, "", "health", "--address", f.address); r.code != exitOK {
		t.Errorf("got %+v", r)
	}
}

func TestRequestMetadata(t *testing.T) {
	f := startFake(t)
	f.must(t, "session", "create", "--idempotency-key", "once")
	if got := f.heardValue(keyIdempotency); got != "once" {
		t.Errorf("idempotency key %q", got)
	}
	f.must(t, "session", "list", "--consistency", "local", "--min-revision", "12")
	if c, r := f.heardValue(keyConsistency), f.heardValue(keyMinRevision); c != "local" || r != "12" {
		t.Errorf("consistency %q, revision %q", c, r)
	}
	f.must(t, "node", "delete", "x", "--cascade")
	if got := f.heardValue(keyCascade); got != "true" {
		t.Errorf("cascade %q", got)
	}
	r := execute(t, "", "session", "list", "-v")
	if r.err != "revision 7\n" {
		t.Errorf("verbose: %q", r.err)
	}
	if r := execute(t, "", "query", "--stream", "-v"); r.err != "revision 8\n" {
		t.Errorf("verbose stream: %q", r.err)
	}
}

func TestInterrupted(t *testing.T) {
	f := startFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs bytes.Buffer
	code := run(ctx, []string{"stats", "--address", f.address}, nil, &bytes.Buffer{}, &errs)
	if code != exitFailed || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("code %d: %s", code, errs.String())
	}
}

func TestExplainOrdinaryErrors(t *testing.T) {
	if got := explain(errors.New("no \x07 file")); got != `no \x07 file` {
		t.Errorf("got %q", got)
	}
}

// TestAdviceFitsTheReason: what is used up decides what to do.
func TestAdviceFitsTheReason(t *testing.T) {
	for reason, want := range map[string]string{
		"READ_TOO_SLOWLY": "write to a file", "DISK_RESERVE": "make room on the server's disk", "OVERLOADED": "a little later", "": "--limit",
		"REQUEST_TOO_LARGE": "send less", "REPLY_TOO_LARGE": "--limit",
	} {
		s, err := status.New(codes.ResourceExhausted, "no more").WithDetails(&errdetails.ErrorInfo{Reason: reason})
		if err != nil {
			t.Fatal(err)
		}
		got := explain(s.Err())
		if last := got[strings.LastIndex(got, "\n")+1:]; !strings.Contains(last, want) {
			t.Errorf("%s: %q, want %q", reason, last, want)
		}
	}
}

func TestVersion(t *testing.T) {
	r := execute(t, "", "version", "-o", "json")
	var v versionInfo
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || v.Version == "" || v.Go == "" || v.Commit == "" {
		t.Errorf("%v: %s", err, r.out)
	}
	if r := execute(t, "", "version"); !strings.Contains(r.out, "memory-graph  "+version) {
		t.Errorf("got %q", r.out)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if r := execute(t, "", "completion", shell); r.code != exitOK || len(r.out) < 1000 {
			t.Errorf("%s: exit code %d, %d bytes", shell, r.code, len(r.out))
		}
	}
	if r := execute(t, "", "__complete", "query", "--type", ""); !strings.Contains(r.out, "template") {
		t.Errorf("types are not completed: %q", r.out)
	}
}
