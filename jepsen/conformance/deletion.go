package conformance

import (
	"errors"
	"fmt"
	"io"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
)

func deletionCases() []Case {
	return []Case{
		{Name: "a_deleted_session_leaves_nothing", Section: "3", Run: sessionLeavesNothing,
			Calls: []string{deleteSession, getSession, closeSession, getNode, batchGetNodes, getEdges, query, streamQuery,
				listSessions, addPrompt, streamEvents, subscribe, exportRecords, getMetrics}},
		{Name: "deleting_a_session_takes_edges_from_other_sessions_along", Section: "3", Run: crossSessionEdges,
			Calls: []string{deleteSession, getEdges, createEdge}},
		{Name: "a_large_session_is_gone_when_its_deletion_is_acknowledged", Section: "D6", Run: largeSession,
			Calls: []string{batchCreateNodes, deleteSession, getSession, getNode, batchGetNodes, getEdges, query, streamQuery,
				listSessions, getMetrics, subscribe, exportRecords, createNode}},
		{Name: "no_event_tells_of_a_large_session_from_the_acknowledgement_on", Section: "D6", Run: largeSessionEvents,
			Calls: []string{batchCreateNodes, deleteSession, streamEvents}},
		{Name: "a_large_deletion_goes_on_after_a_crash", Section: "D6", Durable: true, Run: largeSessionCrash,
			Calls: []string{batchCreateNodes, deleteSession, streamEvents, getMetrics}},
		{Name: "a_node_with_very_many_edges_is_gone_when_acknowledged", Section: "D6", Run: hub,
			Calls: []string{importRecords, deleteNode, getNode, getEdges, getMetrics}},
	}
}

// wantGone asks for something of a deleted session in every way that there is.
func (e *Env) wantGone(t *testing.T, session string, nodes []string, neighbour string) {
	t.Helper()
	ctx := t.Context()
	refusal(e.Graph.GetSession(ctx, &graphpb.GetSessionRequest{SessionId: session}))(t, codes.NotFound)
	refusal(e.Graph.CloseSession(ctx, &graphpb.CloseSessionRequest{SessionId: session}))(t, codes.NotFound)
	refusal(e.Graph.DeleteSession(ctx, &graphpb.DeleteSessionRequest{SessionId: session}))(t, codes.NotFound)
	refusal(e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session, Content: "x"}))(t, codes.NotFound)
	refusal(refusedStream(e.Graph.StreamEvents(open(t), &graphpb.StreamEventsRequest{SessionId: &session})))(t, codes.NotFound)
	refusal(refusedStream(e.Transfer.Export(open(t), &graphpb.ExportRequest{SessionIds: []string{session}})))(t, codes.NotFound)
	for _, id := range nodes {
		refusal(e.Graph.GetNode(ctx, &graphpb.GetNodeRequest{NodeId: id}))(t, codes.NotFound)
		refusal(e.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{NodeId: id}))(t, codes.NotFound)
	}
	asked := nodes[:min(len(nodes), 1000)]
	wantEqual(t, "nodes got in a batch", 0,
		len(must(e.Graph.BatchGetNodes(ctx, &graphpb.BatchGetNodesRequest{NodeIds: asked}))(t).GetNodes()))
	for _, edge := range e.edges(t, neighbour, graphpb.EdgeDirection_EDGE_DIRECTION_BOTH, graphpb.EdgeType_EDGE_TYPE_UNSPECIFIED) {
		t.Errorf("the neighbour still has the edge %v", edge)
	}
	page, err := e.Graph.Query(ctx, &graphpb.QueryRequest{SessionId: &session})
	if err == nil && len(page.GetNodes())+int(page.GetTotalCount()) > 0 {
		t.Errorf("a query of the deleted session finds %d of %d nodes", len(page.GetNodes()), page.GetTotalCount())
	} else if err != nil {
		wantStatus(t, err, codes.NotFound)
	}
	gone := make(map[string]bool)
	for _, id := range append(nodes, session) {
		gone[id] = true
	}
	for _, node := range e.streamQuery(t, &graphpb.QueryRequest{}) {
		if gone[node.GetId()] {
			t.Fatalf("a query of everything finds %v", node)
		}
	}
	for _, s := range must(e.Graph.ListSessions(ctx, &graphpb.ListSessionsRequest{Limit: 10_000}))(t).GetSessions() {
		if s.GetId() == session {
			t.Error("the deleted session is listed")
		}
	}
}

