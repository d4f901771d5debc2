package cluster

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

// TestALeaderThatIsClosedHandsOver closes the leader under load: nobody notices but by a few milliseconds.
func TestALeaderThatIsClosedHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		leader, at := c.leader()
		gone := make(chan error, 1)
		began := time.Now()
		go func() { gone <- leader.Close() }()
		propose(t, c.nodes[c.followers(at)[0]], repeatable(t, 0))
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("a write took %v during the hand-over", took)
		}
		if err := <-gone; err != nil {
			t.Error(err)
		}
		c.nodes[at] = nil
		c.wantOnce(1)
	})
}

// TestACommandThatWaitsAtTheLeaderGoesOn: the leader loses its leadership while commands of its own clients are on their way.
func TestACommandThatWaitsAtTheLeaderGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		old, at := c.leader()
		c.network.cutOff(addressOf(at), true)
		done := make(chan error, 2)
		for i := range 2 {
			go func() {
				r, err := old.Propose(context.Background(), repeatable(t, i))
				done <- errors.Join(err, r.Err)
			}()
		}
		alone := make(chan error, 1)
		go func() { // without a request id it must not be tried again
			_, err := old.Propose(context.Background(), createSession(t, sessionID(99)))
			alone <- err
		}()
		c.leader(at)
		c.network.cutOff(addressOf(at), false)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		wantError(t, "command without a request id", <-alone, NoLeader, false)
		c.wantOnce(2)
	})
}

func TestTransferToSomebodyWhoCannot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		leader, at := c.leader()
		if err := leader.TransferLeadership(timeout(t), "nobody"); err == nil || !strings.Contains(err.Error(), "no voter") {
			t.Errorf("to a stranger: %v", err)
		}
		follower := c.nodes[c.followers(at)[0]]
		wantError(t, "from a follower", follower.TransferLeadership(timeout(t), ""), NoLeader, true)
		if err := follower.HandOver(timeout(t)); err != nil {
			t.Errorf("a follower has nothing to hand over: %v", err)
		}
		if err := leader.TransferLeadership(timeout(t), follower.Identity().NodeID); err != nil {
			t.Fatal(err)
		}
		c.until("the follower to lead", func() bool { term, _ := follower.LeadingTerm(); return term != 0 })
	})
}

// TestALeaderWhoseClockIsOffGivesWay gives one node a clock that is an hour ahead: it never stamps anything.
func TestALeaderWhoseClockIsOffGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		var wrong atomic.Int64
		wrong.Store(-1)
		alarms := make(chan bool, 64)
		c := newTrio(t, 3, func(i int, config *Config) {
			config.Clock = func() time.Time {
				if int(wrong.Load()) == i {
					return time.Now().Add(time.Duration(ahead.Load()))
				}
				return time.Now()
			}
			config.Events.Clock = func(_ time.Duration, handed bool) { alarms <- handed }
		})
		old, at := c.leader()
		ahead.Store(int64(10 * time.Second))
		wrong.Store(int64(at))
		if handed := <-alarms; !handed {
			t.Error("leadership was not handed over")
		}
		next, _ := c.leader(at)
		ahead.Store(int64(time.Hour))
		if err := next.TransferLeadership(timeout(t), old.Identity().NodeID); err != nil {
			t.Fatal(err)
		}
		if handed := <-alarms; !handed {
			t.Error("leadership was not handed over at the takeover")
		}
		propose(t, old, repeatable(t, 0))
		c.agree()
		if instant := time.Unix(0, old.Machine().Store().System().Instant); instant.After(time.Now().Add(time.Minute)) {
			t.Errorf("instant is %v, now is %v", instant, time.Now())
		}
	})
}

