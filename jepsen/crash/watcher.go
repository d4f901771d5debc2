package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	errEvents    = errors.New("events are not one order without gap or duplicate")
	errForgotten = errors.New("events that were told are gone or changed")
)

// watcher follows the events from the first on, resumes after each crash, and never forgets what it was told.
type watcher struct {
	seen []*graphpb.Event
	// imported counts those about records with ids as importers make them.
	imported atomic.Int64
}

func (w *watcher) last() string {
	if len(w.seen) == 0 {
		return ""
	}
	return w.seen[len(w.seen)-1].GetId()
}

// follow reads until the stream breaks.
func (w *watcher) follow(ctx context.Context, graph graphgrpc.MemoryGraphServiceClient) error {
	request := &graphpb.StreamEventsRequest{AfterEventId: w.last(), FromBeginning: w.last() == ""}
	stream, err := graph.StreamEvents(ctx, request)
	for err == nil {
		var event *graphpb.Event
		if event, err = stream.Recv(); err == nil {
			err = w.take(event)
		}
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled:
		return nil
	default:
		return fmt.Errorf("stream of events: %w", err)
	}
}

func (w *watcher) take(event *graphpb.Event) error {
	if event.GetId() <= w.last() || len(event.GetChain()) != 32 {
		return fmt.Errorf("%w: %s with a chain of %d bytes after %s", errEvents, event.GetId(), len(event.GetChain()), w.last())
	}
	w.seen = append(w.seen, event)
	if _, id, err := about(event); err == nil && named(id) {
		w.imported.Add(1)
	}
	return nil
}

// compare holds what was told against all events as they are told now: it must be their beginning. Payloads may have been
// reduced since, ids, types, times and chain may not.
func (w *watcher) compare(all []*graphpb.Event) error {
	if len(all) < len(w.seen) {
		return fmt.Errorf("%w: %d were told, %d are there", errForgotten, len(w.seen), len(all))
	}
	for i, was := range w.seen {
		is := all[i]
		if was.GetId() != is.GetId() || was.GetType() != is.GetType() || !bytes.Equal(was.GetChain(), is.GetChain()) ||
			!was.GetTimestamp().AsTime().Equal(is.GetTimestamp().AsTime()) {
			return fmt.Errorf("%w: number %d was %v and is %v", errForgotten, i, was, is)
		}
	}
	return nil
}
