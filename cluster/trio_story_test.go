package cluster

import (
	"testing"
	"testing/synctest"
)

func TestThreeNodesAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		for i := range 30 {
			propose(t, c.nodes[i%3], repeatable(t, i))
		}
		for _, n := range c.nodes {
			ready(t, n)
			wantSessions(t, n, 30)
		}
		c.agree()
	})
}
