package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestALeaderWhoseProcessHasEndedIsSucceededAtOnce, and not after timeouts: in a bubble time only passes where everybody waits.
func TestALeaderWhoseProcessHasEndedIsSucceededAtOnce(t *testing.T) {
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			c := newTrio(t, 5, nil)
			propose(t, c.nodes[0], repeatable(t, 0))
			for i := range 2 {
				_, old := c.leader()
				c.crash(old)
				killed := time.Now()
				c.leader(old)
				if took := time.Since(killed); took >= LAN().Heartbeat {
					t.Errorf("another leads after %v", took)
				}
				for _, n := range c.nodes {
					if n != nil {
						propose(t, n, repeatable(t, 1+i))
					}
				}
			}
		})
	}
}

// TestALeaderThatOthersReachIsNotDeposed by a follower whose streams break and whose way to the leader is refused.
func TestALeaderThatOthersReachIsNotDeposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		leader, at := c.leader()
		before := leader.raft.CurrentTerm()
		follower := c.nodes[(at+1)%3]
		known, _ := follower.Leader()
		follower.NoteAddress(known.NodeID, addressOf(8))
		for range 20 {
			c.network.crashLinks(addressOf(at))
			time.Sleep(100 * time.Millisecond)
			if _, lost := follower.hasLost(t.Context(), known); lost {
				t.Error("the leader is taken for lost")
			}
		}
		if now := leader.raft.CurrentTerm(); now != before {
			t.Errorf("term %d became %d", before, now)
		}
	})
}
