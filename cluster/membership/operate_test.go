package membership

import (
	"errors"
	"testing"
	"time"
)

func (v *village) voter(id NodeID) bool {
	m, _ := v.configuration.Find(id)
	return m.Voter
}

func (v *village) member(id NodeID) bool {
	_, ok := v.configuration.Find(id)
	return ok
}

func (v *village) check(t *testing.T) {
	t.Helper()
	if v.broken != nil {
		t.Fatal(v.broken)
	}
}

// TestRemovedNodeStaysAway: it lives, knows the cluster, and is not taken in again.
func TestRemovedNodeStaysAway(t *testing.T) {
	v := newVillage(3)
	v.byHand = true
	v.rounds(1)
	if err := v.leader.keeper.Remove(t.Context(), "n02"); err != nil {
		t.Fatal(err)
	}
	v.rounds(20)
	v.check(t)
	if v.member("n02") || v.people[2].server.Role != RoleRemoved {
		t.Errorf("got %+v, %+v, want it gone", v.configuration, v.people[2].server)
	}
}

// TestRemovedNodeThatDidNotHearOfItStaysAway: it comes back as if nothing had happened, and another leads now.
func TestRemovedNodeThatDidNotHearOfItStaysAway(t *testing.T) {
	v := newVillage(4)
	v.byHand = true
	v.rounds(1)
	v.people[3].alive = false
	if err := v.leader.keeper.Remove(t.Context(), "n03"); err != nil {
		t.Fatal(err)
	}
	v.rounds(1)
	v.people[3].alive = true
	v.lead(v.people[1])
	v.rounds(20)
	v.check(t)
	if v.member("n03") || v.people[3].server.Role != RoleRemoved {
		t.Errorf("got %+v, %+v, want it gone and told", v.configuration, v.people[3].server)
	}
}

// TestNobodyDecidesUponWhatMayBeUndone: a configuration that is not committed has no index, and Raft would take a change upon any.
func TestNobodyDecidesUponWhatMayBeUndone(t *testing.T) {
	v := newVillage(4)
	v.byHand = true
	v.settle(RoleReader)
	v.configuration.Index = 0
	v.rounds(5)
	if err := v.leader.keeper.Remove(t.Context(), "n03"); !errors.Is(err, ErrChanging) {
		t.Errorf("a removal: got %v, want %v", err, ErrChanging)
	}
	if v.configuration.Index != 0 {
		t.Errorf("changed: %+v", v.configuration)
	}
	v.configuration.Index = 7
	v.rounds(1)
	v.check(t)
	if v.configuration.Index != 8 {
		t.Errorf("got %+v, want the reader in it", v.configuration)
	}
}

// TestDemotedNodeStaysDemoted: until it is promoted.
func TestDemotedNodeStaysDemoted(t *testing.T) {
	v := newVillage(3)
	v.byHand = true
	v.rounds(1)
	if err := v.leader.keeper.Demote(t.Context(), "n02"); err != nil {
		t.Fatal(err)
	}
	v.rounds(20)
	if v.voter("n02") || !v.member("n02") {
		t.Fatalf("got %+v, want n02 without a vote", v.configuration)
	}
	for range 2 {
		if err := v.leader.keeper.Promote(t.Context(), "n02"); err != nil {
			t.Fatal(err)
		}
	}
	v.rounds(20)
	v.check(t)
	if !v.voter("n02") {
		t.Errorf("got %+v, want n02 with a vote", v.configuration)
	}
}

func TestOrdersThatAreRefused(t *testing.T) {
	v := newVillage(3)
	v.byHand = true
	reader := v.settle(RoleReader)
	v.rounds(20)
	keeper := v.leader.keeper
	refused := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	refused("a stranger", keeper.Remove(t.Context(), "n77"), ErrUnknown)
	refused("the leader itself", keeper.Remove(t.Context(), "n00"), ErrSelf)
	refused("a vote for a read replica", keeper.Promote(t.Context(), reader.server.ID), ErrUnfit)
	refused("another than the leader", v.people[1].keeper.Remove(t.Context(), "n02"), ErrNotLeader)
	v.people[1].alive = false
	refused("a live voter where another is dead", keeper.Remove(t.Context(), "n02"), ErrQuorum)
	refused("its vote", keeper.Demote(t.Context(), "n02"), ErrQuorum)
	if err := keeper.Remove(t.Context(), "n01"); err != nil {
		t.Errorf("the dead voter: %v", err)
	}
	v.check(t)
	_, err := v.people[2].keeper.Finalize(t.Context())
	refused("finalize on another than the leader", err, ErrNotLeader)
	alone := newVillage(1)
	refused("the last voter", alone.leader.keeper.Remove(t.Context(), "n00"), ErrQuorum)
}

