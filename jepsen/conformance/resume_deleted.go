package conformance

import (
	"context"
	"fmt"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
)

func resumeDeletedCases() []Case {
	return []Case{
		{Name: "a_stream_that_is_cut_during_a_large_deletion_resumes_to_its_end", Section: "10", Run: resumeDeleted,
			Calls: []string{subscribe, streamEvents, deleteSession, batchCreateNodes}},
	}
}

// resumeDeleted cuts the streams of a session after a few events of its deletion. What was read and what follows on
// resuming is each deletion once, SESSION_CLOSED last.
func resumeDeleted(t *testing.T, e *Env) {
	const size, read = 1500, 5
	session, other := e.session(t).GetId(), e.session(t).GetId()
	for first := 0; first < size; first += 500 {
		nodes := make([]*graphpb.Node, 500)
		for i := range nodes {
			nodes[i] = promptNode("", session, fmt.Sprint("q", first+i))
		}
		e.batch(t, nodes...)
	}
	foreign := e.events(t, &graphpb.StreamEventsRequest{SessionId: &other, FromBeginning: true})
	elsewhere := foreign.next(t).GetId()
	foreign.end()

	ctx, cut := context.WithCancel(open(t))
	defer cut()
	stream := must(e.Graph.SubscribeToSession(ctx, &graphpb.SubscribeRequest{SessionId: session}))(t)
	must(stream.Header())(t)
	e.deleteSession(t, session)
	var events []*graphpb.Event
	for seen := 0; seen < read; {
		event := must(stream.Recv())(t).GetEvent()
		events = append(events, event)
		if event.GetType() == nodeDeleted {
			seen++
		}
	}
	cut()

	last := events[len(events)-1].GetId()
	rest := e.subscribe(t, &graphpb.SubscribeRequest{SessionId: session, AfterEventId: last}).rest()
	deleted := make(map[string]bool)
	for _, event := range append(events, rest...) {
		if payload := payloadOf(t, event); event.GetType() == nodeDeleted && payload["node_id"] != session {
			once(t, deleted, payload["node_id"])
		}
	}
	wantEqual(t, "nodes whose deletion was told", size, len(deleted))
	closed := rest[len(rest)-1]
	wantEqual(t, "last event and reason", []any{sessionClosed, "deleted"}, []any{closed.GetType(), payloadOf(t, closed)["reason"]})

	f := e.events(t, &graphpb.StreamEventsRequest{SessionId: &session, AfterEventId: last})
	wantEqual(t, "the same as a stream with the session", eventIDs(rest), eventIDs(f.take(t, len(rest))))
	wantEqual(t, "events after the last", 0,
		len(e.subscribe(t, &graphpb.SubscribeRequest{SessionId: session, AfterEventId: closed.GetId()}).rest()))
	for _, request := range []*graphpb.SubscribeRequest{
		{SessionId: session}, {SessionId: session, FromBeginning: true}, {SessionId: session, AfterEventId: elsewhere},
	} {
		refusal(refusedStream(e.Graph.SubscribeToSession(open(t), request)))(t, codes.NotFound)
	}
}
