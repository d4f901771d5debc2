package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// TestBubble runs a whole node in a bubble of fake time: first start, proposals, reads, chores, snapshots, an hour of
// idling, the end.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.Timing, c.TickInterval = LAN(), time.Second
		c.Retention = fsm.Retention{Age: time.Minute}
		n := start(t, c)
		began := time.Now()
		for i := range 50 {
			propose(t, n, createSession(t, sessionID(i)))
			time.Sleep(10 * time.Millisecond)
		}
		wantSessions(t, n, 50)
		if s := n.Machine().Store().System(); s.Instant < began.UnixNano() || s.Instant > time.Now().UnixNano() {
			t.Errorf("last instant %d is not by the fake clock", s.Instant)
		}
		time.Sleep(time.Hour)
		propose(t, n, createSession(t, sessionID(50)))
		time.Sleep(3 * time.Second)
		if got := n.Machine().Store().System().EventRows; got != 1 {
			t.Errorf("events after an hour with a retention of a minute: got %d, want 1", got)
		}
		if err := n.Snapshot(); err != nil {
			t.Fatal(err)
		}
		stop(t, n)
	})
}

func TestConcurrentCommandsShareEntries(t *testing.T) {
	c := diskConfig(t)
	var logs gatheringLogs
	c.underLogs = logs.under
	var entries, commands atomic.Int64
	c.Events.Entry = func(n, bytes int, took time.Duration, err error) {
		if err != nil || bytes == 0 || took <= 0 {
			t.Errorf("entry of %d bytes after %v: %v", bytes, took, err)
		}
		entries.Add(1)
		commands.Add(int64(n))
	}
	n := start(t, c)
	var g sync.WaitGroup
	const many = 400
	logs.gather(t, n, many, func() {
		for i := range many {
			g.Go(func() {
				if _, err := n.Propose(context.Background(), createSession(t, sessionID(i))); err != nil {
					t.Error(err)
				}
			})
		}
	})
	g.Wait()
	stop(t, n)
	if commands.Load() != many || entries.Load() > many/4 {
		t.Errorf("got %d commands in %d entries, want %d in far fewer", commands.Load(), entries.Load(), many)
	}
}

func TestInstantsOnlyGrow(t *testing.T) {
	c := testConfig(t)
	var back atomic.Int64
	c.Clock = func() time.Time { return time.Unix(1_700_000_000-back.Add(1), 0) }
	n := start(t, c)
	last := n.Machine().Store().System().Instant
	for i := range 20 {
		propose(t, n, createSession(t, sessionID(i)))
		now := n.Machine().Store().System().Instant
		if now <= last {
			t.Fatalf("instant %d follows %d", now, last)
		}
		last = now
	}
}

func TestChoresTrimEvents(t *testing.T) {
	c := testConfig(t)
	c.Retention = fsm.Retention{Count: 10}
	var done atomic.Int64
	c.Events.Chore = func(err error) {
		if err != nil {
			t.Errorf("chore: %v", err)
		}
		done.Add(1)
	}
	n := start(t, c)
	fill(t, n, 0, 60)
	ctx := timeout(t)
	for {
		changed := n.Machine().Changed()
		if n.Machine().Store().System().EventRows <= 10 {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("events kept: %d, want 10", n.Machine().Store().System().EventRows)
		}
	}
	for done.Load() == 0 { // the chore is told of after its command was applied
		if runtime.Gosched(); ctx.Err() != nil {
			t.Fatal("no chore was told of")
		}
	}
}

func TestBoundedReadsRenewTheReadIndex(t *testing.T) {
	n := start(t, testConfig(t))
	if err := n.Barrier(timeout(t), time.Hour); err != nil {
		t.Fatal(err)
	}
	asked := n.reads.asked
	if err := n.Barrier(timeout(t), time.Hour); err != nil || n.reads.asked != asked {
		t.Errorf("within the bound: got %v, asked anew %v", err, n.reads.asked != asked)
	}
	if err := n.Barrier(timeout(t), time.Nanosecond); err != nil || !n.reads.asked.After(asked) {
		t.Errorf("past the bound: got %v, asked anew %v", err, n.reads.asked.After(asked))
	}
}

