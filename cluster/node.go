package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// A Node is one member of a cluster. Open starts it, Close ends it; everything else may be called from any goroutine.
type Node struct {
	config  Config
	logger  hclog.Logger
	machine *fsm.Machine
	// meta changes once, when a node that was of no cluster becomes a member of one; joining guards that.
	meta    atomic.Pointer[identity.Meta]
	joining sync.Mutex
	// peers is what a node has that is not alone, nil without a port.
	peers *peers

	logs      *raftlog.Logs
	snapshots *snapshots
	replica   *replica
	marks     *marks
	// refusing is the leader at whose address nobody listens any more, as this node has found; nil for none.
	refusing atomic.Pointer[Leader]
	// startID is another one at each start; startedAt is when that was.
	startID   [16]byte
	startedAt time.Time
	isolation *quarantine
	raft      *raft.Raft
	// parts are closed in the end, the last first.
	parts closers

	// room watches the disk; nil in memory.
	room  *reserve.Guard
	queue *queue
	gate  *gate
	// stored has a token when the log has taken entries.
	stored chan struct{}
	route  *route
	// sent are commands that wait for their entries; forward takes them to the leader, nil on a node without others.
	sent    *sentCommands
	forward *forwarder
	// clock is what a leader among others stamps with; roomMoved has a token when the disk became full or has room again.
	clock *jumpGuard
	// heard is the newest instant of the rows, and when it was applied here.
	heard     atomic.Pointer[reading]
	roomMoved chan struct{}
	// confirms find read indexes where this node leads, asks where another does.
	confirms, asks *rounds
	reads          readClock
	notify         chan bool

	// stopProposing ends the proposer at once, stop the loops of background.
	stopProposing context.CancelFunc
	stop          context.CancelFunc
	proposing     sync.WaitGroup
	background    sync.WaitGroup
	// life ends, and dead with it is closed, when nothing will answer any more.
	life context.Context
	dead <-chan struct{}
	die  context.CancelFunc
	// transferring is since when Raft says that a leadership transfer is in progress, in Unix nanoseconds; 0 for not.
	transferring atomic.Int64
	// running: Open has done its checks, so that what fails is no longer returned by it.
	running atomic.Bool
	// started is closed when raft is there.
	started chan struct{}
	// hasLed: this node has led, and applied what was committed before.
	hasLed atomic.Bool
	// failure is why this node cannot go on; hasFailed is closed with it.
	failure   atomic.Pointer[error]
	hasFailed chan struct{}
	// patience is how long Close waits for a node that has failed.
	patience  time.Duration
	closeOnce sync.Once
	closeErr  error
}

// closers are closed in reverse.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c closers) close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i]())
	}
	return errors.Join(errs...)
}

// Open starts a node on its data folder, which becomes that of a new cluster of one when it is empty. It replays from the
// log what the store lacks, and returns before this node leads: see [Node.WaitReady]. A folder that is damaged, in use or
// of a later release is refused, and left as it is.
func Open(config Config) (*Node, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	config = config.withDefaults()
	n := &Node{
		config: config, logger: config.Logger.Named("cluster"),
		queue: newQueue(), gate: newGate(), stored: make(chan struct{}, 1), route: newRoute(), sent: newSentCommands(), roomMoved: make(chan struct{}, 1), notify: make(chan bool, notifyBuffer),
		isolation: newQuarantine(), startedAt: time.Now(),
		started: make(chan struct{}), hasFailed: make(chan struct{}), patience: failedCloseTimeout,
	}
	n.life, n.die = context.WithCancel(context.Background())
	n.dead = n.life.Done()
	if err := n.open(); err != nil {
		n.die()
		return nil, fmt.Errorf("open node: %w", errors.Join(err, n.parts.close()))
	}
	return n, nil
}

func (n *Node) open() error {
	// Until the node runs there is nothing to stop: what fails is returned.
	proposing, stopProposing := context.WithCancel(context.Background())
	ctx, stop := context.WithCancel(context.Background())
	n.stopProposing, n.stop = stopProposing, stop
	n.parts.add(func() error {
		stopProposing()
		stop()
		return nil
	})
	f, err := n.openFiles()
	if err != nil {
		return err
	}
	if err := n.checkFiles(f); err != nil {
		return err
	}
	if err := n.readQuarantine(); err != nil {
		return err
	}
	if _, err := io.ReadFull(n.config.Random, n.startID[:]); err != nil {
		return fmt.Errorf("make an id of this start: %w", err)
	}
	if err := n.openPeers(); err != nil {
		return err
	}
	if err := n.refuseTwin(); err != nil {
		return err
	}
	if err := n.startRaft(ctx, f); err != nil {
		return err
	}
	n.startForwarding(ctx)
	n.servePeers()
	p := &proposer{
		forward: n.forward,
		queue:   n.queue, gate: n.gate, log: roomyLog{n.raft, n.room}, clock: n.stampClock(), events: n.config.Events,
		slots: make(chan struct{}, MaxEntriesInFlight), stored: n.stored,
		instant: func() int64 { return n.machine.Store().System().Instant },
	}
	n.proposing.Go(func() { p.run(proposing) })
	n.background.Go(func() { n.lead(ctx) })
	n.background.Go(func() { n.tidy(ctx) })
	n.background.Go(func() { n.compact(ctx) })
	if n.room != nil {
		n.background.Go(func() { n.room.Run(ctx) })
	}
	return nil
}

