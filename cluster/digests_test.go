package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

func TestJudge(t *testing.T) {
	said := func(text string) (voters int, all []testimony) {
		for i, field := range strings.Fields(text) {
			voter := strings.ToUpper(field) == field
			if voter {
				voters++
			}
			if field != "-" {
				all = append(all, testimony{id: raft.ServerID(string('a' + rune(i))), voter: voter, digest: [32]byte{strings.ToUpper(field)[0]}})
			}
		}
		return voters, all
	}
	for _, c := range []struct {
		// what the members say, in the order of their ids: upper case is a voter's, - is a voter that says nothing
		said     string
		wrong    []raft.ServerID
		disputed bool
	}{
		{"X X X", nil, false},
		{"X Y X", []raft.ServerID{"b"}, false},
		{"Y X X", []raft.ServerID{"a"}, false},
		{"X Y Z", nil, true},
		{"X Y -", nil, true},
		{"X X -", nil, false},
		{"X - -", nil, false},
		{"X Y", nil, true},
		{"X X Y Y X", []raft.ServerID{"c", "d"}, false},
		{"X X Y - -", nil, true},
		{"X X y -", []raft.ServerID{"c"}, false},
		{"X y", []raft.ServerID{"b"}, false},
		{"X Y y y y", nil, true},
		{"- - x y", nil, true},
	} {
		voters, all := said(c.said)
		f := judge(voters, all)
		if diff := cmp.Diff(c.wrong, f.wrong); diff != "" || f.disputed != c.disputed {
			t.Errorf("%s: disputed %v, wrong (-want +got):\n%s", c.said, f.disputed, diff)
		}
	}
}

func TestMarksAreBounded(t *testing.T) {
	m := &marks{}
	for i := range uint64(maxMarks + 10) {
		m.pass(i+1, &Mark{Index: i + 1})
	}
	if _, known, passed, _ := m.at(10); known || !passed || len(m.all) != maxMarks {
		t.Errorf("%d marks, the 10th is known: %v", len(m.all), known)
	}
	if newest, _ := m.newest(); newest.Index != maxMarks+10 {
		t.Errorf("newest: %+v", newest)
	}
	m.forget(1000)
	var none *ErrNoMark
	if _, err := m.wait(t.Context(), maxMarks+10); !errors.As(err, &none) {
		t.Errorf("a mark before the snapshot: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.wait(ctx, 1001); !errors.Is(err, context.Canceled) {
		t.Errorf("an entry that is to come: %v", err)
	}
}

// TestDigestsAtOneRevisionWhileWritesGoOn: members tell the same digest at a mark, whatever they have applied since.
func TestDigestsAtOneRevisionWhileWritesGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		w := c.write(t, 6)
		for range 5 {
			time.Sleep(200 * time.Millisecond)
			leader, _ := c.leader()
			want, err := leader.MarkState(timeout(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range c.nodes {
				if got, err := n.MarkAt(timeout(t), want.Revision); err != nil || got != want {
					t.Errorf("%s: %+v, %v, want %+v", n.Identity().NodeID, got, err, want)
				}
			}
		}
		w.stop()
		leader, at := c.leader()
		_, err := c.nodes[(at+1)%3].MarkState(timeout(t))
		wantError(t, "a mark elsewhere", err, NoLeader, true)
		var none *ErrNoMark
		if _, err := leader.MarkAt(timeout(t), 2); !errors.As(err, &none) {
			t.Errorf("digest at an entry that is no mark: %v", err)
		}
	})
}

// corrupt gives a node a session that the others do not have, in place of the next entry of the log.
func corrupt(t *testing.T, n *Node) {
	t.Helper()
	sys := n.machine.Store().System()
	data, err := fsm.EncodeEntry([]*logpb.Stamped{{Stamp: sys.Instant + 1, Command: createSession(t, sessionID(1_000_000))}})
	if err != nil {
		t.Fatal(err)
	}
	n.replica.mu.Lock()
	defer n.replica.mu.Unlock()
	n.machine.Apply([]fsm.LogEntry{{Index: sys.Applied + 1, Term: sys.Term, Data: data}})
}

// watched notes what the nodes of a trio tell of their comparisons.
type watched struct {
	mu       sync.Mutex
	isolated []int
	compared []string
}

func (w *watched) events(i int) Events {
	return Events{
		Quarantined: func(error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.isolated = append(w.isolated, i)
		},
		Compared: func(wrong int, disputed bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			what := "equal"
			if disputed {
				what = "disputed"
			} else if wrong > 0 {
				what = "differ"
			}
			if !slices.Contains(w.compared, what) {
				w.compared = append(w.compared, what)
			}
		},
	}
}

