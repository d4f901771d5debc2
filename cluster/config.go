package cluster

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// Bounds of the road of a command (RAFT.md 4.1, DECISIONS.md D13).
const (
	// MaxQueuedCommands and MaxQueuedBytes bound what waits to be proposed; more is refused at once.
	MaxQueuedCommands = 8192
	MaxQueuedBytes    = 128 << 20
	// MaxEntryCommands and MaxEntryBytes bound one log entry, unless a single command is larger.
	MaxEntryCommands = 512
	MaxEntryBytes    = 256 << 10
	// MaxEntriesInFlight is how many entries are proposed and not applied: one is being written while one gathers.
	MaxEntriesInFlight = 2
	// MaxCommandBytes bounds one command: a request of the size allowed, and the ids that are minted for it.
	MaxCommandBytes = 2 * graph.MaxRequestBytes
)

// Values of hashicorp/raft that are not for operators (RAFT.md 7, DECISIONS.md D20).
const (
	maxAppendEntries = 64
	minTrailingLogs  = 1024
	minLogBytes      = 1 << 20
	notifyBuffer     = 16
	drainTimeout     = 5 * time.Second

	failedCloseTimeout = 5 * time.Second
)

// Defaults of [Config].
const (
	DefaultSnapshotInterval  = 30 * time.Second
	DefaultSnapshotThreshold = 4096
	DefaultTrailingLogs      = 20480
	DefaultSnapshotBytes     = 256 << 20
	DefaultMaxLogBytes       = 384 << 20
	DefaultTickInterval      = time.Second
)

// Timing are the timers of Raft.
type Timing struct {
	// Heartbeat is how long a follower hears nothing before it asks for votes, Election how long an election may take,
	// Lease how long a leader goes on without a majority. Lease <= Heartbeat <= Election.
	Heartbeat, Election, Lease time.Duration
	// Commit is how long a leader waits before it tells an idle follower of new commits.
	Commit time.Duration
}

// LAN is the timing for nodes in one place.
func LAN() Timing {
	return Timing{Heartbeat: 300 * time.Millisecond, Election: 300 * time.Millisecond, Lease: 150 * time.Millisecond, Commit: 10 * time.Millisecond}
}

// WAN is the timing for nodes far apart.
func WAN() Timing {
	return Timing{Heartbeat: 2 * time.Second, Election: 2 * time.Second, Lease: time.Second, Commit: 50 * time.Millisecond}
}

// Config is what a node is told. Zero fields have the defaults that they name.
type Config struct {
	// Folder is the data folder, made when it is not there. Ignored with InMemory.
	Folder string
	// InMemory keeps log, vote and rows in memory: the same road, nothing survives the process.
	InMemory bool
	// Disk keeps what a node in memory has written, so that it comes back as after a crash; nil keeps nothing. Only with InMemory.
	Disk Disk
	// Name is the first part of the node id at the first start: 1 to 63 of a-z, 0-9 and hyphens inside.
	Name string
	// Version of the program, written down at the first start.
	Version string
	// Random is where ids and keys come from; crypto/rand.Reader, but for tests. It must be set.
	Random io.Reader
	// Clock stamps commands; time.Now when nil.
	Clock func() time.Time
	// Logger hears what Raft and the node do; nothing is logged when nil.
	Logger hclog.Logger
	// Timing of Raft, LAN when zero.
	Timing Timing
	// SnapshotInterval is how often a snapshot is considered; one is taken after SnapshotThreshold entries, or after
	// SnapshotBytes of log or a quarter of MaxLogBytes, if that is less. TrailingLogs entries are kept after it, at
	// least 1024; fewer, but never less than 1024, where they have more than half of MaxLogBytes.
	SnapshotInterval  time.Duration
	SnapshotThreshold uint64
	SnapshotBytes     uint64
	TrailingLogs      uint64
	// MaxLogBytes bounds the entries in the log, 1 MiB at least. 1024 entries are kept even if they have more.
	MaxLogBytes uint64
	// DiskReserve is how many bytes stay free on the disk of the data folder: below that commands are refused. 0 is for the
	// larger of 1 GiB and 5 % of the disk, [reserve.None] for none.
	DiskReserve int64
	// Store are the options of the rows on disk. Its OnError is called before the node's own handling.
	Store store.Options
	// Peers makes the node one of several. Nil is for a cluster of one, which opens no port; a folder of such a one can have a
	// port later. An empty folder with Peers waits for [Node.Found] or [Node.Adopt].
	Peers *PeersConfig
	// Retention of events, for ever when zero.
	Retention fsm.Retention
	// TickInterval is how often the chores are looked at.
	TickInterval time.Duration
	// AutoFinalize raises the feature level to this program's when the node leads and has no peers (DECISIONS.md D1). It is for
	// development: there is no way back to an older release afterwards.
	AutoFinalize bool
	// Events hear what happens.
	Events Events
	// Fatal is called once, when this node cannot go on: its store or log failed, or its disk hangs. It should end the
	// process, and must not call Close on the calling goroutine; the write that hangs may never come back. The node proposes and applies nothing afterwards.
	Fatal func(error)

	// measureRoom and underLogs stand in for the disk in tests: of a node in memory, too.
	measureRoom func(folder string) (reserve.Space, error)
	underLogs   func(raft.LogStore) raft.LogStore
	underStable func(raft.StableStore) raft.StableStore
	openStore   func(folder string, o store.Options) (*store.Store, error)
}

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Timing == (Timing{}) {
		c.Timing = LAN()
	}
	setDefault(&c.SnapshotInterval, DefaultSnapshotInterval)
	setDefault(&c.SnapshotThreshold, DefaultSnapshotThreshold)
	setDefault(&c.SnapshotBytes, DefaultSnapshotBytes)
	setDefault(&c.TrailingLogs, DefaultTrailingLogs)
	setDefault(&c.MaxLogBytes, DefaultMaxLogBytes)
	setDefault(&c.TickInterval, DefaultTickInterval)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports every problem at once, of the configuration with its defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var problems []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	t := c.Timing
	add(!c.InMemory && c.Folder == "", "data folder is empty")
	add(!c.InMemory && c.Disk != nil, "a disk that is simulated is for a node in memory")
	add(c.Random == nil, "source of randomness is missing")
	add(c.TrailingLogs < minTrailingLogs, "trailing logs are %d, at least %d", c.TrailingLogs, minTrailingLogs)
	add(c.MaxLogBytes < minLogBytes, "log may have %d bytes, at least %d", c.MaxLogBytes, minLogBytes)
	add(c.SnapshotInterval < time.Millisecond, "snapshot interval is %v, at least 1ms", c.SnapshotInterval)
	add(c.TickInterval < time.Millisecond, "tick interval is %v, at least 1ms", c.TickInterval)
	add(t.Lease <= 0 || t.Lease > t.Heartbeat || t.Heartbeat > t.Election, "timing: want 0 < lease %v <= heartbeat %v <= election %v", t.Lease, t.Heartbeat, t.Election)
	add(t.Commit < time.Millisecond, "timing: commit is %v, at least 1ms", t.Commit)
	add(c.DiskReserve < reserve.None, "disk reserve is %d bytes", c.DiskReserve)
	add(c.Peers != nil && c.Peers.Open == nil, "peers: how to open the port is missing")
	add(c.Peers != nil && c.Peers.SnapshotRate < 0, "peers: snapshot rate is negative")
	add(c.Retention.Age < 0, "retention of events is %v", c.Retention.Age)
	return errors.Join(problems...)
}
