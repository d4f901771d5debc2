package sim

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// Times of a disk: a write that is synced takes between these, and sometimes much longer.
const (
	shortestSync, longestSync = 100 * time.Microsecond, 2 * time.Millisecond
	hiccup                    = 60 * time.Millisecond
	hiccupsPerThousand        = 3
)

var _ cluster.Disk = (*disk)(nil)

// disk is what one node keeps. Log and vote are written in transactions, as bbolt does it: one is there when its sync has come back, and
// a loss of power in the middle leaves all of it or nothing. Rows are there as of the last flush.
type disk struct {
	// turns let one transaction at a time at the log and at the vote. They are channels and not mutexes: a bubble's time goes on only
	// while those who wait do so on something that it knows.
	logTurn, voteTurn chan struct{}
	rows              *store.MemoryDisk

	// mu guards what follows.
	mu      sync.Mutex
	free    *sync.Cond
	random  *rand.Rand
	stalled bool
	content content
	// under way are transactions whose sync has not come back.
	underWay []*transaction
	meta     *identity.Meta
	syncs    int
}

type transaction struct{ change func(*content) }

// content is what is in the files of log and vote.
type content struct {
	entries     map[uint64]*raft.Log
	first, last uint64
	vote        map[string][]byte
}

func (c content) clone() content {
	out := content{entries: make(map[uint64]*raft.Log, len(c.entries)), first: c.first, last: c.last, vote: make(map[string][]byte, len(c.vote))}
	for i, e := range c.entries {
		out.entries[i] = e
	}
	for k, v := range c.vote {
		out.vote[k] = v
	}
	return out
}

func newDisk(random *rand.Rand) *disk {
	d := &disk{logTurn: make(chan struct{}, 1), voteTurn: make(chan struct{}, 1), rows: &store.MemoryDisk{}, random: random}
	d.free = sync.NewCond(&d.mu)
	d.content = content{}.clone()
	return d
}

// cut is the disk that is found after its node was killed or lost power now. The node that has this one may go on with it: nothing of
// that is on the other.
func (d *disk) cut() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := newDisk(rand.New(rand.NewPCG(d.random.Uint64(), d.random.Uint64())))
	found.content, found.rows, found.meta = d.content.clone(), d.rows.Cut(), d.meta
	for _, t := range d.underWay {
		if d.random.IntN(2) == 0 {
			t.change(&found.content)
		}
	}
	d.stalled = false
	d.free.Broadcast()
	return found
}

// stall holds all transactions, or lets them go on.
func (d *disk) stall(stalled bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stalled = stalled
	d.free.Broadcast()
}

// write runs one transaction and returns when it is synced.
func (d *disk) write(turn chan struct{}, change func(*content)) {
	turn <- struct{}{}
	defer func() { <-turn }()
	t := &transaction{change}
	d.mu.Lock()
	d.underWay = append(d.underWay, t)
	took := shortestSync + time.Duration(d.random.Int64N(int64(longestSync-shortestSync)))
	if d.random.IntN(1000) < hiccupsPerThousand {
		took += time.Duration(d.random.Int64N(int64(hiccup)))
	}
	d.mu.Unlock()
	pass(took)
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.stalled {
		d.free.Wait()
	}
	change(&d.content)
	d.syncs++
	for i, other := range d.underWay {
		if other == t {
			d.underWay = append(d.underWay[:i], d.underWay[i+1:]...)
			break
		}
	}
}

// Identity is who the node is.
func (d *disk) Identity() (identity.Meta, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.meta == nil {
		return identity.Meta{}, identity.ErrNone
	}
	return *d.meta, nil
}

// SaveIdentity replaces the file, which is there whole or not at all.
func (d *disk) SaveIdentity(m identity.Meta) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.meta = &m
	return nil
}

// Rows opens the rows.
func (d *disk) Rows() (*store.Store, error) { return d.rows.Open() }

// Logs is the log.
func (d *disk) Logs() raft.LogStore { return logFile{d} }

// Stable is the vote.
func (d *disk) Stable() raft.StableStore { return voteFile{d} }

type logFile struct{ disk *disk }

func (f logFile) FirstIndex() (uint64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.content.first, nil
}

func (f logFile) LastIndex() (uint64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.content.last, nil
}

func (f logFile) GetLog(index uint64, log *raft.Log) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	e, ok := f.disk.content.entries[index]
	if !ok {
		return raft.ErrLogNotFound
	}
	*log = *e
	return nil
}

func (f logFile) StoreLog(log *raft.Log) error { return f.StoreLogs([]*raft.Log{log}) }

func (f logFile) StoreLogs(logs []*raft.Log) error {
	copies := make([]*raft.Log, len(logs))
	for i, log := range logs {
		one := *log
		copies[i] = &one
	}
	f.disk.write(f.disk.logTurn, func(c *content) {
		for _, log := range copies {
			c.entries[log.Index] = log
			if c.first == 0 {
				c.first = log.Index
			}
			c.last = max(c.last, log.Index)
		}
	})
	return nil
}

func (f logFile) DeleteRange(low, high uint64) error {
	f.disk.write(f.disk.logTurn, func(c *content) { c.remove(low, high) })
	return nil
}

// remove takes entries from one end of the log, or all.
func (c *content) remove(low, high uint64) {
	for i := low; i <= high; i++ {
		delete(c.entries, i)
	}
	if len(c.entries) == 0 {
		c.first, c.last = 0, 0
		return
	}
	for c.entries[c.first] == nil {
		c.first++
	}
	for c.entries[c.last] == nil {
		c.last--
	}
}

var errNoNumbers = errors.New("numbers are sealed before they come here")

type voteFile struct{ disk *disk }

// Set writes a value. That a snapshot was installed is written in no time: the state machine holds its mutex meanwhile, and a bubble's time
// stands still while anybody waits for one.
func (f voteFile) Set(key, value []byte) error {
	k, v := string(key), append([]byte(nil), value...)
	change := func(c *content) { c.vote[k] = v }
	if k == raftlog.KeyInstalled {
		f.disk.mu.Lock()
		defer f.disk.mu.Unlock()
		change(&f.disk.content)
		return nil
	}
	f.disk.write(f.disk.voteTurn, change)
	return nil
}

func (f voteFile) Get(key []byte) ([]byte, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	v, ok := f.disk.content.vote[string(key)]
	if !ok {
		return nil, raftlog.ErrKeyNotFound
	}
	return v, nil
}

// SetUint64 and GetUint64 are not asked for: the seal of the vote makes bytes of numbers.
func (f voteFile) SetUint64([]byte, uint64) error   { return errNoNumbers }
func (f voteFile) GetUint64([]byte) (uint64, error) { return 0, errNoNumbers }
