package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
)

// Status is where a node stands.
type Status struct {
	NodeID, ClusterID string
	Lineage           uint32
	// State is Follower, Candidate, Leader or Shutdown.
	State string
	// Ready: the node serves reads, see [Node.Ready].
	Ready bool
	Term  uint64
	// Leader is who leads as far as this node knows; the zero value for nobody.
	Leader Leader
	// Members is the newest configuration that this node knows.
	Members Configuration
	// LastContact is since this node heard from the leader, 0 on the leader, -1 for never.
	LastContact time.Duration
	// Committed, Applied and Durable are indexes of log entries: agreed upon, in the rows, in the rows after a crash.
	Committed, Applied, Durable uint64
	// FirstLog and LastLog are the oldest and the newest entry in the log, 0 for none.
	FirstLog, LastLog uint64
	// LogBytes is what was appended to the log since the last snapshot, or the start.
	LogBytes uint64
	// Disk is how full the disk is; zero in memory.
	Disk reserve.State
	// DamagedStores is how many damaged stores were moved aside and are still in the data folder.
	DamagedStores int
	// CommandsForwarded counts what this node took to the leader, ReadIndexesAnswered what it found for others while it led.
	CommandsForwarded, ReadIndexesAnswered uint64
	// Queued is how many commands wait to be proposed.
	Queued int
}

// Status says where this node stands. The figures are read one after the other, not at one moment.
func (n *Node) Status() (Status, error) {
	first, err := n.logs.FirstIndex()
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	last, err := n.logs.LastIndex()
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	sys := n.machine.Store().System()
	durable, _ := n.machine.Store().DurableApplied()
	queued, _ := n.queue.state()
	leader, _ := n.route.get()
	members, err := n.Configuration()
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	var forwarded, answered uint64
	if n.peers != nil {
		forwarded, answered = n.forward.forwarded.Load(), n.peers.readIndexes.Load()
	}
	return Status{
		CommandsForwarded: forwarded, ReadIndexesAnswered: answered,
		Leader: leader, Members: members, LastContact: n.sinceContact(),
		NodeID: n.Identity().NodeID, ClusterID: n.Identity().ClusterID, Lineage: sys.Lineage,
		State: n.raft.State().String(), Ready: n.Ready() == nil, Term: n.raft.CurrentTerm(),
		Committed: n.raft.CommitIndex(), Applied: n.machine.Applied(), Durable: durable,
		FirstLog: first, LastLog: last,
		LogBytes: n.logs.AppendedBytes() - n.replica.snapshotAt.Load(), Queued: queued, Disk: n.Disk(), DamagedStores: n.DamagedStores(),
	}, nil
}

// Snapshot makes the rows durable and cuts the log, but for the entries that are to be kept.
func (n *Node) Snapshot() error {
	if err := n.snapshot(); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

func (n *Node) snapshot() error {
	if err := n.gone(); err != nil {
		return err
	}
	err := n.raft.Snapshot().Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// Disk is how full the disk of the data folder is, as of the last second; zero in memory.
func (n *Node) Disk() reserve.State { return n.room.State() }

// DamagedStores counts the damaged stores that were moved aside and are still in the data folder. That nobody can look is
// logged.
func (n *Node) DamagedStores() int {
	if n.config.InMemory {
		return 0
	}
	paths, err := identity.Folder(n.config.Folder).MovedAside()
	if err != nil {
		n.logger.Warn("damaged stores", "error", err)
	}
	return len(paths)
}
