package importer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// jsonLines decodes the lines of a file.
func jsonLines[T any](t *testing.T, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var all []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var one T
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func sameTexts(t *testing.T, path string, want []texts) {
	t.Helper()
	if diff := cmp.Diff(want, importedTexts(t, path)); diff != "" {
		t.Errorf("%s: texts (-file +records):\n%s", path, diff)
	}
}

func TestAnthropicTextsAreByteIdentical(t *testing.T) {
	path := filepath.Join(dataDir(t, "anthropic-cookbook-json-mode"), "json_mode_dataset.jsonl")
	var want []texts
	for _, line := range jsonLines[struct {
		System   string
		Messages []struct{ Role, Content string }
	}](t, path) {
		want = append(want, texts{System: []string{line.System}, Prompts: []string{line.Messages[0].Content}, Responses: []string{line.Messages[1].Content}})
	}
	sameTexts(t, path, want)
}

// TestClaudeCodeTextsAreByteIdentical compares what the undamaged lines say; messages of which every line has another id
// are one response a line.
func TestClaudeCodeTextsAreByteIdentical(t *testing.T) {
	type block struct {
		Type, Text string
		Input      json.RawMessage
		Content    string
	}
	for _, name := range []string{"representative_messages.jsonl", "session_b.jsonl", "todowrite_examples.jsonl"} {
		path := filepath.Join(dataDir(t, "claude-code-log"), name)
		var want texts
		for _, line := range jsonLines[struct {
			Type    string
			Message struct{ Content json.RawMessage }
		}](t, path) {
			var whole string
			if json.Unmarshal(line.Message.Content, &whole) == nil {
				want.Prompts = append(want.Prompts, whole)
				continue
			}
			var parts []block
			if line.Type != "summary" && json.Unmarshal(line.Message.Content, &parts) != nil {
				t.Fatalf("%s: %s", path, line.Message.Content)
			}
			for _, p := range parts {
				switch {
				case p.Type == "text" && line.Type == "user":
					want.Prompts = append(want.Prompts, p.Text)
				case p.Type == "text":
					want.Responses = append(want.Responses, p.Text)
				case p.Type == "tool_use":
					want.Responses = append(want.Responses, "")
					want.Parameters = append(want.Parameters, string(p.Input))
				case p.Type == "tool_result":
					want.Results = append(want.Results, p.Content)
				}
			}
		}
		sameTexts(t, path, []texts{want})
	}
}

// TestClaudeCodeLogsThatGrow reads a log before and after more was written to it. What was said before keeps its ids, and
// no id stands for two different records, which the server would refuse.
func TestClaudeCodeLogsThatGrow(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "shapes", "claude.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]*pb.Node)
	for cut := range bytes.Count(raw, []byte("\n")) {
		lines := bytes.SplitAfter(raw, []byte("\n"))[:cut+1]
		r := &reader{source: textSource("log.jsonl", string(bytes.Join(lines, nil))), problem: func(string, string, ...any) {}}
		err := r.each(t.Context(), func(g Graph) error {
			if !g.Keyed {
				return nil
			}
			for _, n := range g.Nodes {
				if before := known[n.Id]; before != nil {
					if diff := cmp.Diff(before, n, protocmp.Transform()); diff != "" {
						t.Errorf("with %d lines, %s is another record (-before +now):\n%s", cut+1, n.Id, diff)
					}
				}
				known[n.Id] = n
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(known) == 0 {
		t.Error("no session is known by its id")
	}
}

func TestPiMonoTextsAreByteIdentical(t *testing.T) {
	path := filepath.Join(dataDir(t, "pi-mono-sessions"), "large-session.jsonl")
	results := make(map[string]string)
	var want texts
	for _, line := range jsonLines[struct {
		Message struct {
			Role, ToolCallID string
			Content          []struct {
				Type, Text, ID string
				Arguments      json.RawMessage
			}
		}
	}](t, path) {
		var said []string
		for _, b := range line.Message.Content {
			switch b.Type {
			case "text":
				said = append(said, b.Text)
			case "toolCall":
				want.Parameters = append(want.Parameters, string(b.Arguments))
				want.Results = append(want.Results, b.ID)
			}
		}
		switch text := strings.Join(said, "\n"); line.Message.Role {
		case "user":
			want.Prompts = append(want.Prompts, text)
		case "assistant":
			want.Responses = append(want.Responses, text)
		case "toolResult":
			results[line.Message.ToolCallID] = text
		}
	}
	for i, id := range want.Results {
		want.Results[i] = results[id]
	}
	if len(results) != 373 {
		t.Errorf("%d results, want 373: 18 calls were never answered", len(results))
	}
	sameTexts(t, path, []texts{want})
}

func TestOpenHandsTextsAreByteIdentical(t *testing.T) {
	path := filepath.Join(dataDir(t, "openhands"), "multi_swe_bench", "examples", "output.jsonl")
	type event struct {
		ID, Cause           int
		Action, Observation string
		Source, Content     string
		Args                json.RawMessage
		Meta                struct {
			CallID string `json:"tool_call_id"`
			Model  struct {
				ID      string
				Choices []struct {
					Message struct {
						Content string
						Calls   []struct {
							ID       string
							Function struct{ Arguments string }
						} `json:"tool_calls"`
					}
				}
			} `json:"model_response"`
		} `json:"tool_call_metadata"`
	}
	var want []texts
	failed := 0
	for _, line := range jsonLines[struct{ History []event }](t, path) {
		var one texts
		results := make(map[int]string)
		for _, e := range line.History {
			results[e.Cause] = e.Content
		}
		for _, e := range line.History {
			var args struct{ Content string }
			if e.Action == "system" || e.Action == "message" {
				if err := json.Unmarshal(e.Args, &args); err != nil {
					t.Fatal(err)
				}
			}
			switch {
			case e.Action == "system":
				one.System = append(one.System, args.Content)
			case e.Action == "message":
				one.Prompts = append(one.Prompts, args.Content)
			case e.Action == "recall":
				one.Parameters = append(one.Parameters, string(e.Args))
				one.Results = append(one.Results, results[e.ID])
			case e.Action != "":
				said := e.Meta.Model.Choices[0].Message
				one.Responses = append(one.Responses, said.Content)
				for _, c := range said.Calls {
					if c.ID == e.Meta.CallID {
						one.Parameters = append(one.Parameters, c.Function.Arguments)
					}
				}
				one.Results = append(one.Results, results[e.ID])
			case e.Observation == "error":
				failed++ // the call that it refuses is no event: it stands in the session's metadata
			}
		}
		want = append(want, one)
	}
	if failed != 2 {
		t.Errorf("%d observations have no action, want 2", failed)
	}
	sameTexts(t, path, want)
}

// TestADKTextsAreByteIdentical compares the sessions and the lists of questions.
func TestADKTextsAreByteIdentical(t *testing.T) {
	type part struct {
		Text string
		Call *struct {
			ID   string
			Args json.RawMessage
		} `json:"function_call"`
		Response *struct {
			ID       string
			Response json.RawMessage
		} `json:"function_response"`
	}
	var session struct {
		Events []struct {
			Author  string
			Content struct{ Parts []part }
		}
	}
	path := filepath.Join(dataDir(t, "adk-samples"), "personalized-shopping", "tests", "example_interactions", "text_search_floral_dress.session.json")
	decodeFile(t, path, &session)
	var want texts
	results := make(map[string]string)
	for _, e := range session.Events {
		var said []string
		calls := 0
		for _, p := range e.Content.Parts {
			switch {
			case p.Call != nil:
				want.Parameters, want.Results = append(want.Parameters, string(p.Call.Args)), append(want.Results, p.Call.ID)
				calls++
			case p.Response != nil:
				results[p.Response.ID] = string(p.Response.Response)
			default:
				said = append(said, p.Text)
			}
		}
		switch {
		case e.Author == "user":
			want.Prompts = append(want.Prompts, strings.Join(said, "\n"))
		case len(said)+calls > 0:
			want.Responses = append(want.Responses, strings.Join(said, "\n"))
		}
	}
	for i, id := range want.Results {
		want.Results[i] = results[id]
	}
	sameTexts(t, path, []texts{want})

	var list []struct {
		Query, Reference string
		Uses             []struct {
			Input json.RawMessage `json:"tool_input"`
		} `json:"expected_tool_use"`
	}
	path = filepath.Join(dataDir(t, "adk-samples"), "RAG", "eval", "data", "conversation.test.json")
	decodeFile(t, path, &list)
	want = texts{}
	for _, turn := range list {
		want.Prompts, want.Responses = append(want.Prompts, turn.Query), append(want.Responses, turn.Reference)
		for _, u := range turn.Uses {
			want.Parameters, want.Results = append(want.Parameters, string(u.Input)), append(want.Results, "")
		}
	}
	sameTexts(t, path, []texts{want})
}

// TestInspectTextsAreByteIdentical compares the messages of the samples, which are all told, and told once.
func TestInspectTextsAreByteIdentical(t *testing.T) {
	for _, name := range []string{"2025-05-12T20-28-13-04-00_popularity.json", "2025-05-12T20-28-26-04-00_security-guide.json"} {
		path := filepath.Join(dataDir(t, "inspect-ai-logs"), name)
		var log struct {
			Samples []struct {
				Messages    []struct{ Role, Content string }
				Attachments map[string]string
				Events      []struct {
					Event  string
					Input  []struct{ Content string }
					Output struct {
						Choices []struct{ Message struct{ Content string } }
					}
				}
			}
		}
		decodeFile(t, path, &log)
		var want []texts
		for _, s := range log.Samples {
			resolve := func(text string) string {
				if whole, ok := s.Attachments[strings.TrimPrefix(text, "attachment://")]; ok {
					return whole
				}
				return text
			}
			one := texts{System: []string{s.Messages[0].Content}}
			for _, e := range s.Events {
				if e.Event == "model" {
					one.Prompts = append(one.Prompts, resolve(e.Input[len(e.Input)-1].Content))
					one.Responses = append(one.Responses, resolve(e.Output.Choices[0].Message.Content))
				}
			}
			if one.Prompts[0] != s.Messages[1].Content || one.Responses[0] != s.Messages[2].Content {
				t.Errorf("%s: the first call of a model is not the conversation", path)
			}
			want = append(want, one)
		}
		sameTexts(t, path, want)
	}
}

// TestAutoGenTextsAreByteIdentical compares each record's last question and its answer; what the records repeat is told once.
func TestAutoGenTextsAreByteIdentical(t *testing.T) {
	for _, name := range []string{"demonstration", "self_teaching", "teachability"} {
		path := filepath.Join(dataDir(t, "autogen-memory-sessions"), name, "session.json")
		var records []struct {
			Messages []struct {
				Type    string
				Content json.RawMessage
			}
			Response struct{ Content string }
		}
		decodeFile(t, path, &records)
		var want texts
		for _, r := range records {
			var whole []string
			last := r.Messages[len(r.Messages)-1].Content
			if json.Unmarshal(last, &whole) != nil {
				whole = []string{""}
				if err := json.Unmarshal(last, &whole[0]); err != nil {
					t.Fatal(err)
				}
			}
			want.Prompts, want.Responses = append(want.Prompts, strings.Join(whole, "\n")), append(want.Responses, r.Response.Content)
		}
		got := importedTexts(t, path)
		got[0].System = nil
		if diff := cmp.Diff([]texts{want}, got); diff != "" {
			t.Errorf("%s: texts (-file +records):\n%s", path, diff)
		}
	}
}

func TestWhoAndWhenTextsAreByteIdentical(t *testing.T) {
	sources, _, err := Sources([]string{dataDir(t, "who-and-when")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		var file struct {
			Question string
			History  []struct{ Name, Content string }
			System   map[string]string `json:"system_prompt"`
		}
		decodeFile(t, s.Name, &file)
		want := texts{Prompts: []string{file.Question}}
		for _, agent := range slices.Sorted(maps.Keys(file.System)) {
			if file.System[agent] != "" { // one of them is
				want.System = append(want.System, file.System[agent])
			}
		}
		said := ""
		for _, m := range file.History {
			if m.Name == terminal {
				want.Parameters, want.Results = append(want.Parameters, said), append(want.Results, m.Content)
				continue
			}
			want.Responses = append(want.Responses, m.Content)
			said = ""
			for _, part := range strings.Split(m.Content, "```")[1:] {
				if _, code, ok := strings.Cut(part, "\n"); ok && said == "" {
					said = strings.TrimSuffix(code, "\n")
				}
			}
		}
		got := importedTexts(t, s.Name)
		for i, parameters := range got[0].Parameters {
			if !strings.HasPrefix(parameters, want.Parameters[i]) {
				t.Errorf("%s: call %d has the code %q, want %q", s.Name, i+1, parameters, want.Parameters[i])
			}
		}
		want.Parameters, got[0].Parameters = nil, nil
		if diff := cmp.Diff([]texts{want}, got); diff != "" {
			t.Errorf("%s: texts (-file +records):\n%s", s.Name, diff)
		}
	}
}

// TestLangfuseTextsAreByteIdentical compares what the generations were asked and answered. A question that repeats the
// messages of an earlier one is what remains of it, with the earlier one put before it again.
func TestLangfuseTextsAreByteIdentical(t *testing.T) {
	sources, _, err := Sources([]string{dataDir(t, "langfuse-traces")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		var file struct {
			Observations []struct {
				ID, Type, Name string
				Input, Output  json.RawMessage
			}
		}
		decodeFile(t, s.Name, &file)
		text := func(raw json.RawMessage) string {
			var s string
			if len(raw) > 0 && raw[0] == '"' {
				if err := json.Unmarshal(raw, &s); err != nil {
					t.Fatal(err)
				}
				return s
			}
			return strings.TrimSuffix(strings.TrimPrefix(string(raw), "null"), "null")
		}
		inputs, outputs := make(map[string]string), make(map[string]string)
		for _, o := range file.Observations {
			inputs[o.ID], outputs[o.ID] = text(o.Input), text(o.Output)
		}
		r := &reader{source: s, problem: func(where, format string, args ...any) { t.Errorf(where+": "+format, args...) }}
		err := r.each(t.Context(), func(g Graph) error {
			compareTrace(t, g, inputs, outputs)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func compareTrace(t *testing.T, g Graph, inputs, outputs map[string]string) {
	t.Helper()
	whole := make(map[string]string) // what prompts were asked, with what they repeat
	follows := make(map[string]string)
	answers := make(map[string]string) // by prompt
	for _, e := range g.Edges {
		if e.Type == pb.EdgeType_EDGE_TYPE_FOLLOWS {
			follows[e.FromNodeId] = e.ToNodeId
		}
	}
	for _, n := range g.Nodes {
		switch p, m := n.GetPrompt(), n.GetResponse(); {
		case p != nil:
			id := p.Metadata.Custom["observation_id"]
			answers[p.Id] = outputs[id]
			text := p.Content
			if p.Metadata.Custom["synthetic"] == "true" {
				text = ""
			}
			if p.Metadata.Custom["input_repeats"] == "" {
				whole[p.Id] = inputs[id]
				if text != inputs[id] {
					t.Errorf("%s: asked %q, want %q", id, text, inputs[id])
				}
				continue
			}
			messages := inputMessages(json.RawMessage(inputs[id]), inputs[id])
			before := whole[follows[p.Id]]
			if all := append(inputMessages(json.RawMessage(before), before), text); strings.Join(all, "\n") != strings.Join(messages, "\n") {
				t.Errorf("%s: asked %q after %q, want %q", id, text, before, inputs[id])
			}
			whole[p.Id] = inputs[id]
		case m != nil:
			if m.Content != answers[m.PromptId] {
				t.Errorf("answered %q, want %q", m.Content, answers[m.PromptId])
			}
		case n.GetToolInvocation() != nil:
			v := n.GetToolInvocation()
			if want := outputs[v.Metadata["observation_id"]]; v.GetResult() != want {
				t.Errorf("%s: result %q, want %q", v.ToolName, v.GetResult(), want)
			}
		}
	}
}
