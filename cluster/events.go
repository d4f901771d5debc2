package cluster

import (
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
)

// Events are told what happens. Any may be nil; none may block, for they are called on the road of every command.
type Events struct {
	// Leader: this node began to lead in a term, ready for commands, or ceased to.
	Leader func(leading bool, term uint64)
	// LeaderChanged: another node leads than before, as this one has heard. Stood: this node asks for votes.
	LeaderChanged func(nodeID string)
	Stood         func()
	// ReadIndex: a question for a read index has come to its end, asked of the leader or, by this node that leads, of a majority.
	ReadIndex func(ofLeader bool, took time.Duration, err error)
	// Entry: a log entry of so many commands and bytes was proposed and applied, or failed, after so long.
	Entry func(commands, bytes int, took time.Duration, err error)
	// Applied: one store batch took in so many log entries with so many commands.
	Applied func(entries, commands int, took time.Duration)
	// Snapshot: the rows up to an index were made durable, so that the log can be cut.
	Snapshot func(index uint64, took time.Duration)
	// Installed: a snapshot replaced the rows.
	Installed func(index uint64, took time.Duration)
	// Chore: a command that keeps the state in order was applied, or failed.
	Chore func(err error)
	// SlowDisk: a write has been running for so long and has not come back.
	SlowDisk func(operation string, running time.Duration)
	// Disk: the disk has become too full for writes, or has room again.
	Disk func(reserve.State)
	// Rebuilt: the store was damaged, and is made again from the log. What there was has been moved to a folder; empty when
	// only the end of it was lost.
	Rebuilt func(movedTo string, damage error)
	// Clock: this node leads, and its clock is so far ahead of the median of the voters (behind, when it is negative). It has handed
	// leadership to a better one, or could not.
	Clock func(ahead time.Duration, handedOver bool)
	// Compared: this node has compared its state with that of others, of which so many are wrong, it may be itself; disputed when nobody can
	// tell which.
	Compared func(wrong int, disputed bool)
	// Quarantined: the state of this node is wrong, and it serves nothing any more.
	Quarantined func(why error)
	// Refused: a command found the queue full.
	Refused func()
}

func (e Events) leader(leading bool, term uint64) {
	if e.Leader != nil {
		e.Leader(leading, term)
	}
}

func (e Events) leaderChanged(nodeID string) {
	if e.LeaderChanged != nil {
		e.LeaderChanged(nodeID)
	}
}

func (e Events) stood() {
	if e.Stood != nil {
		e.Stood()
	}
}

func (e Events) readIndex(ofLeader bool, took time.Duration, err error) {
	if e.ReadIndex != nil {
		e.ReadIndex(ofLeader, took, err)
	}
}

func (e Events) entry(commands, bytes int, took time.Duration, err error) {
	if e.Entry != nil {
		e.Entry(commands, bytes, took, err)
	}
}

func (e Events) applied(entries, commands int, took time.Duration) {
	if e.Applied != nil {
		e.Applied(entries, commands, took)
	}
}

func (e Events) snapshot(index uint64, took time.Duration) {
	if e.Snapshot != nil {
		e.Snapshot(index, took)
	}
}

func (e Events) installed(index uint64, took time.Duration) {
	if e.Installed != nil {
		e.Installed(index, took)
	}
}

func (e Events) chore(err error) {
	if e.Chore != nil {
		e.Chore(err)
	}
}

func (e Events) slowDisk(operation string, running time.Duration) {
	if e.SlowDisk != nil {
		e.SlowDisk(operation, running)
	}
}

func (e Events) disk(s reserve.State) {
	if e.Disk != nil {
		e.Disk(s)
	}
}

func (e Events) rebuilt(movedTo string, damage error) {
	if e.Rebuilt != nil {
		e.Rebuilt(movedTo, damage)
	}
}

func (e Events) clock(ahead time.Duration, handedOver bool) {
	if e.Clock != nil {
		e.Clock(ahead, handedOver)
	}
}

func (e Events) compared(wrong int, disputed bool) {
	if e.Compared != nil {
		e.Compared(wrong, disputed)
	}
}

func (e Events) quarantined(why error) {
	if e.Quarantined != nil {
		e.Quarantined(why)
	}
}

func (e Events) refused() {
	if e.Refused != nil {
		e.Refused()
	}
}
