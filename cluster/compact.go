package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// The log has at most half of MaxLogBytes when it was cut, and a snapshot is taken when a quarter was added. The last quarter
// is for what is added until that snapshot is done.
func (c Config) keepBytes() uint64 { return c.MaxLogBytes / 2 }

func (c Config) snapshotBytes() uint64 { return min(c.SnapshotBytes, c.MaxLogBytes/4) }

// compact lets the store rest, and takes a snapshot when the log has grown by enough bytes; Raft itself counts entries. It takes one at the start too
// if the log is long: the count of bytes begins with the process, and a node that crashes often would never come to the end.
func (n *Node) compact(ctx context.Context) {
	tick := time.NewTicker(n.config.TickInterval)
	defer tick.Stop()
	started := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n.machine.Store().Rest()
		due := n.logs.AppendedBytes()-n.replica.snapshotAt.Load() >= n.config.snapshotBytes()
		if !started && n.Ready() == nil {
			started = true
			due = due || n.logs.RetainedBytes() > n.config.keepBytes()
		}
		if !due || n.failed() != nil {
			continue
		}
		if err := n.snapshot(); err != nil && ctx.Err() == nil {
			n.logger.Warn("snapshot", "error", err)
		}
	}
}

// adaptTrailing tells Raft how many entries to keep: as many as configured, or as have no more bytes than the log may keep,
// but always so many that a node that was away for a moment needs no snapshot (DECISIONS.md D20).
func (n *Node) adaptTrailing(r *raft.Raft) error {
	trailing := n.config.TrailingLogs
	if entries, all := n.logs.Newest(n.config.keepBytes()); !all {
		trailing = max(min(entries, trailing), minTrailingLogs)
	}
	config := r.ReloadableConfig()
	if config.TrailingLogs == trailing {
		return nil
	}
	config.TrailingLogs = trailing
	if err := r.ReloadConfig(config); err != nil {
		return fmt.Errorf("keep %d log entries: %w", trailing, err)
	}
	n.logger.Info("log entries kept after a snapshot", "entries", trailing)
	return nil
}
