package cluster

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/gossip"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/membership"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// inCompany runs a story in a bubble, on nodes in memory that expect three.
func inCompany(t *testing.T, founders int, story func(t *testing.T, c *company)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t)
		for range founders {
			c.hire(testConfig(t), MembersConfig{Expect: founders, Joins: true})
		}
		for _, w := range c.staff {
			w.start()
		}
		c.has(c.staff, nil)
		story(t, c)
		c.stop()
	})
}

func TestThreeNodesFormOneCluster(t *testing.T) {
	inCompany(t, 3, func(t *testing.T, c *company) {
		for i, w := range c.staff {
			propose(t, w.node, repeatable(t, i))
		}
		for _, w := range c.staff {
			wantSessions(t, w.node, 3)
		}
		c.addressed(c.staff...)
	})
}

// TestNodesStartOneAfterAnother: the last one makes the cluster possible, and a fourth joins it.
func TestNodesStartOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t)
		for range 3 {
			c.hire(testConfig(t), MembersConfig{Expect: 3, Joins: true}).start()
			time.Sleep(time.Minute)
		}
		c.has(c.staff, nil)
		fourth := c.hire(testConfig(t), MembersConfig{Expect: 3, Joins: true})
		fourth.start()
		c.has(c.staff, nil)
		fifth := c.hire(testConfig(t), MembersConfig{Joins: true})
		fifth.start()
		c.has(c.staff, nil)
		c.stop()
	})
}

// TestJoinerIsPromotedAndReplicaIsNot: both are taken in without a vote; the one gets its vote when it has caught up.
func TestJoinerIsPromotedAndReplicaIsNot(t *testing.T) {
	inCompany(t, 3, func(t *testing.T, c *company) {
		for i := range 20 {
			propose(t, c.staff[0].node, repeatable(t, i))
		}
		founders := append([]*worker(nil), c.staff...)
		replica := c.hire(testConfig(t), MembersConfig{Joins: true, ReadReplica: true})
		replica.start()
		c.has(founders, []*worker{replica})
		joiner := c.hire(testConfig(t), MembersConfig{Joins: true})
		joiner.start()
		c.has(append(founders, joiner), []*worker{replica})
		time.Sleep(time.Minute)
		c.has(append(founders, joiner), []*worker{replica})
		wantSessions(t, replica.node, 20)
		wantSessions(t, joiner.node, 20)
		if err := c.leader().works.Keeper().Promote(t.Context(), membership.NodeID(replica.id())); !errors.Is(err, membership.ErrUnfit) {
			t.Errorf("a vote for a replica: got %v, want %v", err, membership.ErrUnfit)
		}
	})
}

// TestNodeReplacedOnTheSameAddress: an empty disk is another node. It votes before the old one goes.
func TestNodeReplacedOnTheSameAddress(t *testing.T) {
	inCompany(t, 3, func(t *testing.T, c *company) {
		l := c.leader()
		var lost *worker
		for _, w := range c.staff {
			if w != l {
				lost = w
			}
		}
		was := lost.id()
		lost.stop(false)
		for i := range 5 {
			propose(t, l.node, repeatable(t, i))
		}
		fresh := c.hire(testConfig(t), MembersConfig{Expect: 3, Joins: true})
		fresh.address = lost.address
		fresh.start()
		var now []*worker
		for _, w := range c.staff {
			if w != lost {
				now = append(now, w)
			}
		}
		c.has(now, nil)
		wantSessions(t, fresh.node, 5)
		c.addressed(now...)
		if fresh.id() == was {
			t.Errorf("the new node has the id of the old one, %s", was)
		}
	})
}

// TestOneNodeBecomesTheFirstOfThree: what a node alone has stored is everybody's.
func TestOneNodeBecomesTheFirstOfThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t)
		first := c.hire(testConfig(t), MembersConfig{})
		first.start()
		c.has(c.staff, nil)
		for i := range 5 {
			propose(t, first.node, repeatable(t, i))
		}
		for range 2 {
			c.hire(testConfig(t), MembersConfig{Joins: true}).start()
		}
		c.has(c.staff, nil)
		for _, w := range c.staff {
			wantSessions(t, w.node, 5)
		}
		c.stop()
	})
}

// TestRemovedAndDemotedNodesStaySo: by order of an operator, though they live.
func TestRemovedAndDemotedNodesStaySo(t *testing.T) {
	inCompany(t, 4, func(t *testing.T, c *company) {
		c.operate("a demotion", func(k *membership.Keeper) error {
			return k.Demote(t.Context(), membership.NodeID(c.other(0).id()))
		})
		demoted := c.other(0)
		removed := c.other(1)
		c.operate("a removal", func(k *membership.Keeper) error { return k.Remove(t.Context(), membership.NodeID(removed.id())) })
		time.Sleep(time.Minute)
		if !removed.works.running.Load().told.Load() {
			t.Error("the removed node has not said so")
		}
		var voters []*worker
		for _, w := range c.staff {
			if w != demoted && w != removed {
				voters = append(voters, w)
			}
		}
		c.has(voters, []*worker{demoted})
		c.operate("a promotion", func(k *membership.Keeper) error { return k.Promote(t.Context(), membership.NodeID(demoted.id())) })
		c.has(append(voters, demoted), nil)
	})
}

