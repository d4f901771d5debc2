//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
)

// A way is what a node sends to another.
type way struct{ from, to int }

// A Partition says which ways are cut when that node leads.
type Partition func(r *Rig, leader *cluster.Node) []way

// IsolateLeader cuts the leader off from the other nodes; clients reach it still.
func IsolateLeader(r *Rig, leader *cluster.Node) []way {
	return append(MuteLeader(r, leader), DeafLeader(r, leader)...)
}

// MuteLeader loses what the leader sends to the other nodes; it hears them.
func MuteLeader(r *Rig, leader *cluster.Node) (cut []way) {
	for _, other := range r.Cluster.Others(leader) {
		cut = append(cut, way{leader.Number(), other.Number()})
	}
	return cut
}

// DeafLeader loses what the other nodes send to the leader; they hear it.
func DeafLeader(r *Rig, leader *cluster.Node) (cut []way) {
	for _, other := range r.Cluster.Others(leader) {
		cut = append(cut, way{other.Number(), leader.Number()})
	}
	return cut
}

// IsolateFollower cuts one follower off, so that a minority of one is left alone.
func IsolateFollower(r *Rig, leader *cluster.Node) []way {
	alone := r.Cluster.Others(leader)[0]
	return append(MuteLeader(r, alone), DeafLeader(r, alone)...)
}

// Cut makes a partition for a while. The rig's network must be of namespaces.
func Cut(partition Partition, hold time.Duration) Hurt {
	return func(ctx context.Context, r *Rig) (time.Duration, error) {
		network, ok := r.config.Network.(*cluster.Namespaces)
		if !ok {
			return 0, fmt.Errorf("partition: %w", cluster.ErrNoNamespaces)
		}
		leader, err := r.leader(ctx)
		if err != nil {
			return 0, err
		}
		cut := partition(r, leader)
		gap, err := r.whileCut(ctx, network, cut, hold)
		for _, w := range cut {
			err = errors.Join(err, network.Mend(w.from, w.to))
		}
		if err != nil {
			return 0, err
		}
		return gap, r.whole(ctx)
	}
}

// whileCut cuts, proves that every way is cut and that no other is, and waits until a majority writes.
func (r *Rig) whileCut(ctx context.Context, network *cluster.Namespaces, cut []way, hold time.Duration) (time.Duration, error) {
	at := time.Now()
	for _, w := range cut {
		if err := network.Cut(w.from, w.to); err != nil {
			return 0, err
		}
	}
	all := time.Now()
	if err := proveCut(network, cut); err != nil {
		return 0, err
	}
	// A write that was sent before everything was cut may have come through.
	gap, err := r.gap(ctx, all)
	if err != nil {
		return 0, fmt.Errorf("while %v are cut: %w", cut, err)
	}
	if _, err := r.leader(ctx, r.majority(cut)...); err != nil {
		return 0, fmt.Errorf("while %v are cut: %w", cut, err)
	}
	if err := pause(ctx, hold-time.Since(at)); err != nil {
		return 0, err
	}
	_, err = r.gap(ctx, time.Now()) // writes go on
	return gap, err
}

// majority are the nodes that hear one another.
func (r *Rig) majority(cut []way) (all []*cluster.Node) {
	for _, node := range r.Cluster.Nodes {
		lost := 0
		for _, w := range cut {
			if w.from == node.Number() || w.to == node.Number() {
				lost++
			}
		}
		if lost < len(cut) {
			all = append(all, node)
		}
	}
	return all
}

// A packet that gets through may take arrivesWithin; one that has not come after lostAfter is lost.
const arrivesWithin, lostAfter = time.Minute, time.Second

func proveCut(network *cluster.Namespaces, cut []way) error {
	lost := make(map[way]bool)
	for _, w := range cut {
		lost[w] = true
	}
	for from := cluster.Client; from < size; from++ {
		for to := range size {
			if from == to {
				continue
			}
			within := arrivesWithin
			if lost[way{from, to}] {
				within = lostAfter
			}
			arrived, err := network.Reaches(from, to, within)
			if err != nil {
				return err
			}
			if arrived == lost[way{from, to}] {
				return fmt.Errorf("%w: a packet from %d to %d arrives: %v", ErrNotInForce, from, to, arrived)
			}
		}
	}
	return nil
}
