package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// fakeServer answers the calls of the client from maps and lists. It does not check requests, fill in defaults, make
// automatic edges, filter by anything but session and type, keep counters, write events, or survive anything; a test that
// needs one of those puts the answer in by hand.
type fakeServer struct {
	graphgrpc.UnimplementedMemoryGraphServiceServer
	graphgrpc.UnimplementedGraphTransferServiceServer
	address string

	mu       sync.Mutex
	next     int
	now      time.Time
	sessions []*pb.Session
	nodes    []*pb.Node
	edges    []*pb.Edge
	events   []*pb.Event
	calls    []string        // methods, in order
	requests []proto.Message // of unary calls, in order
	heard    metadata.MD     // request metadata of the last call
	refuse   map[string]error
	health   pb.HealthResponse_ServingStatus
	// pageSize bounds every page, so that a few records make several.
	pageSize int
	// silent leaves out the header that names the last event.
	silent bool
	// drop ends event streams with UNAVAILABLE after so many events; 0 never.
	drop int
	// added is closed and replaced when an event comes.
	added chan struct{}
}

// startFake serves a fake on a free port until the test ends.
func startFake(t *testing.T) *fakeServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeServer{address: listener.Addr().String(), now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), refuse: make(map[string]error),
		health: pb.HealthResponse_SERVING, pageSize: 1000, added: make(chan struct{})}
	f.serve(t, listener)
	return f
}

func (f *fakeServer) serve(t *testing.T, listener net.Listener) (stop func()) {
	t.Helper()
	server := grpc.NewServer(grpc.UnaryInterceptor(f.unary), grpc.StreamInterceptor(f.stream))
	graphgrpc.RegisterMemoryGraphServiceServer(server, f)
	graphgrpc.RegisterGraphTransferServiceServer(server, f)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			server.Stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// refusing makes one method, and no other, answer with the error.
func (f *fakeServer) refusing(method string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = map[string]error{method: err}
}

func (f *fakeServer) note(ctx context.Context, method string, req proto.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	method = method[strings.LastIndex(method, "/")+1:]
	f.calls = append(f.calls, method)
	if req != nil {
		f.requests = append(f.requests, req)
	}
	f.heard, _ = metadata.FromIncomingContext(ctx)
	return f.refuse[method]
}

func (f *fakeServer) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := f.note(ctx, info.FullMethod, req.(proto.Message)); err != nil {
		return nil, err
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs(keyRevision, "7")); err != nil {
		return nil, err
	}
	return handle(ctx, req)
}

func (f *fakeServer) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := f.note(ss.Context(), info.FullMethod, nil); err != nil {
		return err
	}
	return handle(srv, ss)
}

// last is the request of the last unary call.
func last[M proto.Message](t *testing.T, f *fakeServer) M {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok := f.requests[len(f.requests)-1].(M)
	if !ok {
		t.Fatalf("the last request is %T", f.requests[len(f.requests)-1])
	}
	return m
}

// heardValue is a value of the last call's request metadata.
func (f *fakeServer) heardValue(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.heard.Get(key), ",")
}

func (f *fakeServer) id(prefix string) string {
	f.next++
	return fmt.Sprintf("%s-%d", prefix, f.next)
}

// tick moves the fake's clock by a second.
func (f *fakeServer) tick() *timestamppb.Timestamp {
	f.now = f.now.Add(time.Second)
	return timestamppb.New(f.now)
}

func (f *fakeServer) CreateSession(_ context.Context, req *pb.CreateSessionRequest) (*pb.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.tick()
	s := &pb.Session{Id: f.id("session"), CreatedAt: at, UpdatedAt: at, Metadata: req.Metadata, IsActive: true}
	f.sessions = append(f.sessions, s)
	f.nodes = append(f.nodes, &pb.Node{Id: s.Id, Type: pb.NodeType_NODE_TYPE_SESSION, CreatedAt: at, NodeData: &pb.Node_Session{Session: s}})
	return s, nil
}

func (f *fakeServer) find(id string) (*pb.Session, error) {
	for _, s := range f.sessions {
		if s.Id == id {
			return s, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "Session not found: %s", id)
}

func (f *fakeServer) GetSession(_ context.Context, req *pb.GetSessionRequest) (*pb.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.find(req.SessionId)
}

func (f *fakeServer) CloseSession(_ context.Context, req *pb.CloseSessionRequest) (*pb.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.find(req.SessionId)
	if err == nil {
		s.IsActive = false
	}
	return s, err
}

func (f *fakeServer) DeleteSession(_ context.Context, req *pb.DeleteSessionRequest) (*emptypb.Empty, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.find(req.SessionId)
	f.sessions = slices.DeleteFunc(f.sessions, func(s *pb.Session) bool { return s.Id == req.SessionId })
	return &emptypb.Empty{}, err
}

// cutPage returns one page of a list and the token of the next.
func cutPage[T any](list []T, size int, token string) ([]T, string) {
	from, _ := strconv.Atoi(token)
	to := min(len(list), from+size)
	if to == len(list) {
		return list[from:], ""
	}
	return list[from:to], strconv.Itoa(to)
}

func (f *fakeServer) size(limit int32) int { return min(f.pageSize, cmp.Or(int(limit), 100)) }

func (f *fakeServer) ListSessions(_ context.Context, req *pb.ListSessionsRequest) (*pb.ListSessionsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.sessions)
	slices.Reverse(all)
	page, next := cutPage(all, f.size(req.Limit), req.PageToken)
	return &pb.ListSessionsResponse{Sessions: page, TotalCount: int64(len(all)), NextPageToken: next}, nil
}

