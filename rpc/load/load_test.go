package load

import (
	"bytes"
	"context"
	"encoding/hex"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// A fake answers from a map. It knows sessions, prompts and reading them by id, in no order and without edges.
type fake struct {
	graphgrpc.UnimplementedMemoryGraphServiceServer
	mu    sync.Mutex
	made  uint64
	nodes map[string]*pb.Node
	// lose makes it forget what it has acknowledged, spoil changes it.
	lose, spoil bool
}

func (f *fake) id() string {
	f.made++
	var u id
	copy(u[:], "fake")
	for i := range 8 {
		u[15-i] = byte(f.made >> (8 * i))
	}
	return u.String()
}

func (f *fake) CreateSession(context.Context, *pb.CreateSessionRequest) (*pb.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &pb.Session{Id: f.id()}, nil
}

func (f *fake) add(p *pb.PromptNode) *pb.Node {
	p.Id = f.id()
	n := &pb.Node{Id: p.Id, NodeData: &pb.Node_Prompt{Prompt: p}}
	stored := proto.CloneOf(n)
	if f.spoil {
		stored.GetPrompt().Content += "!"
	}
	if !f.lose || f.made%2 == 0 {
		f.nodes[p.Id] = stored
	}
	return n
}

func (f *fake) AddPrompt(_ context.Context, r *pb.AddPromptRequest) (*pb.PromptNode, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.add(&pb.PromptNode{SessionId: r.SessionId, Content: r.Content}).GetPrompt(), nil
}

func (f *fake) BatchCreateNodes(_ context.Context, r *pb.BatchCreateNodesRequest) (*pb.BatchCreateNodesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := &pb.BatchCreateNodesResponse{}
	for _, n := range r.Nodes {
		reply.Nodes = append(reply.Nodes, f.add(n.GetPrompt()))
	}
	return reply, nil
}

func (f *fake) BatchGetNodes(_ context.Context, r *pb.BatchGetNodesRequest) (*pb.BatchGetNodesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := &pb.BatchGetNodesResponse{}
	for _, id := range r.NodeIds {
		if n := f.nodes[id]; n != nil {
			reply.Nodes = append(reply.Nodes, n)
		}
	}
	return reply, nil
}

func (f *fake) GetNode(_ context.Context, r *pb.GetNodeRequest) (*pb.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[r.NodeId], nil
}

// serve returns the address of a gRPC server with the fake.
func serve(t *testing.T, f *fake) string {
	t.Helper()
	return serveAs(t, f, f)
}

// serveAs returns the address of a gRPC server that has a fake answer through another.
func serveAs(t *testing.T, f *fake, through graphgrpc.MemoryGraphServiceServer) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.nodes = map[string]*pb.Node{}
	s := grpc.NewServer(grpc.MaxConcurrentStreams(callsPerConnection))
	graphgrpc.RegisterMemoryGraphServiceServer(s, through)
	done := make(chan error, 1)
	go func() { done <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return lis.Addr().String()
}

func options(address, workload string) Options {
	return Options{Address: address, Workload: workload, Clients: 8, Connections: 2, WarmUp: 20 * time.Millisecond, Duration: 100 * time.Millisecond, Preload: 100, Batch: 7}
}

func TestWhatIsAcknowledgedIsReadBack(t *testing.T) {
	for _, workload := range []string{"write", "batch", "read"} {
		f := &fake{}
		r := untilAnswered(t, options(serve(t, f), workload))
		if r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P99 {
			t.Errorf("%s: %+v", workload, r)
		}
		if r.Acknowledged == 0 || r.Acknowledged > int64(len(f.nodes)) || r.ReadBack != r.Acknowledged {
			t.Errorf("%s: %d acknowledged, %d read back, %d there", workload, r.Acknowledged, r.ReadBack, len(f.nodes))
		}
	}
}

// untilAnswered runs for longer and longer until a call was answered while it was measured: a busy machine takes its time.
func untilAnswered(t *testing.T, o Options) Result {
	t.Helper()
	for ; ; o.Duration *= 4 {
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", o.Workload, err)
		}
		if r.Operations > 0 {
			return r
		}
	}
}

// untilItFails runs for longer and longer, for the same reason, until something is wrong.
func untilItFails(t *testing.T, o Options) (err error) {
	t.Helper()
	for ; err == nil && o.Duration < time.Minute; o.Duration *= 4 {
		_, err = Run(t.Context(), o)
	}
	return err
}

