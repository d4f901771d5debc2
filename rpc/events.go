package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// What a follower reads from one snapshot before it lets go of it. Nothing is queued for a slow one: it reads on from the
// store, later.
const (
	maxChunkEvents = 512
	maxChunkBytes  = 1 << 20
	maxChunkRows   = 1 << 14 // those that are not of the wanted types included
)

// StreamEvents streams events of the caller's tenant in their one order.
func (s *Server) StreamEvents(req *pb.StreamEventsRequest, stream grpc.ServerStreamingServer[pb.Event]) error {
	ctx := stream.Context()
	if err := checkEventTypes(req.GetEventTypes()); err != nil {
		return err
	}
	f := &follower{server: s, tenant: tenantOf(ctx), types: req.GetEventTypes()}
	f.send = stream.Send
	session := ""
	if req.SessionId != nil {
		id, err := graph.CheckSessionID("session_id", req.GetSessionId())
		if err != nil {
			return err
		}
		session = id
	}
	if err := f.start(ctx, stream, session, req.GetAfterEventId(), req.GetFromBeginning()); err != nil {
		return err
	}
	return f.follow(ctx)
}

// SubscribeToSession streams the events of a session until it is deleted.
func (s *Server) SubscribeToSession(req *pb.SubscribeRequest, stream grpc.ServerStreamingServer[pb.SessionEvent]) error {
	ctx := stream.Context()
	id, err := graph.CheckSessionID("session_id", req.GetSessionId())
	if err != nil {
		return err
	}
	f := &follower{server: s, tenant: tenantOf(ctx), ends: true}
	f.send = func(e *pb.Event) error { return stream.Send(&pb.SessionEvent{Event: e, SessionId: id}) }
	if err := f.start(ctx, stream, id, req.GetAfterEventId(), req.GetFromBeginning()); err != nil {
		return err
	}
	return f.follow(ctx)
}

func checkEventTypes(types []pb.EventType) error {
	if err := atMost("event_types", len(types), graph.MaxEventTypesInFilter); err != nil {
		return err
	}
	for i, t := range types {
		if _, known := pb.EventType_name[int32(t)]; !known || t == pb.EventType_EVENT_TYPE_UNSPECIFIED {
			return graph.Invalidf(at("event_types", i), "%v is no type of event", t)
		}
	}
	return nil
}

// A follower sends the events after a place to one caller.
type follower struct {
	server *Server
	tenant graph.Tenant
	// session restricts to the events of one, 0 to none.
	session graph.Position
	types   []pb.EventType // empty for all
	// after is the place up to which all was sent.
	after store.EventKey
	// ends says that nothing is sent after the deletion of the session, over that it was sent before.
	ends, over bool
	// send passes an event on.
	send func(*pb.Event) error
}