// TestReplacedNode: an empty disk on the same address is another node, and the old one goes at once when the new one votes.
func TestReplacedNode(t *testing.T) {
	v := newVillage(3)
	v.rounds(2)
	v.people[2].alive = false
	fresh := v.settle(RoleVoter)
	fresh.server.Address = v.people[2].server.Address
	v.rounds(20)
	v.check(t)
	if v.member("n02") || !v.voter(fresh.server.ID) || v.configuration.Voters() != 3 {
		t.Errorf("got %+v, want %s in the place of n02", v.configuration, fresh.server.ID)
	}
}

// TestDeadVoterOfThreeStays: without a replacement two would have to do, and none may fail.
func TestDeadVoterOfThreeStays(t *testing.T) {
	v := newVillage(3)
	v.people[2].alive = false
	v.rounds(5)
	v.pass(time.Hour)
	v.rounds(5)
	v.check(t)
	if !v.voter("n02") {
		t.Errorf("got %+v, want n02 in it", v.configuration)
	}
	fresh := v.settle(RoleVoter)
	v.rounds(20)
	v.check(t)
	if v.member("n02") || !v.voter(fresh.server.ID) {
		t.Errorf("with a replacement: got %+v, want n02 gone", v.configuration)
	}
}

// TestNodesThatSwapAddresses: the configuration takes no address twice, so one of them is nowhere for a moment.
func TestNodesThatSwapAddresses(t *testing.T) {
	v := newVillage(3)
	a, b := &v.people[1].server, &v.people[2].server
	a.Address, b.Address = b.Address, a.Address
	v.rounds(5)
	v.check(t)
	if err := v.settled(); err != nil {
		t.Error(err)
	}
}

// TestNodesWhoAreNotTakenIn: each with the reason that operators are told.
func TestNodesWhoAreNotTakenIn(t *testing.T) {
	for name, change := range map[string]func(*Server){
		"another cluster":     func(s *Server) { s.ClusterID, s.Founded = "other", true },
		"an expectation":      func(s *Server) { s.Expect = 3 },
		"data of its own":     func(s *Server) { s.Founded = true },
		"an older release":    func(s *Server) { s.MaxLevel = 0 },
		"a much later one":    func(s *Server) { s.MinLevel, s.MaxLevel = 2, 3 },
		"an unknown role":     func(s *Server) { s.Role = "king" },
		"it was removed once": func(s *Server) { s.Role, s.ClusterID = RoleRemoved, "c" },
	} {
		v := newVillage(3)
		p := v.settle(RoleVoter)
		change(&p.server)
		view, err := v.leader.keeper.view(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if why := Obstacle(view, p.server); why == "" {
			t.Errorf("%s: no obstacle", name)
		}
		v.rounds(20)
		v.check(t)
		if v.member(p.server.ID) {
			t.Errorf("%s: it is a member", name)
		}
	}
}

// TestLevelIsRaisedWhenEveryMemberCan: by order, and by itself where that is wanted; a member that has not reported holds it up.
func TestLevelIsRaisedWhenEveryMemberCan(t *testing.T) {
	v := newVillage(3)
	v.rounds(1)
	for _, p := range v.people[:2] {
		p.server.MaxLevel = 2
	}
	if level, err := v.leader.keeper.Finalize(t.Context()); level != 1 || err != nil {
		t.Errorf("one cannot: got %d, %v, want 1", level, err)
	}
	v.people[2].server.MaxLevel = 2
	v.people[2].alive = false
	v.lead(v.people[1]) // a new leader has heard nothing of n02
	if _, err := v.leader.keeper.Finalize(t.Context()); !errors.Is(err, ErrUnfit) {
		t.Errorf("one is silent: got %v, want %v", err, ErrUnfit)
	}
	v.people[2].alive = true
	if level, err := v.leader.keeper.Finalize(t.Context()); level != 2 || err != nil || v.level != 2 {
		t.Errorf("all can: got %d, %v, want 2", level, err)
	}
	for _, p := range v.people {
		p.server.MaxLevel = 3
		p.keeper.config.Settings.AutoFinalize = true
	}
	v.rounds(1)
	v.check(t)
	if v.level != 3 {
		t.Errorf("by itself: got %d, want 3", v.level)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	if err := (Settings{}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (Settings{Interval: time.Microsecond, MinQuorum: -1, Stabilization: -1}).Validate(); err == nil {
		t.Error("got no error")
	}
}

// TestVoterThatLeftStays: it is stopped for a while, however many there are; one that died does not.
func TestVoterThatLeftStays(t *testing.T) {
	v := newVillage(5)
	v.people[3].alive, v.people[3].left = false, true
	v.people[4].alive = false
	v.rounds(5)
	v.pass(time.Hour)
	v.rounds(5)
	v.check(t)
	if !v.voter("n03") || v.member("n04") {
		t.Errorf("got %+v, want n03 in it and n04 not", v.configuration)
	}
}
