package importer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
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
