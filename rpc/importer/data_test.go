package importer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// dataDir is the folder of one real data set. The test is skipped where there is none.
func dataDir(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("MEMORY_GRAPH_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the data set %s is not here (set MEMORY_GRAPH_DATA): %v", name, err)
	}
	return dir
}

// TestRealDataCounts holds the counts of the data sets' README files. For swe-agent the README counts 24 prompts and 85
// results by message_type alone; TestSWEAgentCountsAgainstReadme shows how that arises and why it is not our mapping.
func TestRealDataCounts(t *testing.T) {
	tests := []struct {
		set  string
		want Summary
	}{
		{"tau-bench", Summary{Sessions: 200, Prompts: 1490, Responses: 2454, ToolInvocations: 1164, FailedToolInvocations: 73,
			Templates: 1, Edges: (1490 + 2454 + 1164) + (1490 - 200) + 2454 + 1164 + 200, Files: 1}},
		{"swe-agent", Summary{Sessions: 10, Prompts: 10, Responses: 105, ToolInvocations: 105, Templates: 9, Agents: 2,
			Edges: (10 + 105 + 105) + 105 + 105 + 10 + (10 + 105), Files: 10}},
		{"kdconv-zh", Summary{Sessions: 150, Prompts: 1346, Responses: 1345, Edges: (1346 + 1345) + (1346 - 150) + 1345, Files: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.set, func(t *testing.T) {
			sources, done, err := Sources([]string{dataDir(t, tt.set)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = done() }()
			got, err := Import(t.Context(), nil, sources, Options{DryRun: true, Problem: func(p Problem) { t.Error(p) }})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSWEAgentCountsAgainstReadme derives the README's 24 prompts and 85 results the way they arise: message_type alone
// decides. That makes the issue text of eight runs a tool result, although nothing was called yet and the README's own
// mapping says that it is the prompt, and it makes tool output of the two runs without message_type prompts, which its
// pitfalls warn of. By position there is one prompt in each run and a result for each call.
func TestSWEAgentCountsAgainstReadme(t *testing.T) {
	prompts, results, observed := 0, 0, 0
	for _, path := range trajectories(t) {
		for i, m := range history(t, path) {
			byType := m.Role == "tool" || m.Role == "user" && m.Type == "observation"
			switch {
			case byType:
				results++
			case m.Role == "user":
				prompts++
			}
			if m.Role == "tool" || m.Role == "user" && i > 1 {
				observed++
			}
		}
	}
	if prompts != 24 || results != 85 {
		t.Errorf("by message_type: %d prompts, %d results; the README counts 24 and 85", prompts, results)
	}
	if observed != 99 {
		t.Errorf("%d messages hold tool output, want 99: the other 6 of 105 results stand in the trajectory", observed)
	}
}

type sweMessage struct {
	Role, Content, Action string
	Type                  string `json:"message_type"`
	Calls                 []struct {
		Function struct{ Arguments string }
	} `json:"tool_calls"`
}

func trajectories(t *testing.T) []string {
	t.Helper()
	var paths []string
	sources, _, err := Sources([]string{dataDir(t, "swe-agent")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		paths = append(paths, s.Name)
	}
	return paths
}

func history(t *testing.T, path string) []sweMessage {
	t.Helper()
	var item struct{ History []sweMessage }
	decodeFile(t, path, &item)
	return item.History
}

func decodeFile(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

// texts are what a conversation says, in order, each kind for itself.
type texts struct {
	System, Prompts, Responses, Parameters, Results []string
}

func importedTexts(t *testing.T, path string) []texts {
	t.Helper()
	s, err := file(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []texts
	r := &reader{source: s, problem: func(where, format string, args ...any) { t.Errorf(where+": "+format, args...) }}
	err = r.each(t.Context(), func(g Graph) error {
		var one texts
		for _, n := range g.Shared {
			if n.GetTemplate() != nil {
				one.System = append(one.System, n.GetTemplate().TemplateText)
			}
		}
		for _, n := range g.Nodes {
			switch n.Type {
			case pb.NodeType_NODE_TYPE_PROMPT:
				one.Prompts = append(one.Prompts, n.GetPrompt().Content)
			case pb.NodeType_NODE_TYPE_RESPONSE:
				one.Responses = append(one.Responses, n.GetResponse().Content)
			case pb.NodeType_NODE_TYPE_TOOL_INVOCATION:
				v := n.GetToolInvocation()
				one.Parameters = append(one.Parameters, v.Parameters)
				one.Results = append(one.Results, v.GetResult()+v.GetError())
			}
		}
		all = append(all, one)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestTauBenchTextsAreByteIdentical reads the file with another decoder, in another way, and compares every text.
func TestTauBenchTextsAreByteIdentical(t *testing.T) {
	path := filepath.Join(dataDir(t, "tau-bench"), "historical_trajectories", "gpt-4o-airline.json")
	var items []struct {
		Traj []struct {
			Role, Content string
			Calls         []struct {
				Function struct{ Arguments string }
			} `json:"tool_calls"`
		}
	}
	decodeFile(t, path, &items)
	var want []texts
	for _, item := range items {
		var one texts
		for _, m := range item.Traj {
			switch m.Role {
			case "system":
				one.System = append(one.System, m.Content)
			case "user":
				one.Prompts = append(one.Prompts, m.Content)
			case "assistant":
				one.Responses = append(one.Responses, m.Content)
			case "tool":
				one.Results = append(one.Results, m.Content)
			}
			for _, c := range m.Calls {
				one.Parameters = append(one.Parameters, c.Function.Arguments)
			}
		}
		want = append(want, one)
	}
	if diff := cmp.Diff(want, importedTexts(t, path)); diff != "" {
		t.Errorf("texts (-file +records):\n%s", diff)
	}
}

func TestSWEAgentTextsAreByteIdentical(t *testing.T) {
	for _, path := range trajectories(t) {
		var want texts
		for i, m := range history(t, path) {
			switch {
			case m.Role == "system":
				want.System = append(want.System, m.Content)
			case m.Role == "assistant":
				want.Responses = append(want.Responses, m.Content)
				if len(m.Calls) == 0 {
					want.Parameters = append(want.Parameters, m.Action)
				}
				for _, c := range m.Calls {
					want.Parameters = append(want.Parameters, c.Function.Arguments)
				}
			case i == 1:
				want.Prompts = append(want.Prompts, m.Content)
			default:
				want.Results = append(want.Results, m.Content)
			}
		}
		if len(want.Results) < len(want.Parameters) {
			var item struct {
				Trajectory []struct{ Observation string }
			}
			decodeFile(t, path, &item)
			want.Results = append(want.Results, item.Trajectory[len(item.Trajectory)-1].Observation)
		}
		if diff := cmp.Diff([]texts{want}, importedTexts(t, path)); diff != "" {
			t.Errorf("%s: texts (-file +records):\n%s", path, diff)
		}
	}
}

func TestKdConvTextsAreByteIdentical(t *testing.T) {
	path := filepath.Join(dataDir(t, "kdconv-zh"), "travel", "dev.json")
	var items []struct{ Messages []struct{ Message string } }
	decodeFile(t, path, &items)
	var want []texts
	for _, item := range items {
		var one texts
		for i, m := range item.Messages {
			if i%2 == 0 {
				one.Prompts = append(one.Prompts, m.Message)
			} else {
				one.Responses = append(one.Responses, m.Message)
			}
		}
		want = append(want, one)
	}
	if diff := cmp.Diff(want, importedTexts(t, path)); diff != "" {
		t.Errorf("texts (-file +records):\n%s", diff)
	}
}
