package graph

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph/samples"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// maxSeedBytes is how much of a real text is a seed: long enough for its shape, short enough to be changed often.
const maxSeedBytes = 600

// FuzzTemplate: no template and no value panics or takes long; what is accepted stays accepted, compiles, and renders as an
// own, slower reading of the rules does.
func FuzzTemplate(f *testing.F) {
	for _, p := range []string{`^[\w.-]+@[\w-]+\.\w{2,}$`, `[]\W]`, `[^^]\w`, `\Q\w\E\d`, `[[:]\w[:alpha:]]`, `(?i)[\w-z]`, `\pN\d`, `[[:^space:]\S-]`} {
		f.Add("Hi {{name}}, {{{{name}} {{other}}!", "name", p, "string", "Ann", "7")
	}
	f.Add("{{a}}{{b}}", "a", "(a{0,1000}){0,1000}", "json", strings.Repeat("[", 500), "{{a}}")
	for _, text := range samples.Texts(f, maxSeedBytes) {
		f.Add(string(text), variableIn(text), "", "integer", "-1", string(text))
	}
	f.Fuzz(func(t *testing.T, text, name, pattern, hint, value, other string) {
		if !texts(text, name, pattern, hint, value, other) {
			return // the wire refuses it
		}
		made := &pb.TemplateNode{Name: "n", TemplateText: text, Variables: []*pb.VariableSpec{
			{Name: name, TypeHint: hint, ValidationPattern: &pattern, Required: true},
			{Name: "other", DefaultValue: &other},
		}}
		if compiled := compilePatternOf(t, pattern); !compiled {
			return
		}
		if err := CheckNode("node", &pb.Node{NodeData: &pb.Node_Template{Template: made}}); err != nil {
			wantNamedField(t, err, "node")
			return
		}
		kept := proto.CloneOf(made)
		values := map[string]string{name: value, "undeclared": text}
		got, bindings, err := Render(made, values)
		if !proto.Equal(made, kept) {
			t.Errorf("rendering has changed the template")
		}
		if err != nil {
			wantNamedField(t, err, "variable_values")
			return
		}
		if want := renderSlowly(text, map[string]string{name: value, "other": other}); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
		if len(got) > MaxContentBytes || bindings[name] != value {
			t.Errorf("%d bytes with %v", len(got), bindings)
		}
	})
}

// texts reports whether all are UTF-8.
func texts(all ...string) bool {
	return !slices.ContainsFunc(all, func(s string) bool { return !utf8.ValidString(s) })
}

// variableIn is the first {{name}} of a text that the rules know.
func variableIn(text []byte) string {
	if m := regexp.MustCompile(`\{\{([^{}]{1,60})\}\}`).FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return "name"
}

// compilePatternOf: what the check passes compiles, and what it refuses does not get through otherwise.
func compilePatternOf(t *testing.T, pattern string) bool {
	t.Helper()
	checked := checkPattern(pattern)
	if _, err := compilePattern(pattern); (err == nil) != (checked == nil) {
		t.Errorf("pattern %q: checked %v, compiled %v", pattern, checked, err)
	}
	return checked == nil
}

// renderSlowly asks at every place of the text whether a variable stands there.
func renderSlowly(text string, values map[string]string) string {
	var out strings.Builder
next:
	for at := 0; at < len(text); {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if holder := "{{" + name + "}}"; strings.HasPrefix(text[at:], holder) {
				out.WriteString(values[name])
				at += len(holder)
				continue next
			}
		}
		out.WriteByte(text[at])
		at++
	}
	return out.String()
}

func wantNamedField(t *testing.T, err error, field string) {
	t.Helper()
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Kind != Invalid || !strings.HasPrefix(refusal.Field, field) {
		t.Errorf("%#v names no field under %s", err, field)
	}
	if !utf8.ValidString(err.Error()) || len(err.Error()) > 64<<10 {
		t.Errorf("the refusal is no text of a bearable length: %q", err)
	}
}

