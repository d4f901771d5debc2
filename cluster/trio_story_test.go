package cluster

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

func TestThreeNodesAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		for i := range 30 {
			n := c.nodes[i%3]
			if r := propose(t, n, repeatable(t, i)); r.Replayed || uint64(r.Revision) > n.Machine().Applied() {
				t.Errorf("session %d: replayed %v at revision %d, which %s has not applied", i, r.Replayed, r.Revision, n.Identity().NodeID)
			}
		}
		for _, n := range c.nodes {
			wantSessions(t, n, 30)
		}
		c.agree()
	})
}

// writers propose through all nodes that run until stop is called, and count what was acknowledged.
type writers struct {
	t     *testing.T
	next  atomic.Int64
	group sync.WaitGroup
	ended chan struct{}
}

func (c *trio) write(t *testing.T, many int) *writers {
	w := &writers{t: t, ended: make(chan struct{})}
	nodes := append([]*Node(nil), c.nodes...)
	for k := range many {
		w.group.Go(func() {
			n := nodes[k%len(nodes)]
			for {
				select {
				case <-w.ended:
					return
				default:
				}
				i := int(w.next.Add(1)) - 1
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				r, err := n.Propose(ctx, repeatable(t, i))
				cancel()
				if errors.Is(err, Stopping) {
					// This node was killed: its client asks another one, with the same request id.
					n = nodes[(k+1)%len(nodes)]
					r, err = n.Propose(context.Background(), repeatable(t, i))
				}
				if err != nil || r.Err != nil {
					t.Errorf("session %d: %v, %v", i, err, r.Err)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return w
}

// stop ends the writers, and returns how many sessions there are.
func (w *writers) stop() int {
	close(w.ended)
	w.group.Wait()
	return int(w.next.Load())
}

// wantOnce fails unless the nodes that run have exactly the sessions below a number, and each once.
func (c *trio) wantOnce(below int) {
	c.t.Helper()
	for _, n := range c.nodes {
		if n == nil {
			continue
		}
		wantSessions(c.t, n, below)
		if got := n.Machine().Store().System().EventRows; got != uint64(below) {
			c.t.Errorf("%s: %d events for %d sessions", n.Identity().NodeID, got, below)
		}
	}
	c.agree()
}

func TestWritesGoOnWhenTheLeaderIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		w := c.write(t, 6)
		time.Sleep(200 * time.Millisecond)
		_, old := c.leader()
		c.crash(old)
		killed := time.Now()
		before := w.next.Load()
		c.leader(old)
		took := time.Since(killed)
		time.Sleep(2 * time.Second)
		total := w.stop()
		if took > 1500*time.Millisecond || int64(total) < before+50 {
			t.Errorf("next leader after %v, %d writes since then", took, int64(total)-before)
		}
		c.wantOnce(total)
	})
}

func TestARetryAcrossTransfersTakesEffectOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		w := c.write(t, 6)
		for range 10 {
			time.Sleep(100 * time.Millisecond)
			n, _ := c.leader()
			if err := n.TransferLeadership(timeout(t), ""); err != nil {
				t.Logf("transfer: %v", err)
			}
		}
		c.leader()
		time.Sleep(100 * time.Millisecond)
		c.wantOnce(w.stop())
	})
}

// TestARetryOverADeadLinkTakesEffectOnce cuts a follower's way to the leader and back in the middle of writes, again and again: what was
// sent may have arrived.
func TestARetryOverADeadLinkTakesEffectOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		w := c.write(t, 6)
		for i := range 6 {
			time.Sleep(300 * time.Millisecond)
			_, at := c.leader()
			from, to := addressOf(at), addressOf((at+1+i%2)%3)
			if i%3 == 0 {
				from, to = to, from
			}
			c.network.cutLink(from, to, true)
			time.Sleep(500 * time.Millisecond)
			c.network.cutLink(from, to, false)
		}
		c.leader()
		time.Sleep(time.Second)
		c.wantOnce(w.stop())
	})
}