func (f *fakeServer) add(n *pb.Node) *pb.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	n.CreatedAt = f.tick()
	n.Id = cmp.Or(n.Id, f.id("node"))
	n.Revision = uint64(f.next)
	f.nodes = append(f.nodes, n)
	return n
}

func (f *fakeServer) CreateNode(_ context.Context, req *pb.CreateNodeRequest) (*pb.Node, error) {
	return f.add(req.Node), nil
}

func (f *fakeServer) BatchCreateNodes(_ context.Context, req *pb.BatchCreateNodesRequest) (*pb.BatchCreateNodesResponse, error) {
	for _, n := range req.Nodes {
		f.add(n)
	}
	return &pb.BatchCreateNodesResponse{Nodes: req.Nodes, CreatedCount: int32(len(req.Nodes))}, nil
}

func (f *fakeServer) node(id string) *pb.Node {
	for _, n := range f.nodes {
		if n.Id == id {
			return n
		}
	}
	return nil
}

func (f *fakeServer) GetNode(_ context.Context, req *pb.GetNodeRequest) (*pb.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.node(req.NodeId); n != nil {
		return n, nil
	}
	return nil, status.Errorf(codes.NotFound, "Node not found: %s", req.NodeId)
}

func (f *fakeServer) BatchGetNodes(_ context.Context, req *pb.BatchGetNodesRequest) (*pb.BatchGetNodesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids, next := cutPage(req.NodeIds, f.pageSize, req.PageToken)
	answer := &pb.BatchGetNodesResponse{NextPageToken: next}
	for _, id := range ids {
		if n := f.node(id); n != nil {
			answer.Nodes = append(answer.Nodes, n)
		}
	}
	return answer, nil
}

func (f *fakeServer) UpdateNode(_ context.Context, req *pb.UpdateNodeRequest) (*pb.Node, error) {
	return req.Node, nil
}