func TestReadersWaitForALeader(t *testing.T) {
	n := start(t, testConfig(t))
	n.gate.set(0)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	err := n.Barrier(ctx, 0)
	wantError(t, "barrier", err, Interrupted, true)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "leads") {
		t.Errorf("barrier: got %v, want deadline exceeded, nobody leads", err)
	}
	wantError(t, "ready", n.Ready(), NoLeader, true)
	late := make(chan error, 1)
	go func() { late <- n.Barrier(context.Background(), 0) }()
	n.gate.set(n.raft.CurrentTerm())
	if err := <-late; err != nil {
		t.Errorf("barrier when a leader is back: %v", err)
	}
	go func() { late <- n.Barrier(context.Background(), 0) }()
	if err := <-late; err != nil {
		t.Error(err)
	}
	n.gate.set(n.raft.CurrentTerm() + 1) // a gate that has not heard yet
	go func() { late <- n.Barrier(context.Background(), 0) }()
	stop(t, n)
	wantError(t, "barrier of a node that goes", <-late, Stopping, true)
}

func TestReaderGivesUpWaitingForTheStateMachine(t *testing.T) {
	n := start(t, testConfig(t))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := n.waitApplied(ctx, n.Machine().Applied()+1, time.Now())
	wantError(t, "wait", err, Interrupted, true)
	n.gate.set(n.raft.CurrentTerm() + 1)
	wantError(t, "wait for the gate", n.Barrier(ctx, 0), Interrupted, true)
}

// TestLeadershipComesBack makes the node lose its leadership and find it again.
func TestLeadershipComesBack(t *testing.T) {
	c := testConfig(t)
	type move struct {
		leading bool
		term    uint64
	}
	moves := make(chan move, 16)
	c.Events.Leader = func(leading bool, term uint64) { moves <- move{leading, term} }
	n := start(t, c)
	first := <-moves
	propose(t, n, createSession(t, sessionID(0)))
	n.notify <- false // as Raft says it
	if lost := <-moves; lost.leading {
		t.Errorf("lost: got %+v", lost)
	}
	wantError(t, "ready", n.Ready(), NoLeader, true)
	n.notify <- true
	again := <-moves
	if !first.leading || !again.leading || again.term == 0 {
		t.Errorf("leaderships: got %+v, then %+v", first, again)
	}
	propose(t, n, createSession(t, sessionID(1)))
	wantSessions(t, n, 2)
}

func TestStoreThatFailsEndsTheNode(t *testing.T) {
	c := testConfig(t)
	fatal := make(chan error, 4)
	c.Fatal = func(err error) { fatal <- err }
	n := start(t, c)
	propose(t, n, createSession(t, sessionID(0)))
	if err := n.Machine().Store().Close(); err != nil {
		t.Fatal(err)
	}
	_, err := n.Propose(timeout(t), createSession(t, sessionID(1)))
	wantError(t, "propose", err, Failed, false)
	if err := <-fatal; !strings.Contains(err.Error(), store.ErrClosed.Error()) {
		t.Errorf("fatal: got %v, want that the store is closed", err)
	}
	wantError(t, "barrier", n.Barrier(timeout(t), 0), Failed, true)
	wantError(t, "ready", n.Ready(), Failed, true)
	_, err = n.Propose(timeout(t), createSession(t, sessionID(2)))
	wantError(t, "propose after that", err, Failed, true)
	// Nothing is applied any more, and nothing is told twice.
	if got := n.replica.ApplyBatch([]*raft.Log{{Index: 99}}); got[0].(error) == nil {
		t.Error("apply after that: got no error")
	}
	if err := n.Snapshot(); err == nil {
		t.Error("snapshot after that: got no error")
	}
	n.fatal(errors.New("another"))
	if len(fatal) != 0 {
		t.Errorf("fatal was called again: %v", <-fatal)
	}
}

