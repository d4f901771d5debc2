package client

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// A Causal is a line of calls in which each sees what those before it have written or seen, whichever nodes they went to: it
// remembers the highest revision of the replies, and asks every node to have reached it. With Local reads that gives the speed of any
// node without ever going back in time. It is safe for concurrent use and holds nothing that has to be closed.
type Causal struct {
	client *Client

	mu sync.Mutex
	// at is the highest revision that was seen of the lineage; since is when that lineage was first seen.
	lineage string
	at      uint64
	since   time.Time
	// doubt says that a call has waited in vain: perhaps the graph is another one, which never comes to that revision.
	doubt bool
}

var _ grpc.ClientConnInterface = (*Causal)(nil)

// Causal begins a line of calls.
func (c *Client) Causal() *Causal { return &Causal{client: c} }

// CausalAfter begins a line of calls after what another has seen, by its [Causal.Token]; "" is nothing.
func (c *Client) CausalAfter(token string) (*Causal, error) {
	line := c.Causal()
	if token == "" {
		return line, nil
	}
	lineage, revision, ok := strings.Cut(token, "-")
	at, err := strconv.ParseUint(revision, 16, 64)
	if !ok || err != nil || len(lineage) != 8 || len(revision) != 16 {
		return nil, fmt.Errorf("client: %q is no token of a line of calls", token)
	}
	line.lineage, line.at, line.since = lineage, at, time.Now()
	return line, nil
}

// Token tells how much the line has seen, to go on in another process: `<lineage>-<revision>`, both hexadecimal; "" for nothing.
func (l *Causal) Token() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lineage == "" {
		return ""
	}
	return fmt.Sprintf("%s-%016x", l.lineage, l.at)
}

// Graph is the stub of MemoryGraphService whose calls are part of the line.
func (l *Causal) Graph() graphgrpc.MemoryGraphServiceClient {
	return graphgrpc.NewMemoryGraphServiceClient(l)
}

// Transfer is the stub of GraphTransferService whose calls are part of the line.
func (l *Causal) Transfer() graphgrpc.GraphTransferServiceClient {
	return graphgrpc.NewGraphTransferServiceClient(l)
}

// Invoke makes one unary call. Generated stubs call it.
func (l *Causal) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	if l.doubtful() {
		// Health waits for no revision, and its reply tells of which lineage the graph is.
		_, _ = l.client.Graph().Health(ctx, &emptypb.Empty{}, option{set: func(s *settings) { s.tell = l }})
	}
	err := l.client.invoke(ctx, method, args, reply, options, l)
	if status.Code(err) == codes.DeadlineExceeded {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.doubt = true
	}
	return err
}

// doubtful reports a doubt, once.
func (l *Causal) doubtful() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	doubt := l.doubt
	l.doubt = false
	return doubt
}

// NewStream begins a stream. Generated stubs call it.
func (l *Causal) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	return l.client.newStream(ctx, desc, method, options, l)
}

// revision is what a node must have reached; 0 for a nil line.
func (l *Causal) revision() uint64 {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// note takes in the headers of a reply to a request that was sent at the given time.
func (l *Causal) note(header metadata.MD, sent time.Time) {
	if l == nil {
		return
	}
	text, _ := only(header, headerRevision)
	lineage, ok := only(header, headerLineage)
	at, err := strconv.ParseUint(text, 10, 64)
	if err != nil || !ok {
		return // a reply of gRPC itself, or of another server
	}
	l.saw(lineage, at, sent)
}

// saw takes in a revision. Revisions of a new lineage lie above those of the one that it continues; when they do not, the graph is
// another one, and is believed if it was asked after the present one was first seen: else an old reply that comes late would win.
func (l *Causal) saw(lineage string, at uint64, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case lineage == l.lineage:
		l.at = max(l.at, at)
	case at > l.at || sent.After(l.since):
		l.lineage, l.at, l.since = lineage, at, time.Now()
	}
}
