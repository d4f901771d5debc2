package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// silent opens a call and sends nothing. It ends when the server ends it.
func (r *rig) silent(ctx context.Context, method string) grpc.ClientStream {
	r.t.Helper()
	return must[grpc.ClientStream](r.t)(r.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method))
}

// TestCallsAreLimited: whatever is open counts, also what has sent nothing yet, and what has ended counts no more.
func TestCallsAreLimited(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxCalls = 3 })
	ctx, cancel := context.WithCancel(r.ctx())
	follower, _ := r.events(&pb.StreamEventsRequest{})
	r.silent(ctx, graphgrpc.MemoryGraphService_GetNode_FullMethodName)
	r.silent(ctx, graphgrpc.GraphTransferService_Import_FullMethodName)
	r.await(func() bool { return r.server.gate.open.Load() == 3 })
	for range 5 {
		err := calling(r.ListSessions, &pb.ListSessionsRequest{})(r.ctx())
		refusedWith(t, err, codes.ResourceExhausted, errTooManyCalls.Error(), "")
		if details := fmt.Sprint(status.Convert(err).Details()); !strings.Contains(details, "OVERLOADED") || !strings.Contains(details, "retry_delay") {
			t.Errorf("the refusal has details %s", details)
		}
	}
	if got := r.metric("memory_graph_grpc_requests_total", "method", "ListSessions", "status", "ResourceExhausted"); got != 5 {
		t.Errorf("%v refusals are counted", got)
	}
	cancel()
	r.await(func() bool { return r.server.gate.open.Load() == 1 })
	s := r.session()
	take(t, follower, 1)
	r.prompt(s.Id, "x")
	r.await(func() bool { return r.server.gate.open.Load() == 1 })
}

// await asks until it is so.
func (r *rig) await(so func() bool) {
	r.t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for ctx := r.ctx(); !so(); <-look.C {
		if ctx.Err() != nil {
			r.t.Fatal("it is never so")
		}
	}
}

// TestCallsThatAskNothingEnd: gRPC would wait for the first message for ever.
func TestCallsThatAskNothingEnd(t *testing.T) {
	r := start(t, func(c *Config) { c.RequestTimeout = 20 * time.Millisecond })
	for _, method := range []string{
		graphgrpc.MemoryGraphService_GetNode_FullMethodName, graphgrpc.MemoryGraphService_StreamQuery_FullMethodName,
		graphgrpc.MemoryGraphService_StreamEvents_FullMethodName, graphgrpc.GraphTransferService_Import_FullMethodName,
	} {
		stream := r.silent(context.Background(), method)
		if err := stream.RecvMsg(&pb.Node{}); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%s: %v", method, err)
		}
	}
	r.await(func() bool { return r.server.gate.open.Load() == 0 })
}

// TestUnaryCallsAreBoundedInTime, also those whose callers are more patient than anybody.
func TestUnaryCallsAreBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(DefaultConfig(), &requestBudget{}, nil)
		g.know(map[string]grpc.ServiceInfo{"s": {Methods: []grpc.MethodInfo{{Name: "Stream", IsServerStream: true}, {Name: "Unary"}}}})
		for _, c := range []struct {
			method       string
			given, least time.Duration
			most         time.Duration
		}{
			{"/s/Unary", 0, DefaultRequestTimeout - time.Second, DefaultRequestTimeout},
			{"/s/Unary", time.Second, 0, time.Second},
			{"/s/Unary", time.Hour, maxUnaryTime - time.Second, maxUnaryTime},
			{"/s/Stream", time.Hour, time.Hour - time.Second, time.Hour},
			{"/s/Stream", 0, 0, 0},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			if c.given > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), c.given)
			}
			got, err := g.admit(ctx, &tap.Info{FullMethodName: c.method})
			if err != nil {
				t.Fatal(err)
			}
			at, bounded := got.Deadline()
			if left := time.Until(at); bounded != (c.most > 0) || bounded && (left < c.least || left > c.most) {
				t.Errorf("%s of a caller who gives it %v: %v left, %v", c.method, c.given, left, bounded)
			}
			cancel()
		}
	})
}

// TestRepliesUnderWayAreBounded: a large reply counts until it is written or dropped; that of a change is not refused.
func TestRepliesUnderWayAreBounded(t *testing.T) {
	r := start(t, func(c *Config) { c.RequestBudget = graph.MaxRequestBytes })
	b := r.server.budget
	page := &pb.Node{Id: strings.Repeat("x", 2*growth-100)}
	read, write := &call{method: "Query"}, &call{method: "BatchCreateNodes"}
	admit := func() context.Context {
		return must[context.Context](t)(r.server.gate.admit(t.Context(), &tap.Info{FullMethodName: "/s/M"}))
	}
	var sent []mem.BufferSlice
	codec := newCodec(b)
	for b.taken.Load()+2*growth <= b.limit {
		reply, err := r.server.afford(admit(), read, page)
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, must[mem.BufferSlice](t)(codec.Marshal(reply)))
	}
	if _, err := r.server.afford(admit(), read, page); !errors.Is(err, errOverBudget) {
		t.Errorf("a reply for which there is no room: %v", err)
	}
	if small, err := r.server.afford(admit(), read, &pb.Node{Id: "x"}); err != nil || small.(*pb.Node).Id != "x" {
		t.Errorf("a small reply: %v, %v", small, err)
	}
	changed, err := r.server.afford(admit(), write, page)
	if err != nil {
		t.Fatal(err)
	}
	if again := new(pb.Node); protobuf.Unmarshal(sent[0].Materialize(), again) != nil || !protobuf.Equal(page, again) {
		t.Error("the reply is another one now")
	}
	for _, s := range sent {
		s.Free()
	}
	if left := b.taken.Load(); left < int64(protobuf.Size(page)) || left > 3*growth {
		t.Errorf("%d bytes are taken for one reply", left)
	}
	runtime.KeepAlive(changed)
	changed = nil
	for b.taken.Load() != 0 {
		runtime.GC() // nobody sends it
	}
}
