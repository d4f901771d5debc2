package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
)

const (
	nodeCreated   = graphpb.EventType_EVENT_TYPE_NODE_CREATED
	nodeUpdated   = graphpb.EventType_EVENT_TYPE_NODE_UPDATED
	nodeDeleted   = graphpb.EventType_EVENT_TYPE_NODE_DELETED
	edgeCreated   = graphpb.EventType_EVENT_TYPE_EDGE_CREATED
	edgeDeleted   = graphpb.EventType_EVENT_TYPE_EDGE_DELETED
	sessionOpened = graphpb.EventType_EVENT_TYPE_SESSION_CREATED
	sessionClosed = graphpb.EventType_EVENT_TYPE_SESSION_CLOSED
)

func eventCases() []Case {
	return []Case{
		{Name: "event_payloads_are_as_promised", Section: "10", Run: payloads,
			Calls: []string{streamEvents, addPrompt, addResponse, addToolInvocation, createEdge, deleteEdge, updateNode, deleteNode,
				closeSession}},
		{Name: "each_write_emits_exactly_its_events", Section: "10", Run: eventsPerWrite,
			Calls: []string{streamEvents, createSession, addPrompt, addResponse, addToolInvocation, instantiate, createTemplate,
				createNode, batchCreateNodes, updateNode, createEdge, deleteEdge, deleteNode, closeSession, deleteSession}},
		{Name: "a_stream_starts_after_the_call", Section: "10", Run: startsAfter, Calls: []string{streamEvents}},
		{Name: "a_stream_says_the_newest_event_at_once", Section: "D17", Run: newestEvent, Calls: []string{streamEvents}},
		{Name: "event_types_select", Section: "10", Run: eventTypes, Calls: []string{streamEvents}},
		{Name: "a_session_selects_its_events", Section: "10", Run: eventsOfSession, Calls: []string{streamEvents}},
		{Name: "a_stream_resumes_after_any_event", Section: "10", Run: resume, Calls: []string{streamEvents}},
		{Name: "all_streams_see_one_order_and_one_chain", Section: "10", Run: oneOrder, Calls: []string{streamEvents, addPrompt}},
		{Name: "a_malformed_event_id_is_refused", Section: "10", Run: malformedEventID, Calls: []string{streamEvents, subscribe}},
		{Name: "an_event_id_of_another_lineage_says_so", Section: "D5", Run: foreignEventID, Calls: []string{streamEvents, subscribe}},
		{Name: "a_trimmed_event_id_names_the_oldest", Section: "10", Run: trimmedEventID,
			Calls: []string{streamEvents, subscribe, getSession}},
		{Name: "trimming_keeps_as_many_events_as_it_was_told_to", Section: "D17", Run: retentionKeeps,
			Calls: []string{streamEvents, batchCreateNodes}},
		{Name: "deleting_a_record_reduces_its_earlier_events", Section: "D17", Run: reducedEvents,
			Calls: []string{streamEvents, deleteNode, deleteSession}},
		{Name: "a_refused_call_emits_nothing", Section: "10", Run: refusedEmitsNothing,
			Calls: []string{streamEvents, addPrompt, addResponse, batchCreateNodes, createEdge, updateNode, deleteNode, instantiate}},
	}
}

// wantPayload compares a payload with what is promised. The value `time` means an RFC 3339 time of about now.
func wantPayload(t *testing.T, event *graphpb.Event, want map[string]any) {
	t.Helper()
	got := payloadOf(t, event)
	for key, value := range want {
		if value != "time" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got[key]))
		if err != nil || time.Since(at).Abs() > 2*time.Minute {
			t.Errorf("%s of %s: %v, want about now", key, event.GetPayload(), err)
		}
		got[key] = "time"
	}
	if _, promised := want["session_id"]; !promised && got["session_id"] == "" {
		delete(got, "session_id")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("payload of %v (-want +got):\n%s", event.GetType(), diff)
	}
}

// find is the one event of a type about a thing.
func find(t *testing.T, events []*graphpb.Event, kind graphpb.EventType, id string) *graphpb.Event {
	t.Helper()
	var found []*graphpb.Event
	for _, event := range events {
		payload := payloadOf(t, event)
		about := payload["session_id"]
		for _, key := range []string{"node_id", "edge_id"} {
			if value, ok := payload[key]; ok {
				about = value
			}
		}
		if event.GetType() == kind && about == id {
			found = append(found, event)
		}
	}
	if len(found) != 1 {
		t.Fatalf("found %d events %v about %s in %v, want 1", len(found), kind, id, events)
	}
	return found[0]
}