// TestADeposedLeaderServesNoStaleRead cuts the leader off with its readers: another one is elected and takes a write; until the old one
// hears of it, it answers nothing.
func TestADeposedLeaderServesNoStaleRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		propose(t, c.nodes[0], repeatable(t, 0))
		old, at := c.leader()
		c.network.cutOff(addressOf(at), true)
		var reading sync.WaitGroup
		var served atomic.Int64
		var written atomic.Bool
		for range 8 {
			reading.Go(func() {
				for range 200 {
					after := written.Load()
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
					if err := old.Barrier(ctx, 0); err == nil {
						served.Add(1)
						if after && !has(t, old, sessionID(1)) {
							t.Error("a read that began after the write did not see it")
						}
					}
					cancel()
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		next, _ := c.leader(at)
		propose(t, next, repeatable(t, 1))
		written.Store(true)
		reading.Wait()
		if served.Load() > 0 {
			t.Errorf("a leader that is cut off served %d reads", served.Load())
		}
		c.network.cutOff(addressOf(at), false)
		wantSessions(t, old, 2)
		c.agree()
	})
}

// TestAnAnswerFromBeforeTheReadProvesNothing holds up the answer to a heartbeat that was sent before a read: it comes when the read is
// under way. raft.VerifyLeader takes it for a proof, a strict round does not.
func TestAnAnswerFromBeforeTheReadProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		n, _ := c.leader()
		transport, self, members := n.peers.transport, raft.ServerID(n.Identity().NodeID), n.members()
		term := n.raft.CurrentTerm()
		before := transport.order.Add(1)
		since := transport.order.Load()
		for _, s := range members.Servers {
			transport.mu.Lock()
			transport.acks[s.ID] = ack{term: term}
			transport.mu.Unlock()
			transport.note(s.ID, before, time.Now(), &raft.AppendEntriesRequest{Term: term}, &raft.AppendEntriesResponse{Term: term, Success: true})
		}
		if transport.haveAcked(since, term, members, self) {
			t.Error("answers to what was sent before the read counted")
		}
		for _, s := range members.Servers {
			transport.note(s.ID, transport.order.Add(1), time.Now(), &raft.AppendEntriesRequest{Term: term}, &raft.AppendEntriesResponse{Term: term})
		}
		if !transport.haveAcked(since, term, members, self) || transport.haveAcked(since, term+1, members, self) {
			t.Error("answers to what was sent since then count in their own term alone")
		}
	})
}

// failingLogs fail some appends of a follower.
type failingLogs struct {
	raft.LogStore
	fail *atomic.Int64
}

func (l failingLogs) StoreLogs(logs []*raft.Log) error {
	if l.fail.Load() > 0 && l.fail.Add(-1) >= 0 {
		return errors.New("a sector is slow today")
	}
	return l.LogStore.StoreLogs(logs)
}

// TestAFollowerThatFailsToStoreCatchesUp fails single appends of a follower under load: with more than one RPC in flight it would never
// get another entry (hashicorp/raft#612).
func TestAFollowerThatFailsToStoreCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail [3]atomic.Int64
		c := newTrio(t, 3, func(i int, config *Config) {
			config.underLogs = func(l raft.LogStore) raft.LogStore { return failingLogs{l, &fail[i]} }
		})
		w := c.write(t, 6)
		for range 10 {
			_, at := c.leader()
			fail[c.followers(at)[0]].Store(1)
			time.Sleep(200 * time.Millisecond)
		}
		c.wantOnce(w.stop())
	})
}

// slowLogs hold up the appends of commands while they are told to.
type slowLogs struct {
	raft.LogStore
	hold *atomic.Pointer[chan struct{}]
}

func (l slowLogs) StoreLogs(logs []*raft.Log) error {
	if hold := l.hold.Load(); hold != nil && logs[0].Type == raft.LogCommand {
		<-*hold
	}
	return l.LogStore.StoreLogs(logs)
}

