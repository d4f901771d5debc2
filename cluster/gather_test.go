package cluster

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// gatheringLogs hold up the appends of commands until so many are there: those held up, and those that wait behind them.
type gatheringLogs struct {
	raft.LogStore
	hold atomic.Pointer[chan struct{}]
	held atomic.Int64
}

func (l *gatheringLogs) under(logs raft.LogStore) raft.LogStore {
	l.LogStore = logs
	return l
}

func (l *gatheringLogs) StoreLogs(logs []*raft.Log) error {
	if hold := l.hold.Load(); hold != nil && logs[0].Type == raft.LogCommand {
		for _, entry := range logs {
			commands, err := fsm.DecodeEntry(entry.Data)
			if err != nil {
				return err
			}
			l.held.Add(int64(len(commands)))
		}
		<-*hold
	}
	return l.LogStore.StoreLogs(logs)
}

// gather holds up a node's log while work begins, until it has so many commands.
func (l *gatheringLogs) gather(t *testing.T, n *Node, many int, begin func()) {
	t.Helper()
	hold := make(chan struct{})
	l.hold.Store(&hold)
	begin()
	ctx := timeout(t)
	for waiting, _ := n.queue.state(); waiting+int(l.held.Load()) < many && ctx.Err() == nil; waiting, _ = n.queue.state() {
		runtime.Gosched()
	}
	l.hold.Store(nil)
	close(hold)
}
