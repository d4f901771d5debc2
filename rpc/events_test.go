package rpc

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// events opens a stream and waits for its headers: what happens from then on comes through it.
func (r *rig) events(req *pb.StreamEventsRequest) (grpc.ServerStreamingClient[pb.Event], metadata.MD) {
	r.t.Helper()
	stream := must[grpc.ServerStreamingClient[pb.Event]](r.t)(r.StreamEvents(r.ctx(), req))
	header := must[metadata.MD](r.t)(stream.Header())
	return stream, header
}

func take(t *testing.T, stream grpc.ServerStreamingClient[pb.Event], n int) []*pb.Event {
	t.Helper()
	var got []*pb.Event
	for range n {
		e, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %d events: %v", len(got), err)
		}
		got = append(got, e)
	}
	return got
}

func types(events []*pb.Event) []string {
	var names []string
	for _, e := range events {
		names = append(names, strings.TrimPrefix(e.Type.String(), "EVENT_TYPE_"))
	}
	return names
}

func TestEventsStartWithWhatHappensAfterTheCall(t *testing.T) {
	r := start(t)
	r.session()
	stream, header := r.events(&pb.StreamEventsRequest{})
	if got := header.Get(headerLastEvent); len(got) != 1 || got[0] != "abcdef01-0000000000000002-00000000" {
		t.Errorf("last event is %v", got)
	}
	if got := header.Get(headerRevision); len(got) != 1 || got[0] != "2" {
		t.Errorf("revision is %v", got)
	}
	s := r.session()
	r.prompt(s.Id, "Hello")
	got := take(t, stream, 3)
	if diff := cmp.Diff([]string{"SESSION_CREATED", "NODE_CREATED", "EDGE_CREATED"}, types(got)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	var payload map[string]any
	if err := json.Unmarshal([]byte(got[1].Payload), &payload); err != nil {
		t.Fatal(err)
	}
	if payload["content_length"] != 5.0 || payload["session_id"] != s.Id || len(got[1].Chain) != 32 || got[1].Revision != 4 {
		t.Errorf("event is %v", got[1])
	}
	for i, e := range got[1:] {
		if e.Id <= got[i].Id {
			t.Errorf("%s comes after %s", e.Id, got[i].Id)
		}
	}
}

func TestAnEmptyFeedHasNoLastEvent(t *testing.T) {
	r := start(t)
	_, header := r.events(&pb.StreamEventsRequest{})
	if got := header.Get(headerLastEvent); len(got) != 1 || got[0] != "" {
		t.Errorf("last event is %v", got)
	}
}

func TestEventsResumeAndReplay(t *testing.T) {
	r := start(t)
	s, other := r.session(), r.session()
	for range 3 {
		r.prompt(s.Id, "x")
		r.prompt(other.Id, "y")
	}
	stream, _ := r.events(&pb.StreamEventsRequest{FromBeginning: true})
	all := take(t, stream, 2+2*(2+3+3))
	for i, e := range all {
		stream, _ := r.events(&pb.StreamEventsRequest{AfterEventId: e.Id})
		rest := take(t, stream, len(all)-i-1)
		if len(rest) > 0 && !proto.Equal(rest[0], all[i+1]) {
			t.Errorf("after %s comes %v", e.Id, rest[0])
		}
	}
	stream, _ = r.events(&pb.StreamEventsRequest{FromBeginning: true, SessionId: &s.Id, EventTypes: []pb.EventType{
		pb.EventType_EVENT_TYPE_NODE_CREATED, pb.EventType_EVENT_TYPE_SESSION_CREATED,
	}})
	want := []string{"SESSION_CREATED", "NODE_CREATED", "NODE_CREATED", "NODE_CREATED"}
	if diff := cmp.Diff(want, types(take(t, stream, 4))); diff != "" {
		t.Errorf("events of a session (-want +got):\n%s", diff)
	}
}

func TestBadPlacesInTheFeed(t *testing.T) {
	r := start(t)
	s := r.session()
	foreign := "00000000-0000-4000-8000-000000000000"
	for _, c := range []struct {
		name   string
		req    *pb.StreamEventsRequest
		code   codes.Code
		field  string
		reason string
	}{
		{"no id", &pb.StreamEventsRequest{AfterEventId: "17"}, codes.InvalidArgument, afterField, "INVALID_ARGUMENT"},
		{"both", &pb.StreamEventsRequest{AfterEventId: "17", FromBeginning: true}, codes.InvalidArgument, "from_beginning", "INVALID_ARGUMENT"},
		{"lineage", &pb.StreamEventsRequest{AfterEventId: "00000001-0000000000000002-00000000"}, codes.FailedPrecondition, "", "LINEAGE_CHANGED"},
		{"future", &pb.StreamEventsRequest{AfterEventId: "abcdef01-00000000000000ff-00000000"}, codes.OutOfRange, "", "EVENT_NOT_YET"},
		{"no type", &pb.StreamEventsRequest{EventTypes: []pb.EventType{0}}, codes.InvalidArgument, "event_types[0]", "INVALID_ARGUMENT"},
		{"unknown type", &pb.StreamEventsRequest{EventTypes: []pb.EventType{1, 77}}, codes.InvalidArgument, "event_types[1]", "INVALID_ARGUMENT"},
		{"many types", &pb.StreamEventsRequest{EventTypes: make([]pb.EventType, 65)}, codes.InvalidArgument, "event_types", "INVALID_ARGUMENT"},
		{"session", &pb.StreamEventsRequest{SessionId: proto.String("7")}, codes.InvalidArgument, "session_id", "INVALID_ARGUMENT"},
		{"unknown session", &pb.StreamEventsRequest{SessionId: &foreign}, codes.NotFound, "", "NOT_FOUND"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := must[grpc.ServerStreamingClient[pb.Event]](t)(r.StreamEvents(r.ctx(), c.req))
			_, err := stream.Recv()
			refusedWith(t, err, c.code, "", c.field)
			if got := infoOf(err).Reason; got != c.reason {
				t.Errorf("reason is %q, want %q", got, c.reason)
			}
		})
	}
	stream := must[grpc.ServerStreamingClient[pb.Event]](t)(r.StreamEvents(r.ctx(), &pb.StreamEventsRequest{AfterEventId: "00000001-0000000000000002-00000000"}))
	if _, err := stream.Recv(); infoOf(err).Metadata["lineage"] != "abcdef01" {
		t.Errorf("the current lineage is not named: %v", infoOf(err))
	}
	for _, req := range []*pb.SubscribeRequest{{}, {SessionId: foreign}, {SessionId: s.Id, AfterEventId: "x"}} {
		stream := must[grpc.ServerStreamingClient[pb.SessionEvent]](t)(r.SubscribeToSession(r.ctx(), req))
		if _, err := stream.Recv(); err == nil {
			t.Errorf("%v is served", req)
		}
	}
}