// TestALeaderAheadOfTheOneOtherStampsByTheRows: the clock of one of three nodes is an hour ahead since it began, and another node is gone.
// Two clocks cannot tell which is wrong; instants go on as before all the same, or request ids would be forgotten while their calls
// are tried again.
func TestALeaderAheadOfTheOneOtherStampsByTheRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wrong = 2
		c := newTrio(t, 3, func(i int, config *Config) {
			if i == wrong {
				config.Clock = func() time.Time { return time.Now().Add(time.Hour) }
			}
		})
		old, at := c.leader(wrong)
		propose(t, old, repeatable(t, 0))
		c.agree()
		c.crash(1 - at)
		ahead := c.nodes[wrong]
		if err := old.TransferLeadership(timeout(t), ahead.Identity().NodeID); err != nil {
			t.Fatal(err)
		}
		c.leader(at)
		if r := propose(t, ahead, repeatable(t, 0)); !r.Replayed {
			t.Errorf("the command took effect again: %v", r.Err)
		}
		if instant := time.Unix(0, ahead.Machine().Store().System().Instant); time.Until(instant).Abs() > time.Minute {
			t.Errorf("instant is %v, now is %v", instant, time.Now())
		}
		c.agree()
	})
}

func TestAJumpIsNotStampedUntilItIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead time.Duration
		g := newJumpGuard(func() time.Time { return time.Now().Add(ahead) }, func() *reading { return nil })
		time.Sleep(time.Hour)
		want := func(what string, at time.Time) {
			t.Helper()
			if got := g.now(); !got.Equal(at.Round(0)) {
				t.Errorf("%s: got %v, want %v", what, got, at)
			}
		}
		want("steady", time.Now())
		// The comparisons of every day vouch for no jump that comes later.
		agree := func() { g.confirm(reading{wall: time.Now().Add(ahead).Round(0), at: time.Now()}) }
		agree()
		ahead = 50 * time.Second
		want("a small step", time.Now().Add(ahead))
		ahead += 2 * time.Minute
		want("a jump", time.Now().Add(50*time.Second))
		time.Sleep(time.Second)
		want("a second later", time.Now().Add(50*time.Second))
		<-g.suspects
		agree()
		want("confirmed", time.Now().Add(ahead))
		ahead -= time.Hour
		want("back", time.Now().Add(ahead))
	})
}

func TestCompareClocks(t *testing.T) {
	at := func(all ...time.Duration) (v []voterStatus) {
		for _, ahead := range all {
			v = append(v, voterStatus{ahead: ahead})
		}
		return v
	}
	for _, c := range []struct {
		name               string
		others             []voterStatus
		asked              int
		off, vouched       time.Duration
		majority, wantsOff bool
	}{
		{"all the same", at(0, 0), 2, 0, 0, true, false},
		{"another is off", at(0, time.Hour), 2, 0, 0, true, false},
		{"this one is ahead", at(-time.Hour, -time.Hour), 2, time.Hour, -time.Hour, true, true},
		{"this one is behind", at(time.Hour, 2*time.Hour), 2, -time.Hour, time.Hour, true, true},
		{"two differ", at(time.Hour), 2, -30 * time.Minute, 0, true, false},
		{"two differ, this one is ahead", at(-time.Hour), 2, 30 * time.Minute, -time.Hour, true, false},
		{"three of five", at(-time.Hour, time.Minute), 4, 0, -time.Hour, true, false},
		{"no majority", at(), 2, 0, 0, false, false},
		{"alone", at(), 0, 0, 0, true, false},
	} {
		got := compare(c.others, c.asked)
		if got.off != c.off || got.vouched != c.vouched || got.majority != c.majority || got.isOff() != c.wantsOff {
			t.Errorf("%s: off %v, vouched %v, majority %v, is off %v", c.name, got.off, got.vouched, got.majority, got.isOff())
		}
	}
}

// TestALeaderWithoutRoomGivesWay fills the disk of the leader.
func TestALeaderWithoutRoomGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Int64
		full.Store(-1)
		c := newTrio(t, 3, func(i int, config *Config) {
			config.Folder = t.TempDir() // for the ballast
			config.DiskReserve = 1 << 20
			config.measureRoom = func(string) (reserve.Space, error) {
				if int(full.Load()) == i {
					return reserve.Space{Free: 1, Total: 1 << 30}, nil
				}
				return reserve.Space{Free: 1 << 29, Total: 1 << 30}, nil
			}
		})
		old, at := c.leader()
		full.Store(int64(at))
		next, _ := c.leader(at)
		propose(t, next, repeatable(t, 0))
		_, err := old.Propose(timeout(t), repeatable(t, 1))
		wantError(t, "write through a node without room", err, NoRoom, true)
		wantSessions(t, old, 1)
	})
}

