package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// heldLog is a log that keeps every entry back until it is released. It replicates nothing and applies nothing.
type heldLog struct {
	mu      sync.Mutex
	entries [][]*logpb.Stamped
	futures []*heldFuture
}

type heldFuture struct {
	released chan struct{}
	response any
	err      error
}

func (f *heldFuture) Error() error {
	<-f.released
	return f.err
}
func (f *heldFuture) Response() any { return f.response }
func (f *heldFuture) Index() uint64 { return 0 }

func (l *heldLog) Apply(data []byte, _ time.Duration) raft.ApplyFuture {
	commands, err := fsm.DecodeEntry(data)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &heldFuture{released: make(chan struct{}), response: make([]fsm.Result, len(commands))}
	l.entries = append(l.entries, commands)
	l.futures = append(l.futures, f)
	return f
}

func (l *heldLog) sizes() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sizes []int
	for _, e := range l.entries {
		sizes = append(sizes, len(e))
	}
	return sizes
}

// release answers the next entry that is held.
func (l *heldLog) release(err error, response any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.futures[0]
	l.futures = l.futures[1:]
	f.err = err
	if response != nil {
		f.response = response
	}
	close(f.released)
}

func (l *heldLog) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.futures)
}

// releaseAll answers entries until none comes any more. Only inside of a bubble.
func (l *heldLog) releaseAll() {
	for synctest.Wait(); l.held() > 0; synctest.Wait() {
		l.release(nil, nil)
	}
}

// proposing is a node of which only the road to the log is there, and its log. Only inside of a bubble.
func proposing(t *testing.T, clock func() time.Time, change ...func(*Node, *proposer)) (*Node, *heldLog) {
	n := &Node{isolation: newQuarantine(), queue: newQueue(), gate: newGate(), sent: newSentCommands(), stored: make(chan struct{}, 1)}
	n.config.Clock = clock
	ctx, cancel := context.WithCancel(t.Context())
	n.stopProposing = cancel
	n.life, n.die = context.WithCancel(t.Context())
	n.dead = n.life.Done()
	l := &heldLog{}
	p := &proposer{
		queue: n.queue, gate: n.gate, log: l, clock: clock, slots: make(chan struct{}, MaxEntriesInFlight), stored: n.stored,
		instant: func() int64 { return 0 },
	}
	for _, c := range change {
		c(n, p)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(ctx)
	}()
	t.Cleanup(func() {
		n.queue.close()
		l.releaseAll()
		cancel()
		l.releaseAll()
		<-done
		n.die()
	})
	return n, l
}

// ask proposes in the background and returns where the error will be.
func ask(ctx context.Context, n *Node, command []byte) <-chan error {
	errs := make(chan error, 1)
	go func() {
		_, err := n.Propose(ctx, command)
		errs <- err
	}()
	synctest.Wait()
	return errs
}

func TestCommandsGatherWhileEntriesAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l := proposing(t, time.Now)
		n.gate.set(1)
		var all []<-chan error
		for range 2 + 600 {
			all = append(all, ask(t.Context(), n, []byte("x")))
		}
		n.logStored()
		synctest.Wait()
		if got, want := l.sizes(), []int{1, MaxEntryCommands}; !slices.Equal(got, want) {
			t.Fatalf("entries while two are in flight: got %v, want %v", got, want)
		}
		n.logStored()
		l.release(nil, nil)
		synctest.Wait()
		l.release(nil, nil)
		synctest.Wait()
		if got, want := l.sizes(), []int{1, MaxEntryCommands, 601 - MaxEntryCommands}; !slices.Equal(got, want) {
			t.Fatalf("entries after that: got %v, want %v", got, want)
		}
		l.releaseAll()
		for i, errs := range all {
			if err := <-errs; err != nil {
				t.Errorf("command %d: %v", i, err)
			}
		}
	})
}

