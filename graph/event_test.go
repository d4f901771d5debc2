package graph_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func TestEventPayload(t *testing.T) {
	const instant = 1_700_000_000_123_456_789
	node := func(typ pb.EventType, n pb.NodeType, d *logpb.EventDetail) *logpb.StoredEvent {
		return &logpb.StoredEvent{Type: typ, Instant: instant, NodeId: `n"1`, NodeType: n, SessionId: "s1", Detail: d}
	}
	created, updated, deleted := pb.EventType_EVENT_TYPE_NODE_CREATED, pb.EventType_EVENT_TYPE_NODE_UPDATED, pb.EventType_EVENT_TYPE_NODE_DELETED
	const when = `"timestamp":"2023-11-14T22:13:20.123456789Z"`
	for _, c := range []struct {
		name  string
		event *logpb.StoredEvent
		want  string
	}{
		{"prompt created", node(created, 2, &logpb.EventDetail{ContentLength: 5, Model: "gpt-4"}),
			`{"node_id":"n\"1","node_type":"NODE_TYPE_PROMPT","session_id":"s1",` + when + `,"content_length":5,"model":"gpt-4"}`},
		{"response created", node(created, 3, &logpb.EventDetail{PromptId: "p1", ContentLength: 2, LatencyMs: 7, TokenUsage: &pb.TokenUsage{PromptTokens: 1, CompletionTokens: 2, TotalTokens: 3}}),
			`{"node_id":"n\"1","node_type":"NODE_TYPE_RESPONSE","session_id":"s1",` + when + `,"prompt_id":"p1","content_length":2,"tokens_used":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3},"latency_ms":7}`},
		{"tool created", node(created, 4, &logpb.EventDetail{ToolName: "search", Status: "failed", DurationMs: 9}),
			`{"node_id":"n\"1","node_type":"NODE_TYPE_TOOL_INVOCATION","session_id":"s1",` + when + `,"tool_name":"search","status":"failed","duration_ms":9}`},
		{"agent created", node(created, 5, nil), `{"node_id":"n\"1","node_type":"NODE_TYPE_AGENT","session_id":"s1",` + when + `}`},
		{"agent with a detail of no use", node(created, 5, &logpb.EventDetail{}), `{"node_id":"n\"1","node_type":"NODE_TYPE_AGENT","session_id":"s1",` + when + `}`},
		{"created, deleted since", node(created, 2, nil), `{"node_id":"n\"1","node_type":"NODE_TYPE_PROMPT","session_id":"s1",` + when + `}`},
		{"updated", node(updated, 2, nil), `{"node_id":"n\"1","node_type":"NODE_TYPE_PROMPT","session_id":"s1",` + when + `}`},
		{"deleted", node(deleted, 6, nil), `{"node_id":"n\"1","node_type":"NODE_TYPE_TEMPLATE","session_id":"s1",` + when + `}`},
		{"edge", &logpb.StoredEvent{Type: pb.EventType_EVENT_TYPE_EDGE_CREATED, Instant: instant, EdgeId: "e1", EdgeType: 3, FromNodeId: "a", ToNodeId: "b", SessionId: "s1"},
			`{"edge_id":"e1","edge_type":"EDGE_TYPE_FOLLOWS","from":"a","to":"b","session_id":"s1",` + when + `}`},
		{"edge deleted", &logpb.StoredEvent{Type: pb.EventType_EVENT_TYPE_EDGE_DELETED, Instant: instant, EdgeId: "e1", EdgeType: 9, FromNodeId: "a", ToNodeId: "b"},
			`{"edge_id":"e1","edge_type":"EDGE_TYPE_REFERENCES","from":"a","to":"b","session_id":"",` + when + `}`},
		{"session created", &logpb.StoredEvent{Type: pb.EventType_EVENT_TYPE_SESSION_CREATED, SessionId: "s1", Detail: &logpb.EventDetail{Metadata: map[string]string{"b": "2", "a": "\u2028"}}},
			`{"session_id":"s1","metadata":{"a":"\u2028","b":"2"}}`},
		{"session created, deleted since", &logpb.StoredEvent{Type: pb.EventType_EVENT_TYPE_SESSION_CREATED, SessionId: "s1"}, `{"session_id":"s1","metadata":{}}`},
		{"session closed", &logpb.StoredEvent{Type: pb.EventType_EVENT_TYPE_SESSION_CLOSED, SessionId: "s1", Reason: "deleted"}, `{"session_id":"s1","metadata":{},"reason":"deleted"}`},
	} {
		got := graph.EventPayload(c.event)
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s is no JSON: %s", c.name, got)
		}
	}
}

func TestTimestamps(t *testing.T) {
	for _, ns := range []int64{0, 1, -1, 999_999_999, -1_000_000_001, 1_700_000_000_000_000_000, math.MaxInt64, math.MinInt64} {
		ts := graph.Timestamp(ns)
		if ts.Nanos < 0 || ts.Nanos > 999_999_999 {
			t.Errorf("%d: nanos %d", ns, ts.Nanos)
		}
		if got := ts.AsTime(); !got.Equal(time.Unix(0, ns)) {
			t.Errorf("%d: got %v", ns, got)
		}
		n := &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{Timestamp: ts}}}
		if got := graph.Time(n); got != ns {
			t.Errorf("%d came back as %d", ns, got)
		}
	}
	when := graph.Timestamp(7)
	for _, n := range []*pb.Node{
		{NodeData: &pb.Node_Response{Response: &pb.ResponseNode{Timestamp: when}}},
		{NodeData: &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{Timestamp: when}}},
		{CreatedAt: when, NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{}}},
		{CreatedAt: when, NodeData: &pb.Node_Session{Session: &pb.Session{}}},
		{CreatedAt: when},
	} {
		if graph.Time(n) != 7 {
			t.Errorf("time of %v", n)
		}
	}
}

func TestKindsAreErrors(t *testing.T) {
	for kind, name := range map[graph.Kind]string{
		graph.NotFound: "not found", graph.Invalid: "invalid", graph.Exists: "already exists", graph.Precondition: "failed precondition",
		graph.Stale: "stale", graph.Exhausted: "exhausted", graph.OutOfRange: "out of range", 99: "kind 99",
	} {
		err := error(&graph.Error{Kind: kind, Message: "m"})
		if kind.Error() != name || !errors.Is(err, kind) || errors.Is(err, kind+1) || err.Error() != "m" || errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v: %v", name, kind)
		}
	}
}

func TestDamagedRecordsAreErrors(t *testing.T) {
	_, err := graph.NodeRecord{Position: 7, Wire: []byte{1}}.Node()
	if err == nil || !strings.Contains(err.Error(), "position 7") {
		t.Errorf("got %v", err)
	}
	if _, err = (graph.EdgeRecord{Position: 8, Wire: []byte{1}}).Edge(); err == nil || !strings.Contains(err.Error(), "position 8") {
		t.Errorf("got %v", err)
	}
}
