package rpc

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// tight makes room for two of the largest requests.
func tight(c *Config) { c.RequestBudget = 2 * graph.MaxRequestBytes }

func (r *rig) wantNothingTaken() {
	r.t.Helper()
	r.await(func() bool { return r.server.budget.taken.Load() == 0 })
}

// huge is a valid request of nearly 4 MiB.
func huge(session string) *pb.BatchCreateNodesRequest {
	req := &pb.BatchCreateNodesRequest{}
	for range 5 {
		req.Nodes = append(req.Nodes, &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
			SessionId: session, Content: strings.Repeat("x", 800_000),
		}}})
	}
	return req
}

// blocked starts a call that is held in the log until release is called.
func (r *rig) blocked(call func(context.Context) error) (release func()) {
	r.t.Helper()
	held, arrived, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	r.log.set(func() { r.log.meddle = func(*logpb.Command) { close(arrived); <-held } })
	go func() { done <- call(r.ctx()) }()
	<-arrived
	return func() {
		close(held)
		if err := <-done; err != nil {
			r.t.Errorf("a call that was let in: %v", err)
		}
		r.log.set(func() { r.log.meddle = nil })
	}
}

// TestRequestsThatAreTooManyBytesAreRefused: at once, so that they can be sent again, while small ones go through.
func TestRequestsThatAreTooManyBytesAreRefused(t *testing.T) {
	r := start(t, tight)
	s := r.session()
	release := r.blocked(calling(r.BatchCreateNodes, huge(s.Id)))
	if !r.server.budget.take(graph.MaxRequestBytes) {
		t.Fatal("there is no room for a second request")
	}
	err := calling(r.BatchCreateNodes, huge(s.Id))(r.ctx())
	refusedWith(t, err, codes.ResourceExhausted, "", "")
	if infoOf(err).Reason != "OVERLOADED" || retryOf(err) <= 0 {
		t.Errorf("refused with %v, retry after %v", infoOf(err), retryOf(err))
	}
	stream := must[grpc.ClientStreamingClient[pb.ImportRequest, pb.ImportResponse]](t)(r.transfer.Import(r.ctx()))
	if err := stream.Send(&pb.ImportRequest{Nodes: huge(s.Id).Nodes}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.CloseAndRecv()
	refusedWith(t, err, codes.ResourceExhausted, "", "")
	if err := calling(r.GetNode, &pb.GetNodeRequest{NodeId: s.Id})(r.ctx(keyConsistency, "local")); err != nil {
		t.Errorf("a small request: %v", err)
	}
	release()
	r.server.budget.release(graph.MaxRequestBytes)
	r.wantNothingTaken()
	if err := calling(r.BatchCreateNodes, huge(s.Id))(r.ctx()); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
	r.wantNothingTaken()
}

// TestManyLargeRequestsAtOnce: each is served or told to come again.
func TestManyLargeRequestsAtOnce(t *testing.T) {
	r := start(t, tight)
	s := r.session()
	var wait sync.WaitGroup
	var mu sync.Mutex
	got := map[codes.Code]int{}
	release := r.blocked(calling(r.BatchCreateNodes, huge(s.Id)))
	const calls = 40
	for range calls {
		wait.Go(func() {
			err := calling(r.AddPrompt, &pb.AddPromptRequest{SessionId: s.Id, Content: strings.Repeat("x", graph.MaxRequestBytes-100)})(r.ctx())
			mu.Lock()
			defer mu.Unlock()
			got[status.Code(err)]++
		})
	}
	wait.Wait()
	release()
	r.wantNothingTaken()
	// The content is over its limit: a request that was let in is invalid.
	if got[codes.InvalidArgument] == 0 || got[codes.InvalidArgument]+got[codes.ResourceExhausted] != calls {
		t.Errorf("%d calls are answered %v", calls, got)
	}
}

// TestWhatIsGivenUpGivesBack: calls that no interceptor hears of, because gRPC refuses them after they have been decoded.
func TestWhatIsGivenUpGivesBack(t *testing.T) {
	r := start(t)
	body := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), strings.Repeat("x", 1_000_000))
	large := &emptypb.Empty{}
	large.ProtoReflect().SetUnknown(body)
	for method, desc := range map[string]*grpc.StreamDesc{
		graphgrpc.MemoryGraphService_AddPrompt_FullMethodName:    {ClientStreams: true},
		graphgrpc.MemoryGraphService_StreamQuery_FullMethodName:  {ClientStreams: true, ServerStreams: true},
		graphgrpc.MemoryGraphService_StreamEvents_FullMethodName: {ClientStreams: true, ServerStreams: true},
	} {
		for range 3 {
			stream, err := r.conn.NewStream(r.ctx(), desc, method)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := stream.SendMsg(large); err != nil {
					break // already refused
				}
			}
			if err := stream.RecvMsg(&emptypb.Empty{}); err == nil {
				t.Errorf("%s with two requests is served", method)
			}
		}
	}
	// A request that does not end is ended by its caller.
	ctx, cancel := context.WithCancel(r.ctx())
	stream, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, graphgrpc.MemoryGraphService_AddPrompt_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(large); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := r.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.wantNothingTaken()
}

// TestOnlyTheLastMessageOfAStreamIsHeld: an import of any length takes as much as its longest chunk.
func TestOnlyTheLastMessageOfAStreamIsHeld(t *testing.T) {
	r := start(t, tight)
	if _, err := r.tell(largeChunk(), largeChunk(), largeChunk(), largeChunk()); err != nil {
		t.Fatal(err)
	}
	r.wantNothingTaken()
	_, err := r.tell(&pb.ImportRequest{Nodes: []*pb.Node{{Id: strings.Repeat("x", 1_000_000)}}})
	refusedWith(t, err, codes.InvalidArgument, "", "nodes[0].node_data")
	r.wantNothingTaken()
}

// largeChunk is a chunk of about 3 MB.
func largeChunk() *pb.ImportRequest {
	req := &pb.ImportRequest{}
	for i := range 800 {
		name := fmt.Sprint("agent-", i)
		req.Nodes = append(req.Nodes, &pb.Node{Id: name, NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{
			Name: name, Metadata: map[string]string{"k": strings.Repeat("v", 4000)},
		}}})
	}
	return req
}

func TestALateMessageHoldsNothing(t *testing.T) {
	b := &requestBudget{limit: 100}
	h := &hold{budget: b}
	if !b.take(60) || b.take(60) {
		t.Error("60 of 100 bytes can be taken once")
	}
	h.change(60)
	h.change(0)
	if !b.take(100) {
		t.Error("what was held is not given back")
	}
	h.end()
	h.change(100)
	if got := b.taken.Load(); got != 0 {
		t.Errorf("%d bytes are taken", got)
	}
}
