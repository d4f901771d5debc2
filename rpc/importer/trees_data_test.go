package importer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// readAll are all records of a file or folder of a data set, which must give no problem.
func readAll(t *testing.T, path ...string) (nodes []*pb.Node, edges []*pb.Edge) {
	t.Helper()
	sources, done, err := Sources([]string{filepath.Join(append([]string{dataRoot(t)}, path...)...)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	seen := make(map[string]bool)
	for _, s := range sources {
		r := &reader{source: s, problem: func(where, format string, args ...any) { t.Errorf(where+": "+format, args...) }}
		err := r.each(t.Context(), func(g Graph) error {
			for _, n := range append(g.Shared, g.Nodes...) {
				if !seen[n.Id] {
					seen[n.Id] = true
					nodes = append(nodes, n)
				}
			}
			for _, e := range g.Edges {
				if !seen[e.Id] {
					seen[e.Id] = true
					edges = append(edges, e)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return nodes, edges
}

func countEdges(edges []*pb.Edge, kind pb.EdgeType) int {
	n := 0
	for _, e := range edges {
		if e.Type == kind {
			n++
		}
	}
	return n
}

// oasstMessage is a message as the test reads it.
type oasstMessage struct {
	ID      string `json:"message_id"`
	Text    string
	Role    string
	Model   string `json:"model_name"`
	Replies []oasstMessage
}

// TestOASSTTreesKeepIdsTextsAndBranches reads the trees with another decoder and looks each message up by its id.
func TestOASSTTreesKeepIdsTextsAndBranches(t *testing.T) {
	nodes, edges := readAll(t, "oasst")
	byID := make(map[string]*pb.Node)
	for _, n := range nodes {
		byID[n.Id] = n
		if id := n.GetPrompt().GetMetadata().GetCustom()["message_id"]; id != "" {
			byID["prompt "+id] = n // of the root, whose id the session has
		}
	}
	above := make(map[string]string)
	for _, e := range edges {
		if e.Type == pb.EdgeType_EDGE_TYPE_FOLLOWS || e.Type == pb.EdgeType_EDGE_TYPE_RESPONDS_TO {
			above[e.FromNodeId] = e.ToNodeId
		}
	}
	var look func(m oasstMessage, prompt string)
	look = func(m oasstMessage, prompt string) {
		n := byID["prompt "+m.ID]
		if n == nil {
			n = byID[m.ID]
		}
		text, model := n.GetPrompt().GetContent(), n.GetPrompt().GetMetadata().GetModel()
		if m.Role == "assistant" {
			text, model = n.GetResponse().GetContent(), n.GetResponse().GetMetadata().GetModel()
		}
		if text != m.Text || above[n.GetId()] != prompt || m.Model != "" && model != m.Model {
			t.Errorf("message %s: text %q, above it %q, model %q; want %q, %q, %q", m.ID, text, above[n.GetId()], model, m.Text, prompt, m.Model)
		}
		if m.Role == "prompter" {
			prompt = n.GetId()
		}
		for _, one := range m.Replies {
			look(one, prompt)
		}
	}
	for _, line := range fileLines(t, "oasst", "en_100_tree.jsonl") {
		var tree struct {
			ID     string `json:"message_tree_id"`
			Prompt oasstMessage
		}
		if err := json.Unmarshal([]byte(line), &tree); err != nil {
			t.Fatal(err)
		}
		if byID[tree.ID].GetSession() == nil {
			t.Errorf("session %s is not there", tree.ID)
		}
		look(tree.Prompt, "")
	}
	if got := countEdges(edges, pb.EdgeType_EDGE_TYPE_FOLLOWS); got != 380 {
		t.Errorf("%d FOLLOWS edges, want one for each of the 380 prompts below an answer", got)
	}
}

func fileLines(t *testing.T, path ...string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(append([]string{dataRoot(t)}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
}

// toolNode is a node of ToolBench's trees as the test reads it.
type toolNode struct {
	Kind        string `json:"node_type"`
	Description string
	Observation *string
	Code        int `json:"observation_code"`
	Children    []toolNode
}

// said are the texts of records, each kind for itself and sorted, since a tree may be told in several orders.
type said struct{ Prompts, Responses, Calls, Parameters, Results, Errors []string }

func (s *said) sort() {
	for _, list := range [][]string{s.Prompts, s.Responses, s.Calls, s.Parameters, s.Results, s.Errors} {
		sort.Strings(list)
	}
}

func saidBy(nodes []*pb.Node) said {
	var s said
	for _, n := range nodes {
		switch v := n.GetToolInvocation(); n.Type {
		case pb.NodeType_NODE_TYPE_PROMPT:
			s.Prompts = append(s.Prompts, n.GetPrompt().Content)
		case pb.NodeType_NODE_TYPE_RESPONSE:
			if n.GetResponse().Metadata.Custom["synthetic"] == "" {
				s.Responses = append(s.Responses, n.GetResponse().Content)
			}
		case pb.NodeType_NODE_TYPE_TOOL_INVOCATION:
			s.Calls, s.Parameters = append(s.Calls, v.ToolName), append(s.Parameters, v.Parameters)
			if v.Result != nil {
				s.Results = append(s.Results, *v.Result)
			}
			if v.Error != nil {
				s.Errors = append(s.Errors, *v.Error)
			}
		}
	}
	s.sort()
	return s
}

func TestToolBenchTextsAreByteIdentical(t *testing.T) {
	nodes, _ := readAll(t, "toolbench")
	var want said
	var walk func(n toolNode, action string)
	walk = func(n toolNode, action string) {
		switch {
		case n.Kind == "Thought":
			want.Responses = append(want.Responses, n.Description)
		case n.Kind == "Action Input" && n.Observation != nil:
			want.Calls, want.Parameters = append(want.Calls, action), append(want.Parameters, n.Description)
			if n.Code == 0 {
				want.Results = append(want.Results, *n.Observation)
			} else {
				want.Errors = append(want.Errors, *n.Observation)
			}
		}
		for _, one := range n.Children {
			walk(one, n.Description)
		}
	}
	paths, err := filepath.Glob(filepath.Join(dataRoot(t), "toolbench", "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		var file struct {
			Tree   struct{ Tree toolNode }
			Answer struct{ Query string } `json:"answer_generation"`
		}
		decodeFile(t, path, &file)
		want.Prompts = append(want.Prompts, file.Answer.Query)
		walk(file.Tree.Tree, "")
	}
	want.sort()
	got := saidBy(nodes)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("texts (-file +records):\n%s", diff)
	}
	if len(got.Errors) != 119 {
		t.Errorf("%d calls failed, want 119 as the README says", len(got.Errors))
	}
}

func TestInterCodeTextsAreByteIdentical(t *testing.T) {
	nodes, _ := readAll(t, "intercode")
	var file map[string]struct {
		Environment, Query string
		History            struct {
			Actions, Observations []string
			Valid                 []bool `json:"valid_action"`
		} `json:"turn_history"`
	}
	decodeFile(t, filepath.Join(dataRoot(t), "intercode", "bash", "gpt-3.5", "ic_bash_multiturn_gpt-3.5_10_turns_fs_1.json"), &file)
	var want said
	for _, task := range file {
		want.Prompts = append(want.Prompts, task.Query)
		for i, action := range task.History.Actions {
			want.Responses = append(want.Responses, "")
			want.Calls, want.Parameters = append(want.Calls, task.Environment), append(want.Parameters, action)
			if task.History.Valid[i] {
				want.Results = append(want.Results, task.History.Observations[i])
			} else {
				want.Errors = append(want.Errors, task.History.Observations[i])
			}
		}
	}
	want.sort()
	got := saidBy(nodes)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("texts (-file +records):\n%s", diff)
	}
	if len(got.Errors) != 128 {
		t.Errorf("%d calls failed, want 128 as the README says", len(got.Errors))
	}
}

func TestTaskmasterTextsAreByteIdentical(t *testing.T) {
	nodes, edges := readAll(t, "taskmaster-4")
	var want said
	instructions := make(map[string]string)
	for _, name := range []string{"data_06.json", "data_07.json"} {
		var dialogs []struct {
			ID           string `json:"conversation_id"`
			Instructions *string
			Utterances   []struct {
				Speaker, Text string
				Annotations   []struct{ Name, Value, Context string }
			}
		}
		decodeFile(t, filepath.Join(dataRoot(t), "taskmaster-4", "data", name), &dialogs)
		for _, d := range dialogs {
			if d.Instructions != nil {
				instructions[d.ID] = *d.Instructions
			}
			for _, u := range d.Utterances {
				if u.Speaker == "user" {
					want.Prompts = append(want.Prompts, u.Text)
				} else {
					want.Responses = append(want.Responses, u.Text)
				}
				requests := 0
				for _, a := range u.Annotations {
					switch a.Name {
					case "api_call":
						want.Calls = append(want.Calls, a.Value)
						requests++
					case "request":
						want.Parameters = append(want.Parameters, a.Value)
						requests--
					case "response":
						want.Results = append(want.Results, a.Value)
					}
				}
				want.Parameters = append(want.Parameters, make([]string, requests)...)
			}
		}
	}
	want.sort()
	if diff := cmp.Diff(want, saidBy(nodes)); diff != "" {
		t.Errorf("texts (-file +records):\n%s", diff)
	}
	for _, n := range nodes {
		m := n.GetSession().GetMetadata()
		if text := m["instructions"] + m["instructions.2"]; text != instructions[m["conversation_id"]] {
			t.Errorf("session %s: instructions of %d bytes, want %d", n.Id, len(text), len(instructions[m["conversation_id"]]))
		}
	}
	if got := countEdges(edges, pb.EdgeType_EDGE_TYPE_REFERENCES); got < 1000 {
		t.Errorf("%d REFERENCES edges between calls, want a thousand and more", got)
	}
}
