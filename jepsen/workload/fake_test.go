package workload_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// lie is what a fake does wrong from its thirtieth write on: once where that stays so, else every time, for what it says once may be said
// to somebody who has just gone, or in answer to a read that overlaps a write.
type lie string

const (
	honest       lie = "nothing"
	forgets      lie = "forgets a prompt that it acknowledged"
	changes      lie = "changes a prompt that it acknowledged"
	repeats      lie = "counts a use of the template twice"
	resurrects   lie = "keeps what was deleted"
	readsOld     lie = "reads the value before the last"
	inventsNode  lie = "has a node that nobody made"
	losesEvent   lie = "loses an event"
	doublesEvent lie = "tells an event twice"
	swapsEvents  lie = "tells two events in the other order"
	forksChain   lie = "tells a watcher another chain"
	refuses      lie = "refuses a write"
)

// fake is the graph in memory, on one node, without rules, edges or durability: as much as the load needs, and a lie.
type fake struct {
	graphgrpc.UnimplementedMemoryGraphServiceServer
	lie lie

	mu       sync.Mutex
	grown    chan struct{}
	nodes    map[string]*pb.Node
	before   map[string]*pb.Node
	replies  map[string]proto.Message
	events   []*pb.Event
	sessions int64
	writes   int
	lied     bool
}

// serve listens until the test ends and returns the address.
func (f *fake) serve(t *testing.T) string {
	t.Helper()
	f.grown, f.nodes, f.before, f.replies = make(chan struct{}), map[string]*pb.Node{}, map[string]*pb.Node{}, map[string]proto.Message{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	graphgrpc.RegisterMemoryGraphServiceServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// liesAlways says whether it has come to lies that are told every time.
func (f *fake) liesAlways(about lie) bool { return f.lies(about) || f.lied && f.lie == about }

// hasLied says whether there was an occasion.
func (f *fake) hasLied() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lied
}

// lies says whether now is the time for it.
func (f *fake) lies(about lie) bool {
	if f.lied || f.lie != about || f.writes < 30 {
		return false
	}
	f.lied = true
	return true
}

// once makes a write take effect once for each key.
func once[M proto.Message](ctx context.Context, f *fake, do func() M) (M, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	header, _ := metadata.FromIncomingContext(ctx)
	key := header.Get("idempotency-key")[0]
	f.writes++
	if f.lies(refuses) {
		var none M
		return none, status.Error(codes.Internal, "no")
	}
	if _, known := f.replies[key]; !known {
		f.replies[key] = do()
		close(f.grown)
		f.grown = make(chan struct{})
	}
	return f.replies[key].(M), grpc.SetHeader(ctx, metadata.Pairs("memory-graph-revision", strconv.Itoa(len(f.events))))
}

func (f *fake) tell(kind pb.EventType, nodeType pb.NodeType, id string) {
	if f.lies(losesEvent) {
		return
	}
	number := len(f.events)
	chain := sha256.Sum256([]byte(strconv.Itoa(number)))
	f.events = append(f.events, &pb.Event{
		Id: fmt.Sprintf("00000001-%016x-00000000", number), Type: kind, Timestamp: timestamppb.Now(), Chain: chain[:],
		Payload: fmt.Sprintf(`{"node_id":%q,"node_type":%q}`, id, nodeType),
	})
}

func (f *fake) put(n *pb.Node) {
	kind := pb.EventType_EVENT_TYPE_NODE_CREATED
	if was := f.nodes[n.GetId()]; was != nil {
		kind = pb.EventType_EVENT_TYPE_NODE_UPDATED
		f.before[n.GetId()] = was
	}
	f.tell(kind, n.GetType(), n.GetId())
	if updated := kind == pb.EventType_EVENT_TYPE_NODE_UPDATED; updated || n.GetPrompt() == nil || !f.lies(forgets) {
		f.nodes[n.GetId()] = n
	}
	if f.lies(inventsNode) {
		f.nodes["nobody's"] = &pb.Node{Id: "nobody's", Type: pb.NodeType_NODE_TYPE_AGENT}
	}
}

func (f *fake) newID() string { return fmt.Sprintf("id-%d", f.writes) }

func (f *fake) CreateSession(ctx context.Context, _ *pb.CreateSessionRequest) (*pb.Session, error) {
	return once(ctx, f, func() *pb.Session {
		s := &pb.Session{Id: f.newID()}
		f.sessions++
		f.nodes[s.Id] = &pb.Node{Id: s.Id, Type: pb.NodeType_NODE_TYPE_SESSION, NodeData: &pb.Node_Session{Session: s}}
		f.tell(pb.EventType_EVENT_TYPE_SESSION_CREATED, 0, s.Id)
		return s
	})
}

func (f *fake) CreateTemplate(ctx context.Context, _ *pb.CreateTemplateRequest) (*pb.TemplateNode, error) {
	return once(ctx, f, func() *pb.TemplateNode {
		t := &pb.TemplateNode{Id: f.newID()}
		f.put(&pb.Node{Id: t.Id, Type: pb.NodeType_NODE_TYPE_TEMPLATE, NodeData: &pb.Node_Template{Template: t}})
		return t
	})
}

func (f *fake) addPrompt(session, content string) *pb.PromptNode {
	p := &pb.PromptNode{Id: f.newID(), SessionId: session, Content: content}
	stored := proto.Clone(p).(*pb.PromptNode)
	if f.lies(changes) {
		stored.Content += "!"
	}
	f.put(&pb.Node{Id: p.Id, Type: pb.NodeType_NODE_TYPE_PROMPT, SessionId: session, NodeData: &pb.Node_Prompt{Prompt: stored}})
	return p
}

func (f *fake) AddPrompt(ctx context.Context, q *pb.AddPromptRequest) (*pb.PromptNode, error) {
	return once(ctx, f, func() *pb.PromptNode { return f.addPrompt(q.GetSessionId(), q.GetContent()) })
}

func (f *fake) InstantiateTemplate(ctx context.Context, q *pb.InstantiateTemplateRequest) (*pb.PromptNode, error) {
	return once(ctx, f, func() *pb.PromptNode {
		template := f.nodes[q.GetTemplateId()].GetTemplate()
		template.UsageCount++
		if f.lies(repeats) {
			template.UsageCount++
		}
		return f.addPrompt(q.GetSessionId(), "the same for everybody")
	})
}

func (f *fake) AddResponse(ctx context.Context, q *pb.AddResponseRequest) (*pb.ResponseNode, error) {
	return once(ctx, f, func() *pb.ResponseNode {
		r := &pb.ResponseNode{Id: f.newID(), PromptId: q.GetPromptId(), Content: q.GetContent()}
		f.put(&pb.Node{
			Id: r.Id, Type: pb.NodeType_NODE_TYPE_RESPONSE, SessionId: f.nodes[r.PromptId].GetSessionId(), NodeData: &pb.Node_Response{Response: r},
		})
		return r
	})
}

func (f *fake) BatchCreateNodes(ctx context.Context, q *pb.BatchCreateNodesRequest) (*pb.BatchCreateNodesResponse, error) {
	return once(ctx, f, func() *pb.BatchCreateNodesResponse {
		session := q.GetNodes()[0].GetPrompt().GetSessionId()
		for i, n := range q.GetNodes() {
			n.SessionId = session
			n.Type = []pb.NodeType{pb.NodeType_NODE_TYPE_PROMPT, pb.NodeType_NODE_TYPE_RESPONSE, pb.NodeType_NODE_TYPE_TOOL_INVOCATION}[i]
			f.put(n)
		}
		return &pb.BatchCreateNodesResponse{Nodes: q.GetNodes()}
	})
}

func (f *fake) UpdateNode(ctx context.Context, q *pb.UpdateNodeRequest) (*pb.Node, error) {
	return once(ctx, f, func() *pb.Node {
		n := proto.Clone(f.nodes[q.GetNode().GetId()]).(*pb.Node)
		n.GetPrompt().Content = q.GetNode().GetPrompt().GetContent()
		f.put(n)
		return n
	})
}

func (f *fake) DeleteNode(ctx context.Context, q *pb.DeleteNodeRequest) (*emptypb.Empty, error) {
	return once(ctx, f, func() *emptypb.Empty {
		f.tell(pb.EventType_EVENT_TYPE_NODE_DELETED, f.nodes[q.GetNodeId()].GetType(), q.GetNodeId())
		if !f.lies(resurrects) {
			delete(f.nodes, q.GetNodeId())
		}
		return &emptypb.Empty{}
	})
}

func (f *fake) GetNode(_ context.Context, q *pb.GetNodeRequest) (*pb.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[q.GetNodeId()]
	if n == nil {
		return nil, status.Error(codes.NotFound, "no such node")
	}
	if was := f.before[n.GetId()]; was != nil && f.liesAlways(readsOld) {
		n = was
	}
	return proto.Clone(n).(*pb.Node), nil
}

func (f *fake) StreamQuery(_ *pb.QueryRequest, s grpc.ServerStreamingServer[pb.Node]) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		if err := s.Send(n); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) GetMetrics(context.Context, *emptypb.Empty) (*pb.MetricsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &pb.MetricsResponse{TotalNodes: int64(len(f.nodes)), TotalSessions: f.sessions}, nil
}