// TestANodeWhoseStateDiffersIsPutIntoQuarantine, be it the leader or not: it reads nothing, writes nothing, leads nobody and sends no snapshot,
// and the others go on.
func TestANodeWhoseStateDiffersIsPutIntoQuarantine(t *testing.T) {
	for _, leads := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var w watched
			c := newTrio(t, 3, func(i int, config *Config) { config.Events = w.events(i) })
			for i := range 10 {
				propose(t, c.nodes[i%3], repeatable(t, i))
			}
			_, at := c.leader()
			if !leads {
				at = (at + 1) % 3
			}
			bad := c.nodes[at]
			corrupt(t, bad)
			good := c.nodes[(at+1)%3]
			// The entry in whose place the other was applied.
			if r, err := good.Propose(timeout(t), repeatable(t, 10)); err != nil || r.Err != nil {
				t.Fatal(err, r.Err)
			}
			select {
			case <-bad.Fit().Done():
			case <-timeout(t).Done():
				t.Fatal("nobody noticed")
			}
			c.leader(at)
			for i := 11; i < 20; i++ {
				propose(t, good, repeatable(t, i))
			}
			isUseless(t, bad)
			if diff := cmp.Diff([]int{at}, w.isolated); diff != "" {
				t.Errorf("in quarantine (-want +got):\n%s", diff)
			}
			status, err := good.PeerStatus(timeout(t), bad.Identity().NodeID, addressOf(at))
			if err != nil || status.Ready || !strings.Contains(status.Quarantine, "not that of the majority") {
				t.Errorf("what it tells: %v, %v", status, err)
			}
		})
	}
}

// isUseless fails unless a node in quarantine is good for nothing.
func isUseless(t *testing.T, n *Node) {
	t.Helper()
	_, err := n.Propose(timeout(t), repeatable(t, 99))
	wantError(t, "a write", err, Quarantined, true)
	wantError(t, "a read", n.Barrier(timeout(t), 0), Quarantined, true)
	wantError(t, "a bounded read", n.Barrier(timeout(t), time.Hour), Quarantined, true)
	wantError(t, "readiness", n.Ready(), Quarantined, true)
	if _, _, err := n.snapshots.Open(liveID); !errors.Is(err, Quarantined) {
		t.Errorf("a snapshot for another node: %v", err)
	}
	if why := n.Quarantine().Error(); !strings.Contains(why, "empty one") {
		t.Errorf("it does not say how to repair it: %s", why)
	}
}

// TestANodeInQuarantineThatIsElectedGivesWay: the others may not be able to lead before they have its log.
func TestANodeInQuarantineThatIsElectedGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		propose(t, c.nodes[0], repeatable(t, 0))
		leader, at := c.leader()
		bad := (at + 1) % 3
		c.nodes[bad].isolate(errors.New("for the test"))
		if err := leader.TransferLeadership(timeout(t), c.nodes[bad].Identity().NodeID); err != nil {
			t.Fatal(err)
		}
		c.leader(bad)
		propose(t, c.nodes[(bad+1)%3], repeatable(t, 1))
		if term, _ := c.nodes[bad].LeadingTerm(); term != 0 {
			t.Error("the node in quarantine leads")
		}
	})
}

// TestTwoStatesWithoutAMajorityAreTold: nobody is put into quarantine when nobody can tell who is wrong.
func TestTwoStatesWithoutAMajorityAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watched
		c := newTrio(t, 2, func(i int, config *Config) { config.Events = w.events(i) })
		propose(t, c.nodes[0], repeatable(t, 0))
		_, at := c.leader()
		corrupt(t, c.nodes[1-at])
		propose(t, c.nodes[at], repeatable(t, 1))
		c.until("a comparison that cannot tell", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return slices.Contains(w.compared, "disputed")
		})
		if len(w.isolated) > 0 {
			t.Errorf("in quarantine: %v", w.isolated)
		}
	})
}

// TestQuarantineOutlivesARestart, and no cluster is recovered from such a folder.
func TestQuarantineOutlivesARestart(t *testing.T) {
	config := diskConfig(t)
	n := start(t, config)
	ready(t, n)
	why := errors.New("for the test")
	n.noteQuarantine(why)
	n.isolate(why)
	stop(t, n)
	again, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, again)
	if err := again.Quarantine(); !errors.Is(err, Quarantined) || !strings.Contains(err.Error(), "for the test") {
		t.Errorf("after the restart: %v", err)
	}
	wantError(t, "a read", again.Barrier(timeout(t), 0), Quarantined, true)
	if noted, err := identity.Folder(config.Folder).Quarantine(); err != nil || !strings.Contains(noted, "for the test") {
		t.Errorf("noted: %q, %v", noted, err)
	}
}