func (r *rig) trim(below uint64) {
	r.t.Helper()
	command := must[[]byte](r.t)(fsm.EncodeCommand(&logpb.Command{Operation: &logpb.Command_TrimEvents{
		TrimEvents: &logpb.TrimEvents{BelowRevision: below, Limit: 1000},
	}}))
	if res := r.log.apply(command); res.Err != nil {
		r.t.Fatal(res.Err)
	}
}

func TestTrimmedEvents(t *testing.T) {
	r := start(t)
	s := r.session()
	stream, _ := r.events(&pb.StreamEventsRequest{FromBeginning: true})
	firstEvent := take(t, stream, 1)[0]
	p := r.prompt(s.Id, "x")
	r.response(p.Id, "y")
	r.trim(4)
	stream = must[grpc.ServerStreamingClient[pb.Event]](t)(r.StreamEvents(r.ctx(), &pb.StreamEventsRequest{AfterEventId: firstEvent.Id}))
	_, err := stream.Recv()
	refusedWith(t, err, codes.OutOfRange, "", "")
	oldest := infoOf(err).Metadata["oldest_event_id"]
	if oldest != "abcdef01-0000000000000004-00000000" || !strings.Contains(status.Convert(err).Message(), oldest) {
		t.Errorf("the oldest event is %q: %v", oldest, err)
	}
	stream, _ = r.events(&pb.StreamEventsRequest{FromBeginning: true})
	if got := take(t, stream, 1)[0]; got.Id != oldest {
		t.Errorf("the beginning is %s", got.Id)
	}
	session := must[grpc.ServerStreamingClient[pb.SessionEvent]](t)(r.SubscribeToSession(r.ctx(), &pb.SubscribeRequest{SessionId: s.Id, FromBeginning: true}))
	if got := must[*pb.SessionEvent](t)(session.Recv()); got.Event.Id != oldest {
		t.Errorf("the beginning of the session is %s", got.Event.Id)
	}
	r.trim(1000)
	stream = must[grpc.ServerStreamingClient[pb.Event]](t)(r.StreamEvents(r.ctx(), &pb.StreamEventsRequest{AfterEventId: firstEvent.Id}))
	_, err = stream.Recv()
	refusedWith(t, err, codes.OutOfRange, "", "")
}