func TestCloseGivesUpOnANodeThatHangs(t *testing.T) {
	c := testConfig(t)
	c.Fatal = nil
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ready(t, n)
	n.patience = time.Millisecond
	n.background.Add(1) // one of its goroutines hangs
	hangs := errors.New("the disk hangs")
	n.fatal(hangs)
	if err := n.Close(); !errors.Is(err, hangs) {
		t.Errorf("close: got %v, want that the disk hangs", err)
	}
	n.background.Done()
	<-n.dead
}

// live opens the node's own snapshot.
func live(t *testing.T, n *Node) (*raft.SnapshotMeta, []byte) {
	t.Helper()
	meta, r, err := n.snapshots.Open(liveID)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if int64(len(stream)) != meta.Size {
		t.Fatalf("snapshot has %d bytes, its meta says %d", len(stream), meta.Size)
	}
	return meta, stream
}

// TestSnapshotOfOneNodeInstallsIntoAnother: the rows are those of the first, the members those of the second, also after a
// restart.
func TestSnapshotOfOneNodeInstallsIntoAnother(t *testing.T) {
	for name, config := range map[string]func(testing.TB) Config{"disk": diskConfig, "memory": testConfig} {
		t.Run(name, func(t *testing.T) {
			first := start(t, config(t))
			fill(t, first, 0, 100)
			meta, stream := live(t, first)

			c := config(t)
			installed := make(chan uint64, 1)
			c.Events.Installed = func(index uint64, _ time.Duration) { installed <- index }
			second := start(t, c)
			fill(t, second, 500, 520)
			if err := second.raft.Restore(meta, bytes.NewReader(stream), 5*time.Minute); err != nil {
				t.Fatal(err)
			}
			if index := <-installed; index <= meta.Index {
				t.Errorf("installed at %d, want after %d", index, meta.Index)
			}
			if _, err := second.commit(nil); err != nil {
				t.Fatal(err)
			}
			wantSessions(t, second, 100)
			if has(t, second, sessionID(500)) {
				t.Error("a session of before the install is still there")
			}
			if digest(second) != digest(first) {
				t.Error("digests differ")
			}
			fill(t, second, 100, 110)
			wantSessions(t, second, 110)
			if name == "memory" {
				return
			}
			stop(t, second)
			joined := second.Identity()
			joined.ClusterID = first.Identity().ClusterID
			if err := identity.Save(identity.Folder(c.Folder), joined); err != nil {
				t.Fatal(err)
			}
			wantSessions(t, start(t, c), 110)
		})
	}
}

func TestDamagedSnapshotIsRefusedAndLeavesNothing(t *testing.T) {
	first := start(t, diskConfig(t))
	fill(t, first, 0, 20)
	meta, stream := live(t, first)
	second := start(t, diskConfig(t))
	fill(t, second, 0, 5)
	create := func() raft.SnapshotSink {
		s, err := second.snapshots.Create(raft.SnapshotVersionMax, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	broken := bytes.Clone(stream)
	broken[len(broken)/2] ^= 1
	for name, bad := range map[string][]byte{"changed": broken, "cut off": stream[:len(stream)-1], "longer": append(bytes.Clone(stream), 0)} {
		s := create()
		_, err := s.Write(bad)
		if err = errors.Join(err, s.Close()); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: got %v, want damaged", name, err)
		}
		if err := s.Cancel(); err != nil {
			t.Errorf("%s: cancel: %v", name, err)
		}
		if _, _, err := second.snapshots.Open(s.ID()); err == nil {
			t.Errorf("%s: can be opened", name)
		}
	}
	s := create()
	if _, err := s.Write(stream[:100]); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Cancel(), s.Cancel(), s.Close()); err != nil {
		t.Errorf("cancel half way: %v", err)
	}
	wantSessions(t, second, 5)
}