// FuzzFilters: no key and no value panics; a filter holds for what is equal, less or greater, and for nothing else.
func FuzzFilters(f *testing.F) {
	for _, key := range []string{"model", "status", "content", "metadata.a", "custom.", "latency_ms>", "duration_ms<", "total_tokens", "total_tokens<>", "x"} {
		f.Add(key, "9223372036854775807", "Success", int64(-1))
	}
	for _, text := range samples.Texts(f, maxSeedBytes) {
		f.Add("content", string(text[:len(text)/2]), string(text), int64(len(text)))
		f.Add("custom."+variableIn(text), string(text), string(text), int64(7))
	}
	f.Fuzz(func(t *testing.T, key, value, stored string, number int64) {
		if !texts(key, value, stored) {
			return // the wire refuses it
		}
		filters, err := newFilters(map[string]string{key: value})
		if err != nil {
			wantNamedField(t, err, "filters[")
			return
		}
		nodes := filtered(key, stored, number)
		for _, n := range nodes {
			got := all(filters, n)
			if want, told := filterHolds(key, value, n); told && got != want {
				t.Errorf("filter %q=%q of %v: %v, want %v", key, value, n, got, want)
			}
		}
		if numberOf(key) != nil {
			oneOfThree(t, key, value, nodes)
		}
	})
}

// filtered are nodes that have a text wherever a filter may look.
func filtered(key, text string, number int64) []*pb.Node {
	_, name, _ := strings.Cut(key, ".")
	m := map[string]string{name: text}
	return []*pb.Node{
		{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{Content: text, Metadata: &pb.PromptMetadata{Model: text, Custom: m}}}},
		{NodeData: &pb.Node_Response{Response: &pb.ResponseNode{
			Content: text, TokenUsage: &pb.TokenUsage{TotalTokens: number},
			Metadata: &pb.ResponseMetadata{Model: text, FinishReason: text, LatencyMs: number, Custom: m},
		}}},
		{NodeData: &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{ToolName: text, Status: text, DurationMs: number, Metadata: m}}},
		{NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: text, Role: text, Status: text, Metadata: m}}},
		{NodeData: &pb.Node_Template{Template: &pb.TemplateNode{Name: text, Version: text, Metadata: m}}},
		{NodeData: &pb.Node_Session{Session: &pb.Session{Metadata: m}}},
		{},
	}
}

// filterHolds reads the rules again for filters that compare texts; told is false for those that compare numbers.
func filterHolds(key, value string, n *pb.Node) (holds, told bool) {
	_, name, _ := strings.Cut(key, ".")
	given := func(m map[string]string) (bool, bool) {
		v, ok := m[name]
		return ok && v == value, true
	}
	switch {
	case strings.HasPrefix(key, "metadata."):
		return given(metadataOf(n))
	case strings.HasPrefix(key, "custom."):
		return given(customOf(n))
	case key == "content":
		text, ok := contentOf(n)
		return ok && strings.Contains(text, value), true
	case key == "status":
		return attribute(n, key) != "" && attribute(n, key) == strings.ToLower(value), true
	case slices.Contains(attributeKeys[:], key):
		return attribute(n, key) != "" && attribute(n, key) == value, true
	default:
		return false, false
	}
}

// oneOfThree: a number is less than a bound, equal to it, or greater.
func oneOfThree(t *testing.T, key, value string, nodes []*pb.Node) {
	t.Helper()
	for _, n := range nodes {
		held := 0
		for _, suffix := range []string{"<", "", ">"} {
			filters, err := newFilters(map[string]string{key + suffix: value})
			if err != nil {
				t.Fatal(err)
			}
			if all(filters, n) {
				held++
			}
		}
		if _, has := numberOf(key)(n); has != (held == 1) || held > 1 {
			t.Errorf("%s of %v and %s: %d of <, = and > hold", key, n, value, held)
		}
	}
}