func (f *fakeServer) DeleteNode(context.Context, *pb.DeleteNodeRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (f *fakeServer) CreateEdge(_ context.Context, req *pb.CreateEdgeRequest) (*pb.Edge, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	req.Edge.Id, req.Edge.CreatedAt = cmp.Or(req.Edge.Id, f.id("edge")), f.tick()
	f.edges = append(f.edges, req.Edge)
	return req.Edge, nil
}

func (f *fakeServer) GetEdges(_ context.Context, req *pb.GetEdgesRequest) (*pb.GetEdgesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []*pb.Edge
	for _, e := range f.edges {
		out, in := e.FromNodeId == req.NodeId, e.ToNodeId == req.NodeId
		switch req.GetDirection() {
		case pb.EdgeDirection_EDGE_DIRECTION_INCOMING:
			out = false
		case pb.EdgeDirection_EDGE_DIRECTION_BOTH:
		default:
			in = false
		}
		if (out || in) && (req.Type == nil || req.GetType() == e.Type) {
			found = append(found, e)
		}
	}
	page, next := cutPage(found, f.pageSize, req.PageToken)
	return &pb.GetEdgesResponse{Edges: page, NextPageToken: next}, nil
}

func (f *fakeServer) DeleteEdge(context.Context, *pb.DeleteEdgeRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (f *fakeServer) matches(req *pb.QueryRequest) []*pb.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []*pb.Node
	for _, n := range slices.Backward(f.nodes) {
		of := req.SessionId == nil || n.SessionId == req.GetSessionId() || n.Id == req.GetSessionId()
		if of && (req.NodeType == nil || n.Type == req.GetNodeType()) {
			found = append(found, n)
		}
	}
	return found
}

func (f *fakeServer) Query(_ context.Context, req *pb.QueryRequest) (*pb.QueryResponse, error) {
	all := f.matches(req)
	page, next := cutPage(all, f.size(req.Limit), req.PageToken)
	answer := &pb.QueryResponse{Nodes: page, NextPageToken: next}
	if !req.SkipTotal {
		answer.TotalCount = int64(len(all))
	}
	return answer, nil
}

func (f *fakeServer) StreamQuery(req *pb.QueryRequest, stream grpc.ServerStreamingServer[pb.Node]) error {
	if err := stream.SendHeader(metadata.Pairs(keyRevision, "8")); err != nil {
		return err
	}
	for _, n := range f.matches(req) {
		if err := stream.Send(n); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeServer) AddPrompt(_ context.Context, req *pb.AddPromptRequest) (*pb.PromptNode, error) {
	p := &pb.PromptNode{SessionId: req.SessionId, Content: req.Content, Metadata: req.Metadata}
	n := f.add(&pb.Node{Type: pb.NodeType_NODE_TYPE_PROMPT, SessionId: req.SessionId, NodeData: &pb.Node_Prompt{Prompt: p}})
	p.Id, p.Timestamp = n.Id, n.CreatedAt
	return p, nil
}

func (f *fakeServer) AddResponse(_ context.Context, req *pb.AddResponseRequest) (*pb.ResponseNode, error) {
	r := &pb.ResponseNode{PromptId: req.PromptId, Content: req.Content, TokenUsage: req.TokenUsage, Metadata: req.Metadata}
	n := f.add(&pb.Node{Type: pb.NodeType_NODE_TYPE_RESPONSE, NodeData: &pb.Node_Response{Response: r}})
	r.Id, r.Timestamp = n.Id, n.CreatedAt
	return r, nil
}

func (f *fakeServer) AddToolInvocation(_ context.Context, req *pb.AddToolInvocationRequest) (*pb.ToolInvocationNode, error) {
	n := f.add(&pb.Node{Type: pb.NodeType_NODE_TYPE_TOOL_INVOCATION, NodeData: &pb.Node_ToolInvocation{ToolInvocation: req.ToolInvocation}})
	req.ToolInvocation.Id = n.Id
	return req.ToolInvocation, nil
}

func (f *fakeServer) CreateTemplate(_ context.Context, req *pb.CreateTemplateRequest) (*pb.TemplateNode, error) {
	n := f.add(&pb.Node{Type: pb.NodeType_NODE_TYPE_TEMPLATE, NodeData: &pb.Node_Template{Template: req.Template}})
	req.Template.Id = n.Id
	return req.Template, nil
}

func (f *fakeServer) InstantiateTemplate(ctx context.Context, req *pb.InstantiateTemplateRequest) (*pb.PromptNode, error) {
	return f.AddPrompt(ctx, &pb.AddPromptRequest{SessionId: req.SessionId, Content: fmt.Sprint(req.VariableValues)})
}

// happen adds an event of a session's node, and returns its id.
func (f *fakeServer) happen(t pb.EventType, payload string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := &pb.Event{Id: fmt.Sprintf("0000abcd-%016x-00000000", len(f.events)+1), Type: t, Timestamp: f.tick(), Payload: payload, Revision: uint64(len(f.events) + 1)}
	f.events = append(f.events, e)
	close(f.added)
	f.added = make(chan struct{})
	return e.Id
}

// since returns the events behind an id, and what is closed when there are more.
func (f *fakeServer) since(id string) ([]*pb.Event, <-chan struct{}, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := ""
	var behind []*pb.Event
	for _, e := range f.events {
		last = e.Id
		if e.Id > id {
			behind = append(behind, e)
		}
	}
	return behind, f.added, last
}

func (f *fakeServer) StreamEvents(req *pb.StreamEventsRequest, stream grpc.ServerStreamingServer[pb.Event]) error {
	_, _, last := f.since("")
	header := metadata.Pairs(keyRevision, "9")
	if !f.silent {
		header.Set(keyLastEvent, last)
	}
	if err := stream.SendHeader(header); err != nil {
		return err
	}
	at := req.AfterEventId
	if at == "" && !req.FromBeginning {
		at = last
	}
	for sent := 0; ; {
		events, more, _ := f.since(at)
		for _, e := range events {
			if f.drop > 0 && sent == f.drop {
				return status.Error(codes.Unavailable, "going away")
			}
			if err := stream.Send(e); err != nil {
				return err
			}
			at = e.Id
			sent++
		}
		select {
		case <-more:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (f *fakeServer) Health(context.Context, *emptypb.Empty) (*pb.HealthResponse, error) {
	return &pb.HealthResponse{Status: f.health, Version: "1.2.3", UptimeSeconds: 90}, nil
}

func (f *fakeServer) GetMetrics(context.Context, *emptypb.Empty) (*pb.MetricsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &pb.MetricsResponse{TotalNodes: int64(len(f.nodes)), TotalEdges: int64(len(f.edges)), TotalSessions: int64(len(f.sessions)),
		ActiveSessions: 1, AvgWriteLatencyMs: 1.5, AvgReadLatencyMs: 0.25, RequestsPerSecond: 3}, nil
}

func (f *fakeServer) Import(stream grpc.ClientStreamingServer[pb.ImportRequest, pb.ImportResponse]) error {
	answer := &pb.ImportResponse{}
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(answer)
		}
		if err != nil {
			return err
		}
		f.take(chunk, answer)
	}
}

func (f *fakeServer) take(chunk *pb.ImportRequest, answer *pb.ImportResponse) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range chunk.Nodes {
		if f.node(n.Id) != nil {
			answer.NodesUnchanged++
			continue
		}
		answer.NodesCreated++
		f.nodes = append(f.nodes, n)
		if s := n.GetSession(); s != nil {
			f.sessions = append(f.sessions, s)
		}
	}
	for _, e := range chunk.Edges {
		if slices.ContainsFunc(f.edges, func(old *pb.Edge) bool { return old.Id == e.Id }) {
			answer.EdgesUnchanged++
			continue
		}
		answer.EdgesCreated++
		f.edges = append(f.edges, e)
	}
}
