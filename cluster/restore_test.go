//go:build !wasip1

package cluster

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/inspect"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// fullBackup is a full backup of a node.
func fullBackup(t *testing.T, n *Node) []byte {
	t.Helper()
	snap := n.Machine().Store().Snapshot()
	defer snap.Close()
	var text bytes.Buffer
	if _, err := backup.Full(&text, snap, backup.About{}); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// restoring is a restore of a full backup into a folder.
func restoring(folder string, text []byte) Restore {
	return Restore{
		Folder: folder, Name: "again", Version: "test", Random: rand.NewChaCha8([32]byte{2}), Store: store.Options{CacheBytes: 8 << 20, MemTableBytes: 1 << 20},
		Fill: func(rows *store.Store) (graph.Revision, error) {
			in, err := backup.NewReader(bytes.NewReader(text))
			if err != nil {
				return 0, err
			}
			defer in.Close()
			sys, err := backup.Load(in, rows, nil)
			return fsm.Revision(sys) + 7, err
		},
	}
}

// TestARestoredFolderIsThatOfANewCluster: the same graph under another name, whose revisions begin above all of the source.
func TestARestoredFolderIsThatOfANewCluster(t *testing.T) {
	source := start(t, diskConfig(t))
	fill(t, source, 0, 20)
	was := source.Machine().Store().System()
	c := diskConfig(t)
	c.Folder = filepath.Join(t.TempDir(), "a", "new", "one")
	done, err := restoring(c.Folder, fullBackup(t, source)).Run()
	if err != nil {
		t.Fatal(err)
	}
	report, err := inspect.Folder(c.Folder, inspect.Options{Report: func(f store.Finding) { t.Errorf("finding %v", f) }})
	if err != nil || report.ClusterID != done.Identity.ClusterID {
		t.Fatalf("%+v, %v", report, err)
	}
	n := start(t, c)
	sys := n.Machine().Store().System()
	if sys.ClusterID == was.ClusterID || sys.Lineage == was.Lineage || sys.ClusterID != n.Identity().ClusterID || sys.Lineage != n.Identity().Lineage {
		t.Errorf("cluster %s and lineage %x, its folder %v, the source %s and %x", sys.ClusterID, sys.Lineage, n.Identity(), was.ClusterID, was.Lineage)
	}
	if got, least := fsm.Revision(sys), fsm.Revision(was)+RevisionLeap; got < least {
		t.Errorf("begins at revision %d, at least %d", got, least)
	}
	sys.ClusterID, sys.Lineage = was.ClusterID, was.Lineage
	if fsm.Digest(sys) != fsm.Digest(was) {
		t.Error("the state has another digest than its source, but for cluster id and lineage")
	}
	wantSessions(t, n, 20)
	fill(t, n, 20, 40)
	stop(t, n)
	wantSessions(t, start(t, c), 40)
	report, err = inspect.Folder(c.Folder, inspect.Options{Report: func(store.Finding) {}})
	if err == nil {
		t.Errorf("%+v: the folder is in use", report)
	}
}

func TestNoNodeStartsInAFolderThatIsHalfRestored(t *testing.T) {
	source := start(t, testConfig(t))
	fill(t, source, 0, 20)
	text := fullBackup(t, source)
	c := diskConfig(t)
	refused := func(when string) {
		t.Helper()
		if n, err := Open(c); !errors.Is(err, identity.ErrRestoring) {
			t.Errorf("%s: a node started: %v, %v", when, n, err)
		}
	}
	cut := restoring(c.Folder, text)
	full := cut.Fill
	cut.Fill = func(rows *store.Store) (graph.Revision, error) {
		issued, err := full(rows)
		// A process that is killed here leaves what is there now.
		killed := filepath.Join(t.TempDir(), "killed")
		if err := os.CopyFS(killed, os.DirFS(c.Folder)); err != nil {
			t.Fatal(err)
		}
		c.Folder = killed
		return issued, err
	}
	if _, err := cut.Run(); err != nil {
		t.Fatal(err)
	}
	refused("killed before the end")
	if _, err := restoring(c.Folder, text).Run(); err != nil {
		t.Fatalf("once more: %v", err)
	}
	wantSessions(t, start(t, c), 20)
}

// TestARestoreThatFailsLeavesTheFolderEmpty: and one into a folder that is not empty changes nothing.
func TestARestoreThatFailsLeavesTheFolderEmpty(t *testing.T) {
	source := start(t, testConfig(t))
	fill(t, source, 0, 20)
	text := fullBackup(t, source)
	text[len(text)/2] ^= 1
	c := diskConfig(t)
	if _, err := restoring(c.Folder, text).Run(); !errors.Is(err, backup.ErrDamaged) {
		t.Fatalf("a damaged backup: got %v", err)
	}
	if left := names(t, c.Folder); !cmp.Equal(left, []string{"LOCK"}) {
		t.Errorf("left behind: %v", left)
	}
	fill(t, start(t, c), 0, 3) // a new cluster may start there
	before := names(t, c.Folder)
	if _, err := restoring(c.Folder, text).Run(); err == nil {
		t.Error("restored over the folder of a node")
	}
	if diff := cmp.Diff(before, names(t, c.Folder)); diff != "" {
		t.Error(diff)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "letter.txt"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := restoring(other, text).Run(); err == nil || len(names(t, other)) != 1 {
		t.Errorf("restored into a folder with other files: %v, %v", err, names(t, other))
	}
}

func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// TestEntriesAreThoseThatWereApplied: read from the log they lead to the same state, and what was cut says so.
func TestEntriesAreThoseThatWereApplied(t *testing.T) {
	n := start(t, testConfig(t))
	fill(t, n, 0, 50)
	last := n.Machine().Applied()
	m := fsm.New(store.OpenMemory())
	for m.Applied() < last {
		entries, err := n.Entries(m.Applied(), last, 1)
		if err != nil || len(entries) == 0 || entries[0].Index != m.Applied()+1 {
			t.Fatalf("after %d: %v, %v", m.Applied(), entries, err)
		}
		m.Apply(entries)
	}
	sys, want := m.Store().System(), n.Machine().Store().System()
	if fsm.Digest(sys) != fsm.Digest(want) && sys.Applied == want.Applied {
		t.Error("the entries lead to another state")
	}
	if entries, err := n.Entries(last, last+100, 1<<20); len(entries) > 0 && entries[0].Index <= last || err != nil {
		t.Errorf("after the last: %v, %v", entries, err)
	}
	if err := n.logs.DeleteRange(1, 10); err != nil {
		t.Fatal(err)
	}
	if entries, err := n.Entries(5, last, 1<<20); !errors.Is(err, fsm.ErrCompacted) {
		t.Errorf("what was cut: %v, %v", entries, err)
	}
	if entries, err := n.Entries(10, last, 1<<30); err != nil || uint64(len(entries)) != last-10 {
		t.Errorf("the rest: %d, %v", len(entries), err)
	}
}

// TestOthersJoinARestoredCluster: they get all of it, though the log begins behind what was restored.
func TestOthersJoinARestoredCluster(t *testing.T) {
	source := start(t, testConfig(t))
	fill(t, source, 0, 20)
	configs := []Config{diskConfig(t), diskConfig(t), diskConfig(t)} // removed after the nodes have stopped
	if _, err := restoring(configs[0].Folder, fullBackup(t, source)).Run(); err != nil {
		t.Fatal(err)
	}
	c := newCompany(t)
	first := c.hire(configs[0], MembersConfig{Settings: quick()})
	first.start()
	c.has(c.staff, nil)
	fill(t, first.node, 20, 25)
	for _, config := range configs[1:] {
		c.hire(config, MembersConfig{Joins: true, Settings: quick()}).start()
	}
	c.has(c.staff, nil)
	for _, w := range c.staff {
		wantSessions(t, w.node, 25)
		if got := w.node.Identity().ClusterID; got != first.node.Identity().ClusterID {
			t.Errorf("%s is of cluster %s, want %s", w.id(), got, first.node.Identity().ClusterID)
		}
	}
	again := filepath.Join(t.TempDir(), "again")
	if _, err := restoring(again, fullBackup(t, c.other(0).node)).Run(); err != nil {
		t.Errorf("a backup of a follower: %v", err)
	}
}
