package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const storySession = "0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11"

// tell puts a session with one of everything into the fake: answers in a row, failed, retried and pending calls, an
// empty answer, a hand-over, a reference, long and broken texts, and a response whose prompt was deleted.
func tell(f *fakeServer) {
	at := func(second int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2026, 3, 1, 9, 0, second, 0, time.UTC))
	}
	s := &pb.Session{Id: storySession, CreatedAt: at(0), IsActive: true, Metadata: map[string]string{"user": "ada", "task": "7"}}
	f.sessions = append(f.sessions, s)
	node := func(id string, t pb.NodeType, n *pb.Node) {
		n.Id, n.Type, n.SessionId = id, t, s.Id
		f.nodes = append(f.nodes, n)
	}
	prompt := func(id, text string, second int) {
		node(id, pb.NodeType_NODE_TYPE_PROMPT, &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{Id: id, Content: text, Timestamp: at(second)}}})
	}
	response := func(id, prompt, text string, second int, u *pb.TokenUsage, m *pb.ResponseMetadata) {
		node(id, pb.NodeType_NODE_TYPE_RESPONSE, &pb.Node{NodeData: &pb.Node_Response{Response: &pb.ResponseNode{
			Id: id, PromptId: prompt, Content: text, Timestamp: at(second), TokenUsage: u, Metadata: m}}})
	}
	tool := func(id, response string, v *pb.ToolInvocationNode) {
		v.Id, v.ResponseId, v.Timestamp = id, response, at(20)
		node(id, pb.NodeType_NODE_TYPE_TOOL_INVOCATION, &pb.Node{NodeData: &pb.Node_ToolInvocation{ToolInvocation: v}})
	}
	edge := func(t pb.EdgeType, from, to string) {
		f.edges = append(f.edges, &pb.Edge{Id: fmt.Sprintf("edge-%d", len(f.edges)), Type: t, FromNodeId: from, ToNodeId: to})
	}
	f.nodes = append(f.nodes, &pb.Node{Id: s.Id, Type: pb.NodeType_NODE_TYPE_SESSION, CreatedAt: at(0), NodeData: &pb.Node_Session{Session: s}},
		&pb.Node{Id: "agent-1", Type: pb.NodeType_NODE_TYPE_AGENT, NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Id: "agent-1", Name: "keeper"}}},
		&pb.Node{Id: "template-1", Type: pb.NodeType_NODE_TYPE_TEMPLATE, NodeData: &pb.Node_Template{Template: &pb.TemplateNode{Id: "template-1", Name: "system-385182ee"}}})
	prompt("p1", "The lamp flickers.\n\tWhat is wrong?", 0)
	response("r1", "p1", "", 2, &pb.TokenUsage{PromptTokens: 15, CompletionTokens: 25, TotalTokens: 40}, &pb.ResponseMetadata{Model: "beacon-1", FinishReason: "tool_calls", LatencyMs: 1240})
	tool("t1", "r1", &pb.ToolInvocationNode{ToolName: "read_sensor", Parameters: `{"sensor":"lamp_voltage","minutes":10}`, Status: "success", DurationMs: 85, Result: proto.String(`{"samples":[229,228,201,230,187,226],"unit":"V"}`)})
	tool("t2", "r1", &pb.ToolInvocationNode{ToolName: "start", Parameters: "{}", Status: "failed", DurationMs: 42_000, RetryCount: 2, Error: proto.String("Error: it does not fire")})
	tool("t3", "r1", &pb.ToolInvocationNode{ToolName: "wait", Status: "pending"})
	response("r2", "p1", "The mains sag: 187 V a minute ago, where the lamp wants at least 210. "+strings.Repeat("Very long. ", 30), 30, nil, &pb.ResponseMetadata{Model: "unknown", FinishReason: "stop"})
	prompt("p2", "旅游\u202e!", 40)
	response("r9", "gone", "Whose prompt was deleted.", 50, &pb.TokenUsage{PromptTokens: 1, TotalTokens: 1}, nil)
	edge(pb.EdgeType_EDGE_TYPE_INSTANTIATES, "p1", "template-1")
	edge(pb.EdgeType_EDGE_TYPE_HANDLED_BY, "p1", "agent-1")
	edge(pb.EdgeType_EDGE_TYPE_FOLLOWS, "p2", "p1")
	edge(pb.EdgeType_EDGE_TYPE_TRANSFERS_TO, "r2", "agent-1")
	edge(pb.EdgeType_EDGE_TYPE_REFERENCES, "r2", "elsewhere")
}

