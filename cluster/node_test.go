package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is of a node in memory with fast timers; its Fatal fails the test.
func testConfig(t testing.TB) Config {
	return Config{
		InMemory:     true,
		Random:       rand.NewChaCha8([32]byte{1}),
		Timing:       Timing{Heartbeat: 50 * time.Millisecond, Election: 50 * time.Millisecond, Lease: 25 * time.Millisecond, Commit: 2 * time.Millisecond},
		TickInterval: 5 * time.Millisecond,
		Fatal:        func(err error) { t.Errorf("fatal: %v", err) },
	}
}

// diskConfig is of a node in a folder of its own.
func diskConfig(t testing.TB) Config { return inFolder(t, testConfig(t)) }

// inFolder is the same in a folder of its own.
func inFolder(t testing.TB, c Config) Config {
	c.InMemory = false
	c.Folder = t.TempDir()
	c.DiskReserve = reserve.None
	c.Store.CacheBytes = 8 << 20
	c.Store.MemTableBytes = 4 << 20
	return c
}

// start opens a node, waits until it leads, and closes it when the test ends.
func start(t testing.TB, c Config) *Node {
	t.Helper()
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, n) })
	ready(t, n)
	return n
}

func ready(t testing.TB, n *Node) {
	t.Helper()
	if err := n.WaitReady(timeout(t)); err != nil {
		t.Fatal(err)
	}
}