func sessionLeavesNothing(t *testing.T, e *Env) {
	own := e.own(t)
	agent := own.agent(t, "neighbour").GetId()
	before := own.metrics(t)
	made := own.talk(t, 3)
	own.edge(t, graphpb.EdgeType_EDGE_TYPE_HANDLED_BY, made.prompts[0].GetId(), agent)
	feed := own.subscribe(t, &graphpb.SubscribeRequest{SessionId: made.session.GetId()})
	own.deleteSession(t, made.session.GetId())
	own.wantGone(t, made.session.GetId(), made.nodeIDs()[1:], agent)
	after := own.metrics(t)
	wantEqual(t, "nodes", before.GetTotalNodes(), after.GetTotalNodes())
	wantEqual(t, "edges", before.GetTotalEdges(), after.GetTotalEdges())
	wantEqual(t, "sessions", int64(0), after.GetTotalSessions())
	wantEqual(t, "active sessions", int64(0), after.GetActiveSessions())
	// 3 prompts, responses and tools; 9 BELONGS_TO, 2 FOLLOWS, 3 RESPONDS_TO, 3 INVOKES, 1 HANDLED_BY.
	wantDeletions(t, feed, 9, 18)
	own.create(t, agentNode(made.prompts[0].GetId(), "the id is free again"))
}

// wantDeletions reads a subscription to its end: one deletion for each node and edge, SESSION_CLOSED last.
func wantDeletions(t *testing.T, feed *subscription, nodes, edges int) {
	t.Helper()
	deleted := make(map[graphpb.EventType]int)
	seen := make(map[string]bool)
	var last *graphpb.Event
	for {
		event, err := feed.recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("subscription ended with %v, want a clean end", err)
		}
		payload := payloadOf(t, event)
		switch event.GetType() {
		case graphpb.EventType_EVENT_TYPE_NODE_DELETED:
			if payload["node_type"] == "NODE_TYPE_SESSION" {
				continue
			}
			once(t, seen, payload["node_id"])
		case graphpb.EventType_EVENT_TYPE_EDGE_DELETED:
			once(t, seen, payload["edge_id"])
		}
		deleted[event.GetType()]++
		last = event
	}
	wantEqual(t, "NODE_DELETED events", nodes, deleted[graphpb.EventType_EVENT_TYPE_NODE_DELETED])
	wantEqual(t, "EDGE_DELETED events", edges, deleted[graphpb.EventType_EVENT_TYPE_EDGE_DELETED])
	wantEqual(t, "last event", graphpb.EventType_EVENT_TYPE_SESSION_CLOSED, last.GetType())
	wantEqual(t, "reason of the last event", any("deleted"), payloadOf(t, last)["reason"])
}

func once(t *testing.T, seen map[string]bool, id any) {
	t.Helper()
	key := fmt.Sprint(id)
	if seen[key] {
		t.Errorf("%s was deleted twice", key)
	}
	seen[key] = true
}

func crossSessionEdges(t *testing.T, e *Env) {
	stays, goes := e.talk(t, 1), e.talk(t, 1)
	kept := e.edge(t, graphpb.EdgeType_EDGE_TYPE_REFERENCES, stays.prompts[0].GetId(), stays.responses[0].GetId())
	e.edge(t, graphpb.EdgeType_EDGE_TYPE_REFERENCES, stays.prompts[0].GetId(), goes.prompts[0].GetId())
	e.edge(t, graphpb.EdgeType_EDGE_TYPE_REFERENCES, goes.responses[0].GetId(), stays.prompts[0].GetId())
	e.edge(t, graphpb.EdgeType_EDGE_TYPE_FOLLOWS, stays.prompts[0].GetId(), goes.prompts[0].GetId())
	before := len(e.edges(t, stays.prompts[0].GetId(), graphpb.EdgeDirection_EDGE_DIRECTION_BOTH, 0))
	e.deleteSession(t, goes.session.GetId())
	left := e.edges(t, stays.prompts[0].GetId(), graphpb.EdgeDirection_EDGE_DIRECTION_BOTH, 0)
	wantEqual(t, "edges that went", 3, before-len(left))
	references := e.edges(t, stays.prompts[0].GetId(), graphpb.EdgeDirection_EDGE_DIRECTION_BOTH, graphpb.EdgeType_EDGE_TYPE_REFERENCES)
	wantEqual(t, "references that stay", []string{kept.GetId()}, edgeIDs(references))
	e.node(t, stays.responses[0].GetId())
}

const (
	largeTurns = 1500
	largeNodes = 2 * largeTurns
	// BELONGS_TO of all, FOLLOWS, RESPONDS_TO.
	largeEdges = largeNodes + largeTurns - 1 + largeTurns
)

// large makes a session of more than 10,000 rows and returns it with the ids of its nodes.
func (e *Env) large(t *testing.T) (session string, ids []string) {
	t.Helper()
	session = e.session(t, "size", "large").GetId()
	const turnsPerBatch = 500
	for first := 0; first < largeTurns; first += turnsPerBatch {
		var nodes []*graphpb.Node
		for i := first; i < first+turnsPerBatch; i++ {
			prompt := unique(fmt.Sprintf("p%d", i))
			nodes = append(nodes, promptNode(prompt, session, "q"), responseNode(unique(fmt.Sprintf("r%d", i)), prompt, "a"))
		}
		ids = append(ids, nodeIDs(e.batch(t, nodes...))...)
	}
	return session, ids
}

