package fsm

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// RequestIDBytes is the length of a request id.
const RequestIDBytes = 16

// LogEntry is a committed entry of the replicated log.
type LogEntry struct {
	Index, Term uint64
	// Data is an encoded entry, empty for entries that carry no commands.
	Data []byte
	// Configuration is the membership, for entries that change it.
	Configuration []byte
}

// Result is what became of one command.
type Result struct {
	Revision graph.Revision
	// Err is the refusal, nil when the command was accepted.
	Err error
	// Nodes are the nodes made or changed, as stored; a session is its node.
	Nodes []*pb.Node
	Edge  *pb.Edge
	// EdgesCreated counts the edges that an accepted command made, those that come by themselves included.
	EdgesCreated int
	// Imported counts what an import did.
	Imported graph.Imported
	// Replayed: the command had taken effect before; the result is that of the first time.
	Replayed bool
}

// Machine applies the log to a store, and lets readers at it. Apply, Install and Close are for one goroutine; the rest is
// safe for any.
type Machine struct {
	store *store.Store
	// outcomes is how many request ids a tenant may have, MaxOutcomes but in tests.
	outcomes int64

	// name is how errors call this replica, empty for no name.
	name string

	// applied is the index of the last applied entry; readers poll it without a lock.
	applied atomic.Uint64

	mu sync.Mutex
	// changed is closed and replaced whenever the state has moved.
	changed chan struct{}
}

// New makes a machine over a store, which it owns from then on.
func New(s *store.Store) *Machine {
	m := &Machine{store: s, outcomes: MaxOutcomes, changed: make(chan struct{})}
	m.applied.Store(s.System().Applied)
	return m
}

// SetName says how errors call this replica, before anybody waits for it.
func (m *Machine) SetName(name string) { m.name = name }

// Close closes the store. What was not flushed is replayed from the log at the next start.
func (m *Machine) Close() error { return m.store.Close() }

// Apply applies entries in one store batch and returns the results of the commands of each. Entries that the store has
// already are skipped: nobody waits for their results. It panics when an entry does not decode or the store fails.
func (m *Machine) Apply(entries []LogEntry) [][]Result {
	results := make([][]Result, len(entries))
	batch := m.store.Begin()
	a := newApplier(batch, m.outcomes)
	for i, e := range entries {
		if e.Index <= batch.System().Applied {
			continue
		}
		results[i] = a.entry(e)
	}
	applied := batch.System().Applied
	if err := batch.Commit(); err != nil {
		panic(fmt.Errorf("apply up to entry %d: %w", applied, err))
	}
	m.moved()
	return results
}

// entry applies one entry.
func (a *applier) entry(e LogEntry) []Result {
	sys := a.batch.System()
	sys.Applied, sys.Term = e.Index, e.Term
	if e.Configuration != nil {
		sys.ConfigIndex, sys.Config = e.Index, e.Configuration
	}
	if len(e.Data) == 0 {
		return nil
	}
	commands, err := DecodeEntry(e.Data)
	if err != nil {
		panic(fmt.Errorf("entry %d: %w", e.Index, err))
	}
	a.enter(graph.Revision(e.Index + sys.Base))
	results := make([]Result, len(commands))
	for i, c := range commands {
		command, err := DecodeCommand(c.Command)
		if err != nil {
			panic(fmt.Errorf("entry %d: command %d: %w", e.Index, i, err))
		}
		results[i] = a.apply(command, c.Stamp)
	}
	return results
}

// moved tells whoever waits that the state has moved.
func (m *Machine) moved() {
	m.applied.Store(m.store.System().Applied)
	m.mu.Lock()
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
}

// Changed returns a channel that is closed when the state next moves. Take it before looking at the state.
func (m *Machine) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Applied is the index of the last applied entry.
func (m *Machine) Applied() uint64 { return m.applied.Load() }

// WaitApplied waits until the entry at index is applied.
func (m *Machine) WaitApplied(ctx context.Context, index uint64) error {
	for {
		changed := m.Changed()
		if m.Applied() >= index {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return m.lags(index, ctx.Err())
		}
	}
}

// lags says how far this replica is behind, and which one it is where that is known.
func (m *Machine) lags(index uint64, err error) error {
	at := m.Applied()
	err = fmt.Errorf("entry %d is not applied here yet, only up to %d: %w", index, at, err)
	if m.name == "" {
		return err
	}
	return fmt.Errorf("%s lags by %d entries: %w", m.name, index-min(index, at), err)
}

// WaitRevision waits until the state is at least at a revision.
func (m *Machine) WaitRevision(ctx context.Context, r graph.Revision) error {
	base := m.store.System().Base
	if uint64(r) <= base {
		return nil
	}
	return m.WaitApplied(ctx, uint64(r)-base)
}

// Store is the machine's store, for readers.
func (m *Machine) Store() *store.Store { return m.store }

// Revision is the revision of a state.
func Revision(s store.System) graph.Revision { return graph.Revision(s.Applied + s.Base) }

// Install replaces the state by a staged one, which holds everything up to an entry.
func (m *Machine) Install(staged *store.Staged, index, term uint64) error {
	if err := m.store.Install(staged, index, term); err != nil {
		return err
	}
	m.moved()
	return nil
}

// tenantOf is the tenant whose graph a command works on.
func tenantOf(c *logpb.Command) graph.Tenant { return graph.Tenant(c.Tenant) }
