package graph

import (
	"strings"
	"testing"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func storedPrompt() *pb.Node {
	const session = "00000000-0000-4000-8000-000000000001"
	return &pb.Node{Id: "p", Type: prompt, CreatedAt: Timestamp(7), SessionId: session, NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
		Id: "p", SessionId: session, Content: "text", Timestamp: Timestamp(7), Metadata: &pb.PromptMetadata{Model: "unknown", Temperature: 0.7},
	}}}
}

func storedSession() *pb.Node {
	const id = "00000000-0000-4000-8000-000000000001"
	return &pb.Node{Id: id, Type: session, CreatedAt: Timestamp(7), SessionId: id, NodeData: &pb.Node_Session{Session: &pb.Session{Id: id, CreatedAt: Timestamp(7)}}}
}

func TestStoredNodesAreVerified(t *testing.T) {
	for name, c := range map[string]struct {
		node *pb.Node
		says string // empty: fine
	}{
		"prompt":                 {change(storedPrompt(), func(*pb.Node) {}), ""},
		"session":                {change(storedSession(), func(*pb.Node) {}), ""},
		"no id":                  {change(storedPrompt(), func(n *pb.Node) { n.Id, n.GetPrompt().Id = "", "" }), "id"},
		"two ids":                {change(storedPrompt(), func(n *pb.Node) { n.Id = "q" }), "id"},
		"no data":                {change(storedPrompt(), func(n *pb.Node) { n.NodeData = nil }), "node_data"},
		"other type":             {change(storedPrompt(), func(n *pb.Node) { n.Type = response }), "type"},
		"no content":             {change(storedPrompt(), func(n *pb.Node) { n.GetPrompt().Content = "" }), "content"},
		"content too long":       {change(storedPrompt(), func(n *pb.Node) { n.GetPrompt().Content = strings.Repeat("x", MaxContentBytes+1) }), "content"},
		"defaults left out":      {change(storedPrompt(), func(n *pb.Node) { n.GetPrompt().Metadata = nil }), "as a check leaves it"},
		"two sessions":           {change(storedPrompt(), func(n *pb.Node) { n.SessionId = storedSession().Id[:35] + "2" }), "session_id"},
		"revision":               {change(storedPrompt(), func(n *pb.Node) { n.Revision = 3 }), "revision"},
		"no time":                {change(storedPrompt(), func(n *pb.Node) { n.CreatedAt = nil }), "created_at"},
		"session that is active": {change(storedSession(), func(n *pb.Node) { n.GetSession().IsActive = true }), "session"},
		"session in upper case": {change(storedSession(), func(n *pb.Node) {
			n.GetSession().Id = strings.ToUpper("aa") + n.Id[2:]
			n.Id = n.GetSession().Id
			n.SessionId = n.Id
		}), "as a check leaves it"},
	} {
		wantSaid(t, name, VerifyNode(c.node), c.says)
	}
}

func change(n *pb.Node, by func(*pb.Node)) *pb.Node {
	by(n)
	return n
}

func TestStoredEdgesAreVerified(t *testing.T) {
	edge := func(by func(e *pb.Edge)) *pb.Edge {
		e := &pb.Edge{Id: "e", FromNodeId: "a", ToNodeId: "b", Type: references, CreatedAt: Timestamp(1)}
		by(e)
		return e
	}
	for name, c := range map[string]struct {
		edge *pb.Edge
		says string
	}{
		"fine":     {edge(func(*pb.Edge) {}), ""},
		"no id":    {edge(func(e *pb.Edge) { e.Id = "" }), "id"},
		"no end":   {edge(func(e *pb.Edge) { e.ToNodeId = "" }), "to_node_id"},
		"no type":  {edge(func(e *pb.Edge) { e.Type = 0 }), "type"},
		"no time":  {edge(func(e *pb.Edge) { e.CreatedAt = nil }), "created_at"},
		"revision": {edge(func(e *pb.Edge) { e.Revision = 3 }), "revision"},
		"score":    {edge(func(e *pb.Edge) { e.Properties = map[string]string{"relevance_score": "7"} }), "relevance_score"},
	} {
		wantSaid(t, name, VerifyEdge(c.edge), c.says)
	}
}

func TestAutomaticEdgesAreVerified(t *testing.T) {
	for name, c := range map[string]struct {
		edge EdgeRecord
		says string
	}{
		"belongs to its session":   {EdgeRecord{Type: belongsTo, From: 2, To: 1, FromSession: 1, ToSession: 1}, ""},
		"belongs to another":       {EdgeRecord{Type: belongsTo, From: 2, To: 3, FromSession: 1, ToSession: 3}, "another session"},
		"follows":                  {EdgeRecord{Type: follows, From: 2, To: 4, FromSession: 1, ToSession: 1}, ""},
		"follows across sessions":  {EdgeRecord{Type: follows, From: 2, To: 4, FromSession: 1, ToSession: 3}, "another session"},
		"follows itself":           {EdgeRecord{Type: follows, From: 2, To: 2, FromSession: 1, ToSession: 1}, "itself"},
		"invokes":                  {EdgeRecord{Type: invokes}, ""},
		"reference made by itself": {EdgeRecord{Type: references}, "no call makes"},
	} {
		wantSaid(t, name, VerifyAutomatic(c.edge), c.says)
	}
	if !StartsAt(invokes, response) || StartsAt(invokes, prompt) || !LeadsTo(invokes, tool) || LeadsTo(invokes, prompt) || StartsAt(0, prompt) || LeadsTo(0, prompt) {
		t.Error("the ends of an edge that invokes")
	}
}

func wantSaid(t *testing.T, name string, err error, says string) {
	t.Helper()
	if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
		t.Errorf("%s: %v, want one that says %q", name, err, says)
	}
}
