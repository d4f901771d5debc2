package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Name of the reply header with the newest event at the call.
const lastEventHeader = "memory-graph-last-event"

// verifyWithin bounds what is read of one node.
const verifyWithin = 5 * time.Minute

// Verify holds every node against what the writers know; nobody may write meanwhile. On each node every record that was acknowledged is
// there as it was, and nothing else; counters agree; the events from the first to the last are the same as the watchers were told,
// and each acknowledged change is told in them once.
func (l *Load) Verify(ctx context.Context) error {
	if err := l.Failed(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, verifyWithin)
	defer cancel()
	last, revision, err := l.head(ctx)
	if err != nil {
		return err
	}
	for _, w := range l.watchers {
		if err := w.caughtUp(ctx, last); err != nil {
			return err
		}
	}
	for _, address := range l.config.Addresses() {
		if err := l.verifyNode(ctx, address, last, revision); err != nil {
			return fmt.Errorf("node at %s: %w", address, err)
		}
	}
	return errors.Join(l.verifyEvents(), l.Failed())
}

// head is the newest event, and the revision of the moment, as a majority knows them.
func (l *Load) head(ctx context.Context) (last, revision string, err error) {
	_, err = l.call(ctx, l.config.Reading, func(ctx context.Context, g graph) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := g.StreamEvents(ctx, &pb.StreamEventsRequest{})
		if err != nil {
			return err
		}
		header, err := stream.Header()
		if err == nil && header == nil {
			_, err = stream.Recv()
		}
		last, revision = first(header.Get(lastEventHeader)), first(header.Get(revisionHeader))
		return err
	})
	if err != nil {
		return "", "", fmt.Errorf("%w: StreamEvents: %w", ErrRefused, err)
	}
	if last == "" || revision == "" {
		return "", "", fmt.Errorf("%w: a stream of events begins without %s (%q) or %s (%q)", ErrEvents, lastEventHeader, last, revisionHeader, revision)
	}
	return last, revision, nil
}

// verifyNode reads everything that one node has, at least at that revision.
func (l *Load) verifyNode(ctx context.Context, address, last, revision string) error {
	g, err := l.config.Watching.To(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "memory-graph-consistency", "local", "memory-graph-min-revision", revision))
	defer cancel()
	if err := l.verifyRecords(ctx, g); err != nil {
		return err
	}
	stream, err := g.StreamEvents(ctx, &pb.StreamEventsRequest{FromBeginning: true})
	if err != nil {
		return fmt.Errorf("read all events: %w", err)
	}
	for number, at := 0, ""; at < last; number++ {
		event, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("read all events, %d came: %w", number, err)
		}
		if err := l.feed.take(number, event); err != nil {
			return err
		}
		at = event.GetId()
	}
	return nil
}

// verifyRecords compares all nodes of the graph and the counters.
func (l *Load) verifyRecords(ctx context.Context, g graph) error {
	there := make(map[string]*pb.Node)
	stream, err := g.StreamQuery(ctx, &pb.QueryRequest{})
	for err == nil {
		var node *pb.Node
		if node, err = stream.Recv(); err == nil {
			if there[node.GetId()] != nil {
				return fmt.Errorf("%w: %s comes twice", ErrSurplus, node.GetId())
			}
			there[node.GetId()] = node
		}
	}
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("read everything: %w", err)
	}
	counted, err := g.GetMetrics(ctx, &emptypb.Empty{})
	if err != nil {
		return fmt.Errorf("counters: %w", err)
	}
	if counted.GetTotalNodes() != int64(len(there)) || counted.GetTotalSessions() != int64(len(l.writers)) {
		return fmt.Errorf("%w: %d nodes and %d sessions are counted, %d and %d are there", ErrSurplus,
			counted.GetTotalNodes(), counted.GetTotalSessions(), len(there), len(l.writers))
	}
	var uses int64
	for _, w := range l.writers {
		uses += w.uses
		if err := w.verify(there); err != nil {
			return err
		}
	}
	if got := there[l.template].GetTemplate().GetUsageCount(); got != uses {
		return fmt.Errorf("%w: the template was used %d times, %d were acknowledged", ErrSurplus, got, uses)
	}
	delete(there, l.template)
	for id, node := range there {
		return fmt.Errorf("%w: %d, one is %s: %v", ErrSurplus, len(there), id, node)
	}
	return nil
}

// verify takes what the writer knows out of what is there.
func (w *writer) verify(there map[string]*pb.Node) error {
	if there[w.session] == nil {
		return fmt.Errorf("%w: session %s", ErrLost, w.session)
	}
	delete(there, w.session)
	for id, r := range w.records {
		node := there[id]
		if node == nil {
			return fmt.Errorf("%w: %v %s is not there", ErrLost, r.kind, id)
		}
		if node.GetType() != r.kind || contentOf(node) != r.content || parentOf(node) != r.parent || node.GetSessionId() != w.session {
			return fmt.Errorf("%w: want %v %s %q below %q in %s, got %v", ErrLost, r.kind, id, r.content, r.parent, w.session, node)
		}
		delete(there, id)
	}
	return nil
}

func parentOf(n *pb.Node) string {
	switch data := n.GetNodeData().(type) {
	case *pb.Node_Response:
		return data.Response.GetPromptId()
	case *pb.Node_ToolInvocation:
		return data.ToolInvocation.GetResponseId()
	}
	return ""
}

// change is what one kind of event says of one record.
type change struct {
	kind pb.EventType
	id   string
}

// verifyEvents counts the events of records; those of edges have ids that the server makes.
func (l *Load) verifyEvents() error {
	got := make(map[change]int)
	l.feed.mu.Lock()
	for _, e := range l.feed.events {
		if e.counted() {
			got[change{e.kind, e.about}]++
		}
	}
	l.feed.mu.Unlock()
	want := map[change]int{{pb.EventType_EVENT_TYPE_NODE_CREATED, l.template}: 1}
	for _, w := range l.writers {
		for id := range w.created {
			want[change{pb.EventType_EVENT_TYPE_NODE_CREATED, id}] = 1
		}
		for id := range w.deleted {
			want[change{pb.EventType_EVENT_TYPE_NODE_DELETED, id}] = 1
		}
		if w.register.updates > 0 {
			want[change{pb.EventType_EVENT_TYPE_NODE_UPDATED, w.register.id}] = w.register.updates
		}
		want[change{pb.EventType_EVENT_TYPE_SESSION_CREATED, w.session}] = 1
	}
	for c, n := range want {
		if got[c] != n {
			return fmt.Errorf("%w: %v of %s was told %d times, want %d", ErrEvents, c.kind, c.id, got[c], n)
		}
	}
	for c, n := range got {
		if want[c] == 0 {
			return fmt.Errorf("%w: %v of %s was told %d times, nobody did that", ErrEvents, c.kind, c.id, n)
		}
	}
	return nil
}

// counted events are those that are promised exactly: a session's own node and a use of a template may be told or not.
func (e told) counted() bool {
	switch e.kind {
	case pb.EventType_EVENT_TYPE_EDGE_CREATED, pb.EventType_EVENT_TYPE_EDGE_DELETED:
		return false
	case pb.EventType_EVENT_TYPE_NODE_UPDATED:
		return e.nodeType != "NODE_TYPE_SESSION" && e.nodeType != "NODE_TYPE_TEMPLATE"
	}
	return e.nodeType != "NODE_TYPE_SESSION"
}
