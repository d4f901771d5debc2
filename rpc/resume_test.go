package rpc

import (
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// subscribe opens a subscription, and waits for its headers.
func (r *rig) subscribe(req *pb.SubscribeRequest) grpc.ServerStreamingClient[pb.SessionEvent] {
	r.t.Helper()
	stream := must[grpc.ServerStreamingClient[pb.SessionEvent]](r.t)(r.SubscribeToSession(r.ctx(), req))
	must[metadata.MD](r.t)(stream.Header())
	return stream
}

// rest reads a stream of events to its clean end.
func rest(t *testing.T, stream grpc.ServerStreamingClient[pb.Event]) (got []*pb.Event) {
	t.Helper()
	for {
		e, err := stream.Recv()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatalf("after %d events: %v", len(got), err)
		}
		got = append(got, e)
	}
}

func ids(events []*pb.Event) (list []string) {
	for _, e := range events {
		list = append(list, e.Id)
	}
	return list
}

// same compares ids: what a deletion takes away changes the payload.
func same(t *testing.T, what string, want, got []*pb.Event) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%s: %d events, want %d", what, len(got), len(want))
	}
	for i, id := range ids(want) {
		if got[i].Id != id {
			t.Fatalf("%s: event %d is %s, want %s", what, i, got[i].Id, id)
		}
	}
}

func (r *rig) deleted(session string) {
	r.t.Helper()
	if _, err := r.DeleteSession(r.ctx(), &pb.DeleteSessionRequest{SessionId: session}); err != nil {
		r.t.Fatal(err)
	}
}

// TestAStreamResumesInADeletedSession: after any event of the session, up to its last.
func TestAStreamResumesInADeletedSession(t *testing.T) {
	r := start(t)
	s, other := r.session(), r.session()
	p := r.prompt(s.Id, "x")
	elsewhere := r.prompt(other.Id, "y")
	r.response(p.Id, "z")
	live := r.subscribe(&pb.SubscribeRequest{SessionId: s.Id, FromBeginning: true})
	r.deleted(s.Id)
	r.prompt(other.Id, "later")
	all := drain(t, live, s.Id)
	for i, e := range all {
		want := all[i+1:]
		same(t, "subscription", want, drain(t, r.subscribe(&pb.SubscribeRequest{SessionId: s.Id, AfterEventId: e.Id}), s.Id))
		stream, _ := r.events(&pb.StreamEventsRequest{SessionId: &s.Id, AfterEventId: e.Id})
		same(t, "stream", want, rest(t, stream))
		stream, _ = r.events(&pb.StreamEventsRequest{SessionId: &s.Id, AfterEventId: e.Id, EventTypes: []pb.EventType{pb.EventType_EVENT_TYPE_NODE_CREATED}})
		for _, e := range rest(t, stream) {
			if e.Type != pb.EventType_EVENT_TYPE_NODE_CREATED {
				t.Errorf("%v was not asked for", e)
			}
		}
	}
	feed, _ := r.events(&pb.StreamEventsRequest{FromBeginning: true, SessionId: &other.Id})
	refused := func(req *pb.SubscribeRequest, code codes.Code) {
		t.Helper()
		stream := must[grpc.ServerStreamingClient[pb.SessionEvent]](t)(r.SubscribeToSession(r.ctx(), req))
		_, err := stream.Recv()
		refusedWith(t, err, code, "", "")
	}
	for _, e := range take(t, feed, 3) {
		refused(&pb.SubscribeRequest{SessionId: s.Id, AfterEventId: e.Id}, codes.NotFound)
	}
	refused(&pb.SubscribeRequest{SessionId: s.Id}, codes.NotFound)
	refused(&pb.SubscribeRequest{SessionId: s.Id, FromBeginning: true}, codes.NotFound)
	refused(&pb.SubscribeRequest{SessionId: elsewhere.Id, AfterEventId: all[0].Id}, codes.NotFound)
	refused(&pb.SubscribeRequest{SessionId: s.Id, AfterEventId: "abcdef01-0000000000000000-00000000"}, codes.NotFound)
	r.trim(1000)
	refused(&pb.SubscribeRequest{SessionId: s.Id, AfterEventId: all[0].Id}, codes.OutOfRange)
}

// TestAStreamResumesWhileItsSessionIsSwept: its last event has not happened yet.
func TestAStreamResumesWhileItsSessionIsSwept(t *testing.T) {
	r := start(t)
	s := r.session()
	for range 4 {
		nodes := make([]*pb.Node, 1000)
		for i := range nodes {
			nodes[i] = &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: s.Id, Content: "x"}}}
		}
		must[*pb.BatchCreateNodesResponse](t)(r.BatchCreateNodes(r.ctx(), &pb.BatchCreateNodesRequest{Nodes: nodes}))
	}
	live := r.subscribe(&pb.SubscribeRequest{SessionId: s.Id})
	r.deleted(s.Id)
	sweep := func() bool {
		command := must[[]byte](t)(fsm.EncodeCommand(&logpb.Command{Tenant: uint32(graph.DefaultTenant), Operation: &logpb.Command_Sweep{
			Sweep: &logpb.Sweep{Limit: 2000},
		}}))
		if res := r.log.apply(command); res.Err != nil {
			t.Fatal(res.Err)
		}
		snap := r.log.machine.Store().Snapshot()
		defer snap.Close()
		_, more, err := snap.DoomedTenant()
		return err == nil && more
	}
	if !sweep() {
		t.Fatal("the session is too small to be swept")
	}
	cut := must[*pb.SessionEvent](t)(live.Recv()).Event
	resumed := r.subscribe(&pb.SubscribeRequest{SessionId: s.Id, AfterEventId: cut.Id})
	stream, _ := r.events(&pb.StreamEventsRequest{SessionId: &s.Id, AfterEventId: cut.Id})
	for sweep() {
	}
	want := drain(t, live, s.Id)
	same(t, "subscription", want, drain(t, resumed, s.Id))
	same(t, "stream", want, rest(t, stream))
	if last := want[len(want)-1]; last.Type != pb.EventType_EVENT_TYPE_SESSION_CLOSED {
		t.Errorf("the last event is %v", last)
	}
}