func largeSession(t *testing.T, e *Env) {
	own := e.own(t)
	agent := own.agent(t, "neighbour").GetId()
	other := own.talk(t, 1)
	before := own.metrics(t)
	session, ids := own.large(t)
	own.edge(t, graphpb.EdgeType_EDGE_TYPE_HANDLED_BY, ids[0], agent)
	own.edge(t, graphpb.EdgeType_EDGE_TYPE_HANDLED_BY, ids[len(ids)-1], agent)
	feed := own.subscribe(t, &graphpb.SubscribeRequest{SessionId: session})
	own.deleteSession(t, session)
	// All this is asked while the sweep is likely to be under way.
	sample := []string{ids[0], ids[1], ids[len(ids)/2], ids[len(ids)-1]}
	own.wantGone(t, session, sample, agent)
	after := own.metrics(t)
	wantEqual(t, "nodes at once", before.GetTotalNodes(), after.GetTotalNodes())
	wantEqual(t, "edges at once", before.GetTotalEdges(), after.GetTotalEdges())
	wantEqual(t, "sessions at once", before.GetTotalSessions(), after.GetTotalSessions())
	for _, node := range own.export(t) {
		if node.GetSessionId() == session || node.GetId() == session {
			t.Fatalf("an export shows %v", node)
		}
	}
	if _, err := own.Graph.CreateNode(t.Context(), &graphpb.CreateNodeRequest{Node: agentNode(ids[7], "early")}); err != nil {
		wantStatus(t, err, codes.AlreadyExists)
	} else {
		own.deleteNode(t, ids[7])
	}
	wantDeletions(t, feed, largeNodes, largeEdges+2)
	own.create(t, agentNode(ids[3], "the id is free again"))
	wantEqual(t, "the other session", 4, len(own.query(t, &graphpb.QueryRequest{SessionId: &other.session.Id}).GetNodes()))
}

func largeSessionCrash(t *testing.T, e *Env) {
	own := e.own(t, compacting...)
	agent := own.agent(t, "neighbour").GetId()
	before := own.metrics(t)
	session, ids := own.large(t)
	last := own.lastEvent(t)
	own.deleteSession(t, session)
	own.crash(t)
	own.wantGone(t, session, []string{ids[0], ids[len(ids)-1]}, agent)
	feed := own.events(t, &graphpb.StreamEventsRequest{AfterEventId: last})
	deleted := make(map[graphpb.EventType]int)
	seen := make(map[string]bool)
	feed.until(t, func(event *graphpb.Event) bool {
		payload := payloadOf(t, event)
		if payload["session_id"] != session {
			return false
		}
		if id, ok := payload["node_id"]; ok && payload["node_type"] != "NODE_TYPE_SESSION" {
			once(t, seen, id)
			deleted[event.GetType()]++
		}
		if id, ok := payload["edge_id"]; ok {
			once(t, seen, id)
			deleted[event.GetType()]++
		}
		return event.GetType() == graphpb.EventType_EVENT_TYPE_SESSION_CLOSED
	})
	wantEqual(t, "NODE_DELETED events", largeNodes, deleted[graphpb.EventType_EVENT_TYPE_NODE_DELETED])
	wantEqual(t, "EDGE_DELETED events", largeEdges, deleted[graphpb.EventType_EVENT_TYPE_EDGE_DELETED])
	wantEqual(t, "nodes", before.GetTotalNodes(), own.metrics(t).GetTotalNodes())
	wantEqual(t, "edges", before.GetTotalEdges(), own.metrics(t).GetTotalEdges())
	own.create(t, agentNode(ids[3], "the id is free again"))
}

func hub(t *testing.T, e *Env) {
	own := e.own(t)
	const spokes = 3000
	centre, rim := own.agent(t, "hub").GetId(), own.agent(t, "rim").GetId()
	var chunks []*graphpb.ImportRequest
	for first := 0; first < spokes; first += 1000 {
		chunk := &graphpb.ImportRequest{}
		for range 1000 {
			chunk.Edges = append(chunk.Edges, &graphpb.Edge{
				Id: unique("spoke"), Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, FromNodeId: centre, ToNodeId: rim,
			})
		}
		chunks = append(chunks, chunk)
	}
	must(own.sendImport(t, chunks...))(t)
	wantEqual(t, "edges", int64(spokes), own.metrics(t).GetTotalEdges())
	own.deleteNode(t, centre)
	refusal(own.Graph.GetNode(t.Context(), &graphpb.GetNodeRequest{NodeId: centre}))(t, codes.NotFound)
	refusal(own.Graph.GetEdges(t.Context(), &graphpb.GetEdgesRequest{NodeId: centre}))(t, codes.NotFound)
	wantEqual(t, "edges at once", int64(0), own.metrics(t).GetTotalEdges())
	wantEqual(t, "edges of the neighbour", 0, len(own.edges(t, rim, graphpb.EdgeDirection_EDGE_DIRECTION_BOTH, 0)))
	feed := own.events(t, &graphpb.StreamEventsRequest{FromBeginning: true})
	deleted := 0
	feed.until(t, func(event *graphpb.Event) bool {
		if event.GetType() == graphpb.EventType_EVENT_TYPE_EDGE_DELETED {
			deleted++
		}
		return deleted == spokes
	})
}
