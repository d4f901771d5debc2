package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
)

// farFromNow is how far the clock of a leader may be from the others before it must give leadership away (DECISIONS.md D7).
const farFromNow = 5 * time.Second

// JumpLeader sets the wall clock of the leader. It must give leadership away, and what was written meanwhile must have times that
// never go back and none that is further ahead than most.
func JumpLeader(ahead, most time.Duration) Hurt {
	return func(ctx context.Context, r *Rig) (time.Duration, error) {
		node, err := r.leader(ctx)
		if err != nil {
			return 0, err
		}
		return r.jump(ctx, node, ahead, most, func() error { return r.awaitOther(ctx, node) })
	}
}

// JumpFollower sets the wall clock of a follower. It must not matter.
func JumpFollower(ahead time.Duration) Hurt {
	return func(ctx context.Context, r *Rig) (time.Duration, error) {
		node, err := r.follower(ctx)
		if err != nil {
			return 0, err
		}
		return r.jump(ctx, node, ahead, farFromNow, func() error { return pause(ctx, time.Second) })
	}
}

func (r *Rig) jump(ctx context.Context, node *cluster.Node, ahead, most time.Duration, holds func() error) (time.Duration, error) {
	at := time.Now()
	if err := node.SetClock(ahead); err != nil {
		return 0, err
	}
	if err := r.proveClock(ctx, node, ahead); err != nil {
		return 0, err
	}
	if err := holds(); err != nil {
		return 0, err
	}
	gap, err := r.longestGap(ctx, at, time.Now())
	if err != nil {
		return 0, err
	}
	if err := node.SetClock(0); err != nil {
		return 0, err
	}
	if furthest := r.Load.Furthest(); furthest > most {
		return 0, fmt.Errorf("with the clock of %s set %v ahead, an event is dated %v after it was told, at most %v", node.Name(), ahead, furthest, most)
	}
	return gap, r.whole(ctx)
}

// proveClock asks the node itself for its time.
func (r *Rig) proveClock(ctx context.Context, node *cluster.Node, ahead time.Duration) error {
	before := time.Now()
	says, err := r.Cluster.Clock(ctx, node)
	if err != nil {
		return err
	}
	const roughly = 10 * time.Second // its answer is in seconds
	if says.Before(before.Add(ahead-roughly)) || says.After(time.Now().Add(ahead+roughly)) {
		return fmt.Errorf("%w: the clock of %s says %v, want %v ahead of %v", ErrNotInForce, node.Name(), says, ahead, before)
	}
	return nil
}
