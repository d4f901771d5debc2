package cluster

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// largeBytes is about what an entry of fillLarge has.
const largeBytes = 8 << 10

// fillLarge creates sessions like fill, each with much metadata and in an entry of its own.
func fillLarge(t testing.TB, n *Node, from, to int) {
	t.Helper()
	next := make(chan int)
	var g sync.WaitGroup
	for range 16 {
		g.Go(func() {
			for i := range next {
				command := encode(t, &logpb.Command{Operation: &logpb.Command_CreateSession{CreateSession: &logpb.CreateSession{
					Session: &pb.Session{Id: sessionID(i), Metadata: map[string]string{"much": strings.Repeat("x", largeBytes)}},
				}}})
				results, err := n.commit([]*logpb.Stamped{{Stamp: n.config.Clock().UnixNano(), Command: command}})
				if err != nil || results[0].Err != nil {
					t.Errorf("session %d: %v, %v", i, err, results)
				}
			}
		})
	}
	for i := from; i < to; i++ {
		next <- i
	}
	close(next)
	g.Wait()
}

// TestLogStaysWithinItsBytes: the entries allowed would have three times as many bytes.
func TestLogStaysWithinItsBytes(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"by bytes": func(c *Config) { c.SnapshotThreshold = 1 << 30 },
		"by Raft":  func(c *Config) { c.SnapshotInterval, c.SnapshotThreshold, c.TickInterval = time.Second, 100, time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := testConfig(t)
				c.Timing, c.TickInterval = LAN(), time.Second
				c.MaxLogBytes = 20 << 20
				snapshots := 0
				c.Events.Snapshot = func(uint64, time.Duration) { snapshots++ }
				change(&c)
				n := start(t, c)
				const many, round = 6000, 300
				longest := uint64(0)
				for i := 0; i < many; i += round {
					fillLarge(t, n, i, i+round)
					longest = max(longest, n.logs.RetainedBytes())
					time.Sleep(3 * time.Second)
					synctest.Wait()
				}
				if longest > c.MaxLogBytes || longest < c.keepBytes() {
					t.Errorf("longest log: got %d bytes, want more than %d, at most %d", longest, c.keepBytes(), c.MaxLogBytes)
				}
				s := status(t, n)
				if kept := s.LastLog - s.FirstLog + 1; kept < minTrailingLogs || kept > many/2 || n.logs.AppendedBytes() < many*largeBytes {
					t.Errorf("got %d entries kept of %d bytes appended: %+v", kept, n.logs.AppendedBytes(), s)
				}
				if snapshots < 5 {
					t.Errorf("snapshots: got %d, want some", snapshots)
				}
				wantSessions(t, n, many)

				// Small entries again: as many are kept as configured.
				c.TrailingLogs = 2 * minTrailingLogs
				n.config.TrailingLogs = c.TrailingLogs
				grow(t, n, 3*minTrailingLogs)
				if err := n.Snapshot(); err != nil {
					t.Fatal(err)
				}
				if s := status(t, n); s.LastLog-s.FirstLog+1 != c.TrailingLogs {
					t.Errorf("small entries kept: got %d, want %d", s.LastLog-s.FirstLog+1, c.TrailingLogs)
				}
				stop(t, n)
			})
		})
	}
}

func TestAtLeast1024EntriesAreKeptWhateverTheyHave(t *testing.T) {
	c := testConfig(t)
	c.MaxLogBytes = 2 << 20
	n := start(t, c)
	fillLarge(t, n, 0, minTrailingLogs+100)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	s := status(t, n)
	if kept := s.LastLog - s.FirstLog + 1; kept != minTrailingLogs {
		t.Errorf("entries kept: got %d, want %d", kept, minTrailingLogs)
	}
	if r := n.raft.ReloadableConfig(); r.HeartbeatTimeout != c.Timing.Heartbeat || r.ElectionTimeout != c.Timing.Election ||
		r.SnapshotInterval != DefaultSnapshotInterval || r.SnapshotThreshold != DefaultSnapshotThreshold || r.TrailingLogs != minTrailingLogs {
		t.Errorf("reloaded: got %+v", r)
	}
}

// TestLogOnDiskIsCutAndStartsAgain: what a node with the old bound left is cut at the next start, and starts rightly.
func TestLogOnDiskIsCutAndStartsAgain(t *testing.T) {
	c := diskConfig(t)
	n := start(t, c)
	const many = 1500
	fillLarge(t, n, 0, many)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	if s := status(t, n); s.FirstLog != 1 {
		t.Fatalf("log begins at %d, want 1", s.FirstLog)
	}
	want := digest(n)
	stop(t, n)

	c.MaxLogBytes = 20 << 20
	done := make(chan uint64, 1000)
	c.Events.Snapshot = func(index uint64, _ time.Duration) { done <- index }
	n = start(t, c)
	select {
	case <-done:
	case <-timeout(t).Done():
		t.Fatal("no snapshot at the start")
	}
	if err := n.Snapshot(); err != nil { // Raft does one after the other: now the log is cut
		t.Fatal(err)
	}
	if got := n.logs.RetainedBytes(); got > c.keepBytes() || got < c.keepBytes()-2*largeBytes {
		t.Errorf("log after the start: got %d bytes, want about %d", got, c.keepBytes())
	}
	if digest(n) != want {
		t.Error("digest differs after the start")
	}
	const more = 2 * many
	fillLarge(t, n, many, more)
	if err := n.Snapshot(); err != nil { // waits for one that runs
		t.Fatal(err)
	}
	want, kept := digest(n), n.logs.RetainedBytes()
	info, err := os.Stat(filepath.Join(identity.Folder(c.Folder).Raft(), raftlog.FirstLog))
	if err != nil {
		t.Fatal(err)
	}
	// bbolt has pages that are not full or free, and takes 16 MiB at a time.
	if info.Size() > 2*int64(c.MaxLogBytes) {
		t.Errorf("file of the log: got %d bytes for at most %d of entries", info.Size(), c.MaxLogBytes)
	}
	copied := crashed(t, c)
	stop(t, n)
	for _, next := range []Config{copied, c} {
		next.TickInterval = time.Hour
		n := start(t, next)
		if digest(n) != want {
			t.Error("digest differs after a restart from the cut log")
		}
		if got := n.logs.RetainedBytes(); got < kept || got > kept+largeBytes {
			t.Errorf("log after a restart: got %d bytes, want %d and an entry of the new term", got, kept)
		}
		wantSessions(t, n, more)
	}
}

func TestRaftThatRefusesItsConfigKeepsTheSnapshotOut(t *testing.T) {
	n := start(t, testConfig(t))
	refused := func() error { return io.ErrClosedPipe }
	n.replica.trail.Store(&refused)
	before := n.replica.snapshotAt.Load()
	if err := n.Snapshot(); err == nil || !strings.Contains(err.Error(), io.ErrClosedPipe.Error()) || n.replica.snapshotAt.Load() != before {
		t.Errorf("got %v", err)
	}
}