func TestStagedSnapshotIsRestoredOnce(t *testing.T) {
	first := start(t, testConfig(t))
	meta, stream := live(t, first)
	var ids []string
	for range 2 {
		s, err := first.snapshots.Create(raft.SnapshotVersionMax, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(stream); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID())
	}
	if _, _, err := first.snapshots.Open(ids[0]); err == nil {
		t.Error("the first staged snapshot is still there after the second")
	}
	_, r, err := first.snapshots.Open(ids[1])
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); len(b) != 0 || err != nil {
		t.Errorf("read of a staged snapshot: got %d bytes, %v", len(b), err)
	}
	if err := first.snapshots.drop(); err != nil {
		t.Fatal(err)
	}
	if err := first.replica.Restore(r); err == nil {
		t.Error("restore of a dropped snapshot: got no error")
	}
	if err := first.replica.Restore(io.NopCloser(bytes.NewReader(stream))); err == nil {
		t.Error("restore of a foreign reader: got no error")
	}
	if _, err := first.snapshots.Create(0, 1, 1, raft.Configuration{}, 0, nil); err == nil {
		t.Error("snapshot of version 0: got no error")
	}
}

// TestSnapshotPastTheStateMachineMovesIt: entries without commands count for Raft and not for the machine, and the log may
// be cut behind them.
func TestSnapshotPastTheStateMachineMovesIt(t *testing.T) {
	n := start(t, testConfig(t))
	before := digest(n)
	at := n.Machine().Applied() + 5
	members := raft.Configuration{Servers: []raft.Server{{ID: "other", Address: "other"}}}
	s, err := n.snapshots.Create(raft.SnapshotVersionMax, at, 7, members, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := n.replica.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	if err := snap.Persist(s); err != nil {
		t.Fatal(err)
	}
	list, err := n.snapshots.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Index != at || list[0].Term != 7 || len(list[0].Configuration.Servers) != 1 || list[0].Configuration.Servers[0].ID != "other" {
		t.Errorf("list: got %+v", list)
	}
	if digest(n) != before {
		t.Error("digest moved")
	}
	if err := snap.Persist(raftSink{}); err == nil {
		t.Error("persist into a foreign sink: got no error")
	}
}

// raftSink is a sink that is not ours.
type raftSink struct{ raft.SnapshotSink }

func TestListOfAnEmptyStoreIsEmpty(t *testing.T) {
	s := store.OpenMemory()
	defer s.Close()
	if list, err := newSnapshots(s).List(); len(list) != 0 || err != nil {
		t.Errorf("got %v, %v", list, err)
	}
}

func TestConfigIsCheckedWhole(t *testing.T) {
	err := Config{TrailingLogs: 10, MaxLogBytes: 1, SnapshotInterval: 1, TickInterval: 1, Timing: Timing{Heartbeat: 1}, Retention: fsm.Retention{Age: -1}}.Validate()
	for _, want := range []string{"data folder", "randomness", "trailing logs", "log may have", "snapshot interval", "tick interval", "lease", "commit", "retention"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want one that says %q", err, want)
		}
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("open: got no error")
	}
	for _, timing := range []Timing{{}, LAN(), WAN()} {
		c := testConfig(t)
		c.Timing = timing
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", timing, err)
		}
	}
	c := testConfig(t)
	c.Name = "No Label"
	if _, err := Open(c); err == nil || !strings.Contains(err.Error(), "No Label") {
		t.Errorf("open with a bad name: got %v", err)
	}
	c = testConfig(t)
	c.Random = bytes.NewReader(nil)
	if _, err := Open(c); !errors.Is(err, io.EOF) {
		t.Errorf("open without randomness: got %v", err)
	}
}

func TestKindsReadWell(t *testing.T) {
	for k := NoLeader; k <= Failed; k++ {
		if k.Error() == "" || !errors.Is(surely(k, nil), k) || surely(k, nil).Error() != k.Error() {
			t.Errorf("kind %d: %q", k, k.Error())
		}
	}
}

func TestEventsMayAllBeNil(t *testing.T) {
	var e Events
	e.leader(true, 1)
	e.entry(1, 1, 1, nil)
	e.applied(1, 1, 1)
	e.snapshot(1, 1)
	e.installed(1, 1)
	e.chore(nil)
	e.slowDisk("", 1)
	e.refused()
}