func (n *Node) startRaft(ctx context.Context, f files) error {
	transport := n.openTransport(ctx)
	dog := raftlog.Watchdog{Slow: n.config.Events.slowDisk, Hung: n.fatal, Stored: n.logStored}
	var log raft.LogStore = f.logs
	if n.config.underLogs != nil {
		log = n.config.underLogs(log)
	}
	watched := &roomyLogs{LogStore: raftlog.NewWatchLogs(log, dog), room: n.room, insists: n.takesOverAlone, stop: ctx.Done()}
	logs := raftlog.NewCache(watched, raftlog.DefaultCacheBytes)
	var vote raft.StableStore = f.stable
	if n.config.underStable != nil {
		vote = n.config.underStable(vote)
	}
	stable := raftlog.NewWatchStable(vote, dog)
	n.replica.logs = logs
	n.replica.remember = func(key string, index uint64) error { return stable.SetUint64([]byte(key), index) }
	if err := n.begin(logs, stable); err != nil {
		return err
	}
	n.running.Store(true)
	r, err := raft.NewRaft(n.raftConfig(), n.replica, logs, stable, n.snapshots, transport)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	n.raft = r
	close(n.started)
	trail := func() error { return n.adaptTrailing(r) }
	n.replica.trail.Store(&trail)
	n.parts.add(func() error { return r.Shutdown().Error() })
	return nil
}

// raftConfig is Raft as it runs here (DECISIONS.md D20).
func (n *Node) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.Identity().NodeID)
	c.Logger = n.config.Logger.Named("raft")
	c.HeartbeatTimeout, c.ElectionTimeout = n.config.Timing.Heartbeat, n.config.Timing.Election
	c.LeaderLeaseTimeout, c.CommitTimeout = n.config.Timing.Lease, n.config.Timing.Commit
	c.MaxAppendEntries = maxAppendEntries
	c.BatchApplyCh = false
	c.ShutdownOnRemove = false
	c.SnapshotInterval, c.SnapshotThreshold = n.config.SnapshotInterval, n.config.SnapshotThreshold
	c.TrailingLogs = n.config.TrailingLogs
	c.NoSnapshotRestoreOnStart = true
	c.NoLegacyTelemetry = true
	c.NotifyCh = n.notify
	return c
}

// Close hands leadership over, stops taking commands, finishes those that wait for at most five seconds, and ends when the last goroutine of the
// node is gone and its files are closed. Of a node that has failed, whose disk may hang, it gives up after five seconds more:
// the process should end then. It may be called more than once.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		closed := make(chan error, 1)
		go func() { closed <- n.close() }()
		select {
		case n.closeErr = <-closed:
			return
		case <-n.hasFailed:
		}
		select {
		case n.closeErr = <-closed:
		case <-time.After(n.patience):
			n.closeErr = fmt.Errorf("close node: it does not come to an end: %w", n.failed())
		}
	})
	return n.closeErr
}

func (n *Node) close() error {
	if n.peers != nil {
		if err := n.HandOver(n.life); err != nil {
			n.logger.Warn("this node goes down while it leads", "error", err)
		}
	}
	n.queue.close()
	if leader, _ := n.forward.leader(); !n.gate.open() && leader == (Leader{}) {
		n.stopProposing()
	}
	drained := time.AfterFunc(drainTimeout, n.stopProposing)
	n.proposing.Wait()
	drained.Stop()
	n.stop()
	err := n.shutRaft()
	n.background.Wait()
	n.gate.set(0)
	n.die()
	if err = errors.Join(err, n.parts.close()); err != nil {
		return fmt.Errorf("close node: %w", err)
	}
	return nil
}

// shutRaft ends Raft. Its calls to other nodes, which it waits for, end with the streams that they are on.
func (n *Node) shutRaft() error {
	down := n.raft.Shutdown()
	if n.peers == nil {
		return down.Error()
	}
	n.forward.close()
	err := n.peers.transport.Close()
	return errors.Join(down.Error(), err)
}

// fatal ends the work of this node and tells whoever may end the process. While Open checks the files it does nothing: Open
// returns what it finds.
func (n *Node) fatal(err error) {
	if !n.running.Load() || !n.failure.CompareAndSwap(nil, &err) {
		return
	}
	close(n.hasFailed)
	n.logger.Error("this node cannot go on", "error", err)
	n.noteDamage(err)
	n.queue.close()
	n.stopProposing()
	n.gate.set(0)
	if n.config.Fatal != nil {
		n.config.Fatal(err)
	}
}

func (n *Node) failed() error {
	if err := n.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Machine is the state of this node, for readers. Use [Node.Barrier] before a read that has to be fresh.
func (n *Node) Machine() *fsm.Machine { return n.machine }

// Identity says who this node is. ClusterID is empty while it is of no cluster.
func (n *Node) Identity() identity.Meta { return *n.meta.Load() }