func isClosed(session string) func(*graphpb.Event) bool {
	return func(event *graphpb.Event) bool {
		return event.GetType() == sessionClosed && strings.Contains(event.GetPayload(), session)
	}
}

func payloads(t *testing.T, e *Env) {
	f := e.events(t, &graphpb.StreamEventsRequest{})
	ctx := t.Context()
	session := e.session(t, "team", "search").GetId()
	prompt := must(e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{
		SessionId: session, Content: "12345", Metadata: &graphpb.PromptMetadata{Model: "gpt-4"},
	}))(t).GetId()
	response := must(e.Graph.AddResponse(ctx, &graphpb.AddResponseRequest{
		PromptId: prompt, Content: "123", TokenUsage: usage(), Metadata: &graphpb.ResponseMetadata{LatencyMs: 77},
	}))(t).GetId()
	tool := must(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{ToolInvocation: &graphpb.ToolInvocationNode{
		ResponseId: response, ToolName: "search", Status: "success", DurationMs: 450,
	}}))(t).GetId()
	agent := e.agent(t, "a").GetId()
	edge := e.edge(t, handledBy, prompt, agent).GetId()
	e.update(t, promptNode(prompt, "", "1234567"))
	must(e.Graph.DeleteEdge(ctx, &graphpb.DeleteEdgeRequest{EdgeId: edge}))(t)
	doomed := e.agent(t, "doomed").GetId()
	e.deleteNode(t, doomed)
	belongs := e.onlyEdge(t, prompt, outgoing, belongsTo).GetId()
	e.closeSession(t, session)
	all := f.until(t, isClosed(session))

	base := func(id, kind, session string) map[string]any {
		return map[string]any{"node_id": id, "node_type": kind, "session_id": session, "timestamp": "time"}
	}
	with := func(m map[string]any, pairs ...any) map[string]any {
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	}
	wantPayload(t, find(t, all, sessionOpened, session), map[string]any{
		"session_id": session, "metadata": map[string]any{"team": "search"},
	})
	wantPayload(t, find(t, all, nodeCreated, prompt),
		with(base(prompt, "NODE_TYPE_PROMPT", session), "content_length", 5.0, "model", "gpt-4"))
	wantPayload(t, find(t, all, nodeCreated, response), with(base(response, "NODE_TYPE_RESPONSE", session),
		"prompt_id", prompt, "content_length", 3.0, "latency_ms", 77.0,
		"tokens_used", map[string]any{"prompt_tokens": 15.0, "completion_tokens": 25.0, "total_tokens": 40.0}))
	wantPayload(t, find(t, all, nodeCreated, tool), with(base(tool, "NODE_TYPE_TOOL_INVOCATION", session),
		"tool_name", "search", "status", "success", "duration_ms", 450.0))
	wantPayload(t, find(t, all, nodeUpdated, prompt), base(prompt, "NODE_TYPE_PROMPT", session))
	sessionless := map[string]any{"node_id": doomed, "node_type": "NODE_TYPE_AGENT", "timestamp": "time"}
	wantPayload(t, find(t, all, nodeDeleted, doomed), sessionless)
	wantPayload(t, find(t, all, edgeCreated, belongs), map[string]any{
		"edge_id": belongs, "edge_type": "EDGE_TYPE_BELONGS_TO", "from": prompt, "to": session, "session_id": session,
		"timestamp": "time",
	})
	wantPayload(t, find(t, all, edgeDeleted, edge), map[string]any{
		"edge_id": edge, "edge_type": "EDGE_TYPE_HANDLED_BY", "from": prompt, "to": agent, "session_id": session,
		"timestamp": "time",
	})
	wantPayload(t, find(t, all, sessionClosed, session), map[string]any{
		"session_id": session, "metadata": map[string]any{"team": "search"}, "reason": "closed",
	})
}

// summary is what an event says in short: its type and what it is about.
func summary(t *testing.T, event *graphpb.Event) string {
	payload := payloadOf(t, event)
	about := payload["node_type"]
	if kind, ok := payload["edge_type"]; ok {
		about = kind
	}
	if about == nil {
		about = payload["reason"]
	}
	return fmt.Sprint(strings.TrimPrefix(event.GetType().String(), "EVENT_TYPE_"), " ", about)
}

