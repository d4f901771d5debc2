package rpc

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryLog applies every proposal at once, in memory. It has no leader to lose: faults are put into it by hand.
type memoryLog struct {
	machine *fsm.Machine

	mu    sync.Mutex
	index uint64
	// stamp is the clock: a second goes by with every proposal.
	stamp int64
	// fault, when set, answers a proposal or a barrier instead.
	fault func() error
	ready error
	// stale is what the barriers were asked for.
	stale []time.Duration
	// meddle, when set, is called before a proposal is applied.
	meddle func(*logpb.Command)
	// entries are those that were applied.
	entries []fsm.LogEntry
}

const testLineage = 0xabcdef01

func newMemoryLog(t *testing.T) *memoryLog {
	t.Helper()
	l := newBlankLog(t)
	l.boot(t)
	return l
}

// newBlankLog is the log of a node that has not replayed its first entry yet.
func newBlankLog(t *testing.T) *memoryLog {
	t.Helper()
	l := &memoryLog{machine: fsm.New(store.OpenMemory()), stamp: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano()}
	t.Cleanup(func() {
		if err := l.machine.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *memoryLog) boot(t *testing.T) {
	t.Helper()
	boot, err := fsm.EncodeCommand(&logpb.Command{Operation: &logpb.Command_Bootstrap{Bootstrap: &logpb.Bootstrap{
		ClusterId: "6f1a6c6e-0000-4000-8000-000000000001", Lineage: testLineage, Key: []byte("0123456789abcdef0123456789abcdef"),
		FeatureLevel: fsm.FeatureLevel,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if r := l.apply(boot); r.Err != nil {
		t.Fatal(r.Err)
	}
}

func (l *memoryLog) apply(command []byte) fsm.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applyLocked(command)
}

func (l *memoryLog) applyLocked(command []byte) fsm.Result {
	l.index++
	l.stamp += int64(time.Second)
	data, err := fsm.EncodeEntry([]*logpb.Stamped{{Stamp: l.stamp, Command: command}})
	if err != nil {
		panic(err)
	}
	l.entries = append(l.entries, fsm.LogEntry{Index: l.index, Term: 1, Data: data})
	return l.machine.Apply(l.entries[len(l.entries)-1:])[0][0]
}

func (l *memoryLog) Propose(_ context.Context, command []byte) (fsm.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil {
		if err := l.fault(); err != nil {
			return fsm.Result{}, err
		}
	}
	if l.meddle != nil {
		c := &logpb.Command{}
		if err := unmarshal(command, c); err != nil {
			panic(err)
		}
		l.meddle(c)
	}
	return l.applyLocked(command), nil
}

func (l *memoryLog) Barrier(_ context.Context, staleness time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stale = append(l.stale, staleness)
	if l.fault != nil {
		return l.fault()
	}
	return nil
}

func (l *memoryLog) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready
}

// set changes the log between calls.
func (l *memoryLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// rig is a server with a client.
type rig struct {
	graphgrpc.MemoryGraphServiceClient
	transfer graphgrpc.GraphTransferServiceClient
	t        *testing.T
	log      *memoryLog
	server   *Server
	conn     *grpc.ClientConn
	lis      *bufconn.Listener
}

func start(t *testing.T, configure ...func(*Config)) *rig {
	t.Helper()
	return startOn(t, newMemoryLog(t), configure...)
}

func startOn(t *testing.T, log *memoryLog, configure ...func(*Config)) *rig {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Version = "1.2.3"
	cfg.Disk = func() telemetry.Disk { return telemetry.Disk{} }
	cfg.Members = func() (telemetry.Members, error) {
		return telemetry.Members{Others: []telemetry.Member{{ID: "n2"}}, CertificateExpires: time.Unix(1, 0)}, nil
	}
	cfg.Events = telemetry.NewNodeEvents()
	cfg.Events.MemberChange("add", nil)
	for _, f := range configure {
		f(&cfg)
	}
	server, err := New(cfg, log, log.machine)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, log: log, server: server, lis: bufconn.Listen(1 << 20)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(r.lis) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	r.conn = r.dial()
	r.MemoryGraphServiceClient = graphgrpc.NewMemoryGraphServiceClient(r.conn)
	r.transfer = graphgrpc.NewGraphTransferServiceClient(r.conn)
	return r
}

func (r *rig) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient("passthrough:///memory", append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return r.lis.DialContext(ctx) }),
	}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := conn.Close(); err != nil && status.Code(err) != codes.Canceled {
			r.t.Error(err)
		}
	})
	return conn
}

// callPatience is when a test gives a call up: far beyond what it takes under the race detector on a busy machine.
const callPatience = 2 * time.Minute

// ctx is bounded, so that a test that hangs says where.
func (r *rig) ctx(pairs ...string) context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), callPatience)
	r.t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (r *rig) session() *pb.Session {
	r.t.Helper()
	return must[*pb.Session](r.t)(r.CreateSession(r.ctx(), &pb.CreateSessionRequest{}))
}

func (r *rig) prompt(session, content string) *pb.PromptNode {
	r.t.Helper()
	return must[*pb.PromptNode](r.t)(r.AddPrompt(r.ctx(), &pb.AddPromptRequest{SessionId: session, Content: content}))
}

func (r *rig) response(prompt, content string) *pb.ResponseNode {
	r.t.Helper()
	return must[*pb.ResponseNode](r.t)(r.AddResponse(r.ctx(), &pb.AddResponseRequest{
		PromptId: prompt, Content: content, TokenUsage: &pb.TokenUsage{PromptTokens: 15, CompletionTokens: 25},
	}))
}

func (r *rig) agent(name string) *pb.Node {
	r.t.Helper()
	return must[*pb.Node](r.t)(r.CreateNode(r.ctx(), &pb.CreateNodeRequest{
		Node: &pb.Node{NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: name}}},
	}))
}

// refused checks the code, the message (when not empty) and the field of a refusal.
func refusedWith(t *testing.T, err error, code codes.Code, message, field string) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code {
		t.Fatalf("got %v %q, want %v", st.Code(), st.Message(), code)
	}
	if message != "" && st.Message() != message {
		t.Errorf("message is %q, want %q", st.Message(), message)
	}
	if got := fieldOf(err); got != field {
		t.Errorf("field is %q, want %q (%s)", got, field, st.Message())
	}
}

func fieldOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			return b.FieldViolations[0].Field
		}
	}
	return ""
}

func infoOf(err error) *errdetails.ErrorInfo {
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return i
		}
	}
	return &errdetails.ErrorInfo{}
}

func retryOf(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return r.RetryDelay.AsDuration()
		}
	}
	return 0
}

var errDisk = errors.New("read /dev/sda: input/output error")
