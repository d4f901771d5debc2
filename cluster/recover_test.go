//go:build !wasip1

package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

func recovery(w *worker) Recovery {
	return Recovery{Folder: w.config.Folder, Version: "v-test", Random: rand.NewChaCha8([32]byte{9}), Store: w.config.Store}
}

// lostQuorum is three nodes that have stopped, with ten sessions, of which two are lost for good. The first one is what is left.
func lostQuorum(t *testing.T) (*company, *worker) {
	t.Helper()
	c := threeFolders(t)
	for _, w := range c.staff {
		w.start()
	}
	c.has(c.staff, nil)
	for i := range 10 {
		propose(t, c.staff[i%3].node, repeatable(t, i))
	}
	for _, w := range c.staff {
		wantSessions(t, w.node, 10)
	}
	for _, w := range c.staff {
		w.stop(false)
	}
	return c, c.staff[0]
}

// TestRecoveryOfALostQuorum: what is left goes on alone, as another cluster; new nodes join, those of the old one are refused.
func TestRecoveryOfALostQuorum(t *testing.T) {
	fresh := diskConfig(t)
	c, left := lostQuorum(t)
	plan, err := recovery(left).Plan()
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Members) != 3 || plan.LastIndex == 0 || plan.Applied > plan.LastIndex {
		t.Errorf("plan: got %+v", plan)
	}
	if meta, err := identity.Load(identity.Folder(left.config.Folder)); err != nil || meta.ClusterID != plan.FromCluster {
		t.Errorf("after a plan: got %+v, %v, want the folder as it was", meta, err)
	}
	if err := identity.Folder(left.config.Folder).SetRemoved([]string{plan.NodeID}); err != nil {
		t.Fatal(err)
	}
	done, err := recovery(left).Run()
	if err != nil {
		t.Fatal(err)
	}
	if removed, err := identity.Folder(left.config.Folder).Removed(); err != nil || len(removed) > 0 {
		t.Errorf("removed from the new cluster: %v, %v", removed, err)
	}
	if done.Finished.IsZero() || done.FromCluster == done.ToCluster || done.FromLineage == done.ToLineage || done.LastIndex != plan.LastIndex {
		t.Errorf("record: got %+v", done)
	}
	wantRecord(t, left, done)

	old := c.staff[1]
	left.start()
	c.until("the node to lead alone", func() bool { return left.node.Ready() == nil })
	wantSessions(t, left.node, 10)
	sys := left.node.Machine().Store().System()
	if sys.ClusterID != done.ToCluster || sys.Lineage != done.ToLineage || uint64(fsm.Revision(sys)) <= done.Revision+RevisionLeap {
		t.Errorf("state: got cluster %s, lineage %x, revision %d, want those of %+v", sys.ClusterID, sys.Lineage, fsm.Revision(sys), done)
	}
	if r := propose(t, left.node, repeatable(t, 3)); !r.Replayed {
		t.Error("a retry of a command of the old cluster took effect again")
	}
	propose(t, left.node, repeatable(t, 10))
	joiner := c.hire(fresh, MembersConfig{Joins: true, Settings: quick()})
	joiner.start()
	c.has([]*worker{left, joiner}, nil)
	wantSessions(t, joiner.node, 11)
	old.start()
	c.has([]*worker{left, joiner}, nil)
	if id := old.node.Identity().ClusterID; id != done.FromCluster {
		t.Errorf("a node of the old cluster: it is of %s now, want %s", id, done.FromCluster)
	}
}

// wantRecord: the folder says what was done, and still has the old log.
func wantRecord(t *testing.T, w *worker, want RecoveryRecord) {
	t.Helper()
	folder := identity.Folder(w.config.Folder)
	names, err := folder.Recoveries()
	if err != nil || len(names) != 1 {
		t.Fatalf("records: got %v, %v, want one", names, err)
	}
	text, err := folder.ReadRecovery(names[0])
	if err != nil {
		t.Fatal(err)
	}
	wantText, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(text), wantText) {
		t.Errorf("record: got\n%s\nwant\n%s", text, wantText)
	}
	if files, err := os.ReadDir(want.RaftLog); err != nil || len(files) == 0 {
		t.Errorf("the old log: got %v, %v", files, err)
	}
}

// TestRecoveryThatIsCutShort: after every step no node starts, until the recovery has been run to its end.
func TestRecoveryThatIsCutShort(t *testing.T) {
	c, left := lostQuorum(t)
	died := errors.New("the power was cut")
	r := recovery(left)
	for _, step := range []string{"record", "identity", "replay", "log", "rows", "role"} {
		r.interrupt = func(at string) error {
			if at == step {
				return died
			}
			return nil
		}
		if _, err := r.Run(); !errors.Is(err, died) {
			t.Fatalf("%s: got %v", step, err)
		}
		if step == "record" || step == "rows" || step == "role" {
			continue // nothing has changed yet, or all has
		}
		n, err := Open(left.config)
		if err == nil {
			t.Errorf("%s: the node starts", step)
			stop(t, n)
		}
	}
	r.interrupt = nil
	done, err := r.Run()
	if err != nil {
		t.Fatal(err)
	}
	wantRecord(t, left, done)
	left.start()
	c.until("the node to lead alone", func() bool { return left.node.Ready() == nil })
	wantSessions(t, left.node, 10)
	if _, err := r.Run(); err == nil {
		t.Error("a running node was recovered")
	}
}

// TestRecoveryOfWhatHoldsNothing: it says what to do instead.
func TestRecoveryOfWhatHoldsNothing(t *testing.T) {
	empty := Recovery{Folder: t.TempDir(), Random: rand.NewChaCha8([32]byte{9})}
	if _, err := empty.Run(); err == nil || !strings.Contains(err.Error(), "not the data folder") {
		t.Errorf("an empty folder: got %v", err)
	}
	config := diskConfig(t)
	c := newCompany(t)
	w := c.hire(config, MembersConfig{Joins: true})
	w.start()
	w.stop(true)
	if _, err := recovery(w).Run(); err == nil || !strings.Contains(err.Error(), "no cluster") {
		t.Errorf("a node that waits: got %v", err)
	}
	w.start()
	if err := w.node.Adopt("11111111-2222-4333-8444-555555555555", 7); err != nil {
		t.Fatal(err)
	}
	w.stop(true)
	if _, err := recovery(w).Run(); err == nil || !strings.Contains(err.Error(), "nothing is lost") {
		t.Errorf("a node that was welcomed and has nothing: got %v", err)
	}
}

// TestNothingIsRecoveredFromQuarantine: what differs from the majority is not what to go on with.
func TestNothingIsRecoveredFromQuarantine(t *testing.T) {
	config := diskConfig(t)
	n := start(t, config)
	n.noteQuarantine(errors.New("for the test"))
	stop(t, n)
	_, err := Recovery{Folder: config.Folder, Version: "v-test", Random: rand.NewChaCha8([32]byte{9}), Store: config.Store}.Run()
	if err == nil || !strings.Contains(err.Error(), "quarantine") {
		t.Errorf("recovery: %v", err)
	}
}
