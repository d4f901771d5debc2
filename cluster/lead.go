package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// takeoverPause is how long a leader waits before it tries once more to finish its takeover.
const takeoverPause = 100 * time.Millisecond

// lead follows the leadership of this node and keeps the gate. (A leader's first duty is an entry of its own term: only
// when that is applied does it know all that was committed before, and may stamp, read and work.)
func (n *Node) lead(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case leading := <-n.notify:
			if leading {
				n.takeOver(ctx)
				continue
			}
			if n.gate.set(0) {
				n.config.Events.leader(false, n.raft.CurrentTerm())
			}
			n.refuseForwarded()
		}
	}
}

// takeOver opens the gate, unless leadership goes before that.
func (n *Node) takeOver(ctx context.Context) {
	for n.failed() == nil {
		if n.Quarantine() != nil {
			n.giveWay(ctx)
			return
		}
		term := n.raft.CurrentTerm()
		clocks := n.beginClocks(ctx)
		err := n.establish()
		if n.actOnClocks(ctx, <-clocks) {
			return
		}
		leading := n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
		switch {
		case err == nil && leading:
			n.hasLed.Store(true)
			n.gate.set(term)
			if n.Quarantine() != nil { // begun meanwhile
				n.gate.set(0)
				continue
			}
			n.config.Events.leader(true, term)
			return
		case n.raft.State() != raft.Leader:
			return
		case err != nil:
			n.logger.Warn("takeover", "term", term, "error", err)
		}
		select {
		case <-time.After(takeoverPause):
		case <-ctx.Done():
			return
		}
	}
}

// beginClocks compares clocks while the first entry of the term is on its way.
func (n *Node) beginClocks(ctx context.Context) <-chan clockCheck {
	result := make(chan clockCheck, 1)
	if n.peers == nil {
		result <- clockCheck{}
		return result
	}
	n.background.Go(func() { result <- n.checkClocksSoon(ctx) })
	return result
}

// establish commits an empty entry in this term and, in a cluster that has none, its identity. (Raft's own barrier would
// not move the state machine's applied index, and readers wait for that.)
func (n *Node) establish() error {
	if _, err := n.commit(nil); err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	known := n.machine.Store().System().ClusterID
	if known == "" {
		if err := n.bootstrap(); err != nil {
			return err
		}
	} else if known != n.Identity().ClusterID {
		n.fatal(fmt.Errorf("log is of cluster %s, this node is of %s", known, n.Identity().ClusterID))
		return n.failed()
	}
	if n.config.AutoFinalize && n.peers == nil {
		return n.raise(fsm.FeatureLevel)
	}
	return nil
}

func (n *Node) bootstrap() error {
	key := make([]byte, 32)
	if _, err := io.ReadFull(n.config.Random, key); err != nil {
		return fmt.Errorf("bootstrap: make a key: %w", err)
	}
	command, err := fsm.EncodeCommand(&logpb.Command{Operation: &logpb.Command_Bootstrap{Bootstrap: &logpb.Bootstrap{
		ClusterId: n.Identity().ClusterID, Lineage: n.Identity().Lineage, Key: key, FeatureLevel: firstFeatureLevel,
	}}})
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	results, err := n.commit([]*logpb.Stamped{{Stamp: n.config.Clock().UnixNano(), Command: command}})
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	// Exists: an attempt whose outcome was not known had worked.
	if err := results[0].Err; err != nil && !errors.Is(err, graph.Exists) {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

// putMark puts an entry without commands into the log, and returns its index when it is applied.
func (n *Node) putMark() (index uint64, err error) {
	data, err := fsm.EncodeEntry(nil)
	if err != nil {
		return 0, err
	}
	future := n.raft.Apply(data, enqueueTimeout)
	if err := future.Error(); err != nil {
		return 0, err
	}
	_, err = resultsOf(future.Response())
	return future.Index(), err
}

// commit puts one entry into the log, past the queue, and waits until it is applied.
func (n *Node) commit(commands []*logpb.Stamped) ([]fsm.Result, error) {
	data, err := fsm.EncodeEntry(commands)
	if err != nil {
		return nil, err
	}
	future := n.raft.Apply(data, enqueueTimeout)
	if err := future.Error(); err != nil {
		return nil, err
	}
	results, err := resultsOf(future.Response())
	if err == nil && len(results) != len(commands) {
		err = fmt.Errorf("%d results for %d commands", len(results), len(commands))
	}
	return results, err
}

// tidy proposes, while this node leads, what keeps the state in order: sweeps of hidden rows, trimming of events.
func (n *Node) tidy(ctx context.Context) {
	tick := time.NewTicker(n.config.TickInterval)
	defer tick.Stop()
	var clean uint64 // nothing was due in the state at this index
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Chores give room back in the end: some of them may go on when commands are refused.
		for n.gate.open() && n.Ready() == nil && n.room.RefusalOfChores() == nil {
			at := n.machine.Applied()
			if at == clean {
				break
			}
			due, err := n.chore(ctx)
			if err != nil {
				if ctx.Err() == nil {
					n.logger.Warn("chore", "error", err)
				}
				break
			}
			if !due {
				clean = at
				break
			}
		}
	}
}

// chore does one of the chores, and reports whether there was one.
func (n *Node) chore(ctx context.Context) (due bool, err error) {
	command, err := n.machine.Chore(n.config.Retention)
	if err != nil || command == nil {
		return false, err
	}
	result, err := n.submit(ctx, command)
	if err == nil {
		err = result.Err
	}
	n.config.Events.chore(err)
	return true, err
}