// TestCommandsGatherWhileTheLogWrites: the next entry is made when the log has taken the one before, or never will.
func TestCommandsGatherWhileTheLogWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l := proposing(t, time.Now)
		n.gate.set(1)
		n.logStored() // of something else: nothing waits for it
		for range 4 {
			ask(t.Context(), n, []byte("x"))
		}
		if got, want := l.sizes(), []int{1}; !slices.Equal(got, want) {
			t.Fatalf("entries while the first is written: got %v, want %v", got, want)
		}
		n.logStored()
		synctest.Wait()
		if got, want := l.sizes(), []int{1, 3}; !slices.Equal(got, want) {
			t.Fatalf("entries when it is: got %v, want %v", got, want)
		}
		ask(t.Context(), n, []byte("x"))
		l.release(errors.New("no room"), nil)
		l.release(errors.New("no room"), nil)
		synctest.Wait()
		if got, want := l.sizes(), []int{1, 3, 1}; !slices.Equal(got, want) {
			t.Errorf("entries when the second has failed: got %v, want %v", got, want)
		}
	})
}

func TestEntryIsBoundedInBytesUnlessOneCommandIsLarger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l := proposing(t, time.Now)
		for _, size := range []int{100, MaxEntryBytes - 100, 1, MaxEntryBytes + 1, 1, 1} {
			ask(t.Context(), n, make([]byte, size))
		}
		n.gate.set(1)
		l.releaseAll()
		if got, want := l.sizes(), []int{2, 1, 1, 2}; !slices.Equal(got, want) {
			t.Errorf("commands of the entries: got %v, want %v", got, want)
		}
	})
}

func TestStampsOnlyGrowWhateverTheClockDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		times := []int64{100, 100, 50, 200, 0, 300}
		calls := 0
		n, l := proposing(t, func() time.Time {
			calls++
			return time.Unix(0, times[(calls-1)%len(times)])
		})
		for range len(times) {
			ask(t.Context(), n, []byte("x"))
		}
		n.gate.set(1)
		l.releaseAll()
		// A new term begins after the state machine's last instant, here 0; its stamps are clamped by apply.
		var stamps []int64
		for _, e := range l.entries {
			for _, c := range e {
				stamps = append(stamps, c.Stamp)
			}
		}
		if want := []int64{100, 101, 102, 200, 201, 300}; !slices.Equal(stamps, want) {
			t.Errorf("stamps: got %v, want %v", stamps, want)
		}
	})
}

func TestNothingIsStampedBeforeTheGateOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		n, l := proposing(t, func() time.Time { calls++; return time.Now() })
		errs := ask(t.Context(), n, []byte("x"))
		time.Sleep(time.Hour)
		if calls != 0 || len(l.sizes()) != 0 {
			t.Errorf("gate is closed: got %d stamps, %d entries", calls, len(l.sizes()))
		}
		n.gate.set(3)
		l.releaseAll()
		if err := <-errs; err != nil || calls != 1 {
			t.Errorf("gate is open: got %v, %d stamps", err, calls)
		}
	})
}

func TestCallerWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l := proposing(t, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		queued := ask(ctx, n, []byte("x"))
		cancel()
		err := <-queued
		wantError(t, "while it waits", err, Interrupted, true)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, Interrupted) {
			t.Errorf("while it waits: got %v, want one that wraps canceled", err)
		}
		if waiting, _ := n.queue.state(); waiting != 0 || n.queue.bytes != 0 {
			t.Errorf("queue after that: got %d commands, %d bytes", waiting, n.queue.bytes)
		}
		n.gate.set(1)
		ctx, cancel = context.WithCancel(t.Context())
		flying := ask(ctx, n, []byte("x"))
		cancel()
		wantError(t, "in flight", <-flying, Interrupted, false)
		_, err = n.Propose(ctx, []byte("x"))
		wantError(t, "already over", err, Interrupted, true)
		l.releaseAll()
		if got, want := l.sizes(), []int{1}; !slices.Equal(got, want) {
			t.Errorf("entries: got %v, want %v", got, want)
		}
	})
}

