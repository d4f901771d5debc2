package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
)

// A node whose state is not that of the others is put into quarantine (DECISIONS.md D21): its rows are no source of anything any more, of no
// read, no result, no snapshot, and it does not lead. Its log is sound, so it goes on taking entries in, and votes.
type quarantine struct {
	// fit ends, and its cause says why.
	fit context.Context
	end context.CancelCauseFunc
	// begun is set by whoever ends it.
	begun atomic.Bool
}

func newQuarantine() *quarantine {
	q := &quarantine{}
	q.fit, q.end = context.WithCancelCause(context.Background())
	return q
}

// howToRepair ends what is said of a quarantine.
const howToRepair = "stop this node, move its data folder away (keep it for a report), and start it again with an empty one: it joins as a new node and replaces this one"

// Quarantine says why this node is in quarantine, in an [*Error] of the kind Quarantined; nil while it is not. It does not end while
// the node has this data folder.
func (n *Node) Quarantine() error {
	if n.isolation.fit.Err() == nil {
		return nil
	}
	return surely(Quarantined, context.Cause(n.isolation.fit))
}

// Fit ends when this node is in quarantine; its cause says why.
func (n *Node) Fit() context.Context { return n.isolation.fit }

// readQuarantine finds what was noted before the start.
func (n *Node) readQuarantine() error {
	if n.config.InMemory {
		return nil
	}
	noted, err := identity.Folder(n.config.Folder).Quarantine()
	if err != nil || noted == "" {
		return err
	}
	n.isolate(errors.New(noted))
	return nil
}

// isolate puts this node into quarantine.
func (n *Node) isolate(why error) {
	why = fmt.Errorf("%w: %s", why, howToRepair)
	if !n.isolation.begun.CompareAndSwap(false, true) {
		return
	}
	n.isolation.end(why)
	n.logger.Error("this node is in quarantine: it serves nothing any more and does not lead", "error", why)
	n.gate.set(0)
	n.config.Events.quarantined(why)
	n.turnAllAway()
}

// noteQuarantine writes down why, for the next start.
func (n *Node) noteQuarantine(why error) {
	if n.config.InMemory {
		return
	}
	text := n.config.Clock().UTC().Format(time.RFC3339) + " " + why.Error()
	if err := identity.Folder(n.config.Folder).NoteQuarantine(text); err != nil {
		n.logger.Error("note the quarantine: after a restart this node is to be compared again before it is found out", "error", err)
	}
}

// turnAllAway settles the commands that wait here: their results would come from rows that are wrong.
func (n *Node) turnAllAway() {
	why := context.Cause(n.isolation.fit)
	for batch := n.queue.take(); len(batch) > 0; batch = n.queue.take() {
		for _, p := range batch {
			n.sent.remove(p)
			p.turnAway(Quarantined, why)
		}
	}
	for _, p := range n.sent.all() {
		n.sent.remove(p)
		p.settle(outcome{err: perhaps(Quarantined, why)})
	}
}

// giveWay hands leadership over for as long as a node in quarantine has it.
func (n *Node) giveWay(ctx context.Context) {
	for n.raft.State() == raft.Leader && n.failed() == nil {
		if err := n.HandOver(ctx); err != nil {
			n.logger.Warn("this node is in quarantine and leads: nobody takes over", "error", err)
		}
		select {
		case <-time.After(takeoverPause):
		case <-ctx.Done():
			return
		}
	}
}
