package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
)

// KillLeader kills the leader with SIGKILL, starts it again, and waits until it follows. It returns how long nobody could write.
func KillLeader(ctx context.Context, r *Rig) (time.Duration, error) {
	leader, err := r.leader(ctx)
	if err != nil {
		return 0, err
	}
	return r.kill(ctx, leader)
}

// KillEach kills one node after the other and starts it again. It returns the longest time in which nobody could write.
func KillEach(ctx context.Context, r *Rig) (longest time.Duration, err error) {
	for _, node := range r.Cluster.Nodes {
		gap, err := r.kill(ctx, node)
		if err != nil {
			return 0, err
		}
		longest = max(longest, gap)
	}
	return longest, nil
}

func (r *Rig) kill(ctx context.Context, node *cluster.Node) (time.Duration, error) {
	before, err := r.idOf(ctx, node)
	if err != nil {
		return 0, err
	}
	at := time.Now()
	if err := node.Kill(); err != nil {
		return 0, err
	}
	gap, err := r.gap(ctx, at)
	if err != nil {
		return 0, fmt.Errorf("after the kill of %s: %w", node.Name(), err)
	}
	if node.Running() {
		return 0, fmt.Errorf("%w: %s runs", ErrNotInForce, node.Name())
	}
	if err := r.comeBack(ctx, node); err != nil {
		return 0, err
	}
	after, err := r.idOf(ctx, node)
	if err == nil && after != before {
		err = fmt.Errorf("%s was %s and is %s, although it kept its data", node.Name(), before, after)
	}
	return gap, err
}

// comeBack starts a node and waits until the cluster is whole.
func (r *Rig) comeBack(ctx context.Context, node *cluster.Node) error {
	if err := node.Start(ctx); err != nil {
		return fmt.Errorf("start of %s: %w", node.Name(), err)
	}
	if err := r.whole(ctx); err != nil {
		return fmt.Errorf("after the start of %s: %w", node.Name(), err)
	}
	return nil
}

// PauseLeader stops the leader where it is for a while, as a machine that stalls does. Others must lead meanwhile.
func PauseLeader(d time.Duration) Hurt {
	return func(ctx context.Context, r *Rig) (time.Duration, error) {
		leader, err := r.leader(ctx)
		if err != nil {
			return 0, err
		}
		at := time.Now()
		if err := leader.Pause(); err != nil {
			return 0, err
		}
		gap, err := r.whilePaused(ctx, leader, at.Add(d))
		if err != nil {
			return 0, err
		}
		if err := leader.Resume(); err != nil {
			return 0, err
		}
		return gap, r.whole(ctx)
	}
}

func (r *Rig) whilePaused(ctx context.Context, leader *cluster.Node, until time.Time) (time.Duration, error) {
	at := time.Now()
	gap, err := r.gap(ctx, at)
	if err != nil {
		return 0, fmt.Errorf("while %s is stopped: %w", leader.Name(), err)
	}
	if _, err := r.leader(ctx, r.Cluster.Others(leader)...); err != nil {
		return 0, err
	}
	if err := pause(ctx, time.Until(until)); err != nil {
		return 0, err
	}
	state, err := processState(leader.PID())
	if err == nil && state != "T" {
		err = fmt.Errorf("%w: %s is in state %s, want T", ErrNotInForce, leader.Name(), state)
	}
	return gap, err
}

// WipeFollower empties the disk of a follower. It must come back as a new node at the old address, and the old one must be forgotten.
func WipeFollower(ctx context.Context, r *Rig) (time.Duration, error) {
	node, err := r.follower(ctx)
	if err != nil {
		return 0, err
	}
	before, err := r.idOf(ctx, node)
	if err != nil {
		return 0, err
	}
	at := time.Now()
	if err := node.Kill(); err != nil {
		return 0, err
	}
	if err := node.Wipe(); err != nil {
		return 0, err
	}
	gap, err := r.gap(ctx, at)
	if err != nil {
		return 0, err
	}
	if err := r.comeBack(ctx, node); err != nil {
		return 0, err
	}
	after, err := r.idOf(ctx, node)
	if err == nil && after == before {
		err = fmt.Errorf("%w: %s has the id %s that it had before its disk was emptied", ErrNotInForce, node.Name(), after)
	}
	return gap, err
}

// Transfer has leadership handed over.
func Transfer(ctx context.Context, r *Rig) (time.Duration, error) {
	at := time.Now()
	// On a busy machine leadership may go somewhere between two questions; then this one is asked again.
	err := r.ask(ctx, "leadership is handed over", func(ctx context.Context) (bool, error) {
		leader, err := r.leader(ctx)
		if err != nil {
			return false, err
		}
		at = time.Now()
		answer, err := r.Cluster.Transfer(ctx, leader)
		if err == nil && r.Cluster.NodeOf(answer.GetLeader()) == leader {
			err = fmt.Errorf("%w: %s leads as before", ErrNotInForce, answer.GetLeader())
		}
		return err == nil, err
	})
	if err != nil {
		return 0, err
	}
	gap, err := r.longestGap(ctx, at, time.Now())
	if err != nil {
		return 0, err
	}
	return gap, r.whole(ctx)
}

// longestGap is the longest time without an acknowledged write that touches the time between two moments.
func (r *Rig) longestGap(ctx context.Context, from, to time.Time) (time.Duration, error) {
	if _, err := r.gap(ctx, to); err != nil {
		return 0, err
	}
	return r.Load.LongestGap(from, to), nil
}

// RollingRestart stops one node after the other gracefully and starts it again, those that follow first, as an upgrade does.
func RollingRestart(ctx context.Context, r *Rig) (time.Duration, error) {
	leader, err := r.leader(ctx)
	if err != nil {
		return 0, err
	}
	from := time.Now()
	for _, node := range append(r.Cluster.Others(leader), leader) {
		if err := node.Stop(ctx); err != nil {
			return 0, err
		}
		if err := r.comeBack(ctx, node); err != nil {
			return 0, err
		}
	}
	return r.longestGap(ctx, from, time.Now())
}

// KillAll kills all nodes at once and starts them again. The time without a write begins when they have been started.
func KillAll(ctx context.Context, r *Rig) (time.Duration, error) {
	if err := r.Cluster.Kill(); err != nil {
		return 0, err
	}
	return r.allBack(ctx, r.Cluster.Start)
}

// MoveAll kills all nodes at once and starts them at other addresses.
func MoveAll(ctx context.Context, r *Rig) (time.Duration, error) {
	if err := r.Cluster.Kill(); err != nil {
		return 0, err
	}
	was := r.Cluster.Addresses()
	gap, err := r.allBack(ctx, r.Cluster.StartElsewhere)
	for i, address := range r.Cluster.Addresses() {
		if address == was[i] {
			err = errors.Join(err, fmt.Errorf("%w: a node is at %s as before", ErrNotInForce, address))
		}
	}
	return gap, err
}

func (r *Rig) allBack(ctx context.Context, start func(context.Context) error) (time.Duration, error) {
	for _, node := range r.Cluster.Nodes {
		if node.Running() {
			return 0, fmt.Errorf("%w: %s runs", ErrNotInForce, node.Name())
		}
	}
	at := time.Now()
	if err := start(ctx); err != nil {
		return 0, err
	}
	gap, err := r.gap(ctx, at)
	if err != nil {
		return 0, err
	}
	return gap, r.whole(ctx)
}