func eventsPerWrite(t *testing.T, e *Env) {
	own := e.own(t)
	made := own.talk(t, 2)
	session := made.session.GetId()
	template := own.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "hi"}).GetId()
	agent := own.agent(t, "a").GetId()
	var edge string
	steps := []struct {
		name string
		do   func()
		want string
	}{
		{"CreateSession", func() { own.session(t) }, "SESSION_CREATED <nil>"},
		{"AddPrompt", func() { own.prompt(t, session, "q") },
			"NODE_CREATED NODE_TYPE_PROMPT, EDGE_CREATED EDGE_TYPE_BELONGS_TO, EDGE_CREATED EDGE_TYPE_FOLLOWS"},
		{"AddResponse", func() { own.response(t, made.prompts[0].GetId(), "a") },
			"NODE_CREATED NODE_TYPE_RESPONSE, EDGE_CREATED EDGE_TYPE_RESPONDS_TO, EDGE_CREATED EDGE_TYPE_BELONGS_TO"},
		{"AddToolInvocation", func() { own.tool(t, made.responses[0].GetId(), "x") },
			"NODE_CREATED NODE_TYPE_TOOL_INVOCATION, EDGE_CREATED EDGE_TYPE_INVOKES, EDGE_CREATED EDGE_TYPE_BELONGS_TO"},
		{"CreateTemplate", func() { own.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t"}) },
			"NODE_CREATED NODE_TYPE_TEMPLATE"},
		{"InstantiateTemplate", func() {
			must(own.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
				TemplateId: template, SessionId: session,
			}))(t)
		}, "NODE_CREATED NODE_TYPE_PROMPT, EDGE_CREATED EDGE_TYPE_BELONGS_TO, EDGE_CREATED EDGE_TYPE_FOLLOWS, " +
			"EDGE_CREATED EDGE_TYPE_INSTANTIATES"},
		{"CreateNode", func() { own.agent(t, "b") }, "NODE_CREATED NODE_TYPE_AGENT"},
		{"BatchCreateNodes", func() { own.batch(t, agentNode("", "c"), responseNode("", made.prompts[0].GetId(), "a")) },
			"NODE_CREATED NODE_TYPE_AGENT, NODE_CREATED NODE_TYPE_RESPONSE, EDGE_CREATED EDGE_TYPE_RESPONDS_TO, " +
				"EDGE_CREATED EDGE_TYPE_BELONGS_TO"},
		{"UpdateNode", func() { own.update(t, promptNode(made.prompts[0].GetId(), "", "new")) },
			"NODE_UPDATED NODE_TYPE_PROMPT"},
		{"CreateEdge", func() { edge = own.edge(t, references, agent, template).GetId() }, "EDGE_CREATED EDGE_TYPE_REFERENCES"},
		{"DeleteEdge", func() { must(own.Graph.DeleteEdge(t.Context(), &graphpb.DeleteEdgeRequest{EdgeId: edge}))(t) },
			"EDGE_DELETED EDGE_TYPE_REFERENCES"},
		{"DeleteNode of a tool call", func() { own.deleteNode(t, made.tools[0].GetId()) },
			"EDGE_DELETED EDGE_TYPE_INVOKES, EDGE_DELETED EDGE_TYPE_BELONGS_TO, NODE_DELETED NODE_TYPE_TOOL_INVOCATION"},
		{"DeleteNode of a prompt in the chain", func() { own.deleteNode(t, made.prompts[1].GetId()) },
			"EDGE_DELETED EDGE_TYPE_FOLLOWS, EDGE_DELETED EDGE_TYPE_FOLLOWS, EDGE_CREATED EDGE_TYPE_FOLLOWS, " +
				"EDGE_DELETED EDGE_TYPE_RESPONDS_TO, EDGE_DELETED EDGE_TYPE_BELONGS_TO, NODE_DELETED NODE_TYPE_PROMPT"},
		{"CloseSession", func() { own.closeSession(t, session) }, "SESSION_CLOSED closed"},
		{"DeleteSession", func() { own.deleteSession(t, own.session(t).GetId()) }, "SESSION_CREATED <nil>, SESSION_CLOSED deleted"},
	}
	for _, step := range steps {
		before := own.lastEvent(t)
		step.do()
		own.wantEvents(t, step.name, before, strings.Split(step.want, ", "))
	}
}