func TestSessionShow(t *testing.T) {
	f := startFake(t)
	tell(f)
	f.pageSize = 3
	golden(t, "tree.txt", f.must(t, "session", "show", storySession))
	golden(t, "tree-narrow.txt", f.must(t, "session", "show", storySession, "--width", "60", "--ids"))
	golden(t, "tree-full.txt", f.must(t, "session", "show", storySession, "--full", "--ids"))
	golden(t, "tree.json", f.must(t, "session", "show", storySession, "-o", "json"))
}

func TestSessionShowFitsTheWidth(t *testing.T) {
	f := startFake(t)
	tell(f)
	for _, line := range strings.Split(f.must(t, "session", "show", storySession, "--width", "90"), "\n") {
		if columns(line) > 90 {
			t.Errorf("%d columns: %s", columns(line), line)
		}
	}
}

func TestSessionShowJSONHasEverything(t *testing.T) {
	f := startFake(t)
	tell(f)
	var got struct {
		Session               struct{ ID string }
		Nodes, Edges, Related []struct{ ID string }
		Totals                totals
	}
	if err := json.Unmarshal([]byte(f.must(t, "session", "show", storySession, "-o", "json")), &got); err != nil {
		t.Fatal(err)
	}
	want := totals{Prompts: 2, Responses: 3, ToolInvocations: 3, FailedTools: 1, PromptTokens: 16, CompletionTokens: 25, TotalTokens: 41, DurationMs: 62_000}
	if got.Totals != want || len(got.Nodes) != 8 || len(got.Edges) != 4 || len(got.Related) != 2 || got.Nodes[0].ID != "p1" {
		t.Errorf("got %+v", got)
	}
}

func TestEmptySession(t *testing.T) {
	f := startFake(t)
	f.must(t, "session", "create")
	want := "session session-1  active  2026-03-01 09:00:01Z\n└─ nothing yet\n0 prompts, 0 responses, 0 tool calls\n"
	if got := f.must(t, "session", "show", "session-1"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestEdgesThatFailEndTheStory: with more nodes than workers, so that work waits when the first call fails.
func TestEdgesThatFailEndTheStory(t *testing.T) {
	f := startFake(t)
	tell(f)
	for i := range 100 {
		f.nodes = append(f.nodes, &pb.Node{Id: fmt.Sprintf("more-%d", i), Type: pb.NodeType_NODE_TYPE_PROMPT, SessionId: storySession,
			NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{Content: "x"}}})
	}
	for _, method := range []string{"Query", "GetEdges", "BatchGetNodes"} {
		f.refusing(method, status.Error(codes.PermissionDenied, "not you"))
		r := execute(t, "", "session", "show", storySession, "--address", f.address)
		if r.code != exitFailed || !strings.Contains(r.err, "not you") {
			t.Errorf("%s: %+v", method, r)
		}
	}
}

func TestLoadSample(t *testing.T) {
	f := startFake(t)
	conn, err := grpc.NewClient("passthrough:///"+f.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	var out bytes.Buffer
	sessions, err := loadSample(t.Context(), conn, &out)
	if err != nil || len(sessions) != 1 {
		t.Fatalf("%v, %v", sessions, err)
	}
	golden(t, "sample.txt", out.String())
	records := len(f.nodes) + len(f.edges)
	if _, err := loadSample(t.Context(), conn, &out); err != nil || len(f.nodes)+len(f.edges) != records {
		t.Errorf("the second time: %v, %d records, before %d", err, len(f.nodes)+len(f.edges), records)
	}
	f.refusing("GetEdges", status.Error(codes.Internal, "broken"))
	if _, err := loadSample(t.Context(), conn, &out); err == nil || !strings.Contains(err.Error(), "show the sample") {
		t.Errorf("got %v", err)
	}
	f.refusing("Import", status.Error(codes.Internal, "broken"))
	if _, err := loadSample(t.Context(), conn, &out); err == nil || !strings.Contains(err.Error(), "load the sample") {
		t.Errorf("got %v", err)
	}
	if _, err := loadSample(t.Context(), conn, &failingWriter{}); err == nil {
		t.Error("a failure to print is not reported")
	}
}