// TestNoReadBeforeTheTermsOwnEntry holds up the first entry of a new leader: until it is in, the leader does not know all that was
// committed before.
func TestNoReadBeforeTheTermsOwnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hold [3]atomic.Pointer[chan struct{}]
		c := newTrio(t, 3, func(i int, config *Config) {
			config.underLogs = func(l raft.LogStore) raft.LogStore { return slowLogs{l, &hold[i]} }
		})
		propose(t, c.nodes[0], repeatable(t, 0))
		c.agree()
		_, old := c.leader()
		held := make(chan struct{})
		for _, i := range c.followers(old) {
			hold[i].Store(&held)
		}
		c.crash(old)
		c.until("a winner of the election", func() bool {
			for _, n := range c.nodes {
				if n != nil && n.raft.State() == raft.Leader {
					return true
				}
			}
			return false
		})
		for _, n := range c.nodes {
			if n == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			if err := n.Barrier(ctx, 0); err == nil {
				t.Errorf("%s served a read before the first entry of the term was in", n.Identity().NodeID)
			}
			cancel()
		}
		for i := range hold {
			hold[i].Store(nil)
		}
		close(held)
		for _, n := range c.nodes {
			if n != nil {
				wantSessions(t, n, 1)
			}
		}
	})
}

// TestOnlyTheQuestionCrosses reads a lot through followers: the leader is asked for read indexes, a few for many readers.
func TestOnlyTheQuestionCrosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		propose(t, c.nodes[0], repeatable(t, 0))
		leader, at := c.leader()
		before := leader.peers.readIndexes.Load()
		var readers sync.WaitGroup
		const many, each = 100, 10
		for _, i := range c.followers(at) {
			for range many {
				readers.Go(func() {
					for range each {
						if err := c.nodes[i].Barrier(context.Background(), 0); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		readers.Wait()
		if asked := leader.peers.readIndexes.Load() - before; asked == 0 || asked > many*each/2 {
			t.Errorf("%d read indexes for %d reads", asked, 2*many*each)
		}
	})
}

func TestBoundedReadsGoOnWhileTheyMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		_, at := c.leader()
		i := c.followers(at)[0]
		n := c.nodes[i]
		if err := n.Barrier(timeout(t), 0); err != nil {
			t.Fatal(err)
		}
		c.network.cutOff(addressOf(i), true)
		time.Sleep(3 * time.Second)
		if err := n.Barrier(timeout(t), 4*time.Second); err != nil {
			t.Errorf("within the bound: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := n.Barrier(ctx, 2*time.Second)
		wantError(t, "past the bound", err, Interrupted, true)
		if !strings.Contains(err.Error(), "nobody leads") {
			t.Errorf("past the bound: got %v, want why", err)
		}
		time.Sleep(readyWithin)
		wantError(t, "ready", n.Ready(), NoLeader, true)
		c.network.cutOff(addressOf(i), false)
		c.ready()
		if err := n.Ready(); err != nil {
			t.Error(err)
		}
	})
}

func TestAWaitForARevisionSaysWhoLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		leader, at := c.leader()
		i := c.followers(at)[0]
		n := c.nodes[i]
		c.network.cutLink(addressOf(at), addressOf(i), true)
		r := propose(t, leader, repeatable(t, 0))
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		err := n.Machine().WaitRevision(ctx, r.Revision)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), n.Identity().NodeID+" lags by ") {
			t.Errorf("wait: got %v, want which node lags", err)
		}
		c.network.cutLink(addressOf(at), addressOf(i), false)
		if err := n.Machine().WaitRevision(timeout(t), r.Revision); err != nil {
			t.Fatal(err)
		}
		if got := fsm.Revision(n.Machine().Store().System()); got < r.Revision || graph.Revision(n.Machine().Applied()) < r.Revision {
			t.Errorf("revision %d after waiting for %d", got, r.Revision)
		}
	})
}
