package cluster

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// small is a node whose log is cut soon.
func small(_ int, c *Config) { c.SnapshotThreshold, c.TrailingLogs = 1<<20, minTrailingLogs }

// cutLog makes one session, fills the log with so many entries that nodes cut it, and returns how many sessions there are.
func (c *trio) cutLog(from int) int {
	c.t.Helper()
	leader, _ := c.leader()
	propose(c.t, leader, repeatable(c.t, from))
	nothing, err := fsm.EncodeEntry(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for left := minTrailingLogs + 200; left > 0; {
		leader, _ = c.leader()
		var entries []raft.ApplyFuture
		for range left {
			entries = append(entries, leader.raft.Apply(nothing, 0))
		}
		for _, e := range entries {
			if err := e.Error(); err == nil {
				left--
			} else if !errors.Is(err, raft.ErrLeadershipLost) && !errors.Is(err, raft.ErrNotLeader) { // a busy machine elects
				c.t.Fatal(err)
			}
		}
	}
	c.agree()
	for _, n := range c.nodes {
		if n != nil {
			if err := n.Snapshot(); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	if first, err := leader.logs.FirstIndex(); err != nil || first < 10 {
		c.t.Fatalf("log begins at %d: %v", first, err)
	}
	return from + 1
}

// TestANewNodeGetsASnapshot adds a node when the log begins late: all it can have is a snapshot, and it has the members of the cluster in it.
func TestANewNodeGetsASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var installed int
		c := newTrio(t, 3, small)
		sessions := c.cutLog(0)
		c.configs = append(c.configs, c.peerConfig(3))
		small(3, &c.configs[3])
		c.configs[3].Events.Installed = func(uint64, time.Duration) { installed++ }
		c.nodes = append(c.nodes, nil)
		n := c.open(3)
		wantError(t, "ready", n.Ready(), NoLeader, true)
		leader, _ := c.leader()
		status, err := leader.PeerStatus(timeout(t), "", addressOf(3))
		if err != nil || status.NodeId != n.Identity().NodeID || status.ClusterId != "" || status.Servers != 0 {
			t.Fatalf("status of a node that waits: %v, %v", status, err)
		}
		members, err := leader.Configuration()
		if err != nil || !members.Committed || members.Voters() != 3 {
			t.Fatalf("members: %+v, %v", members, err)
		}
		if err := n.Adopt(leader.Identity().ClusterID, leader.Identity().Lineage); err != nil {
			t.Fatal(err)
		}
		if _, err := leader.AddNonvoter(timeout(t), n.Identity().NodeID, addressOf(3), members.Index); err != nil {
			t.Fatal(err)
		}
		if _, err := leader.AddVoter(timeout(t), n.Identity().NodeID, addressOf(3), members.Index); err == nil {
			t.Error("a change upon members that are no longer was made")
		}
		wantSessions(t, n, sessions)
		propose(t, n, repeatable(t, sessions))
		c.agree()
		got, err := n.Configuration()
		if _, ok := got.Find(n.Identity().NodeID); err != nil || installed == 0 || !ok || !got.Committed {
			t.Errorf("members of the new node: %+v, %v; %d snapshots", got, err, installed)
		}
		for _, p := range leader.Progress() {
			if p.Match == 0 || p.LastSent.IsZero() {
				t.Errorf("progress: %+v", p)
			}
		}
	})
}

// TestAFollowerThatWasAwayGetsASnapshot lets a follower miss more than the log keeps. A command that it has sent is in the snapshot: its
// result comes with another try.
func TestAFollowerThatWasAwayGetsASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, small)
		_, at := c.leader()
		i := c.followers(at)[0]
		c.network.cutLink(addressOf(at), addressOf(i), true) // it may still send
		sent := make(chan error, 1)
		away := c.nodes[i]
		go func() {
			r, err := away.Propose(context.Background(), repeatable(t, 0))
			if err == nil {
				err = r.Err
			}
			sent <- err
		}()
		c.nodes[i] = nil
		sessions := c.cutLog(1)
		c.nodes[i] = away
		c.network.cutLink(addressOf(at), addressOf(i), false)
		if err := <-sent; err != nil {
			t.Errorf("command that came with a snapshot: %v", err)
		}
		wantSessions(t, away, sessions)
		c.wantOnce(sessions)
	})
}

