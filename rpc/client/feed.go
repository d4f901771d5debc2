package client

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A cursor is how far a stream of events has come: what makes the next node go on where the last one ended.
type cursor struct {
	request proto.Message
	// after is the last event that was delivered, or else the newest that there was when the stream began; "" with known when there was none.
	after string
	// known says that after was told; before, a stream that begins with what happens from now on cannot go on elsewhere.
	known bool
}

// newCursor takes a request for events; nil for one that is none.
func newCursor(request any) *cursor {
	switch r := request.(type) {
	case *pb.StreamEventsRequest:
		return &cursor{request: proto.CloneOf(r), after: r.GetAfterEventId(), known: r.GetAfterEventId() != "" || r.GetFromBeginning()}
	case *pb.SubscribeRequest:
		return &cursor{request: proto.CloneOf(r), after: r.GetAfterEventId(), known: r.GetAfterEventId() != "" || r.GetFromBeginning()}
	default:
		return nil
	}
}

// next is the request that goes on where the stream is.
func (c *cursor) next() proto.Message {
	switch r := c.request.(type) {
	case *pb.StreamEventsRequest:
		r.AfterEventId, r.FromBeginning = c.after, c.known && c.after == ""
	case *pb.SubscribeRequest:
		r.AfterEventId, r.FromBeginning = c.after, c.known && c.after == ""
	}
	return c.request
}

// began takes in the headers of a stream: one that begins with what happens from now on learns where that is.
func (c *cursor) began(header metadata.MD) {
	if c.known {
		return
	}
	c.after, c.known = only(header, headerLastEvent)
}

// deliver moves on to an event; false when it was delivered before. Ids sort as text within a lineage, and a stream stays in one.
func (c *cursor) deliver(m any) bool {
	var e *pb.Event
	switch m := m.(type) {
	case *pb.Event:
		e = m
	case *pb.SessionEvent:
		e = m.GetEvent()
	}
	if e.GetId() <= c.after && e.GetId() != "" {
		return false
	}
	c.after, c.known = e.GetId(), true
	return true
}

// revision is that of the last event: a node that is behind it must catch up before it goes on; 0 when there is none.
func (c *cursor) revision() uint64 {
	parts := strings.Split(c.after, "-")
	if len(parts) != 3 {
		return 0
	}
	r, err := strconv.ParseUint(parts[1], 16, 64)
	if err != nil {
		return 0
	}
	return r
}

// atLeast raises the revision that a request asks for.
func atLeast(ctx context.Context, revision uint64) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	if text, ok := only(md, keyMinRevision); ok {
		if given, err := strconv.ParseUint(text, 10, 64); err != nil || given >= revision {
			return ctx
		}
	}
	if revision == 0 {
		return ctx
	}
	md = md.Copy()
	if md == nil {
		md = metadata.MD{}
	}
	md.Set(keyMinRevision, strconv.FormatUint(revision, 10))
	return metadata.NewOutgoingContext(ctx, md)
}