func stop(t testing.TB, n *Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// timeout is for what must come, however busy the machine is.
func timeout(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

const tenant = 1

func encode(t testing.TB, c *logpb.Command) []byte {
	t.Helper()
	c.Tenant = tenant
	b, err := fsm.EncodeCommand(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func createSession(t testing.TB, id string) []byte {
	return encode(t, &logpb.Command{Operation: &logpb.Command_CreateSession{CreateSession: &logpb.CreateSession{Session: &pb.Session{Id: id}}}})
}

func sessionID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

func propose(t testing.TB, n *Node, command []byte) fsm.Result {
	t.Helper()
	r, err := n.Propose(timeout(t), command)
	if err != nil {
		t.Fatal(err)
	}
	if r.Err != nil {
		t.Fatalf("refused: %v", r.Err)
	}
	return r
}

// fill creates sessions from one number up to another, some at a time.
func fill(t testing.TB, n *Node, from, to int) {
	t.Helper()
	var g sync.WaitGroup
	next := atomic.Int64{}
	next.Store(int64(from))
	for range 16 {
		g.Go(func() {
			for i := int(next.Add(1)) - 1; i < to; i = int(next.Add(1)) - 1 {
				r, err := n.Propose(context.Background(), createSession(t, sessionID(i)))
				if err != nil || r.Err != nil {
					t.Errorf("session %d: %v, %v", i, err, r.Err)
					return
				}
			}
		})
	}
	g.Wait()
}

// has reports whether the node has a session.
func has(t testing.TB, n *Node, id string) bool {
	t.Helper()
	snap := n.Machine().Store().Snapshot()
	defer snap.Close()
	_, ok, err := snap.View(graph.Tenant(tenant)).NodeByID(id)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// wantSessions fails unless the node has exactly the sessions below a number.
func wantSessions(t testing.TB, n *Node, below int) {
	t.Helper()
	if err := n.Barrier(timeout(t), 0); err != nil {
		t.Fatal(err)
	}
	for i := range below {
		if !has(t, n, sessionID(i)) {
			t.Fatalf("session %d is not there", i)
		}
	}
	if has(t, n, sessionID(below)) {
		t.Fatalf("session %d is there", below)
	}
}

func digest(n *Node) [32]byte { return fsm.Digest(n.Machine().Store().System()) }

func TestFirstStartMakesACluster(t *testing.T) {
	n := start(t, testConfig(t))
	sys, id := n.Machine().Store().System(), n.Identity()
	if sys.ClusterID != id.ClusterID || sys.Lineage != id.Lineage || sys.FeatureLevel != fsm.FeatureLevel || sys.Key == [32]byte{} {
		t.Errorf("bootstrapped as %+v, identity is %+v", sys, id)
	}
	s, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	if !s.Ready || s.State != "Leader" || s.Term == 0 || s.NodeID != id.NodeID || s.ClusterID != id.ClusterID || s.Lineage != id.Lineage ||
		s.Applied == 0 || s.Applied != s.Committed || s.FirstLog != 1 || s.LastLog != s.Applied || s.LogBytes == 0 || s.Queued != 0 {
		t.Errorf("status: got %+v", s)
	}
	if err := n.Ready(); err != nil {
		t.Errorf("ready: got %v", err)
	}
}

func TestProposedCommandIsAppliedAndReadable(t *testing.T) {
	n := start(t, testConfig(t))
	first := propose(t, n, createSession(t, sessionID(0)))
	if len(first.Nodes) != 1 || first.Nodes[0].Id != sessionID(0) || first.Revision == 0 {
		t.Errorf("result: got %+v", first)
	}
	if err := n.Barrier(timeout(t), 0); err != nil {
		t.Fatal(err)
	}
	if !has(t, n, sessionID(0)) {
		t.Error("session is not there after a barrier")
	}
	again, err := n.Propose(timeout(t), createSession(t, sessionID(0)))
	if err != nil || again.Err == nil {
		t.Errorf("same id again: got %v, %v, want a refusal as the result", again.Err, err)
	}
	if again.Revision <= first.Revision {
		t.Errorf("revisions: got %d after %d", again.Revision, first.Revision)
	}
}

func TestRestartKeepsEverythingAndReplaysOnlyWhatIsLacking(t *testing.T) {
	c := diskConfig(t)
	n := start(t, c)
	fill(t, n, 0, 300)
	before, at, id := digest(n), n.Machine().Applied(), n.Identity()
	stop(t, n)

	var applied []uint64
	var mu sync.Mutex
	c.Events.Applied = func(entries, commands int, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		applied = append(applied, uint64(commands))
	}
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, n) })
	if got := n.Machine().Applied(); got != at {
		t.Errorf("applied when opened: got %d, want %d", got, at)
	}
	ready(t, n)
	mu.Lock()
	for _, commands := range applied {
		if commands > 0 {
			t.Errorf("commands applied after a clean stop: got %v, want none", applied)
		}
	}
	mu.Unlock()
	if got := digest(n); got != before {
		t.Error("digest differs after a restart")
	}
	if diff := cmp.Diff(id, n.Identity(), cmp.Transformer("nil", func(k []uint32) int { return len(k) })); diff != "" {
		t.Errorf("identity (-before +after):\n%s", diff)
	}
	wantSessions(t, n, 300)
	fill(t, n, 300, 320)
	wantSessions(t, n, 320)
}

func TestCloseIsFinal(t *testing.T) {
	n := start(t, testConfig(t))
	for range 2 {
		stop(t, n)
	}
	_, err := n.Propose(timeout(t), createSession(t, sessionID(9)))
	wantError(t, "propose", err, Stopping, true)
	wantError(t, "barrier", n.Barrier(timeout(t), 0), Stopping, true)
	wantError(t, "bounded barrier", n.Barrier(timeout(t), time.Hour), Stopping, true)
	wantError(t, "ready", n.Ready(), Stopping, true)
	if err := n.Snapshot(); err == nil {
		t.Error("snapshot: got no error")
	}
}

func TestProposalsThatWaitAtCloseAreFinished(t *testing.T) {
	n := start(t, testConfig(t))
	const many = 2000
	var g sync.WaitGroup
	var accepted, turnedAway atomic.Int64
	var begun sync.WaitGroup
	begun.Add(1)
	once := sync.OnceFunc(begun.Done)
	for i := range many {
		command := createSession(t, sessionID(i))
		g.Go(func() {
			_, err := n.Propose(context.Background(), command)
			switch e, ok := err.(*Error); {
			case err == nil:
				accepted.Add(1)
				once()
			case ok && e.Kind == Stopping && e.NotProposed:
				turnedAway.Add(1)
			default:
				t.Errorf("session %d: %v", i, err)
			}
		})
	}
	begun.Wait()
	stop(t, n)
	g.Wait()
	if accepted.Load()+turnedAway.Load() != many {
		t.Errorf("accepted %d, turned away %d, want %d in all", accepted.Load(), turnedAway.Load(), many)
	}
}

func wantError(t testing.TB, what string, err error, kind Kind, notProposed bool) {
	t.Helper()
	e, ok := err.(*Error)
	if !ok || e.Kind != kind || e.NotProposed != notProposed || e.Error() == "" {
		t.Errorf("%s: got %v, want %v, not proposed %v", what, err, kind, notProposed)
	}
}