// TestACommandThatWasOnItsWayForTooLongIsNotTriedAgain: a leader that was stopped for long finds that it leads no more. What it had in its
// log may have taken effect so long ago that nobody remembers.
func TestACommandThatWasOnItsWayForTooLongIsNotTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name    string
		after   time.Duration
		entries int
	}{{"soon", retryFor - time.Second, 2}, {"late", retryFor + time.Second, 1}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, l := proposing(t, time.Now, func(n *Node, p *proposer) {
					p.forward = &forwarder{
						self: "n1", queue: n.queue, sent: n.sent, route: newRoute(), gate: n.gate, logger: hclog.NewNullLogger(),
						life: n.life, stuck: func(error) {}, window: make(chan struct{}, 1),
					}
				})
				n.gate.set(1)
				done := ask(t.Context(), n, repeatable(t, 0))
				time.Sleep(c.after)
				l.release(raft.ErrLeadershipLost, nil)
				time.Sleep(time.Second)
				synctest.Wait()
				if got := len(l.sizes()); got != c.entries {
					t.Fatalf("the command is in %d entries, want %d", got, c.entries)
				}
				if c.entries == 1 {
					wantError(t, "late", <-done, NoLeader, false)
				}
			})
		})
	}
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := 0
		n, l := proposing(t, time.Now)
		n.config.Events.Refused = func() { refused++ }
		var all []<-chan error
		for range MaxQueuedCommands {
			all = append(all, ask(t.Context(), n, []byte("x")))
		}
		_, err := n.Propose(t.Context(), []byte("x"))
		wantError(t, "one too many", err, Overloaded, true)
		if refused != 1 {
			t.Errorf("refusals told: got %d, want 1", refused)
		}
		n.gate.set(1)
		l.releaseAll()
		for _, errs := range all {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n, l := proposing(t, time.Now)
		for range MaxQueuedBytes / MaxCommandBytes {
			ask(t.Context(), n, make([]byte, MaxCommandBytes))
		}
		_, err := n.Propose(t.Context(), []byte("x"))
		wantError(t, "one byte too many", err, Overloaded, true)
		_, err = n.Propose(t.Context(), make([]byte, MaxCommandBytes+1))
		if !errors.Is(err, graph.Exhausted) {
			t.Errorf("command that is too large: got %v, want exhausted", err)
		}
		n.gate.set(1)
		l.releaseAll()
	})
}

func TestErrorsOfTheLogSayWhetherTheCommandMayBeInIt(t *testing.T) {
	for _, c := range []struct {
		err         error
		response    any
		kind        Kind
		notProposed bool
	}{
		{raft.ErrNotLeader, nil, NoLeader, true},
		{raft.ErrEnqueueTimeout, nil, NoLeader, true},
		{raft.ErrLeadershipTransferInProgress, nil, NoLeader, true},
		{raft.ErrLeadershipLost, nil, NoLeader, false},
		{raft.ErrRaftShutdown, nil, Stopping, false},
		{raft.ErrAbortedByRestore, nil, NoLeader, false},
		{errors.New("input/output error"), nil, NoLeader, false},
		{nil, errors.New("store failed"), Failed, false},
		{nil, "what is this", Failed, false},
		{nil, []fsm.Result{}, Failed, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			n, l := proposing(t, time.Now)
			n.gate.set(1)
			errs := ask(t.Context(), n, []byte("x"))
			l.release(c.err, c.response)
			wantError(t, "propose", <-errs, c.kind, c.notProposed)
		})
	}
}

func TestWhatWaitsWhenTheNodeGoesIsSurelyNotProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := proposing(t, time.Now)
		errs := ask(t.Context(), n, []byte("x"))
		n.queue.close()
		n.stopProposing()
		wantError(t, "waiting", <-errs, Stopping, true)
		_, err := n.Propose(t.Context(), []byte("x"))
		wantError(t, "after", err, Stopping, true)
	})
	synctest.Test(t, func(t *testing.T) {
		n, _ := proposing(t, time.Now)
		n.gate.set(1)
		errs := ask(t.Context(), n, []byte("x"))
		n.die()
		wantError(t, "in flight of a dead node", <-errs, Stopping, false)
	})
}
