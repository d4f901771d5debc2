package importer

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

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

// TestSamplesOfLogsAreTheirOwn reads samples under FormatAuto and names the formats that read them.
func TestSamplesOfLogsAreTheirOwn(t *testing.T) {
	tests := map[string][]Format{
		"anthropic.json": {FormatAnthropic}, "anthropic.jsonl": {FormatAnthropic}, "claude.jsonl": {FormatClaudeCode}, "pi.jsonl": {FormatPiMono},
		"openhands.json": {FormatOpenHands}, "openhands.jsonl": {FormatOpenAI, FormatOpenHands}, "gemini.json": {FormatGemini},
		"adk.session.json": {FormatADK}, "adk.evalset.json": {FormatADKEval}, "adk.test.json": {FormatADKEvalList}, "inspect.json": {FormatInspect},
		"autogen.json": {FormatAutoGen}, "whoandwhen.json": {FormatWhoAndWhen}, "langfuse.json": {FormatLangfuse},
	}
	for name, want := range tests {
		read := make(map[Format]bool)
		sources, _, err := Sources([]string{filepath.Join("testdata", "shapes", name)}, nil)
		if err == nil {
			_, err = Import(t.Context(), nil, sources, Options{DryRun: true, Item: func(_ string, f Format) { read[f] = true }})
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(read))); diff != "" {
			t.Errorf("%s is read by (-want +got):\n%s", name, diff)
		}
	}
}
