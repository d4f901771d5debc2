package cluster

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// crashed is a config of a copy of the node's folder, as a crash at this moment would leave it: nothing is flushed first.
// The node must be idle.
func crashed(t *testing.T, c Config) Config {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "copy")
	err := filepath.WalkDir(c.Folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(c.Folder, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(folder, name), 0o700)
		}
		return copySparse(path, filepath.Join(folder, name))
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Folder = folder
	return c
}

// copySparse leaves a hole where a file ends with zeros: bbolt makes files of 16 MiB.
func copySparse(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	const chunk = 64 << 10
	used, nothing := len(content), make([]byte, chunk)
	for used >= chunk && bytes.Equal(content[used-chunk:used], nothing) {
		used -= chunk
	}
	if err := os.WriteFile(to, content[:used], 0o600); err != nil {
		return err
	}
	return os.Truncate(to, int64(len(content)))
}

// grow appends entries that hold no commands.
func grow(t *testing.T, n *Node, entries int) {
	t.Helper()
	var g sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(entries))
	for range 32 {
		g.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := n.commit(nil); err != nil {
					t.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	g.Wait()
}

func status(t *testing.T, n *Node) Status {
	t.Helper()
	s, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCrashLosesNothingThatWasAcknowledged(t *testing.T) {
	c := diskConfig(t)
	n := start(t, c)
	fill(t, n, 0, 200)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	fill(t, n, 200, 400)
	s := status(t, n)
	if s.Durable >= s.Applied {
		t.Fatalf("durable %d of %d applied: there is nothing to replay", s.Durable, s.Applied)
	}
	copied := crashed(t, c)
	want := digest(n)
	var replayed atomic.Int64
	copied.Events.Applied = func(_, commands int, _ time.Duration) { replayed.Add(int64(commands)) }
	again := start(t, copied)
	wantSessions(t, again, 400)
	if digest(again) != want {
		t.Error("digest differs after the replay")
	}
	if got := replayed.Load(); got == 0 || got > 200 {
		t.Errorf("commands replayed: got %d, want those since the snapshot, at most 200", got)
	}
	fill(t, again, 400, 410)
	wantSessions(t, again, 410)
}

func TestSnapshotCutsTheLogAndChangesNothing(t *testing.T) {
	c := diskConfig(t)
	c.TrailingLogs = minTrailingLogs
	snapshots := make(chan uint64, 16)
	c.Events.Snapshot = func(index uint64, _ time.Duration) { snapshots <- index }
	n := start(t, c)
	fill(t, n, 0, 100)
	grow(t, n, minTrailingLogs+200)
	want := digest(n)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	at := <-snapshots
	s := status(t, n)
	if s.FirstLog <= 100 || s.LastLog-s.FirstLog+1 < minTrailingLogs || s.Durable < at || s.LogBytes != 0 {
		t.Errorf("after a snapshot at %d: got %+v, want a log of about %d entries", at, s, minTrailingLogs)
	}
	for _, next := range []Config{crashed(t, c), c} {
		if next.Folder == c.Folder {
			stop(t, n)
		}
		again := start(t, next)
		wantSessions(t, again, 100)
		if digest(again) != want {
			t.Errorf("digest differs after a restart from the cut log")
		}
	}
}

func TestLogBytesTriggerASnapshot(t *testing.T) {
	c := testConfig(t)
	c.SnapshotBytes = 2000
	snapshots := make(chan uint64, 1000)
	c.Events.Snapshot = func(index uint64, _ time.Duration) { snapshots <- index }
	n := start(t, c)
	fill(t, n, 0, 100)
	select {
	case <-snapshots:
	case <-timeout(t).Done():
		t.Error("no snapshot came")
	}
	wantSessions(t, n, 100)
}

func TestGapBetweenLogAndStoreIsRefused(t *testing.T) {
	c := diskConfig(t)
	n := start(t, c)
	fill(t, n, 0, 20)
	at := n.Machine().Applied()
	stop(t, n)
	logs, stable, err := raftlog.OpenBolt(identity.Folder(c.Folder).Raft(), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(logs.DeleteRange(1, at), logs.StoreLog(&raft.Log{Index: at + 2, Term: 9}), logs.Close(), stable.Close())
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(c)
	if err == nil || !strings.Contains(err.Error(), "log begins at entry") || !strings.Contains(err.Error(), "store ends at entry") {
		t.Errorf("got %v, want one that names both", err)
	}
}

func TestFolderThatIsNotWholeIsRefused(t *testing.T) {
	c := diskConfig(t)
	n := start(t, c)
	fill(t, n, 0, 20)
	stop(t, n)
	for name, test := range map[string]struct {
		harm func(identity.Folder) error
		kind error
		says string
	}{
		"log rotten":    {func(f identity.Folder) error { return rot(f.Raft() + "/" + raftlog.FirstLog) }, raftlog.ErrDamaged, raftlog.FirstLog},
		"log gone":      {func(f identity.Folder) error { return os.Remove(f.Raft() + "/" + raftlog.FirstLog) }, fs.ErrNotExist, raftlog.FirstLog},
		"vote gone":     {func(f identity.Folder) error { return os.Remove(f.Raft() + "/" + raftlog.StableFile) }, fs.ErrNotExist, raftlog.StableFile},
		"identity gone": {func(f identity.Folder) error { return os.Remove(f.Meta()) }, fs.ErrExist, "in use already"},
		"only the store": {func(f identity.Folder) error {
			return errors.Join(os.Remove(f.Meta()), os.Remove(f.Raft()+"/"+raftlog.FirstLog), os.Remove(f.Raft()+"/"+raftlog.StableFile))
		}, nil, "store ends at entry"},
		"identity rotten": {func(f identity.Folder) error { return rot(f.Meta()) }, identity.ErrDamaged, "meta.json"},
		"vote without a term": {func(f identity.Folder) error {
			if err := os.Remove(f.Raft() + "/" + raftlog.StableFile); err != nil {
				return err
			}
			return emptyVote(f.Raft())
		}, nil, "no term"},
		"another cluster": {func(f identity.Folder) error {
			m, err := identity.Load(f)
			m.ClusterID = "another"
			return errors.Join(err, identity.Save(f, m))
		}, nil, "mixed"},
	} {
		t.Run(name, func(t *testing.T) {
			copied := crashed(t, c)
			if err := test.harm(identity.Folder(copied.Folder)); err != nil {
				t.Fatal(err)
			}
			n, err := Open(copied)
			if err == nil {
				stop(t, n)
				t.Fatal("opened")
			}
			if test.kind != nil && !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v, saying %q", err, test.kind, test.says)
			}
			// The refused folder is free again.
			lock, err := identity.Acquire(identity.Folder(copied.Folder))
			if err != nil {
				t.Fatal(err)
			}
			if err := lock.Release(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// rot changes one byte of every copy that a session's command left in the file, else of the file's last third.
func rot(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	rotten := bytes.ReplaceAll(data, []byte(sessionID(5)), []byte(sessionID(6)))
	if bytes.Equal(rotten, data) {
		rotten[len(data)*2/3] ^= 1
	}
	return os.WriteFile(path, rotten, 0o600)
}

// emptyVote makes a vote file in which there is nothing.
func emptyVote(folder string) error {
	other, err := os.MkdirTemp(folder, "other")
	if err != nil {
		return err
	}
	logs, stable, err := raftlog.CreateBolt(other, nil)
	if err != nil {
		return err
	}
	return errors.Join(logs.Close(), stable.Close(), os.Rename(other+"/"+raftlog.StableFile, folder+"/"+raftlog.StableFile))
}

func TestFirstStartThatWasCutShortIsDoneAgain(t *testing.T) {
	for _, upTo := range []string{"folder", "raft files", "identity", "term"} {
		t.Run(upTo, func(t *testing.T) {
			c := diskConfig(t)
			folder := identity.Folder(c.Folder)
			if err := folder.Make(); err != nil {
				t.Fatal(err)
			}
			if upTo != "folder" {
				logs, stable, err := raftlog.CreateBolt(folder.Raft(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if upTo == "term" {
					err = stable.SetUint64([]byte(keyCurrentTerm), 1)
				}
				if err := errors.Join(err, logs.Close(), stable.Close()); err != nil {
					t.Fatal(err)
				}
			}
			if upTo == "identity" || upTo == "term" {
				m, err := identity.New{Name: "node", Random: c.Random}.Make()
				if err := errors.Join(err, identity.Save(folder, m)); err != nil {
					t.Fatal(err)
				}
			}
			n := start(t, c)
			fill(t, n, 0, 3)
			wantSessions(t, n, 3)
		})
	}
}

func TestFolderInUseIsRefused(t *testing.T) {
	c := diskConfig(t)
	start(t, c)
	if _, err := Open(c); !errors.Is(err, identity.ErrLocked) {
		t.Errorf("second node in the folder: got %v, want locked", err)
	}
}

// TestRegroupingCommandsChangesNothing replays the log of a node with one command to an entry (DECISIONS.md D16).
func TestRegroupingCommandsChangesNothing(t *testing.T) {
	c := testConfig(t)
	var logs gatheringLogs
	c.underLogs = logs.under
	n := start(t, c)
	var filling sync.WaitGroup
	logs.gather(t, n, 16, func() { filling.Go(func() { fill(t, n, 0, 300) }) })
	filling.Wait()
	last, err := n.logs.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	rows := store.OpenMemory()
	single := fsm.New(rows)
	defer single.Close()
	index, grouped := uint64(0), false
	for at := uint64(1); at <= last; at++ {
		var entry raft.Log
		if err := n.logs.GetLog(at, &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Type != raft.LogCommand {
			continue
		}
		commands, err := fsm.DecodeEntry(entry.Data)
		if err != nil {
			t.Fatal(err)
		}
		grouped = grouped || len(commands) > 1
		for _, c := range commands {
			data, err := fsm.EncodeEntry([]*logpb.Stamped{c})
			if err != nil {
				t.Fatal(err)
			}
			index++
			single.Apply([]fsm.LogEntry{{Index: index, Term: 1, Data: data}})
		}
	}
	if !grouped {
		t.Error("no entry of the node held more than one command")
	}
	if fsm.Digest(rows.System()) != digest(n) {
		t.Error("digest of one command to an entry differs from that of groups")
	}
}
