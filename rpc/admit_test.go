package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

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
}

// TestRepliesUnderWayAreBounded: a large reply counts until its call has ended, that of a change on the account of its request.
func TestRepliesUnderWayAreBounded(t *testing.T) {
	b := &requestBudget{limit: 5 * growth}
	g := newGate(DefaultConfig(), b, nil)
	page := &pb.Node{Id: strings.Repeat("x", 2*growth-100)}
	admit := func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		return must[context.Context](t)(g.admit(ctx, &tap.Info{FullMethodName: "/s/M"})), cancel
	}
	read, write := &call{method: "Query"}, &call{method: "BatchCreateNodes"}
	first, endFirst := admit()
	second, endSecond := admit()
	third, endThird := admit()
	defer endThird()
	for _, ctx := range []context.Context{first, second} {
		if err := afford(ctx, read, page); err != nil {
			t.Error(err)
		}
	}
	for c, want := range map[*call]error{read: errOverBudget, write: nil} {
		if err := afford(third, c, page); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", c.method, err, want)
		}
	}
	if err := afford(third, read, &pb.Node{Id: "x"}); err != nil {
		t.Errorf("a small reply: %v", err)
	}
	if err := afford(first, read, &pb.Node{}); err != nil || b.taken.Load() > 2*growth {
		t.Errorf("%v: %d bytes are taken after a reply became small", err, b.taken.Load())
	}
	endFirst()
	endSecond()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for b.taken.Load() != 0 {
		<-look.C
	}
}