// wantEvents wants exactly these events after an id, in any order. That the session's own node goes and that a template
// counts its use may or may not be told.
func (e *Env) wantEvents(t *testing.T, what, after string, want []string) {
	t.Helper()
	last := e.lastEvent(t)
	var got []string
	if last != after {
		for _, event := range e.events(t, &graphpb.StreamEventsRequest{AfterEventId: after}).until(t,
			func(event *graphpb.Event) bool { return event.GetId() == last }) {
			short := summary(t, event)
			if short != "NODE_DELETED NODE_TYPE_SESSION" && short != "NODE_UPDATED NODE_TYPE_TEMPLATE" {
				got = append(got, short)
			}
		}
	}
	wantUnordered(t, "events of "+what, want, got, func(s string) string { return s })
}

func startsAfter(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	e.prompt(t, session, "before the call")
	f := e.events(t, &graphpb.StreamEventsRequest{SessionId: &session})
	after := e.prompt(t, session, "after the call").GetId()
	heard := f.take(t, 3)
	find(t, heard, nodeCreated, after)
	g := e.events(t, &graphpb.StreamEventsRequest{SessionId: &session, FromBeginning: true})
	all := g.take(t, 6)
	wantEqual(t, "first event from the beginning", sessionOpened, all[0].GetType())
	wantEqual(t, "last events from the beginning", heard, all[3:])
}

func newestEvent(t *testing.T, e *Env) {
	own := e.own(t)
	wantEqual(t, "newest event of an empty store", "", own.lastEvent(t))
	session := own.session(t).GetId()
	first := own.lastEvent(t)
	if !eventIDShape.MatchString(first) {
		t.Fatalf("newest event is %q", first)
	}
	wantEqual(t, "lineage of the event", own.lineage(t), first[:8])
	f := own.events(t, &graphpb.StreamEventsRequest{FromBeginning: true})
	wantEqual(t, "newest event in the header", []string{first}, f.header.Get(lastEventHeader))
	wantEqual(t, "the event itself", first, f.next(t).GetId())
	own.prompt(t, session, "q")
	f.take(t, 2)
	wantEqual(t, "newest event", f.last.GetId(), own.lastEvent(t))
}

func eventTypes(t *testing.T, e *Env) {
	all := []graphpb.EventType{nodeCreated, nodeUpdated, nodeDeleted, edgeCreated, edgeDeleted, sessionOpened, sessionClosed}
	feeds := make(map[graphpb.EventType]*feed)
	session := e.session(t).GetId()
	for _, kind := range all {
		feeds[kind] = e.events(t, &graphpb.StreamEventsRequest{
			SessionId: &session, EventTypes: []graphpb.EventType{kind}, FromBeginning: true,
		})
	}
	pair := e.events(t, &graphpb.StreamEventsRequest{
		SessionId: &session, EventTypes: []graphpb.EventType{nodeDeleted, nodeCreated, nodeCreated},
	})
	prompt := e.prompt(t, session, "q").GetId()
	e.update(t, promptNode(prompt, "", "q2"))
	e.deleteNode(t, prompt)
	e.closeSession(t, session)
	for kind, f := range feeds {
		wantEqual(t, "type", kind, f.next(t).GetType())
	}
	got := pair.take(t, 2)
	wantEqual(t, "both types", []graphpb.EventType{nodeCreated, nodeDeleted},
		[]graphpb.EventType{got[0].GetType(), got[1].GetType()})
}

func eventsOfSession(t *testing.T, e *Env) {
	one, two := e.session(t).GetId(), e.session(t).GetId()
	f := e.events(t, &graphpb.StreamEventsRequest{SessionId: &one, FromBeginning: true})
	g := e.events(t, &graphpb.StreamEventsRequest{SessionId: &two, FromBeginning: true})
	for i := range 3 {
		e.prompt(t, one, fmt.Sprint("one ", i))
		e.prompt(t, two, fmt.Sprint("two ", i))
		e.agent(t, "of no session")
	}
	e.closeSession(t, one)
	e.closeSession(t, two)
	for session, all := range map[string][]*graphpb.Event{one: f.until(t, isClosed(one)), two: g.until(t, isClosed(two))} {
		wantEqual(t, "events of a session", 1+2+3+3+1, len(all))
		for _, event := range all {
			wantEqual(t, "session", any(session), payloadOf(t, event)["session_id"])
		}
	}
}

