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
const streamWithin = 5 * time.Minute

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
	// Size is how many nodes a server has that belongs to one case, one when 0.
	Size int
	// Through says which nodes of a cluster are called.
	Through Through
	// Brief leaves out the cases that need a server of their own.
	Brief bool
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

// newEnv connects one case to one node of the target, the same one in every run, or to all of them.
func newEnv(t *testing.T, target Target, calls *callLog) *Env {
	t.Helper()
	return connect(t, target, target.Addresses, target.MetricsAddresses, calls)
}

func connect(t *testing.T, target Target, addresses, metrics []string, calls *callLog) *Env {
	t.Helper()
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(t.Name()))
	at := int(sum.Sum32() % uint32(len(addresses)))
	rules, spread := &rules{t: t, calls: calls}, &spread{}
	if target.Through == Random {
		spread.open(t, addresses)
	}
	conn, err := cluster.Dial(addresses[at],
		grpc.WithChainUnaryInterceptor(rules.unary, spread.unary), grpc.WithChainStreamInterceptor(rules.stream, spread.stream))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := cluster.Dial(addresses[at],
		grpc.WithChainUnaryInterceptor(calls.unary, spread.unary), grpc.WithChainStreamInterceptor(calls.stream, spread.stream))
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
		MetricsAddress: metrics[at],
		target:         target,
		calls:          calls,
	}
}

// unchecked is the service without the rules of all replies, for what the transport refuses before any handler sees it.
func (e *Env) unchecked() graphgrpc.MemoryGraphServiceClient {
	return graphgrpc.NewMemoryGraphServiceClient(e.Raw)
}

// Server is one, a process or a cluster of them, that belongs to one case.
type Server struct {
	*Env
	process process
}

// process is what a case can do to a server of its own.
type process interface {
	// Start returns when it serves, and where.
	Start(t *testing.T, target Target) (addresses, metrics []string)
	Stop(ctx context.Context) error
	Kill() error
	Logs() string
}

// lone is a server of one node.
type lone struct{ *cluster.Node }

// Start implements process.
func (l lone) Start(t *testing.T, _ Target) (addresses, metrics []string) {
	t.Helper()
	if err := l.Node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return []string{l.Address()}, []string{l.MetricsAddress()}
}

// own starts a server for this case alone; it ends with the case.
func (e *Env) own(t *testing.T, args ...string) *Server {
	t.Helper()
	if e.target.Brief {
		t.Skip("the case has a server of its own: left out of the brief table")
	}
	var p process
	if e.target.Size > 1 {
		p = newSeveral(t, e.target, args)
	} else {
		p = lone{cluster.New(cluster.Options{
			Binary:   e.target.Binary,
			DataDir:  filepath.Join(t.TempDir(), "data"),
			InMemory: e.target.InMemory,
			Args:     args,
		})}
	}
	t.Cleanup(func() {
		// A graceful end writes the coverage counters of an instrumented server.
		if err := p.Stop(detached(t)); err != nil {
			t.Errorf("end of the server: %v", err)
		}
		if t.Failed() {
			t.Logf("server printed:\n%s", p.Logs())
		}
	})
	s := &Server{process: p}
	s.start(t, e)
	return s
}

func (s *Server) start(t *testing.T, from *Env) {
	t.Helper()
	addresses, metrics := s.process.Start(t, from.target)
	s.Env = connect(t, from.target, addresses, metrics, from.calls)
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
