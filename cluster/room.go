package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
)

// What a node does without room on its disk (DECISIONS.md D11): it refuses commands before the log, and goes on reading. An
// entry that the log has no room for fails whole, and Raft gives up its leadership then. The only voter of a cluster tries
// the first entries of a term until they are in the log: they are small, so that a node on a full disk leads nearly always.

// openRoom begins to watch the disk of the data folder.
func (n *Node) openRoom() error {
	g, err := reserve.New(reserve.Options{
		Folder: n.config.Folder, Bytes: n.config.DiskReserve, Changed: n.roomChanged, Measure: n.config.measureRoom,
		Warn: func(err error) { n.logger.Warn("disk", "error", err) },
	})
	if err != nil {
		return err
	}
	n.room = g
	return nil
}

// roomChanged tells, and refuses what waits to be proposed.
func (n *Node) roomChanged(s reserve.State) {
	figures := []any{"folder", s.Folder, "free_bytes", s.Free, "reserve_bytes", s.Reserve, "resume_bytes", s.Resume}
	if s.Refusing {
		n.logger.Error("disk is full: this node refuses writes and goes on reading", figures...)
		n.refuseWaiting(&reserve.FullError{State: s})
	} else {
		n.logger.Info("disk has room again: this node takes writes", figures...)
	}
	n.config.Events.disk(s)
	select {
	case n.roomMoved <- struct{}{}:
	default:
	}
}

func (n *Node) refuseWaiting(why error) {
	for {
		waiting := n.queue.take()
		if len(waiting) == 0 {
			return
		}
		for _, p := range waiting {
			p.turnAway(NoRoom, why)
		}
	}
}

// Limit says what this node does not do although it is ready: it wraps a [*reserve.FullError] while writes are refused. Nil
// is for no limit.
func (n *Node) Limit() error {
	if err := n.room.Refusal(); err != nil {
		return surely(NoRoom, err)
	}
	return nil
}

// leaderless says that nobody leads, and that a full disk is why when it may be.
func (n *Node) leaderless() error { return surely(NoLeader, n.room.Refusal()) }

// waitedInVain says the same of a caller that has waited for a leader.
func (n *Node) waitedInVain(ended error) error {
	if full := n.room.Refusal(); full != nil {
		return fmt.Errorf("nobody leads: %w: %w", full, ended)
	}
	return fmt.Errorf("nobody leads: %w", ended)
}

// alone reports that this node is the only voter: nobody else can have committed anything. It asks Raft: rows that were not
// durable before a crash, members among them, come only after the first entry of a term.
func (n *Node) alone() bool {
	members := n.raft.GetConfiguration()
	if members.Error() != nil {
		return false
	}
	servers := members.Configuration().Servers
	return len(servers) == 1 && servers[0].ID == raft.ServerID(n.Identity().NodeID)
}

// takesOverAlone reports that the only voter has not done the first entries of its term yet. It is asked by Raft's main
// goroutine, which may be there before NewRaft has returned.
func (n *Node) takesOverAlone(log *raft.Log) bool {
	term, _ := n.gate.state()
	if log.Type != raft.LogNoop && (log.Type != raft.LogCommand || term != 0) {
		return false
	}
	select {
	case <-n.started:
		return n.alone()
	case <-n.dead:
		return false
	}
}

// readsAlone: a node that gave up its leadership because its log has no room may read without it, when it is the only voter
// and has led before: what was committed before its first term it has applied then, and since then only it commits.
func (n *Node) readsAlone() bool {
	return n.room.IsMet() && n.hasLed.Load() && n.alone()
}

// roomyLog lets no entry into Raft that the log has surely no room for.
type roomyLog struct {
	applyLog
	room *reserve.Guard
}

func (l roomyLog) Apply(data []byte, timeout time.Duration) raft.ApplyFuture {
	if err := l.room.Admit(); err != nil {
		return turnedAway{err}
	}
	return l.applyLog.Apply(data, timeout)
}

// turnedAway is the future of an entry that Raft never saw.
type turnedAway struct{ err error }

func (t turnedAway) Error() error { return t.err }
func (turnedAway) Response() any  { return nil }
func (turnedAway) Index() uint64  { return 0 }

var errClosedFull = errors.New("closed while the disk was full")

// roomyLogs tells the guard of appends that found no room. Those of a takeover it tries again every second until there is
// some: else a leader that is alone would win and lose elections all the time. It does not wait for the reserve: a full log
// has free pages nearly always, and a node that does not lead does not read.
type roomyLogs struct {
	raft.LogStore
	room *reserve.Guard
	// insists says whether the append of an entry is tried again.
	insists func(*raft.Log) bool
	stop    <-chan struct{}
}

// StoreLog stores one entry.
func (l *roomyLogs) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// StoreLogs stores the entries, or fails whole.
func (l *roomyLogs) StoreLogs(logs []*raft.Log) error {
	err := l.store(logs)
	if !errors.Is(err, raftlog.ErrFull) || len(logs) == 0 || !l.insists(logs[0]) {
		return err
	}
	tick := time.NewTicker(reserve.Interval)
	defer tick.Stop()
	for errors.Is(err, raftlog.ErrFull) {
		select {
		case <-tick.C:
			err = l.store(logs)
		case <-l.stop:
			return errClosedFull
		}
	}
	return err
}

func (l *roomyLogs) store(logs []*raft.Log) error {
	err := l.LogStore.StoreLogs(logs)
	if errors.Is(err, raftlog.ErrFull) {
		l.room.Met()
	}
	return err
}
