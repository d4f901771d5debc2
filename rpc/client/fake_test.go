package client_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/client"
)

const lineage = "0000abcd"

// A fakeCluster is one graph that several nodes show, each as far as it has come. It knows sessions, events and idempotency keys.
// It checks nothing, forgets no key, and its nodes agree by sharing memory.
type fakeCluster struct {
	t     *testing.T
	nodes map[string]*fakeNode

	mu       sync.Mutex
	lineage  string
	sessions []*pb.Session
	events   []*pb.Event
	// keyed are the sessions that a key has made.
	keyed map[string]*pb.Session
	// trimmed is how many events are no longer kept.
	trimmed int
	// added is closed and replaced when something comes.
	added chan struct{}
}

// A fakeNode is one server of it, on a network that is memory. It can be killed, started, frozen and told what to answer.
type fakeNode struct {
	graphgrpc.UnimplementedMemoryGraphServiceServer
	graphgrpc.UnimplementedGraphTransferServiceServer
	grpc_health_v1.UnimplementedHealthServer
	*fakeCluster
	name string

	// The rest is guarded by fakeCluster.mu.

	server   *grpc.Server
	listener *bufconn.Listener
	// frozen takes connections and says nothing: closed to go on.
	frozen chan struct{}
	// unhealthy says NOT_SERVING.
	unhealthy bool
	// behind is how many events it has not applied yet.
	behind int
	// refuse is asked before each call; lose after it has taken effect.
	refuse, lose func(method string) error
	// calls are the methods, heard the metadata of the calls, in order.
	calls []string
	heard []metadata.MD
	// breakAfter ends a stream of events after so many; 0 never.
	breakAfter int
	// breakWith is how; nil for the word of a node that goes down.
	breakWith error
}

// newFake makes a cluster of nodes with these names and starts them.
func newFake(t *testing.T, names ...string) *fakeCluster {
	t.Helper()
	f := &fakeCluster{t: t, nodes: map[string]*fakeNode{}, lineage: lineage, keyed: map[string]*pb.Session{}, added: make(chan struct{})}
	for _, name := range names {
		f.nodes[name] = &fakeNode{fakeCluster: f, name: name}
		f.nodes[name].start()
	}
	t.Cleanup(func() {
		for _, n := range f.nodes {
			n.thaw()
			n.kill()
		}
	})
	return f
}

// start serves.
func (n *fakeNode) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener = bufconn.Listen(1 << 16)
	n.server = grpc.NewServer(grpc.UnaryInterceptor(n.unary), grpc.StreamInterceptor(n.stream),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}))
	graphgrpc.RegisterMemoryGraphServiceServer(n.server, n)
	graphgrpc.RegisterGraphTransferServiceServer(n.server, n)
	grpc_health_v1.RegisterHealthServer(n.server, n)
	go func(s *grpc.Server, l net.Listener) { _ = s.Serve(l) }(n.server, n.listener)
}

// kill ends all connections at once.
func (n *fakeNode) kill() {
	n.mu.Lock()
	server := n.server
	n.server, n.listener = nil, nil
	n.mu.Unlock()
	if server != nil {
		server.Stop()
	}
}

// freeze makes the node take everything and say nothing, like a stopped process.
func (n *fakeNode) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen = make(chan struct{})
}

func (n *fakeNode) thaw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen != nil {
		close(n.frozen)
		n.frozen = nil
	}
}

func (n *fakeNode) ice() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.frozen
}

// set changes the node under the lock of the cluster.
func (n *fakeNode) set(change func(*fakeNode)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
	n.wakeLocked()
}

func (f *fakeCluster) wakeLocked() {
	close(f.added)
	f.added = make(chan struct{})
}

// A frozenConn says nothing while its node is frozen.
type frozenConn struct {
	net.Conn
	node   *fakeNode
	closed chan struct{}
	once   *sync.Once
}

func (c frozenConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c frozenConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if ice := c.node.ice(); ice != nil {
		select {
		case <-ice:
		case <-c.closed:
		}
	}
	return n, err
}