func TestNoFigureWithoutWhatWasAcknowledged(t *testing.T) {
	for _, workload := range []string{"write", "batch"} {
		for _, f := range []*fake{{lose: true}, {spoil: true}} {
			if err := untilItFails(t, options(serve(t, f), workload)); err == nil || !strings.Contains(err.Error(), "read back") {
				t.Errorf("%s, lose %v: %v", workload, f.lose, err)
			}
		}
	}
}

func TestAReadThatIsWrongIsAnError(t *testing.T) {
	if err := untilItFails(t, options(serve(t, &fake{spoil: true}), "read")); err == nil || !strings.Contains(err.Error(), "written") {
		t.Error(err)
	}
}

// TestLatencyIsMeasuredFromWhenACallWasMeantToBegin: one client that answers slower than the pace falls behind, and says so.
func TestLatencyIsMeasuredFromWhenACallWasMeantToBegin(t *testing.T) {
	start := time.Unix(1000, 0)
	p := &pace{start: start, rate: 1000}
	c := &client{}
	for i, now := range []time.Duration{0, 10 * time.Millisecond, 20 * time.Millisecond} {
		meant, due := p.take(start.Add(now), c)
		if want := start.Add(time.Duration(i) * time.Millisecond); !due || !meant.Equal(want) {
			t.Errorf("call %d: meant at %v, due %v; want %v", i, meant, due, want)
		}
	}
	if _, due := p.take(start, c); due || len(p.idle) != 1 {
		t.Errorf("a call was due before its time; %d idle", len(p.idle))
	}
}

func TestAPaceIsKept(t *testing.T) {
	o := options(serve(t, &fake{}), "write")
	o.Rate = 500
	// What a busy machine did not let begin in its time is made up for; the longer it runs the less that counts.
	perSecond := math.Inf(1)
	for o.Duration = 400 * time.Millisecond; perSecond > 600 && o.Duration < 2*time.Minute; o.Duration *= 4 {
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		perSecond = r.PerSecond
	}
	if perSecond > 600 {
		t.Errorf("%.0f calls a second, 500 were asked for", perSecond)
	}
}

func TestTooManyCallsForTheConnections(t *testing.T) {
	o := options(serve(t, &fake{}), "write")
	o.Clients, o.Connections = callsPerConnection+1, 1
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "more connections") {
		t.Error(err)
	}
}

func TestARefusedCallIsAnError(t *testing.T) {
	// The fake does not know Query.
	err := untilItFails(t, options(serve(t, &fake{}), "query"))
	if err == nil || !strings.Contains(err.Error(), "Query: code 12") {
		t.Error(err)
	}
}

func TestRequestsAreOfTheContract(t *testing.T) {
	session, ok := parseID([]byte("0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11"))
	if !ok {
		t.Fatal("not a UUID")
	}
	text := string(appendText(nil, 7, 300))
	var add pb.AddPromptRequest
	if err := proto.Unmarshal(appendAddPrompt(nil, session, 7, 300), &add); err != nil || add.Content != text || add.SessionId != session.String() {
		t.Errorf("%v: %v", &add, err)
	}
	var batch pb.BatchCreateNodesRequest
	if err := proto.Unmarshal(appendNode(nil, 1, session, 7, 300), &batch); err != nil || len(batch.Nodes) != 1 {
		t.Fatalf("%v: %v", &batch, err)
	}
	if p := batch.Nodes[0].GetPrompt(); p.GetContent() != text || p.GetSessionId() != session.String() {
		t.Error(p)
	}
}

func TestIDs(t *testing.T) {
	const text = "0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11"
	u, ok := parseID([]byte(text))
	if !ok || u.String() != text || hex.EncodeToString(u[:]) != strings.ReplaceAll(text, "-", "") {
		t.Errorf("%v %v", u, ok)
	}
	for _, bad := range []string{"", text[1:], strings.Replace(text, "-", "0", 1), strings.Replace(text, "9", "g", 1)} {
		if _, ok := parseID([]byte(bad)); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestTextsDiffer(t *testing.T) {
	a, b := appendText(nil, 1, 256), appendText(nil, 2, 256)
	if len(a) != 256 || bytes.Equal(a, b) || !bytes.Equal(a, appendText(nil, 1, 256)) {
		t.Errorf("%s\n%s", a, b)
	}
	// PostgreSQL is given the same; its side has the same test.
	if got, want := string(appendText(nil, 7, 24)), "X3gMZRe4LPcYGP0fNPMRCoSs"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
