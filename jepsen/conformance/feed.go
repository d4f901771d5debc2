package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"google.golang.org/grpc"
)

var eventIDShape = regexp.MustCompile(`^([0-9a-f]{8})-([0-9a-f]{16})-[0-9a-f]{8}$`)

// feed is an open stream of events whose headers have arrived: what happens from now on will be on it.
type feed struct {
	// end closes the stream; the end of the test does too.
	end    context.CancelFunc
	stream grpc.ServerStreamingClient[graphpb.Event]
	header metadata.MD
	last   *graphpb.Event
}

func (e *Env) events(t *testing.T, request *graphpb.StreamEventsRequest) *feed {
	t.Helper()
	ctx, cancel := context.WithCancel(open(t))
	stream, err := e.Graph.StreamEvents(ctx, request)
	if err != nil {
		cancel()
		t.Fatalf("stream of events was refused: %v", err)
	}
	header, err := stream.Header()
	if err != nil || len(header) == 0 {
		_, err = stream.Recv()
		cancel()
		t.Fatalf("stream of events was refused: %v", err)
	}
	return &feed{end: cancel, stream: stream, header: header}
}

// next reads one event and holds it against the rules of all events.
func (f *feed) next(t *testing.T) *graphpb.Event {
	t.Helper()
	event := must(f.stream.Recv())(t)
	checkEvent(t, event, f.last)
	f.last = event
	return event
}

// until reads up to and with the first event for which the last one holds.
func (f *feed) until(t *testing.T, last func(*graphpb.Event) bool) []*graphpb.Event {
	t.Helper()
	var all []*graphpb.Event
	for {
		event := f.next(t)
		all = append(all, event)
		if last(event) {
			return all
		}
	}
}

// take reads n events.
func (f *feed) take(t *testing.T, n int) []*graphpb.Event {
	t.Helper()
	var all []*graphpb.Event
	for range n {
		all = append(all, f.next(t))
	}
	return all
}

// checkEvent holds for every event: its id, revision, time, chain and payload are well formed and it comes after the last.
func checkEvent(t *testing.T, event, last *graphpb.Event) {
	t.Helper()
	parts := eventIDShape.FindStringSubmatch(event.GetId())
	if parts == nil {
		t.Fatalf("event id %q does not match %v", event.GetId(), eventIDShape)
	}
	if revision, err := strconv.ParseUint(parts[2], 16, 64); err != nil || revision != event.GetRevision() {
		t.Errorf("event %s says revision %d", event.GetId(), event.GetRevision())
	}
	if event.GetId() <= last.GetId() {
		t.Errorf("event %s comes after %s", event.GetId(), last.GetId())
	}
	if len(event.GetChain()) != 32 {
		t.Errorf("chain of event %s has %d bytes, want 32", event.GetId(), len(event.GetChain()))
	}
	if event.GetType() == graphpb.EventType_EVENT_TYPE_UNSPECIFIED {
		t.Errorf("event %s has no type", event.GetId())
	}
	if !event.GetTimestamp().IsValid() || time.Since(event.GetTimestamp().AsTime()).Abs() > time.Hour {
		t.Errorf("event %s is of %v", event.GetId(), event.GetTimestamp())
	}
	payloadOf(t, event)
}

func payloadOf(t *testing.T, event *graphpb.Event) map[string]any {
	t.Helper()
	var payload map[string]any
	if err := json.Unmarshal([]byte(event.GetPayload()), &payload); err != nil || payload == nil {
		t.Fatalf("payload of event %s is no JSON object: %v: %q", event.GetId(), err, event.GetPayload())
	}
	return payload
}

// lastEvent is the id of the newest event, empty when there is none.
func (e *Env) lastEvent(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := must(e.Graph.StreamEvents(ctx, &graphpb.StreamEventsRequest{}))(t)
	header := must(stream.Header())(t)
	values := header.Get(lastEventHeader)
	if len(values) > 1 || len(header) == 0 {
		t.Fatalf("header %s is %q", lastEventHeader, values)
	}
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// history reads all retained events of the server up to now.
func (e *Env) history(t *testing.T) []*graphpb.Event {
	t.Helper()
	last := e.lastEvent(t)
	if last == "" {
		return nil
	}
	f := e.events(t, &graphpb.StreamEventsRequest{FromBeginning: true})
	defer f.end()
	return f.until(t, func(event *graphpb.Event) bool { return event.GetId() == last })
}

func (e *Env) lineage(t *testing.T) string {
	t.Helper()
	return e.headerOf(t, func(opts ...grpc.CallOption) error {
		_, err := e.Graph.Health(t.Context(), &emptypb.Empty{}, opts...)
		return err
	}, lineageHeader)
}

func eventIDs(events []*graphpb.Event) []string {
	ids := make([]string, len(events))
	for i, event := range events {
		ids[i] = event.GetId()
	}
	return ids
}

// subscription is an open subscription to one session whose headers have arrived.
type subscription struct {
	t       *testing.T
	stream  grpc.ServerStreamingClient[graphpb.SessionEvent]
	header  metadata.MD
	session string
	last    *graphpb.Event
}

func (e *Env) subscribe(t *testing.T, request *graphpb.SubscribeRequest) *subscription {
	t.Helper()
	stream := must(e.Graph.SubscribeToSession(open(t), request))(t)
	header := must(stream.Header())(t)
	if len(header) == 0 {
		_, err := stream.Recv()
		t.Fatalf("subscription was refused: %v", err)
	}
	return &subscription{t: t, stream: stream, header: header, session: request.GetSessionId()}
}

// recv reads one event; io.EOF is the clean end.
func (s *subscription) recv() (*graphpb.Event, error) {
	s.t.Helper()
	m, err := s.stream.Recv()
	if err != nil {
		return nil, err
	}
	wantEqual(s.t, "session of the event", s.session, m.GetSessionId())
	checkEvent(s.t, m.GetEvent(), s.last)
	s.last = m.GetEvent()
	return m.GetEvent(), nil
}

func (s *subscription) next() *graphpb.Event {
	s.t.Helper()
	return must(s.recv())(s.t)
}

func (s *subscription) take(n int) []*graphpb.Event {
	s.t.Helper()
	var all []*graphpb.Event
	for range n {
		all = append(all, s.next())
	}
	return all
}

// rest reads to the clean end.
func (s *subscription) rest() []*graphpb.Event {
	s.t.Helper()
	var all []*graphpb.Event
	for {
		event, err := s.recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		all = append(all, must(event, err)(s.t))
	}
}