// TestATransferThatNeverEndsEndsTheNode: Raft can forget to end a transfer (hashicorp/raft#696).
func TestATransferThatNeverEndsEndsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		n := &Node{logger: testConfig(t).withDefaults().Logger, queue: newQueue(), gate: newGate(), hasFailed: make(chan struct{}), stopProposing: func() {}}
		n.config.InMemory, n.config.Fatal = true, func(err error) { failed <- err }
		n.running.Store(true)
		stuck := surely(NoLeader, raft.ErrLeadershipTransferInProgress)
		for range 3 {
			n.stuckTransfer(stuck)
			time.Sleep(9 * time.Second)
			n.stuckTransfer(nil)
		}
		n.stuckTransfer(stuck)
		time.Sleep(11 * time.Second)
		select {
		case err := <-failed:
			t.Fatalf("too soon: %v", err)
		default:
		}
		n.stuckTransfer(stuck)
		if err := <-failed; !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			t.Errorf("fatal: got %v", err)
		}
	})
}

// TestAPeerCannotPutRubbishIntoTheLog sends the leader what would stop every node, or is not for others to propose.
func TestAPeerCannotPutRubbishIntoTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		leader, at := c.leader()
		follower := c.nodes[c.followers(at)[0]]
		system, err := fsm.EncodeCommand(&logpb.Command{RequestId: make([]byte, 16), Operation: &logpb.Command_RaiseFeatureLevel{RaiseFeatureLevel: &logpb.RaiseFeatureLevel{Level: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		send := func(to *Node, request *peerpb.ProposeRequest) (*peerpb.ProposeReply, error) {
			conn, err := follower.Connect(to.Identity().NodeID, to.peers.port.Address())
			if err != nil {
				t.Fatal(err)
			}
			stream, err := graphgrpc.NewPeerServiceClient(conn).Propose(timeout(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(request); err != nil {
				t.Fatal(err)
			}
			return stream.Recv()
		}
		commands := [][]byte{{0xff, 0xff}, {}, createSession(t, sessionID(0)), system, repeatable(t, 0)}
		request := &peerpb.ProposeRequest{Batch: 7, Commands: commands, Patience: make([]int64, len(commands))}
		reply, err := send(leader, request)
		if err != nil || reply.Batch != 7 {
			t.Fatalf("reply: %v, %v", reply, err)
		}
		for i, v := range reply.Verdicts {
			want := peerpb.Verdict_INVALID
			if i == len(commands)-1 {
				want = peerpb.Verdict_ACCEPTED
			}
			if v.Kind != want {
				t.Errorf("command %d: got %v, want %v", i, v, want)
			}
		}
		other := c.nodes[c.followers(at)[1]]
		if reply, err := send(other, request); err != nil || reply.Verdicts[4].Kind != peerpb.Verdict_NOT_LEADER {
			t.Errorf("at a follower: %v, %v", reply, err)
		}
		if _, err := send(leader, &peerpb.ProposeRequest{Commands: commands}); err == nil {
			t.Error("a batch without patiences was taken")
		}
		c.wantOnce(1)
	})
}

// TestAFollowerStaysReady: nobody reads, and the node knows all the same that it is fresh.
func TestAFollowerStaysReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		time.Sleep(time.Minute)
		for _, n := range c.nodes {
			if err := n.Ready(); err != nil {
				t.Errorf("%s: %v", n.Identity().NodeID, err)
			}
			s, err := n.Status()
			if err != nil || s.Leader == (Leader{}) || s.Members.Voters() != 3 || s.LastContact < 0 {
				t.Errorf("status: %+v, %v", s, err)
			}
		}
	})
}

// TestTheLargestCommandIsForwarded sends through a follower what is more than gRPC takes by itself.
func TestTheLargestCommandIsForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		_, at := c.leader()
		var large logpb.Command
		if err := proto.Unmarshal(repeatable(t, 0), &large); err != nil {
			t.Fatal(err)
		}
		large.GetCreateSession().Session.Metadata = map[string]string{"k": strings.Repeat("v", MaxCommandBytes-200)}
		propose(t, c.nodes[c.followers(at)[0]], encode(t, &large))
		c.wantOnce(1)
	})
}

