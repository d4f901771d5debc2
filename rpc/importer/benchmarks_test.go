package importer

import (
	"encoding/json"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// decodeLines decodes each line of a file of a data set.
func decodeLines[T any](t *testing.T, path ...string) []T {
	t.Helper()
	var all []T
	for _, line := range fileLines(t, path...) {
		var one T
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// exchanges are the questions and answers of records, as "id of question | model | place | asked | answered", sorted.
func exchanges(nodes []*pb.Node, idKey string) []string {
	ids, asked := make(map[string]string), make(map[string]string)
	var all []string
	for _, n := range nodes {
		switch n.Type {
		case pb.NodeType_NODE_TYPE_SESSION:
			ids[n.Id] = n.GetSession().Metadata[idKey]
		case pb.NodeType_NODE_TYPE_PROMPT:
			asked[n.Id] = n.GetPrompt().Content
			all = append(all, exchange(ids[n.SessionId], "", n.GetPrompt().Content, ""))
		case pb.NodeType_NODE_TYPE_RESPONSE:
			r := n.GetResponse()
			all = append(all, exchange(ids[n.SessionId], r.Metadata.Model, asked[r.PromptId], r.Content))
		}
	}
	sort.Strings(all)
	return all
}

func exchange(parts ...string) string { return strings.Join(parts, " | ") }

func TestArenaHardTextsAreByteIdentical(t *testing.T) {
	nodes, _ := readAll(t, "arena-hard-v0.1")
	var want []string
	for _, q := range decodeLines[struct{ UID, Prompt string }](t, "arena-hard-v0.1", "question.jsonl") {
		want = append(want, exchange(q.UID, "", q.Prompt, ""))
	}
	type line struct {
		UID, Model string
		Messages   []struct{ Content json.RawMessage }
	}
	for _, name := range []string{"gpt-3.5-turbo-0125.jsonl", "gpt-4-0314.jsonl"} {
		for _, a := range decodeLines[line](t, "arena-hard-v0.1", "model_answer", name) {
			var asked string
			var answered struct{ Answer string }
			if err := json.Unmarshal(a.Messages[0].Content, &asked); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(a.Messages[1].Content, &answered); err != nil {
				t.Fatal(err)
			}
			want = append(want, exchange(a.UID, a.Model, asked, answered.Answer))
		}
	}
	sort.Strings(want)
	if diff := cmp.Diff(want, exchanges(nodes, "uid")); diff != "" {
		t.Errorf("texts (-files +records):\n%s", diff)
	}
	for _, n := range nodes {
		if r := n.GetResponse(); r != nil && r.Timestamp == nil {
			t.Errorf("response %s has no time", n.Id)
		}
	}
}

func TestMTBenchTextsAreByteIdentical(t *testing.T) {
	nodes, edges := readAll(t, "mt-bench")
	var want []string
	type line struct {
		ID      json.Number `json:"question_id"`
		Model   string      `json:"model_id"`
		Turns   []string
		Choices []struct{ Turns []string }
	}
	for _, set := range []string{"mt_bench", "vicuna_bench"} {
		turns := make(map[json.Number][]string)
		for _, q := range decodeLines[line](t, "mt-bench", set, "question.jsonl") {
			turns[q.ID] = q.Turns
			for _, text := range q.Turns {
				want = append(want, exchange(q.ID.String(), "", text, ""))
			}
		}
		for _, a := range decodeLines[line](t, "mt-bench", set, "reference_answer", "gpt-4.jsonl") {
			for i, text := range a.Choices[0].Turns {
				want = append(want, exchange(a.ID.String(), a.Model, turns[a.ID][i], text))
			}
		}
	}
	sort.Strings(want)
	if diff := cmp.Diff(want, exchanges(nodes, "question_id")); diff != "" {
		t.Errorf("texts (-files +records):\n%s", diff)
	}
	variables := 0
	texts := make(map[string]string)
	for _, n := range nodes {
		if m := n.GetTemplate(); m != nil {
			variables += len(m.Variables)
			texts[m.Name] = m.TemplateText + m.Metadata["system_prompt"]
		}
	}
	for _, j := range decodeLines[map[string]string](t, "mt-bench", "judge_prompts.jsonl") {
		if texts[j["name"]] != j["prompt_template"]+j["system_prompt"] {
			t.Errorf("template %s: %q", j["name"], texts[j["name"]])
		}
	}
	if variables != 36 {
		t.Errorf("%d variables, want 36 as the README says", variables)
	}
	if got := countEdges(edges, pb.EdgeType_EDGE_TYPE_INHERITS); got != 4 {
		t.Errorf("%d templates inherit, want the 4 for several turns", got)
	}
}

func TestVicunaEvalTextsAreByteIdentical(t *testing.T) {
	nodes, _ := readAll(t, "vicuna-blog-eval")
	type line struct {
		ID    json.Number `json:"question_id"`
		Model string      `json:"model_id"`
		Text  string
	}
	var want []string
	asked := make(map[json.Number]string)
	for _, q := range decodeLines[line](t, "vicuna-blog-eval", "question.jsonl") {
		asked[q.ID] = q.Text
		want = append(want, exchange(q.ID.String(), "", q.Text, ""))
	}
	paths, err := filepath.Glob(filepath.Join(dataRoot(t), "vicuna-blog-eval", "answer", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		for _, a := range decodeLines[line](t, "vicuna-blog-eval", "answer", filepath.Base(path)) {
			want = append(want, exchange(a.ID.String(), a.Model, asked[a.ID], a.Text))
		}
	}
	sort.Strings(want)
	if diff := cmp.Diff(want, exchanges(nodes, "question_id")); diff != "" {
		t.Errorf("texts (-files +records):\n%s", diff)
	}
	for _, n := range nodes {
		if r := n.GetResponse(); r != nil && r.Metadata.Custom["model_version"] == "" {
			t.Errorf("response %s does not know its model's version", n.Id)
		}
		// The README counts no variables, but its mapping names these four.
		if m := n.GetTemplate(); m != nil && (len(m.Variables) != 4 || m.Variables[3].GetDefaultValue() == "") {
			t.Errorf("template %s has the variables %v", m.Name, m.Variables)
		}
	}
}