func (f *fake) StreamEvents(q *pb.StreamEventsRequest, s grpc.ServerStreamingServer[pb.Event]) error {
	next := f.from(q)
	last := ""
	if next > 0 {
		last = fmt.Sprintf("00000001-%016x-00000000", next-1)
	}
	if err := s.SendHeader(metadata.Pairs("memory-graph-last-event", last, "memory-graph-revision", strconv.Itoa(next))); err != nil {
		return err
	}
	for {
		some, grown := f.after(next)
		for _, e := range some {
			if err := s.Send(e); err != nil {
				return err
			}
		}
		next += f.count(some)
		select {
		case <-grown:
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

// from is the number of the first event that a stream begins with.
func (f *fake) from(q *pb.StreamEventsRequest) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.GetFromBeginning() {
		return 0
	}
	at := slices.IndexFunc(f.events, func(e *pb.Event) bool { return e.GetId() == q.GetAfterEventId() })
	if at < 0 {
		return len(f.events)
	}
	return at + 1
}

// after are the events from a number on, with the lie if it is one of the telling.
func (f *fake) after(next int) ([]*pb.Event, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	some := slices.Clone(f.events[min(next, len(f.events)):])
	switch {
	case len(some) > 0 && f.liesAlways(doublesEvent):
		some = slices.Insert(some, 0, some[0])
	case len(some) > 1 && f.liesAlways(swapsEvents):
		some[0], some[1] = some[1], some[0]
	case len(some) > 0 && next > 0 && f.liesAlways(forksChain): // whoever reads from the beginning is told the truth
		some[0] = proto.Clone(some[0]).(*pb.Event)
		some[0].Chain[0]++
	}
	return some, f.grown
}

// count is how far a stream has come with these.
func (f *fake) count(some []*pb.Event) int {
	seen := make(map[string]bool)
	for _, e := range some {
		seen[e.GetId()] = true
	}
	return len(seen)
}
