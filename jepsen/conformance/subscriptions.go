package conformance

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func subscriptionCases() []Case {
	return []Case{
		{Name: "a_subscription_tells_what_happens_in_its_session", Section: "10", Run: subscriptionTells,
			Calls: []string{subscribe, addPrompt, streamEvents}},
		{Name: "a_subscription_ends_after_the_deletion_of_its_session", Section: "10", Run: subscriptionEnds,
			Calls: []string{subscribe, deleteSession}},
		{Name: "a_subscription_goes_on_after_its_session_is_closed", Section: "10", Run: subscriptionGoesOn,
			Calls: []string{subscribe, closeSession, addResponse}},
		{Name: "a_subscription_resumes_after_any_event", Section: "10", Run: subscriptionResumes, Calls: []string{subscribe}},
		{Name: "streams_end_unavailable_when_the_server_stops", Section: "10", Run: streamsEnd,
			Calls: []string{streamEvents, subscribe}},
		{Name: "a_stream_resumes_after_a_restart_and_a_crash", Section: "10", Durable: true, Run: resumeAfterRestart,
			Calls: []string{streamEvents, subscribe}},
	}
}

func subscriptionTells(t *testing.T, e *Env) {
	session, other := e.session(t).GetId(), e.session(t).GetId()
	e.prompt(t, session, "before the call")
	s := e.subscribe(t, &graphpb.SubscribeRequest{SessionId: session})
	f := e.events(t, &graphpb.StreamEventsRequest{SessionId: &session})
	e.prompt(t, other, "elsewhere")
	for i := range 3 {
		e.prompt(t, session, fmt.Sprint("q", i))
	}
	wantEqual(t, "the same events as a stream with the session", f.take(t, 9), s.take(9))
	fromStart := e.subscribe(t, &graphpb.SubscribeRequest{SessionId: session, FromBeginning: true})
	wantEqual(t, "first event", sessionOpened, fromStart.take(12)[0].GetType())
}

func subscriptionEnds(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	session := made.session.GetId()
	s := e.subscribe(t, &graphpb.SubscribeRequest{SessionId: session})
	e.deleteSession(t, session)
	all := s.rest()
	last := all[len(all)-1]
	wantEqual(t, "last event", sessionClosed, last.GetType())
	payload := payloadOf(t, last)
	wantEqual(t, "session and reason", []any{session, "deleted"}, []any{payload["session_id"], payload["reason"]})
	find(t, all, nodeDeleted, made.tools[0].GetId())
	refusal(refusedStream(e.Graph.SubscribeToSession(open(t), &graphpb.SubscribeRequest{SessionId: session})))(t, codes.NotFound)
}

func subscriptionGoesOn(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	s := e.subscribe(t, &graphpb.SubscribeRequest{SessionId: made.session.GetId()})
	e.closeSession(t, made.session.GetId())
	closed := s.next()
	wantEqual(t, "type and reason", []any{sessionClosed, "closed"}, []any{closed.GetType(), payloadOf(t, closed)["reason"]})
	late := e.response(t, made.prompts[0].GetId(), "late").GetId()
	find(t, s.take(3), nodeCreated, late)
	e.deleteSession(t, made.session.GetId())
	all := s.rest()
	wantEqual(t, "last event", sessionClosed, all[len(all)-1].GetType())
}

func subscriptionResumes(t *testing.T, e *Env) {
	made := e.talk(t, 2)
	session := made.session.GetId()
	whole := e.subscribe(t, &graphpb.SubscribeRequest{SessionId: session, FromBeginning: true}).take(18)
	for i, event := range whole[:17] {
		s := e.subscribe(t, &graphpb.SubscribeRequest{SessionId: session, AfterEventId: event.GetId()})
		wantEqual(t, fmt.Sprint("events after number ", i), whole[i+1:], s.take(17-i))
	}
	e.session(t)
	newest := e.subscribe(t, &graphpb.SubscribeRequest{SessionId: session, AfterEventId: e.lastEvent(t)})
	e.closeSession(t, session)
	wantEqual(t, "first event after the newest", sessionClosed, newest.next().GetType())
}