// TestChoresAreTheLeaders: followers are ready, and leave the state in order all the same.
func TestChoresAreTheLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var chores [3]atomic.Int64
		c := newTrio(t, 3, func(i int, config *Config) {
			config.Retention = fsm.Retention{Count: 5}
			config.Events.Chore = func(err error) {
				if err != nil {
					t.Errorf("chore: %v", err)
				}
				chores[i].Add(1)
			}
		})
		_, at := c.leader()
		for i := range 20 {
			propose(t, c.nodes[i%3], repeatable(t, i))
		}
		time.Sleep(time.Second)
		for i := range chores {
			if done := chores[i].Load(); (done > 0) != (i == at) {
				t.Errorf("node %d of leader %d did %d chores", i, at, done)
			}
		}
		c.agree()
	})
}

// TestACommandWhoseEntryWasSkippedIsTriedAgain: its entry came in a snapshot, which has no results.
func TestACommandWhoseEntryWasSkippedIsTriedAgain(t *testing.T) {
	s := newSentCommands()
	one, two, three := newProposal([]byte("one")), newProposal([]byte("two")), newProposal([]byte("three"))
	for _, p := range []*proposal{one, two, three} {
		s.add(p)
		s.add(p) // a second try
	}
	if s.accept(one, 5) || s.accept(two, 9) {
		t.Error("missed before anything was applied")
	}
	if missed := s.skipped(7); len(missed) != 1 || missed[0] != one {
		t.Errorf("skipped up to 7: got %d, want the command at 5", len(missed))
	}
	if !s.accept(three, 6) {
		t.Error("accepted at 6 after a snapshot up to 7: want missed")
	}
	s.add(one) // tried again
	if s.accept(one, 8) {
		t.Error("missed what is not applied yet")
	}
	entry, err := fsm.EncodeEntry([]*logpb.Stamped{{Command: []byte("two")}, {Command: []byte("one")}, {Command: []byte("one")}})
	if err != nil {
		t.Fatal(err)
	}
	results := []fsm.Result{{Revision: 1}, {Revision: 2}, {Revision: 3}}
	if err := s.applied([]fsm.LogEntry{{Index: 8, Data: entry}}, [][]fsm.Result{results}); err != nil {
		t.Fatal(err)
	}
	if got := (<-one.done).result.Revision; got != 2 {
		t.Errorf("result of the first of two: got revision %d", got)
	}
	if got := <-two.done; got.result.Revision != 1 || got.index != 8 {
		t.Errorf("result of two: got %+v", got)
	}
	if s.count.Load() != 1 || len(s.all()) != 1 {
		t.Errorf("%d wait, want one", s.count.Load())
	}
	s.remove(three)
	s.remove(three)
	if s.count.Load() != 0 || len(s.waiting) != 0 {
		t.Error("something waits still")
	}
}

// TestANodeIsOfOneCluster: one that is a member is not taken in by another cluster, and founds none.
func TestANodeIsOfOneCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &trio{t: t, network: newNetwork(), nodes: make([]*Node, 2), configs: make([]Config, 2)}
		t.Cleanup(c.stop)
		for i := range c.nodes {
			c.configs[i] = c.peerConfig(i)
			c.open(i)
		}
		one, two := c.nodes[0], c.nodes[1]
		if err := one.Found([]Server{{NodeID: two.Identity().NodeID, Address: addressOf(1), Voter: true}}); err == nil || !one.Identity().Waits() {
			t.Errorf("a cluster without the node itself: %v", err)
		}
		if err := one.Adopt("", 7); err == nil {
			t.Error("adopted by nobody")
		}
		c.found(one)
		c.found(two)
		for _, n := range c.nodes {
			ready(t, n)
		}
		if one.Identity().ClusterID == two.Identity().ClusterID {
			t.Fatal("two clusters have one id")
		}
		if err := one.Adopt(two.Identity().ClusterID, 7); !errors.Is(err, ErrOtherCluster) {
			t.Errorf("adopted by another cluster: %v", err)
		}
		if err := one.Adopt(one.Identity().ClusterID, one.Identity().Lineage); err != nil {
			t.Errorf("adopted again: %v", err)
		}
		if err := one.Found(nil); !errors.Is(err, ErrOtherCluster) {
			t.Errorf("founded again: %v", err)
		}
		propose(t, one, repeatable(t, 0))
		wantSessions(t, two, 0)
	})
}