// dial is the network.
func (f *fakeCluster) dial(ctx context.Context, address string) (net.Conn, error) {
	f.mu.Lock()
	n := f.nodes[address]
	if n == nil || n.listener == nil {
		f.mu.Unlock()
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	listener := n.listener
	f.mu.Unlock()
	conn, err := listener.DialContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return frozenConn{conn, n, make(chan struct{}), &sync.Once{}}, nil
}

// client dials the nodes.
func (f *fakeCluster) client(change ...func(*client.Config)) *client.Client {
	f.t.Helper()
	cfg := client.Config{Dialer: f.dial}
	for _, c := range change {
		c(&cfg)
	}
	var addresses []string
	for name := range f.nodes {
		addresses = append(addresses, name)
	}
	slices.Sort(addresses)
	c, err := cfg.Dial(addresses...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return c
}

// answer is an error as servers of ours make them.
func answer(code codes.Code, reason string, retry time.Duration, meta ...string) error {
	info := &errdetails.ErrorInfo{Domain: "memory-graph", Reason: reason, Metadata: map[string]string{}}
	for i := 0; i+1 < len(meta); i += 2 {
		info.Metadata[meta[i]] = meta[i+1]
	}
	s, err := status.New(code, reason).WithDetails(info)
	if err == nil && retry > 0 {
		s, err = s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}
	if err != nil {
		panic(err)
	}
	return s.Err()
}

// note records a call, and returns what is to go wrong with it.
func (n *fakeNode) note(ctx context.Context, method string) (refuse, lose error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	if method != "/grpc.health.v1.Health/Check" && method != "/grpc.health.v1.Health/Watch" {
		n.calls, n.heard = append(n.calls, method), append(n.heard, md)
		if n.refuse != nil {
			refuse = n.refuse(method)
		}
		if n.lose != nil {
			lose = n.lose(method)
		}
	}
	return refuse, lose
}

// told are the calls that the node has heard, and the metadata of the last.
func (n *fakeNode) told() (calls int, last metadata.MD) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.heard) > 0 {
		last = n.heard[len(n.heard)-1]
	}
	return len(n.calls), last
}

func (n *fakeNode) headers() metadata.MD {
	n.mu.Lock()
	defer n.mu.Unlock()
	return metadata.Pairs("memory-graph-revision", fmt.Sprint(len(n.events)-n.behind), "memory-graph-lineage", n.lineage)
}

func (n *fakeNode) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	refuse, lose := n.note(ctx, info.FullMethod)
	var reply any
	err := refuse
	if err == nil {
		err = n.reach(ctx)
	}
	if err == nil {
		reply, err = handle(ctx, req)
	}
	if err == nil {
		err = lose
	}
	if header := grpc.SetHeader(ctx, n.headers()); header != nil {
		return nil, header
	}
	return reply, err
}

func (n *fakeNode) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if refuse, _ := n.note(ss.Context(), info.FullMethod); refuse != nil {
		return refuse
	}
	if err := n.reach(ss.Context()); err != nil {
		return err
	}
	return handle(srv, ss)
}

