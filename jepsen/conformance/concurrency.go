package conformance

import (
	"fmt"
	"sync"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
)

func concurrencyCases() []Case {
	return []Case{
		{Name: "a_stream_joined_under_load_misses_nothing", Section: "10", Run: joinUnderLoad, Calls: []string{streamEvents, addPrompt}},
		{Name: "a_slow_subscriber_misses_nothing", Section: "10", Run: slowSubscriber,
			Calls: []string{streamEvents, subscribe, batchCreateNodes}},
		{Name: "writes_and_deletions_at_once_leave_no_dangling_edge", Section: "3", Run: writesAndDeletions,
			Calls: []string{addPrompt, addResponse, createEdge, deleteNode, deleteSession, exportRecords, getMetrics}},
		{Name: "a_graceful_stop_loses_no_acknowledged_call", Section: "15", Durable: true, Run: stopUnderLoad,
			Calls: []string{addPrompt, query}},
		{Name: "odd_metadata_is_answered", Section: "2", Run: oddMetadata, Calls: []string{addPrompt, getSession, deleteNode}},
	}
}

func joinUnderLoad(t *testing.T, e *Env) {
	own := e.own(t)
	session := own.session(t).GetId()
	const prompts, joiners = 200, 4
	heard := make([][]*graphpb.Event, joiners)
	feeds := make([]*feed, joiners)
	var load sync.WaitGroup
	for i := range joiners {
		// Each stream is opened after a part of the load, and reads while the next part is written.
		feeds[i] = own.events(t, &graphpb.StreamEventsRequest{FromBeginning: true})
		load.Go(func() {
			inParallel(t, prompts/joiners, func(n int) error {
				_, err := own.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
					SessionId: session, Content: fmt.Sprint(i, " ", n),
				})
				return err
			})
		})
		heard[i] = feeds[i].take(t, 1)
	}
	load.Wait()
	own.closeSession(t, session)
	whole := own.history(t)
	wantEqual(t, "events", 1+2*prompts+prompts-1+1, len(whole))
	for i, f := range feeds {
		heard[i] = append(heard[i], f.until(t, isClosed(session))...)
		wantEqual(t, fmt.Sprint("events of stream ", i), whole, heard[i])
	}
}

func slowSubscriber(t *testing.T, e *Env) {
	own := e.own(t)
	session := own.session(t).GetId()
	f := own.events(t, &graphpb.StreamEventsRequest{})
	s := own.subscribe(t, &graphpb.SubscribeRequest{SessionId: session})
	for range 4 {
		var nodes []*graphpb.Node
		for i := range 1000 {
			nodes = append(nodes, promptNode("", session, fmt.Sprint("q", i)))
		}
		own.batch(t, nodes...)
	}
	own.closeSession(t, session)
	// Far more than the windows of the transport hold has been said; only now somebody listens.
	wantEqual(t, "events of the stream", 3*4000, len(f.until(t, isClosed(session))))
	all := s.take(3 * 4000)
	wantEqual(t, "last event of the subscription", sessionClosed, all[len(all)-1].GetType())
}

func writesAndDeletions(t *testing.T, e *Env) {
	own := e.own(t)
	agent := own.agent(t, "hub").GetId()
	var sessions []talk
	for range 6 {
		sessions = append(sessions, own.talk(t, 2))
	}
	tolerate := func(err error) error {
		if code := codeOf(err); code == codes.OK || code == codes.NotFound {
			return nil
		}
		return err
	}
	ctx := t.Context()
	inParallel(t, 240, func(i int) error {
		made, other := sessions[i%6], sessions[(i+1)%6]
		var err error
		switch {
		case i == 100 || i == 161:
			_, err = own.Graph.DeleteSession(ctx, &graphpb.DeleteSessionRequest{SessionId: made.session.GetId()})
		case i%5 == 0:
			_, err = own.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: made.session.GetId(), Content: "q"})
		case i%5 == 1:
			_, err = own.Graph.AddResponse(ctx, &graphpb.AddResponseRequest{PromptId: made.prompts[1].GetId(), TokenUsage: usage()})
		case i%5 == 2:
			_, err = own.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
				Type: references, FromNodeId: made.prompts[0].GetId(), ToNodeId: other.prompts[1].GetId(),
			}})
		case i%5 == 3:
			_, err = own.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
				Type: handledBy, FromNodeId: made.prompts[0].GetId(), ToNodeId: agent,
			}})
		case i > 120:
			_, err = own.Graph.DeleteNode(ctx, &graphpb.DeleteNodeRequest{NodeId: made.prompts[0].GetId()})
		}
		return tolerate(err)
	})
	// The export checks that each edge has both ends.
	all := own.exportAll(t)
	metrics := own.metrics(t)
	wantEqual(t, "nodes and edges", []int64{int64(len(all.nodes)), int64(len(all.edges))},
		[]int64{metrics.GetTotalNodes(), metrics.GetTotalEdges()})
	wantEqual(t, "sessions", int64(4), metrics.GetTotalSessions())
	for _, node := range all.nodes {
		own.node(t, node.GetId())
	}
}