func TestASubscriptionEndsWithItsSession(t *testing.T) {
	r := start(t)
	r.session()
	s := r.session()
	r.prompt(s.Id, "before")
	stream := must[grpc.ServerStreamingClient[pb.SessionEvent]](t)(r.SubscribeToSession(r.ctx(), &pb.SubscribeRequest{SessionId: s.Id}))
	replay := must[grpc.ServerStreamingClient[pb.SessionEvent]](t)(r.SubscribeToSession(r.ctx(), &pb.SubscribeRequest{SessionId: s.Id, FromBeginning: true}))
	must[metadata.MD](t)(stream.Header())
	must[metadata.MD](t)(replay.Header())
	must[*pb.Session](t)(r.CloseSession(r.ctx(), &pb.CloseSessionRequest{SessionId: s.Id}))
	other := r.session()
	r.prompt(other.Id, "elsewhere")
	if _, err := r.DeleteSession(r.ctx(), &pb.DeleteSessionRequest{SessionId: s.Id}); err != nil {
		t.Fatal(err)
	}
	got := drain(t, stream, s.Id)
	want := []string{"SESSION_CLOSED", "EDGE_DELETED", "NODE_DELETED", "SESSION_CLOSED"}
	if diff := cmp.Diff(want, types(got)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if !strings.Contains(got[0].Payload, `"reason":"closed"`) || !strings.Contains(got[3].Payload, `"reason":"deleted"`) {
		t.Errorf("payloads are %s and %s", got[0].Payload, got[3].Payload)
	}
	want = append([]string{"SESSION_CREATED", "NODE_CREATED", "EDGE_CREATED"}, want...)
	if diff := cmp.Diff(want, types(drain(t, replay, s.Id))); diff != "" {
		t.Errorf("events from the beginning (-want +got):\n%s", diff)
	}
}

func drain(t *testing.T, stream grpc.ServerStreamingClient[pb.SessionEvent], session string) []*pb.Event {
	t.Helper()
	var got []*pb.Event
	for {
		e, err := stream.Recv()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatalf("after %v: %v", types(got), err)
		}
		if e.SessionId != session {
			t.Errorf("an event of session %s", e.SessionId)
		}
		got = append(got, e.Event)
	}
}

// TestALongFeedIsReadInChunks: more events than fit into one look at the store.
func TestALongFeedIsReadInChunks(t *testing.T) {
	r := start(t)
	s := r.session()
	nodes := make([]*pb.Node, 700)
	for i := range nodes {
		nodes[i] = &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: s.Id, Content: "x"}}}
	}
	must[*pb.BatchCreateNodesResponse](t)(r.BatchCreateNodes(r.ctx(), &pb.BatchCreateNodesRequest{Nodes: nodes}))
	stream, _ := r.events(&pb.StreamEventsRequest{FromBeginning: true})
	got := take(t, stream, 1+700+700+699)
	seen := map[string]bool{}
	for _, e := range got {
		seen[e.Id] = true
	}
	if len(seen) != len(got) {
		t.Errorf("%d of %d events are doubled", len(got)-len(seen), len(got))
	}
}

func TestAStreamEndsWhenItsCallerGoes(t *testing.T) {
	r := start(t)
	ctx, cancel := context.WithCancel(r.ctx())
	stream := must[grpc.ServerStreamingClient[pb.Event]](t)(r.StreamEvents(ctx, &pb.StreamEventsRequest{}))
	must[metadata.MD](t)(stream.Header())
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("ended with %v", err)
	}
}