// reach waits until the node has the revision that a call asks for.
func (n *fakeNode) reach(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	want := 0
	for _, v := range md.Get("memory-graph-min-revision") {
		if _, err := fmt.Sscan(v, &want); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
	}
	for {
		n.mu.Lock()
		have, added := len(n.events)-n.behind, n.added
		n.mu.Unlock()
		if have >= want {
			return nil
		}
		select {
		case <-added:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

func (n *fakeNode) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func (n *fakeNode) Watch(_ *grpc_health_v1.HealthCheckRequest, stream grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	for told := grpc_health_v1.HealthCheckResponse_UNKNOWN; ; {
		n.mu.Lock()
		now, added := grpc_health_v1.HealthCheckResponse_SERVING, n.added
		if n.unhealthy {
			now = grpc_health_v1.HealthCheckResponse_NOT_SERVING
		}
		n.mu.Unlock()
		if now != told {
			told = now
			if err := stream.Send(&grpc_health_v1.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
		}
		select {
		case <-added:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// happenLocked adds an event.
func (f *fakeCluster) happenLocked(payload string) {
	revision := len(f.events) + 1
	f.events = append(f.events, &pb.Event{Id: fmt.Sprintf("%s-%016x-00000000", f.lineage, revision), Payload: payload, Revision: uint64(revision)})
	f.wakeLocked()
}

// happen adds events.
func (f *fakeCluster) happen(count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range count {
		f.happenLocked("")
	}
}

func (n *fakeNode) CreateSession(ctx context.Context, req *pb.CreateSessionRequest) (*pb.Session, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	key := md.Get("idempotency-key")
	if len(key) == 1 && n.keyed[key[0]] != nil {
		return n.keyed[key[0]], nil
	}
	s := &pb.Session{Id: fmt.Sprintf("s%d", len(n.sessions)+1), Metadata: req.GetMetadata()}
	n.sessions = append(n.sessions, s)
	n.happenLocked(s.Id)
	if len(key) == 1 {
		n.keyed[key[0]] = s
	}
	return s, nil
}

// GetSession finds a session among those that the node has applied.
func (n *fakeNode) GetSession(_ context.Context, req *pb.GetSessionRequest) (*pb.Session, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sessions[:max(len(n.sessions)-n.behind, 0)] {
		if s.Id == req.GetSessionId() {
			return s, nil
		}
	}
	return nil, answer(codes.NotFound, "NOT_FOUND", 0)
}

func (n *fakeNode) Health(context.Context, *emptypb.Empty) (*pb.HealthResponse, error) {
	return &pb.HealthResponse{Status: pb.HealthResponse_SERVING}, nil
}

func (n *fakeNode) Query(_ context.Context, req *pb.QueryRequest) (*pb.QueryResponse, error) {
	at := 0
	if req.GetPageToken() != "" {
		if _, err := fmt.Sscan(req.GetPageToken(), &at); err != nil {
			return nil, err
		}
	}
	reply := &pb.QueryResponse{Nodes: []*pb.Node{{Id: fmt.Sprint(at)}}}
	if at < 9 {
		reply.NextPageToken = fmt.Sprint(at + 1)
	}
	return reply, nil
}

// StreamQuery sends nodes until it breaks.
func (n *fakeNode) StreamQuery(_ *pb.QueryRequest, stream grpc.ServerStreamingServer[pb.Node]) error {
	for i := range 5 {
		n.mu.Lock()
		over := n.breakAfter > 0 && i == n.breakAfter
		n.mu.Unlock()
		if over {
			return answer(codes.Unavailable, "STOPPING", 0)
		}
		if err := stream.Send(&pb.Node{Id: fmt.Sprint(i)}); err != nil {
			return err
		}
	}
	return nil
}

func (n *fakeNode) Import(stream grpc.ClientStreamingServer[pb.ImportRequest, pb.ImportResponse]) error {
	for done := int64(0); ; done++ {
		if _, err := stream.Recv(); err != nil {
			return stream.SendAndClose(&pb.ImportResponse{NodesCreated: done})
		}
	}
}

func (n *fakeNode) SubscribeToSession(req *pb.SubscribeRequest, stream grpc.ServerStreamingServer[pb.SessionEvent]) error {
	return n.feed(stream, req.GetAfterEventId(), req.GetFromBeginning(), func(e *pb.Event) error {
		return stream.Send(&pb.SessionEvent{Event: e, SessionId: req.GetSessionId()})
	})
}

func (n *fakeNode) StreamEvents(req *pb.StreamEventsRequest, stream grpc.ServerStreamingServer[pb.Event]) error {
	return n.feed(stream, req.GetAfterEventId(), req.GetFromBeginning(), stream.Send)
}

// feed sends the events that the node has applied, as servers of ours do.
func (n *fakeNode) feed(stream grpc.ServerStream, after string, beginning bool, send func(*pb.Event) error) error {
	n.mu.Lock()
	at, last := len(n.events)-n.behind, ""
	if at > 0 {
		last = n.events[at-1].Id
	}
	if beginning {
		at = n.trimmed
	}
	header := metadata.Pairs("memory-graph-revision", fmt.Sprint(len(n.events)-n.behind), "memory-graph-lineage", n.lineage, "memory-graph-last-event", last)
	var err error
	if after != "" {
		var place uint64
		if _, e := fmt.Sscanf(after[9:25], "%x", &place); e != nil {
			err = e
		}
		at = int(place)
		switch {
		case after[:8] != n.lineage:
			err = answer(codes.FailedPrecondition, "LINEAGE_CHANGED", 0, "lineage", n.lineage)
		case at > len(n.events)-n.behind:
			err = answer(codes.OutOfRange, "EVENT_NOT_YET", 0)
		case at < n.trimmed:
			err = answer(codes.OutOfRange, "EVENTS_TRIMMED", 0, "oldest_event_id", n.events[n.trimmed].Id)
		}
	}
	n.mu.Unlock()
	if err == nil {
		err = stream.SendHeader(header)
	}
	if err != nil {
		return err
	}
	return n.follow(stream.Context(), at, send)
}

func (n *fakeNode) follow(ctx context.Context, at int, send func(*pb.Event) error) error {
	for sent := 0; ; {
		n.mu.Lock()
		applied, added := n.events[:max(len(n.events)-n.behind, 0)], n.added
		over, with := n.breakAfter > 0 && sent >= n.breakAfter, n.breakWith
		n.mu.Unlock()
		if over {
			return cmp.Or(with, answer(codes.Unavailable, "STOPPING", time.Second))
		}
		if at < len(applied) {
			if err := send(applied[at]); err != nil {
				return err
			}
			at++
			sent++
			continue
		}
		select {
		case <-added:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// as finds the error of the client.
func as(t *testing.T, err error) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %T: %v", err, err)
	}
	return e
}