// TestASnapshotThatStandsStillHoldsUpNobody: the leader is stopped while it sends a snapshot to a voter, whose vote the others need.
func TestASnapshotThatStandsStillHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, func(i int, config *Config) {
			small(i, config)
			config.Peers.SnapshotRate = 256 << 10
		})
		leader, at := c.leader()
		var large logpb.Command
		if err := proto.Unmarshal(repeatable(t, 0), &large); err != nil {
			t.Fatal(err)
		}
		noise := make([]byte, 1<<20)
		rand.NewChaCha8([32]byte{}).Read(noise) // never fails
		large.GetCreateSession().Session.Metadata = map[string]string{"k": hex.EncodeToString(noise)}
		i := c.followers(at)[0]
		away := c.nodes[i]
		c.network.cutLink(addressOf(at), addressOf(i), true)
		propose(t, leader, encode(t, &large))
		c.nodes[i] = nil
		sessions := c.cutLog(1)
		c.nodes[i] = away
		c.network.cutLink(addressOf(at), addressOf(i), false)
		c.until("the snapshot to be under way", func() bool { return away.snapshots.underway.Load() })
		c.network.cutOff(addressOf(at), true)
		c.nodes[at] = nil
		c.until("the one that is there to want a vote", func() bool { return c.nodes[c.followers(i)[0]].raft.State() == raft.Candidate })
		c.until("the snapshot to be given up", func() bool { return !away.snapshots.underway.Load() })
		next, _ := c.leader(at)
		propose(t, next, repeatable(t, sessions))
		c.nodes[at] = leader
		c.network.cutOff(addressOf(at), false)
		c.wantOnce(sessions + 1)
	})
}

// TestADivergedLogIsFenced gives a follower a tail that nobody agreed on, past the place where the snapshot it needs ends. It ends, with
// its log removed, and comes back whole.
func TestADivergedLogIsFenced(t *testing.T) {
	c := newTrio(t, 3, func(i int, config *Config) {
		small(i, config)
		*config = inFolder(t, *config)
	})
	_, at := c.leader()
	i := c.followers(at)[0]
	fatal := make(chan error, 1)
	c.configs[i].Fatal = func(err error) { fatal <- err }
	n := c.nodes[i]
	id := n.Identity().NodeID
	c.crash(i)
	sessions := c.cutLog(0)
	leader, _ := c.leader()
	// The tail goes from an early entry to well past the end of the log of the others.
	c.configs[i].underLogs = func(l raft.LogStore) raft.LogStore {
		last, err := l.LastIndex()
		if err != nil {
			t.Error(err)
		}
		for index := last + 1; index < leader.Machine().Applied()+100; index++ {
			if err := l.StoreLog(&raft.Log{Index: index, Term: 1, Type: raft.LogNoop}); err != nil {
				t.Error(err)
			}
		}
		return l
	}
	c.open(i)
	select {
	case err := <-fatal:
		if !errors.Is(err, errDiverged) {
			t.Fatalf("fatal: got %v", err)
		}
	case <-timeout(t).Done():
		t.Fatal("a log that has diverged was not noticed")
	}
	c.crash(i)
	c.configs[i].underLogs = nil
	c.configs[i].Fatal = func(err error) { t.Errorf("fatal: %v", err) }
	n = c.open(i)
	if n.Identity().NodeID != id {
		t.Errorf("node id: got %s, want %s", n.Identity().NodeID, id)
	}
	c.wantOnce(sessions)
}

func TestSnapshotsAreSentInTurnAndNotTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		leads := true
		th := newThrottle(ctx, 1<<20, func(uint64) bool { return leads })
		leave, err := th.enter(1)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ended := 0
		slow := &throttled{from: bytes.NewReader(make([]byte, 5<<20)), throttle: th, term: 1, began: began, sent: func() { ended++ }}
		if n, err := io.Copy(io.Discard, slow); n != 5<<20 || err != nil {
			t.Errorf("copied %d: %v", n, err)
		}
		if took := time.Since(began); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("5 MiB at 1 MiB/s took %v", took)
		}
		if ended != 1 {
			t.Errorf("told %d times that all is sent", ended)
		}
		second := make(chan error, 1)
		go func() {
			leave, err := th.enter(1)
			if err == nil {
				leave()
			}
			second <- err
		}()
		synctest.Wait()
		select {
		case <-second:
			t.Error("two snapshots at once")
		default:
		}
		leave()
		if err := <-second; err != nil {
			t.Error(err)
		}
		leads = false
		if _, err := slow.Read(make([]byte, 1)); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("read when somebody else leads: %v", err)
		}
		hold, _ := th.enter(1)
		if _, err := th.enter(1); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("turn when somebody else leads: %v", err)
		}
		hold()
		cancel()
		if _, err := slow.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("read when the node goes: %v", err)
		}
	})
}