func streamsEnd(t *testing.T, e *Env) {
	own := e.own(t)
	session := own.session(t).GetId()
	f := own.events(t, &graphpb.StreamEventsRequest{})
	s := own.subscribe(t, &graphpb.SubscribeRequest{SessionId: session})
	own.prompt(t, session, "q")
	f.take(t, 2)
	s.take(2)
	if err := own.process.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := f.stream.Recv()
	wantStatus(t, err, codes.Unavailable)
	_, err = s.stream.Recv()
	if err == io.EOF || status.Code(err) != codes.Unavailable {
		t.Errorf("subscription ended with %v, want UNAVAILABLE", err)
	}
}

func resumeAfterRestart(t *testing.T, e *Env) {
	own := e.own(t, compacting...)
	made := own.talk(t, 2)
	session := made.session.GetId()
	before := own.history(t)
	own.restart(t)
	wantEqual(t, "events after a restart", before, own.history(t))
	own.crash(t)
	wantEqual(t, "events after a crash", before, own.history(t))
	own.compact(t)
	wantEqual(t, "first events after compaction", before, own.history(t)[:len(before)])
	f := own.events(t, &graphpb.StreamEventsRequest{AfterEventId: before[4].GetId()})
	wantEqual(t, "events after the fifth", before[5:], f.take(t, len(before)-5))
	prompt := own.prompt(t, session, "after the crash").GetId()
	s := own.subscribe(t, &graphpb.SubscribeRequest{SessionId: session, AfterEventId: before[len(before)-1].GetId()})
	find(t, s.take(3), nodeCreated, prompt)
}