func stopUnderLoad(t *testing.T, e *Env) {
	own := e.own(t)
	session := own.session(t).GetId()
	var mu sync.Mutex
	acknowledged := make(map[string]bool)
	unknown := 0
	graph := own.Graph // of the life that ends
	enough := make(chan struct{})
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for {
				prompt, err := graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{SessionId: session, Content: "q"})
				mu.Lock()
				if err == nil {
					if acknowledged[prompt.GetId()] = true; len(acknowledged) == 100 {
						close(enough)
					}
				} else {
					unknown++
				}
				mu.Unlock()
				if err != nil {
					wantCodeOf(t, err, codes.Unavailable)
					return
				}
			}
		})
	}
	<-enough
	own.restart(t)
	writers.Wait()
	found := own.streamQuery(t, &graphpb.QueryRequest{SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum()})
	there := make(map[string]bool)
	for _, node := range found {
		there[node.GetId()] = true
	}
	for id := range acknowledged {
		if !there[id] {
			t.Errorf("prompt %s was acknowledged and is gone", id)
		}
	}
	if len(found) > len(acknowledged)+unknown {
		t.Errorf("%d prompts are there, %d were acknowledged and %d unknown", len(found), len(acknowledged), unknown)
	}
	wantEqual(t, "total", int64(len(found)+1), own.query(t, &graphpb.QueryRequest{SessionId: &session}).GetTotalCount())
}

func wantCodeOf(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := codeOf(err); got != want {
		t.Errorf("answer is %v, want %v", err, want)
	}
}

func oddMetadata(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	session := made.session.GetId()
	for _, pairs := range [][]string{
		{"idempotency-key", unique("a"), "idempotency-key", unique("b")},
		{"idempotency-key", " spaces around "},
		{"memory-graph-consistency", ""},
		{"memory-graph-consistency", "local", "memory-graph-consistency", "linearizable"},
		{"memory-graph-consistency", "bounded"},
		{"memory-graph-max-staleness", "1h"},
		{"memory-graph-max-staleness", ""},
		{"memory-graph-min-revision", ""},
		{"memory-graph-min-revision", "0"},
		{"memory-graph-min-revision", "1", "memory-graph-min-revision", "2"},
		{"memory-graph-cascade", "maybe"},
		{"memory-graph-unheard-of", "x"},
		{"authorization", "Bearer nobody-asked"},
		{"grpc-timeout-of-mine", "1"},
		{"some-bin", "\x00\xff"},
	} {
		ctx := with(t.Context(), pairs...)
		_, read := e.Graph.GetSession(ctx, &graphpb.GetSessionRequest{SessionId: session})
		_, wrote := e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session, Content: "q"})
		_, deleted := e.Graph.DeleteNode(ctx, &graphpb.DeleteNodeRequest{NodeId: unique("nobody")})
		for _, err := range []error{read, wrote, deleted} {
			if code := codeOf(err); code != codes.OK && code != codes.InvalidArgument && code != codes.NotFound {
				t.Errorf("with %q: %v", pairs, err)
			}
		}
	}
	e.getSession(t, session)
}
