package conformance

import (
	"context"
	"hash/fnv"
	"path/filepath"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// streamWithin ends every stream that a case forgot, so that a silent server fails a case and not the whole run.
const streamWithin = 90 * time.Second

// Target is the server, or the nodes of the cluster, that the cases run against.
type Target struct {
	// Addresses of gRPC; a case may use any of them.
	Addresses []string
	// MetricsAddresses of HTTP, in the same order.
	MetricsAddresses []string
	// Binary starts servers for the cases that need one of their own.
	Binary string
	// InMemory says that the servers keep nothing over a restart.
	InMemory bool
}

// Env is what a case has in hand.
type Env struct {
	// Graph is the service under test; each call is held against the rules of all replies.
	Graph graphgrpc.MemoryGraphServiceClient
	// Transfer is the service for whole graphs, held against the same rules.
	Transfer graphgrpc.GraphTransferServiceClient
	// Conn carries both.
	Conn *grpc.ClientConn
	// Raw is a connection to the same node that checks nothing, for what no honest client sends.
	Raw *grpc.ClientConn
	// MetricsAddress is the HTTP side of the same node.
	MetricsAddress string

	target Target
	calls  *callLog
}

// newEnv connects one case to one node of the target, the same one in every run.
func newEnv(t *testing.T, target Target, calls *callLog) *Env {
	t.Helper()
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(t.Name()))
	at := int(sum.Sum32() % uint32(len(target.Addresses)))
	return connect(t, target, target.Addresses[at], target.MetricsAddresses[at], calls)
}

func connect(t *testing.T, target Target, address, metrics string, calls *callLog) *Env {
	t.Helper()
	rules := &rules{t: t, calls: calls}
	conn, err := cluster.Dial(address,
		grpc.WithChainUnaryInterceptor(rules.unary), grpc.WithChainStreamInterceptor(rules.stream))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := cluster.Dial(address,
		grpc.WithChainUnaryInterceptor(calls.unary), grpc.WithChainStreamInterceptor(calls.stream))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = raw.Close()
	})
	return &Env{
		Graph:          graphgrpc.NewMemoryGraphServiceClient(conn),
		Transfer:       graphgrpc.NewGraphTransferServiceClient(conn),
		Conn:           conn,
		Raw:            raw,
		MetricsAddress: metrics,
		target:         target,
		calls:          calls,
	}
}

// unchecked is the service without the rules of all replies, for what the transport refuses before any handler sees it.
func (e *Env) unchecked() graphgrpc.MemoryGraphServiceClient {
	return graphgrpc.NewMemoryGraphServiceClient(e.Raw)
}

// Server is a process that belongs to one case.
type Server struct {
	*Env
	process *cluster.Node
}

// own starts a server for this case alone; it ends with the case.
func (e *Env) own(t *testing.T, args ...string) *Server {
	t.Helper()
	node := cluster.New(cluster.Options{
		Binary:   e.target.Binary,
		DataDir:  filepath.Join(t.TempDir(), "data"),
		InMemory: e.target.InMemory,
		Args:     args,
	})
	t.Cleanup(func() {
		// A graceful end writes the coverage counters of an instrumented server.
		if err := node.Stop(detached(t)); err != nil {
			t.Errorf("end of the server: %v", err)
		}
		if t.Failed() {
			t.Logf("server printed:\n%s", node.Logs())
		}
	})
	s := &Server{process: node}
	s.start(t, e)
	return s
}

func (s *Server) start(t *testing.T, from *Env) {
	t.Helper()
	if err := s.process.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Env = connect(t, from.target, s.process.Address(), s.process.MetricsAddress(), from.calls)
}

// restart ends the server gracefully and starts it again on the same folder.
func (s *Server) restart(t *testing.T) {
	t.Helper()
	if err := s.process.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.start(t, s.Env)
}

// crash kills the server and starts it again on the same folder.
func (s *Server) crash(t *testing.T) {
	t.Helper()
	if err := s.process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.start(t, s.Env)
}

// open is a context for a stream: it ends with the test and never later than streamWithin.
func open(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), streamWithin)
	t.Cleanup(cancel)
	return ctx
}

// detached is the context of a test without its end, for what a cleanup does.
func detached(t *testing.T) context.Context {
	return context.WithoutCancel(t.Context())
}

// with adds request metadata.
func with(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// keyed adds an idempotency key.
func keyed(ctx context.Context, key string) context.Context {
	return with(ctx, "idempotency-key", key)
}

// eventually asks again and again until the claim holds; what a server does in the background has no other sign.
func eventually(t *testing.T, claim string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx := open(t)
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("still not so after %v: %s", streamWithin, claim)
		}
	}
}
