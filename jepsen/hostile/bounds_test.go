package hostile_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/hostile"
	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// client is one connection of its own.
func client(t *testing.T, node *cluster.Node) graphgrpc.MemoryGraphServiceClient {
	t.Helper()
	conn, err := node.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return graphgrpc.NewMemoryGraphServiceClient(conn)
}

func call(t *testing.T, g graphgrpc.MemoryGraphServiceClient, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	_, err := g.ListSessions(ctx, &graphpb.ListSessionsRequest{}, grpc.WaitForReady(true))
	return err
}

// TestConnectionsWaitForTheirTurn: one more than GRPC_MAX_CONNECTIONS is served when another has gone.
func TestConnectionsWaitForTheirTurn(t *testing.T) {
	node := start(t, "--max-connections", "2")
	idle, err := hostile.Connect(t.Context(), node.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := call(t, client(t, node), patience); err != nil {
		t.Fatal(err)
	}
	third := client(t, node)
	if err := call(t, third, 300*time.Millisecond); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a connection too many: %v", err)
	}
	_ = idle.Close()
	if err := call(t, third, patience); err != nil {
		t.Error(err)
	}
}

// TestAnAddressHasItsShare of the connections, when it is given one; more are closed at once.
func TestAnAddressHasItsShare(t *testing.T) {
	node := start(t, "--max-connections-per-address", "1")
	if err := call(t, client(t, node), patience); err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", node.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("a second connection: %v", err)
	}
}

// TestIdleConnectionsEnd, when they are told to, and those of dead ends by their age.
func TestIdleConnectionsEnd(t *testing.T) {
	for _, flag := range []string{"--max-connection-idle", "--max-connection-age"} {
		node := start(t, flag, "200ms")
		p, err := hostile.Connect(t.Context(), node.Address(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		await(t, func() bool { return p.Frames(hostile.GoAway) > 0 }, "a connection is told to go")
	}
}

// TestClientsThatPingTooOftenAreToldToGo: keepalive is enforced.
func TestClientsThatPingTooOftenAreToldToGo(t *testing.T) {
	node := start(t)
	p, err := hostile.Connect(t.Context(), node.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 10 {
		if p.Send(hostile.Ping, 0, 0, make([]byte, 8)) != nil {
			break
		}
	}
	await(t, func() bool { return gone(p) }, "it is gone")
	if p.Frames(hostile.GoAway) == 0 {
		t.Error("it was not told why")
	}
}

// TestDeadPeersAreFound: who answers no ping is closed, in a minute and a half. Only where MEMORY_GRAPH_HOSTILE_MESSAGES asks for the
// long form.
func TestDeadPeersAreFound(t *testing.T) {
	if os.Getenv(messagesVariable) == "" {
		t.Skip("takes 80 seconds: set " + messagesVariable)
	}
	node := start(t)
	p, err := hostile.Connect(t.Context(), node.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	select {
	case <-p.Gone():
	case <-time.After(2 * time.Minute):
		t.Fatal("a peer that answers no ping keeps its connection")
	}
	if p.Frames(hostile.Ping) == 0 {
		t.Error("it was not asked")
	}
}

// TestCallsAreBounded in all: what is over is told to come back.
func TestCallsAreBounded(t *testing.T) {
	node := start(t, "--max-calls", "3")
	g := client(t, node)
	var ends []context.CancelFunc
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ends = append(ends, cancel)
		stream, err := g.StreamEvents(ctx, &graphpb.StreamEventsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
	}
	wantRetryLater(t, call(t, g, patience))
	ends[0]()
	await(t, func() bool { return call(t, g, patience) == nil }, "a call is served when another has ended")
}

func wantRetryLater(t *testing.T, err error) {
	t.Helper()
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, want RESOURCE_EXHAUSTED", err)
		return
	}
	for _, d := range status.Convert(err).Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok && retry.GetRetryDelay().AsDuration() > 0 {
			return
		}
	}
	t.Errorf("%v does not say when to retry", err)
}

// TestAFullQueueSaysSo: more than waits before the log is refused at once with RetryInfo, and taken later.
func TestAFullQueueSaysSo(t *testing.T) {
	const writers = 40
	node := start(t, "--request-memory", "1GiB", "--request-timeout", "10m") // all of it is written, however slow the disk is
	g := client(t, node)
	session, err := g.CreateSession(t.Context(), &graphpb.CreateSessionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var nodes []*graphpb.Node
	for range 4 {
		nodes = append(nodes, &graphpb.Node{NodeData: &graphpb.Node_Prompt{Prompt: &graphpb.PromptNode{
			SessionId: session.GetId(), Content: strings.Repeat("x", 1_000_000),
		}}})
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var refused []error
	for range writers {
		own := client(t, node)
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, err := own.BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: nodes}, grpc.WaitForReady(true))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused = append(refused, err)
			}
		}()
	}
	wg.Wait()
	for _, err := range refused {
		wantRetryLater(t, err)
	}
	t.Logf("%d of %d batches of 4 MB were refused", len(refused), writers)
	counts, err := g.GetMetrics(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(1 + len(nodes)*(writers-len(refused))); counts.GetTotalNodes() != want {
		t.Errorf("%d nodes, want %d: what was refused changed something", counts.GetTotalNodes(), want)
	}
	if err := call(t, g, patience); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
