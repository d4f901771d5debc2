package importer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/importer/jsonl"
)

// exportOf is the export of a graph of so many sessions, with a prompt each, and its lines.
func exportOf(sessions int) (text string, lines []string) {
	raw := jsonl.AppendHeader(nil, jsonl.Header{Version: jsonl.Version, Lineage: "5d0a41c2", Revision: 9})
	at := &timestamppb.Timestamp{Seconds: 1772355600, Nanos: 1}
	for i := range sessions {
		id, prompt := fmt.Sprintf("00000000-0000-4000-8000-%012d", i), fmt.Sprintf("prompt %d", i)
		raw = jsonl.AppendNode(raw, &pb.Node{Id: id, CreatedAt: at, NodeData: &pb.Node_Session{Session: &pb.Session{UpdatedAt: at, IsActive: i%2 == 0}}})
		raw = jsonl.AppendNode(raw, &pb.Node{Id: prompt, CreatedAt: at, NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
			SessionId: id, Content: "What is it?", Timestamp: at, Metadata: &pb.PromptMetadata{Model: "m", Temperature: 1},
		}}})
		raw = jsonl.AppendEdge(raw, &pb.Edge{Id: "edge " + prompt, FromNodeId: prompt, ToNodeId: id, Type: pb.EdgeType_EDGE_TYPE_BELONGS_TO, CreatedAt: at})
	}
	raw = jsonl.AppendTrailer(raw, jsonl.Trailer{Nodes: int64(2 * sessions), Edges: int64(sessions)})
	return string(raw), strings.SplitAfter(string(raw), "\n")
}

// imported imports a text and returns what was reported.
func imported(t *testing.T, fake *fakeTransfer, text string, o Options) (Summary, []string, error) {
	t.Helper()
	client := fake.client
	var problems []string
	o.Problem = func(p Problem) { problems = append(problems, p.String()) }
	got, err := Import(t.Context(), client, []Source{textSource("x.jsonl", text)}, o)
	return got, problems, err
}

func TestAnExportIsReadAsItStands(t *testing.T) {
	fake, _ := serve(t)
	text, lines := exportOf(2000)
	got, problems, err := imported(t, fake, text, Options{})
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v, %q", err, problems)
	}
	want := Summary{Sessions: 2000, Prompts: 2000, Edges: 2000, Files: 1, Created: 6000}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	for _, line := range lines[1 : len(lines)-2] {
		l, err := jsonl.Decode([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if l.Node != nil {
			l.Node.SessionId = cmp.Or(l.Node.SessionId, l.Node.GetPrompt().GetSessionId())
			if diff := gocmp.Diff(l.Node, fake.nodes[l.Node.Id], protocmp.Transform()); diff != "" {
				t.Fatalf("node (-file +store):\n%s", diff)
			}
		} else if diff := gocmp.Diff(l.Edge, fake.edges[l.Edge.Id], protocmp.Transform()); diff != "" {
			t.Fatalf("edge (-file +store):\n%s", diff)
		}
	}
	// Behind each other, zipped, from the middle of an earlier import.
	again, problems, err := imported(t, fake, zipped(t, text+text), Options{})
	if err != nil || len(problems) > 0 || again.Created != 0 || again.Unchanged != 12000 {
		t.Errorf("once more, twice: %+v, %q, %v", again, problems, err)
	}
}

func TestDamagedExports(t *testing.T) {
	text, lines := exportOf(3)
	without := func(n int) string { return strings.Join(slices.Delete(slices.Clone(lines), n, n+1), "") }
	replaced := func(n int, by string) string {
		changed := slices.Clone(lines)
		changed[n] = by
		return strings.Join(changed, "")
	}
	tests := []struct {
		name, text string
		want       []string
		created    int64
	}{
		{"cut between lines", strings.Join(lines[:5], ""), []string{"x.jsonl: line 6: is the last one, but an export ends with a line that counts"}, 4},
		{"cut in a line", text[:len(text)-60], []string{"line 10: is not JSON", "the file was cut off"}, 8},
		{"a line is missing", without(3), []string{"counts 6 nodes and 3 edges, but 6 and 2 came before it"}, 8},
		{"a line is damaged", replaced(3, "{\n"), []string{"line 4: is not JSON"}, 8},
		{"a line is no record", replaced(3, "{\"wizard\":{}}\n"), []string{"line 4: is no line of an export"}, 8},
		{"an unknown member", replaced(3, `{"edge":{"id":"x","spell":1}}`+"\n"), []string{"line 4", "spell"}, 8},
		{"not UTF-8", replaced(3, "{\"edge\":{\"id\":\"\xff\"}}\n"), []string{"line 4: is not valid UTF-8"}, 8},
		{"breaks a rule", replaced(3, `{"edge":{"id":"x"}}`+"\n"), []string{"line 4: edge.from_node_id: is required"}, 8},
		{"something behind the end", text + lines[3], []string{"line 12: stands behind the end"}, 9},
		{"a later version", replaced(0, `{"memory_graph_export":{"version":2}}`+"\n"), []string{"line 1: is version 2 of the format, and this program reads up to 1"}, 0},
		{"a session is missing", without(1), []string{
			"line 2: refers to 00000000-0000-4000-8000-000000000000, which is not there", "line 3: begins at prompt 0, which is not there", "counts 6 nodes",
		}, 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake, _ := serve(t)
			got, problems, err := imported(t, fake, tt.text, Options{})
			all := strings.Join(problems, "\n")
			for _, want := range tt.want {
				if !strings.Contains(all, want) {
					t.Errorf("problems\n%s\nwant %q", all, want)
				}
			}
			if err != nil || got.Created != tt.created || got.Skipped != int64(len(problems)) || int64(len(fake.nodes)+len(fake.edges)) != tt.created {
				t.Errorf("%+v, %v; want %d created\n%s", got, err, tt.created, all)
			}
			_, problems, err = imported(t, fake, tt.text, Options{Strict: true})
			var stopped *Stopped
			if !errors.As(err, &stopped) || len(problems) == 0 || stopped.Problem.String() != problems[0] {
				t.Errorf("strict: %v after %q", err, problems)
			}
		})
	}
}

// TestRefusedRecordsAreTakenOut: records that the server does not take are reported one by one, wherever they stand in
// whatever chunk, and all others arrive.
func TestRefusedRecordsAreTakenOut(t *testing.T) {
	fake, _ := serve(t)
	text, _ := exportOf(3000)
	if _, problems, err := imported(t, fake, text, Options{}); err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	differ := []string{"prompt 0", "prompt 1", "prompt 1499", "prompt 2999"}
	for _, id := range differ {
		fake.nodes[id].GetPrompt().Content = "changed by somebody"
	}
	for id := range maps.Clone(fake.edges) {
		delete(fake.edges, id)
	}
	got, problems, err := imported(t, fake, text, Options{})
	if err != nil || got.Skipped != int64(len(differ)) || got.Created != 3000 || got.Unchanged != 6000-int64(len(differ)) {
		t.Errorf("%+v, %v", got, err)
	}
	for i, id := range differ {
		if i >= len(problems) || !strings.Contains(problems[i], "node "+id+" differs") || !strings.Contains(problems[i], "x.jsonl: line ") {
			t.Errorf("problems %q, want one for %s", problems, id)
		}
	}
	if len(fake.edges) != 3000 {
		t.Errorf("%d edges", len(fake.edges))
	}
}