// start finds the place to begin at, and sends the headers.
func (f *follower) start(ctx context.Context, stream grpc.ServerStream, session, afterID string, fromBeginning bool) error {
	if afterID != "" && fromBeginning {
		return graph.Invalidf("from_beginning", "excludes "+afterField)
	}
	st, err := f.server.readFirst(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	sys := st.System()
	if afterID != "" {
		if f.after, err = parseEventID(afterID, sys.Lineage); err != nil {
			return err
		}
		if f.after.Revision > st.revision {
			return noSuchEventYet(afterID, st.revision)
		}
	}
	created := store.EventKey{}
	if session != "" {
		if created, err = f.restrict(st, session, afterID != ""); err != nil {
			return err
		}
	}
	switch {
	case afterID != "":
	case fromBeginning:
		if session != "" {
			f.after = before(created)
		}
		if f.after.Less(sys.Trimmed) {
			f.after = sys.Trimmed
		}
	default:
		f.after = endOf(st.revision)
	}
	if err := f.retained(st.Snapshot); err != nil {
		return err
	}
	return sendHeaders(stream, st.Snapshot, f.tenant)
}

// restrict restricts the follower to a session, and tells where that was created. A follower that resumes may name one
// that has been deleted since; there is nothing to tell of it after its deletion.
func (f *follower) restrict(st *state, session string, resumes bool) (created store.EventKey, err error) {
	_, rec, missing := sessionOf(st.view, session)
	if missing == nil {
		f.session = rec.Position
		return store.EventKey{Revision: rec.Created, Ordinal: rec.Ordinal}, nil
	}
	var refusal *graph.Error
	if !resumes || !errors.As(missing, &refusal) {
		return store.EventKey{}, missing
	}
	if err := f.retained(st.Snapshot); err != nil {
		return store.EventKey{}, err
	}
	for row, err := range st.Events(f.tenant, before(f.after), 0) {
		if err != nil {
			return store.EventKey{}, err
		}
		stored := &logpb.StoredEvent{}
		if row.Key != f.after || row.Session == 0 {
			break
		}
		if err := proto.Unmarshal(row.Body, stored); err != nil {
			return store.EventKey{}, fmt.Errorf("event %s: %w", eventID(st.System().Lineage, row.Key), err)
		}
		if stored.SessionId != session {
			break
		}
		f.session, f.ends, f.over = row.Session, true, deletes(stored)
		return store.EventKey{}, nil
	}
	return store.EventKey{}, missing
}

// deletes reports the last event of a session.
func deletes(e *logpb.StoredEvent) bool {
	return e.Type == pb.EventType_EVENT_TYPE_SESSION_CLOSED && e.Reason == "deleted"
}

// sendHeaders sends the headers of an event stream at once: a caller that has them misses nothing from there on.
func sendHeaders(stream grpc.ServerStream, snap *store.Snapshot, t graph.Tenant) error {
	last := ""
	key, ok, err := snap.LastEvent(t)
	if err != nil {
		return err
	}
	if ok {
		last = eventID(snap.System().Lineage, key)
	}
	more := metadata.Pairs(headerLastEvent, last)
	if st, ok := innermost(stream).(*serverStream); ok {
		return st.open(more)
	}
	return stream.SendHeader(more)
}

// innermost is the stream under the typed one of a generated handler.
func innermost(stream grpc.ServerStream) grpc.ServerStream {
	switch typed := stream.(type) {
	case *grpc.GenericServerStream[pb.StreamEventsRequest, pb.Event]:
		return typed.ServerStream
	case *grpc.GenericServerStream[pb.SubscribeRequest, pb.SessionEvent]:
		return typed.ServerStream
	default:
		return stream
	}
}

// retained refuses to go on when events after the follower's place were trimmed.
func (f *follower) retained(snap *store.Snapshot) error {
	if !f.after.Less(snap.System().Trimmed) {
		return nil
	}
	oldest, ok, err := snap.FirstEvent(f.tenant)
	if err != nil {
		return err
	}
	if !ok {
		return trimmedEvents("")
	}
	return trimmedEvents(eventID(snap.System().Lineage, oldest))
}

// Followers that stand still keep the chunk that they have read: all of them together no more than so many events.
const (
	maxHeldEvents  = 256 << 10
	minChunkEvents = 8
)

// chunkEvents is how many events one of the followers that there are now may read at a time.
func (s *Server) chunkEvents() int {
	return int(min(max(maxHeldEvents/max(s.following.Load(), 1), minChunkEvents), maxChunkEvents))
}

// follow sends events as they come, until the last one or until the stream ends.
func (f *follower) follow(ctx context.Context) error {
	f.server.following.Add(1)
	defer f.server.following.Add(-1)
	for !f.over {
		changed := f.server.machine.Changed()
		var chunk []*pb.Event
		more, err := false, error(nil)
		if !f.quiet() {
			chunk, more, err = f.chunk()
		}
		if err != nil {
			return err
		}
		for _, e := range chunk {
			if err := f.send(e); err != nil {
				return err
			}
		}
		if f.over {
			return nil
		}
		if more && ctx.Err() == nil {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// quiet moves the follower past events that are all none of its business, if it is so; most commits are, to most followers.
func (f *follower) quiet() bool {
	upTo, quiet := f.server.machine.Store().Quiet(f.after, func(m store.Mark) bool {
		return m.Tenant == f.tenant && (f.session == 0 || m.Session == f.session) && f.shows(m.Type)
	})
	if end := endOf(upTo); quiet && f.after.Less(end) {
		f.after = end
	}
	return quiet
}

// shows reports a type that is wanted, or that ends the stream.
func (f *follower) shows(t pb.EventType) bool {
	return len(f.types) == 0 || slices.Contains(f.types, t) || f.ends && t == pb.EventType_EVENT_TYPE_SESSION_CLOSED
}

// chunk reads the next events from the present state, and moves the follower past them; more says that there are others.
func (f *follower) chunk() (events []*pb.Event, more bool, err error) {
	snap := f.server.machine.Store().Snapshot()
	defer snap.Close()
	if err := snap.Err(); err != nil {
		return nil, false, err
	}
	if err := f.retained(snap); err != nil {
		return nil, false, err
	}
	_, sweeping, err := snap.DoomedTenant()
	if err != nil {
		return nil, false, err
	}
	most := f.server.chunkEvents()
	lineage, view, size, rows := snap.System().Lineage, snap.View(f.tenant), 0, 0
	for row, err := range snap.Events(f.tenant, f.after, f.session) {
		if err != nil {
			return nil, false, err
		}
		if len(events) == most || size > maxChunkBytes || rows == maxChunkRows {
			return events, true, nil
		}
		f.after = row.Key
		rows++
		if f.session != 0 && row.Session != f.session {
			continue
		}
		if !f.shows(row.Type) {
			continue
		}
		wanted := len(f.types) == 0 || slices.Contains(f.types, row.Type)
		stored := &logpb.StoredEvent{}
		if err := proto.Unmarshal(row.Body, stored); err != nil {
			return nil, false, fmt.Errorf("event %s: %w", eventID(lineage, row.Key), err)
		}
		// Only a deletion that is still being swept leaves events with detail that nobody may see.
		if sweeping || stored.Type == pb.EventType_EVENT_TYPE_SESSION_CLOSED {
			if err := graph.Refresh(view, stored); err != nil {
				return nil, false, err
			}
		}
		if wanted {
			size += len(row.Body)
			events = append(events, render(lineage, row.Key, stored))
		}
		if f.over = f.ends && deletes(stored); f.over {
			return events, false, nil
		}
	}
	if end := endOf(fsm.Revision(snap.System())); f.after.Less(end) {
		f.after = end
	}
	return events, false, nil
}

// render is a stored event as callers see it.
func render(lineage uint32, k store.EventKey, e *logpb.StoredEvent) *pb.Event {
	return &pb.Event{
		Id: eventID(lineage, k), Type: e.Type, Timestamp: graph.Timestamp(e.Instant), Payload: graph.EventPayload(e),
		Revision: uint64(k.Revision), Chain: e.Chain,
	}
}