// TestNodeThatWasRemovedWhileItWasAway is told when it comes back, by whoever leads then.
func TestNodeThatWasRemovedWhileItWasAway(t *testing.T) {
	inCompany(t, 4, func(t *testing.T, c *company) {
		away := c.other(0)
		id := away.id()
		c.network.cutOff(away.address, true)
		c.vine.leave(id, gossip.Dead)
		c.operate("the removal", func(k *membership.Keeper) error { return k.Remove(t.Context(), membership.NodeID(id)) })
		var left []*worker
		for _, w := range c.staff {
			if w != away {
				left = append(left, w)
			}
		}
		c.has(left, nil)
		time.Sleep(10 * time.Second) // the others are asked for reports meanwhile, and hear of it
		if err := c.leader().node.TransferLeadership(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		c.network.cutOff(away.address, false)
		said, err := away.works.Metadata(away.node)
		if err != nil {
			t.Fatal(err)
		}
		c.vine.come(id, said)
		c.until("the node to hear of it", func() bool { return away.works.running.Load().role() == membership.RoleRemoved })
		time.Sleep(30 * time.Second)
		c.has(left, nil)
	})
}

// other is the i-th node that does not lead.
func (c *company) other(i int) *worker {
	l := c.leader()
	for _, w := range c.staff {
		if w == l || w.node == nil {
			continue
		}
		if i == 0 {
			return w
		}
		i--
	}
	return nil
}

// TestTwoClustersThatMeetRefuseEachOther: nothing of one gets into the other.
func TestTwoClustersThatMeetRefuseEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t)
		ours, theirs := c.vine, newGrapevine()
		for i := range 4 {
			c.vine = ours
			if i >= 2 {
				c.vine = theirs
			}
			c.hire(testConfig(t), MembersConfig{Expect: 2, Joins: true}).start()
		}
		c.has(c.staff[:2], nil)
		c.has(c.staff[2:], nil)
		for _, w := range c.staff[2:] {
			ours.come(w.id(), theirs.live[w.id()].Metadata)
			if err := c.staff[0].node.Adopt(w.node.Identity().ClusterID, 1); !errors.Is(err, ErrOtherCluster) {
				t.Errorf("adopt: got %v, want %v", err, ErrOtherCluster)
			}
		}
		time.Sleep(time.Minute)
		c.has(c.staff[:2], nil)
		c.has(c.staff[2:], nil)
		if a, b := c.staff[0].node.Identity().ClusterID, c.staff[2].node.Identity().ClusterID; a == b {
			t.Errorf("both are cluster %s", a)
		}
		c.stop()
	})
}

// TestFeatureLevel: a new cluster begins at the first level, whoever founds it; a level is raised by the leader alone, when every
// member can; what this release does not know it does not propose.
func TestFeatureLevel(t *testing.T) {
	inCompany(t, 3, func(t *testing.T, c *company) {
		l := c.leader()
		if level := l.node.Machine().Store().System().FeatureLevel; level != 1 {
			t.Errorf("a new cluster: level %d, want 1", level)
		}
		if err := l.node.RaiseFeatureLevel(t.Context(), fsm.FeatureLevel+1); err == nil {
			t.Error("a level was raised that nobody knows")
		}
		if err := l.node.RaiseFeatureLevel(t.Context(), 1); err != nil {
			t.Error(err)
		}
		if err := c.other(0).node.RaiseFeatureLevel(t.Context(), 1); !errors.Is(err, NoLeader) {
			t.Errorf("on a follower: got %v, want %v", err, NoLeader)
		}
		if level, err := l.works.Keeper().Finalize(t.Context()); level != fsm.FeatureLevel || err != nil {
			t.Errorf("finalize: got %d, %v, want %d", level, err, fsm.FeatureLevel)
		}
		old := c.hire(testConfig(t), MembersConfig{Joins: true, minLevel: 5, maxLevel: 6})
		old.start()
		time.Sleep(time.Minute)
		if !old.node.Identity().Waits() {
			t.Error("a node that cannot work at the level was taken in")
		}
	})
}

// TestNodeTellsWhatOnlyAnOperatorCanChange: that it was removed, and that the cluster that took it in does not begin.
func TestNodeTellsWhatOnlyAnOperatorCanChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t)
		var says strings.Builder
		config := testConfig(t)
		config.Logger = hclog.New(&hclog.LoggerOptions{Output: &says, Level: hclog.Warn})
		w := c.hire(config, MembersConfig{Joins: true})
		w.start()
		if err := w.node.Adopt("11111111-2222-4333-8444-555555555555", 7); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * firstEntryPatience)
		c.stop()
		if !strings.Contains(says.String(), "remove the data folder") {
			t.Errorf("got %q, want what to do", says.String())
		}
	})
}
