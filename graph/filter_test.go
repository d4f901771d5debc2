package graph

import (
	"strconv"
	"testing"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func filterNodes() map[string]*pb.Node {
	return map[string]*pb.Node{
		"session": {NodeData: &pb.Node_Session{Session: &pb.Session{Metadata: map[string]string{"k": "v"}}}},
		"prompt": {NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
			Content: "the answer", Metadata: &pb.PromptMetadata{Model: "gpt-4", Custom: map[string]string{"k": "v"}},
		}}},
		"response": {NodeData: &pb.Node_Response{Response: &pb.ResponseNode{
			Content: "42 is the answer", TokenUsage: &pb.TokenUsage{TotalTokens: 40},
			Metadata: &pb.ResponseMetadata{Model: "gpt-4", FinishReason: "stop", LatencyMs: 100, Custom: map[string]string{"k": "w"}},
		}}},
		"tool": {NodeData: &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{
			ToolName: "search", Status: "failed", DurationMs: 450, Metadata: map[string]string{"k": ""},
		}}},
		"agent": {NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: "ada", Role: "writer", Status: "idle"}}},
		"template": {NodeData: &pb.Node_Template{Template: &pb.TemplateNode{
			Name: "ada", Version: "1.2.3", Metadata: map[string]string{"k": "v"},
		}}},
		"none": {},
	}
}

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		key, value string
		want       string // nodes that match, in the order of order
	}{
		{"model", "gpt-4", "prompt response "},
		{"model", "GPT-4", ""},
		{"model", "", ""},
		{"finish_reason", "stop", "response "},
		{"tool_name", "search", "tool "},
		{"status", "FAILED", "tool "},
		{"status", "idle", "agent "},
		{"role", "writer", "agent "},
		{"name", "ada", "agent template "},
		{"version", "1.2.3", "template "},
		{"content", "answer", "prompt response "},
		{"content", "42", "response "},
		{"content", "", "prompt response "},
		{"metadata.k", "v", "session template "},
		{"metadata.k", "", "tool "},
		{"metadata.", "v", ""},
		{"custom.k", "v", "prompt "},
		{"custom.k", "w", "response "},
		{"custom.k", "", ""},
		{"latency_ms", "100", "response "},
		{"latency_ms>", "99", "response "},
		{"latency_ms>", "100", ""},
		{"latency_ms<", "101", "response "},
		{"latency_ms<", "100", ""},
		{"latency_ms>", "9223372036854775807", ""},
		{"latency_ms<", "-9223372036854775808", ""},
		{"latency_ms>", "-9223372036854775808", "response "},
		{"latency_ms<", "9223372036854775807", "response "},
		{"duration_ms", "450", "tool "},
		{"duration_ms<", "0", ""},
		{"total_tokens>", "-1", "response "},
	} {
		f, err := newFilter(c.key, c.value)
		if err != nil {
			t.Errorf("%s=%s: %v", c.key, c.value, err)
			continue
		}
		got, nodes := "", filterNodes()
		for _, name := range []string{"session", "prompt", "response", "tool", "agent", "template", "none"} {
			if f.matches(nodes[name]) {
				got += name + " "
			}
		}
		if got != c.want {
			t.Errorf("%s=%s: got %q, want %q", c.key, c.value, got, c.want)
		}
	}
}

// TestIndexedFiltersComeFirst: a query starts from the index that narrows it most.
func TestIndexedFiltersComeFirst(t *testing.T) {
	fs, err := newFilters(map[string]string{"content": "x", "model": "m", "name": "n", "latency_ms>": "1", "status": "idle"})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range fs {
		if f.attribute != nil {
			got += f.attribute.Key + " "
		} else {
			got += "- "
		}
	}
	if want := "name status model - - "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFiltersAgreeWithTheIndex: a node matches the filter of exactly those attributes that it is indexed by.
func TestFiltersAgreeWithTheIndex(t *testing.T) {
	for name, n := range filterNodes() {
		indexed := map[Attribute]bool{}
		for _, a := range Attributes(n) {
			indexed[a] = true
		}
		for _, key := range attributeKeys {
			for _, v := range []string{"gpt-4", "stop", "search", "failed", "idle", "writer", "ada", "1.2.3", ""} {
				f, err := newFilter(key, v)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := f.matches(n), indexed[Attribute{key, v}]; got != want {
					t.Errorf("%s: %s=%s matches %v, indexed %v", name, key, v, got, want)
				}
			}
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an attribute without a rule must panic")
		}
	}()
	attribute(&pb.Node{}, "colour")
}

func TestMilliseconds(t *testing.T) {
	const most, least = 1<<63 - 1, -1 << 63
	for _, c := range []struct{ from, to, want int64 }{
		{0, 0, 0}, {0, 999_999, 0}, {0, -999_999, 0}, {0, 1_000_000, 1}, {1, 1_000_000, 0}, {1_000_000, 1, 0},
		{-1, 999_999, 1}, {999_999, -1, -1}, {1_500_000, 4_400_000, 2}, {4_400_000, 1_500_000, -2},
		{least, most, 18446744073709}, {most, least, -18446744073709},
	} {
		if got := milliseconds(c.from, c.to); got != c.want {
			t.Errorf("from %d to %d: got %d, want %d", c.from, c.to, got, c.want)
		}
	}
	for i := int64(-3_000_001); i < 3_000_000; i += 250_001 {
		for j := int64(-3_000_001); j < 3_000_000; j += 125_001 {
			if got, want := milliseconds(i, j), (j-i)/1e6; got != want {
				t.Fatal("from " + strconv.FormatInt(i, 10) + " to " + strconv.FormatInt(j, 10))
			}
		}
	}
}