func trimmedEventID(t *testing.T, e *Env) {
	own := e.own(t, "--event-retention-count", "50")
	session := own.session(t).GetId()
	first := own.lastEvent(t)
	inParallel(t, 300, func(i int) error {
		_, err := own.Graph.CreateNode(t.Context(), &graphpb.CreateNodeRequest{Node: agentNode("", fmt.Sprint("agent ", i))})
		return err
	})
	eventually(t, "the first event is trimmed", func() bool { return own.oldestEvent(t) != first })
	named := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{16}-[0-9a-f]{8}`)
	eventually(t, "a stream resumes after the oldest event that a refusal names", func() bool {
		got := refusal(refusedStream(own.Graph.StreamEvents(open(t), &graphpb.StreamEventsRequest{AfterEventId: first})))(
			t, codes.OutOfRange)
		ids := named.FindAllString(got.Message(), -1)
		if len(ids) == 0 || ids[len(ids)-1] <= first {
			t.Fatalf("%q does not name the oldest event", got.Message())
		}
		ctx, cancel := context.WithCancel(open(t))
		defer cancel()
		stream := must(own.Graph.StreamEvents(ctx, &graphpb.StreamEventsRequest{AfterEventId: ids[len(ids)-1]}))(t)
		next, err := stream.Recv() // trimming may have gone on meanwhile
		return err == nil && next.GetId() > ids[len(ids)-1]
	})
	refusal(refusedStream(own.Graph.SubscribeToSession(open(t), &graphpb.SubscribeRequest{
		SessionId: session, AfterEventId: first,
	})))(t, codes.OutOfRange)
	wantEqual(t, "the session is still there", session, own.getSession(t, session).GetId())
}

// oldestEvent is the id of the oldest event that is retained.
func (e *Env) oldestEvent(t *testing.T) string {
	t.Helper()
	f := e.events(t, &graphpb.StreamEventsRequest{FromBeginning: true})
	defer f.end()
	return f.next(t).GetId()
}

func retentionKeeps(t *testing.T, e *Env) {
	const keep = 50
	own := e.own(t, "--event-retention-count", fmt.Sprint(keep))
	own.session(t)
	first := own.lastEvent(t)
	var nodes []*graphpb.Node
	for i := range 6 * keep {
		nodes = append(nodes, agentNode("", fmt.Sprint("agent ", i)))
	}
	own.batch(t, nodes...)
	newest := own.lastEvent(t)
	eventually(t, "the first event is trimmed", func() bool {
		ctx, cancel := context.WithCancel(open(t))
		defer cancel()
		_, err := refusedStream(own.Graph.StreamEvents(ctx, &graphpb.StreamEventsRequest{AfterEventId: first}))
		return status.Code(err) == codes.OutOfRange
	})
	wantEqual(t, "newest event after trimming", newest, own.lastEvent(t))
	if kept := len(own.history(t)); kept < keep {
		t.Errorf("%d events are kept, want at least %d", kept, keep)
	}
	f := own.events(t, &graphpb.StreamEventsRequest{AfterEventId: newest})
	own.session(t)
	wantEqual(t, "event after the newest", sessionOpened, f.next(t).GetType())
}

func reducedEvents(t *testing.T, e *Env) {
	own := e.own(t)
	made := own.talk(t, 2)
	session := made.session.GetId()
	tool, response := made.tools[0].GetId(), made.responses[0].GetId()
	before := own.history(t)
	own.deleteNode(t, tool)
	after := own.history(t)
	wantReduced(t, find(t, before, nodeCreated, tool), find(t, after, nodeCreated, tool), "node_id", "node_type", "session_id", "timestamp")
	wantEqual(t, "event of a record that stays", find(t, before, nodeCreated, response), find(t, after, nodeCreated, response))
	other := own.session(t, "secret", "name").GetId()
	prompt := own.prompt(t, other, "q").GetId()
	before = own.history(t)
	own.deleteSession(t, other)
	after = own.history(t)
	wantReduced(t, find(t, before, nodeCreated, prompt), find(t, after, nodeCreated, prompt), "node_id", "node_type", "session_id", "timestamp")
	wantReduced(t, find(t, before, sessionOpened, other), find(t, after, sessionOpened, other), "session_id")
	wantEqual(t, "ids", eventIDs(before), eventIDs(after)[:len(before)])
	own.deleteSession(t, session)
	for _, event := range own.history(t) {
		payload := payloadOf(t, event)
		for _, key := range []string{"content_length", "model", "prompt_id", "tokens_used", "tool_name", "status"} {
			if value, ok := payload[key]; ok {
				t.Errorf("%s of a deleted record is still told: %v", key, value)
			}
		}
	}
}

// wantReduced wants the same event with only these members left; empty metadata may stay.
func wantReduced(t *testing.T, before, after *graphpb.Event, keys ...string) {
	t.Helper()
	was, is := payloadOf(t, before), payloadOf(t, after)
	want := make(map[string]any)
	for _, key := range keys {
		want[key] = was[key]
	}
	if metadata, ok := is["metadata"].(map[string]any); ok && len(metadata) == 0 {
		delete(is, "metadata")
	}
	wantEqual(t, "payload of the reduced event", want, is)
	same := clone(after)
	same.Payload = before.GetPayload()
	wantEqual(t, "the rest of the event", before, same)
}

func refusedEmitsNothing(t *testing.T, e *Env) {
	own := e.own(t)
	ctx := t.Context()
	made := own.talk(t, 1)
	session, prompt := made.session.GetId(), made.prompts[0].GetId()
	last, metrics := own.lastEvent(t), own.metrics(t)
	refusal(own.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session}))(t, codes.InvalidArgument)
	refusal(own.Graph.AddResponse(ctx, &graphpb.AddResponseRequest{PromptId: "nobody", TokenUsage: usage()}))(t, codes.NotFound)
	refusal(own.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{
		promptNode("", session, "fine"), promptNode(prompt, session, "taken"),
	}}))(t, codes.AlreadyExists)
	refusal(own.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Type: handledBy, FromNodeId: prompt, ToNodeId: session,
	}}))(t, codes.InvalidArgument)
	stale := uint64(0)
	refusal(own.Graph.UpdateNode(ctx, &graphpb.UpdateNodeRequest{
		Node: promptNode(prompt, "", "x"), ExpectedRevision: &stale,
	}))(t, codes.Aborted)
	refusal(own.Graph.DeleteNode(ctx, &graphpb.DeleteNodeRequest{NodeId: session}))(t, codes.InvalidArgument)
	if _, err := own.Graph.InstantiateTemplate(ctx, &graphpb.InstantiateTemplateRequest{
		TemplateId: prompt, SessionId: session,
	}); err == nil {
		t.Error("a prompt was instantiated")
	}
	wantEqual(t, "newest event", last, own.lastEvent(t))
	after := own.metrics(t)
	wantEqual(t, "nodes and edges", []int64{metrics.GetTotalNodes(), metrics.GetTotalEdges()},
		[]int64{after.GetTotalNodes(), after.GetTotalEdges()})
}
