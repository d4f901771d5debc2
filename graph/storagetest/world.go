package storagetest

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Short names of the types.
const (
	session  = pb.NodeType_NODE_TYPE_SESSION
	prompt   = pb.NodeType_NODE_TYPE_PROMPT
	response = pb.NodeType_NODE_TYPE_RESPONSE
	tool     = pb.NodeType_NODE_TYPE_TOOL_INVOCATION
	agent    = pb.NodeType_NODE_TYPE_AGENT
	template = pb.NodeType_NODE_TYPE_TEMPLATE

	belongsTo  = pb.EdgeType_EDGE_TYPE_BELONGS_TO
	respondsTo = pb.EdgeType_EDGE_TYPE_RESPONDS_TO
	follows    = pb.EdgeType_EDGE_TYPE_FOLLOWS
	references = pb.EdgeType_EDGE_TYPE_REFERENCES
)

// world is a storage under test with a batch that is open when it is needed.
type world struct {
	t      *testing.T
	s      Storage
	batch  Batch
	tenant graph.Tenant
}

// tx is the state as the open batch sees it.
func (w *world) tx() graph.Tx {
	if w.batch == nil {
		w.batch = w.s.Begin()
	}
	return w.batch.Tx(w.inside())
}

func (w *world) inside() graph.Tenant { return max(w.tenant, graph.DefaultTenant) }

// view commits and reads.
func (w *world) view() graph.View {
	w.commit()
	return w.s.View(w.inside())
}

func (w *world) commit() {
	if w.batch != nil {
		w.batch.Commit()
		w.batch = nil
	}
}

// both runs a check on the open batch and, once committed, on a view.
func (w *world) both(check func(v graph.View)) {
	w.t.Helper()
	check(w.tx())
	check(w.view())
}

// makeNode is a node of any type whose name is its id.
func makeNode(typ pb.NodeType, id string, at int64) *pb.Node {
	n := &pb.Node{Id: id, Type: typ, CreatedAt: graph.Timestamp(at)}
	when := graph.Timestamp(at)
	switch typ {
	case session:
		n.NodeData = &pb.Node_Session{Session: &pb.Session{Id: id, CreatedAt: when}}
	case prompt:
		n.NodeData = &pb.Node_Prompt{Prompt: &pb.PromptNode{Id: id, Timestamp: when, Metadata: &pb.PromptMetadata{Model: "gpt"}}}
	case response:
		n.NodeData = &pb.Node_Response{Response: &pb.ResponseNode{
			Id: id, Timestamp: when, Metadata: &pb.ResponseMetadata{Model: "gpt", FinishReason: "stop"},
		}}
	case tool:
		n.NodeData = &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{
			Id: id, Timestamp: when, ToolName: "search", Status: "pending",
		}}
	case agent:
		n.NodeData = &pb.Node_Agent{Agent: &pb.AgentNode{Id: id, Name: id, Role: "writer", Status: "idle", CreatedAt: when}}
	case template:
		n.NodeData = &pb.Node_Template{Template: &pb.TemplateNode{Id: id, Name: id, Version: "1.0.0", CreatedAt: when}}
	default:
		panic(fmt.Sprintf("no node of type %v", typ))
	}
	return n
}

// node puts a node into a session; 0 for none.
func (w *world) node(typ pb.NodeType, id string, in graph.Position, at int64) graph.NodeRecord {
	w.t.Helper()
	return w.put(in, makeNode(typ, id, at))
}

func (w *world) put(in graph.Position, n *pb.Node) graph.NodeRecord {
	w.t.Helper()
	tx := w.tx()
	pos := tx.NextPosition()
	tx.PutNode(graph.NodeRecord{Created: 7, Modified: 9, Position: pos, Session: in, Ordinal: 3}, n)
	return w.mustNode(n.Id)
}

// session puts a session that is active.
func (w *world) session(id string, at int64) graph.Position {
	w.t.Helper()
	tx := w.tx()
	pos := tx.NextPosition()
	tx.PutNode(graph.NodeRecord{Created: 7, Modified: 7, Position: pos, Session: pos}, makeNode(session, id, at))
	tx.PutSession(graph.SessionRecord{Position: pos, State: graph.SessionActive, Updated: at})
	return pos
}

func (w *world) edge(typ pb.EdgeType, id string, from, to graph.NodeRecord) graph.EdgeRecord {
	w.t.Helper()
	tx := w.tx()
	tx.PutEdge(graph.EdgeRecord{
		Created: 8, Modified: 8, Position: tx.NextPosition(), From: from.Position, To: to.Position,
		FromSession: from.Session, ToSession: to.Session, Automatic: typ == belongsTo,
	}, &pb.Edge{Id: id, Type: typ, FromNodeId: "from", ToNodeId: "to"})
	rec, ok := must[graph.EdgeRecord](w.t)(tx.EdgeByID(id))
	if !ok {
		w.t.Fatalf("edge %s is not there right after it was put", id)
	}
	return rec
}

func (w *world) mustNode(id string) graph.NodeRecord {
	w.t.Helper()
	rec, ok := must[graph.NodeRecord](w.t)(w.tx().NodeByID(id))
	if !ok {
		w.t.Fatalf("node %s is not there", id)
	}
	return rec
}

// ids are the nodes that a walk yields, by id.
func ids(t T, v graph.View, walk graph.Walk) string {
	t.Helper()
	var out []string
	for _, e := range all(t, v.Walk(walk)) {
		rec, ok := must[graph.NodeRecord](t)(v.NodeAt(e.Position))
		if !ok {
			t.Fatalf("walk yields position %d, where no node is", e.Position)
		}
		n := nodeOf(t, rec)
		if n.Type != e.Type || graph.Time(n) != e.Time {
			t.Errorf("entry %+v of node %v", e, n)
		}
		out = append(out, n.Id)
	}
	return strings.Join(out, " ")
}

func nodeOf(t T, rec graph.NodeRecord) *pb.Node {
	t.Helper()
	n := &pb.Node{}
	if err := proto.Unmarshal(rec.Wire, n); err != nil {
		t.Fatalf("node at %d: %v", rec.Position, err)
	}
	return n
}

// edges are the edges that a walk yields, by id.
func edges(t T, v graph.View, walk graph.EdgeWalk) string {
	t.Helper()
	var out []string
	for _, rec := range all(t, v.Edges(walk)) {
		e := &pb.Edge{}
		if err := proto.Unmarshal(rec.Wire, e); err != nil {
			t.Fatalf("edge at %d: %v", rec.Position, err)
		}
		out = append(out, e.Id)
	}
	return strings.Join(out, " ")
}