func resume(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	for i := range 3 {
		e.prompt(t, session, fmt.Sprint("q", i))
	}
	e.closeSession(t, session)
	whole := e.events(t, &graphpb.StreamEventsRequest{SessionId: &session, FromBeginning: true}).until(t, isClosed(session))
	for i, event := range whole[:len(whole)-1] {
		rest := e.events(t, &graphpb.StreamEventsRequest{SessionId: &session, AfterEventId: event.GetId()}).
			until(t, isClosed(session))
		wantEqual(t, fmt.Sprint("events after number ", i), whole[i+1:], rest)
	}
	kinds := []graphpb.EventType{edgeCreated, sessionClosed}
	rest := e.events(t, &graphpb.StreamEventsRequest{SessionId: &session, AfterEventId: whole[3].GetId(), EventTypes: kinds}).
		until(t, isClosed(session))
	var want []*graphpb.Event
	for _, event := range whole[4:] {
		if event.GetType() == edgeCreated || event.GetType() == sessionClosed {
			want = append(want, event)
		}
	}
	wantEqual(t, "events of two types after the fourth", want, rest)
}

func oneOrder(t *testing.T, e *Env) {
	const sessions, prompts = 8, 5
	var ids []string
	for range sessions {
		ids = append(ids, e.session(t).GetId())
	}
	from := &graphpb.StreamEventsRequest{AfterEventId: e.lastEvent(t)} // others write meanwhile
	feeds := []*feed{e.events(t, from), e.events(t, from)}
	inParallel(t, sessions*prompts, func(i int) error {
		_, err := e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{SessionId: ids[i%sessions], Content: fmt.Sprint(i)})
		return err
	})
	marker := e.session(t).GetId()
	e.closeSession(t, marker)
	first, second := feeds[0].until(t, isClosed(marker)), feeds[1].until(t, isClosed(marker))
	byID := make(map[string]*graphpb.Event)
	for _, event := range first {
		byID[event.GetId()] = event
	}
	wantEqual(t, "ids", eventIDs(first), eventIDs(second))
	created := 0
	for _, event := range second {
		wantEqual(t, "chain of "+event.GetId(), byID[event.GetId()].GetChain(), event.GetChain())
		if event.GetType() == nodeCreated && slices.Contains(ids, fmt.Sprint(payloadOf(t, event)["session_id"])) {
			created++
		}
	}
	wantEqual(t, "prompts told", sessions*prompts, created)
	for _, event := range e.events(t, &graphpb.StreamEventsRequest{SessionId: &ids[0], FromBeginning: true}).take(t, 3) {
		if other, ok := byID[event.GetId()]; ok {
			wantEqual(t, "event of a filtered stream", other, event)
		}
	}
}

func malformedEventID(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	for _, bad := range []string{
		"garbage", "1", "--", strings.Repeat("0", 34), "zzzzzzzz-0000000000000001-00000000",
		e.lineage(t) + "-1-0", e.lastEvent(t) + "0", strings.ToUpper(e.lineage(t)) + "/0000000000000001/00000000", "\x00",
	} {
		invalid(refusedStream(e.Graph.StreamEvents(open(t), &graphpb.StreamEventsRequest{AfterEventId: bad})))(t, "after_event_id")
		invalid(refusedStream(e.Graph.SubscribeToSession(open(t), &graphpb.SubscribeRequest{
			SessionId: session, AfterEventId: bad,
		})))(t, "after_event_id")
	}
}

func foreignEventID(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	lineage := e.lineage(t)
	foreign := []byte(e.lastEvent(t))
	if foreign[0]++; foreign[0] == 'g' || foreign[0] == ':' {
		foreign[0] = '0'
	}
	got := refusal(refusedStream(e.Graph.StreamEvents(open(t), &graphpb.StreamEventsRequest{AfterEventId: string(foreign)})))(
		t, codes.FailedPrecondition, lineage)
	wantReason(t, got, "LINEAGE_CHANGED")
	got = refusal(refusedStream(e.Graph.SubscribeToSession(open(t), &graphpb.SubscribeRequest{
		SessionId: session, AfterEventId: string(foreign),
	})))(t, codes.FailedPrecondition, lineage)
	wantReason(t, got, "LINEAGE_CHANGED")
}
