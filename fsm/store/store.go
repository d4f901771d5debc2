package store

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Defaults of Options (D20).
const (
	DefaultCacheBytes    = 256 << 20
	DefaultMemTableBytes = 64 << 20
)

// Options of a store on disk. The zero value is usable.
type Options struct {
	// CacheBytes bounds the cache of blocks, 0 for DefaultCacheBytes.
	CacheBytes int64
	// MemTableBytes is the size of a memtable, of which there are two; 0 for DefaultMemTableBytes. It bounds what a crash
	// loses, that is what Raft replays.
	MemTableBytes uint64
	// OnMessage hears what the engine does: flushes, compactions. It must not block; nil for none.
	OnMessage func(text string)
	// OnError hears of faults, those in the background above all: a write or a sync that failed, a damaged file; of some
	// more than once. It must not block, and may be called by several goroutines; nil for none.
	OnError func(error)
	// OnFull hears that the disk has no room for a write to a file; true says that there is some more now, so the write is
	// tried again. nil for nobody: such a write fails like any other.
	OnFull func(path string) bool
	// Pause waits a little; it is called when a write has failed that is not the first one, so that what is tried again is
	// not tried in a loop. nil does not wait.
	Pause func()
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = DefaultMemTableBytes
	}
	return o
}

func (o Options) report(err error) {
	if o.OnError != nil && err != nil {
		o.OnError(err)
	}
}

// home is where the generations of a store live, one of them current.
type home interface {
	// kind tells engines apart in checkpoints. Stored: never renumber.
	kind() byte
	// scratch names a folder for a checkpoint.
	scratch() string
	// land prepares a new generation.
	land() (landing, error)
	// discard removes a generation that nobody uses any more.
	discard(name string) error
	close() error
}

// landing takes the files of a checkpoint that comes in.
type landing interface {
	accept(name string, size int64, r io.Reader) error
	// open opens what was accepted; the caller closes the engine.
	open() (engine, error)
	// adopt makes this the generation that the next start opens, for good.
	adopt() error
	// name is for discard.
	name() string
}

// The kinds of engines in checkpoints.
const (
	kindMemoryEngine = 1
	kindPebbleEngine = 2
)

// generation is an engine that is current, or that snapshots still read.
type generation struct {
	engine  engine
	warm    *warm // of the writer
	name    string
	users   int  // guarded by Store.mu: the store itself while current, snapshots, batches
	discard bool // guarded by Store.mu: remove it when the last user is gone
}

// Store is the rows of one replica. One goroutine at a time may use a Batch; everything else may be called from several.
type Store struct {
	o    Options
	home home

	mu      sync.Mutex
	current *generation // guarded by mu; nil once closed
	system  System      // guarded by mu: as of the last commit
	epoch   uint64      // guarded by mu
	writing bool        // guarded by mu: a Batch is open
	desk    *desk       // guarded by mu: of the next Batch, nil while one is open
	flushed System      // guarded by mu: system when everything before it was known to be flushed
	// expiry is a key below which no expiry row is, so that the search need not pass deleted ones. Guarded by mu.
	expiry []byte
	open   int // guarded by mu: generations whose engine is open
	// latest is the state after the last commit if somebody has asked for it, lately when asked says so; version counts what
	// made it another one.
	latest  *state // guarded by mu
	asked   bool   // guarded by mu
	version uint64 // guarded by mu
	making  sync.Mutex

	recent recent
}

// OpenMemory makes an empty store in memory.
func OpenMemory() *Store {
	return newStore(Options{}.withDefaults(), memoryHome{}, &generation{engine: newMemoryEngine(), warm: newWarm()}, System{})
}

func newStore(o Options, h home, g *generation, sys System) *Store {
	g.users = 1
	s := &Store{o: o, home: h, current: g, system: sys, flushed: sys, open: 1}
	s.recent.restart(sys)
	return s
}

// System is as of the last commit.
func (s *Store) System() System {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.system
}

// Epoch counts the calls of Install that succeeded. A snapshot of an earlier epoch is of what was replaced.
func (s *Store) Epoch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// DurableApplied is the last log entry that would be in the rows after a crash now. In memory that is the last applied.
// When the durable state cannot be read it is as of the last Flush that completed.
func (s *Store) DurableApplied() (index, term uint64) {
	g, err := s.acquire()
	if err != nil {
		return s.lastFlushed()
	}
	defer s.release(g)
	b, ok, err := g.engine.durable(systemKey)
	if err == nil && !ok {
		return 0, 0
	}
	var sys System
	if err == nil {
		sys, err = decodeSystem(b)
	}
	if err != nil {
		s.o.report(fmt.Errorf("read of the durable state: %w", err))
		return s.lastFlushed()
	}
	return sys.Applied, sys.Term
}

func (s *Store) lastFlushed() (index, term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flushed.Applied, s.flushed.Term
}

// Flush makes durable what was committed before the call. It does not hold up commits.
func (s *Store) Flush() error {
	g, err := s.acquire()
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	defer s.release(g)
	return s.flush(g)
}

func (s *Store) flush(g *generation) error {
	sys := s.System()
	if err := g.engine.flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == g && s.flushed.Applied < sys.Applied {
		s.flushed = sys
	}
	return nil
}

// acquire keeps the current generation open until release.
func (s *Store) acquire() (*generation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, ErrClosed
	}
	s.current.users++
	return s.current, nil
}

// release closes a generation after its last user, and the home after the last generation of a closed store.
func (s *Store) release(g *generation) {
	if err := s.releaseErr(g); err != nil {
		s.o.report(err)
	}
}

func (s *Store) releaseErr(g *generation) error {
	s.mu.Lock()
	g.users--
	last := g.users == 0
	s.mu.Unlock()
	if !last {
		return nil
	}
	err := g.engine.close()
	if g.discard {
		err = errors.Join(err, s.home.discard(g.name))
	}
	s.mu.Lock()
	s.open--
	done := s.current == nil && s.open == 0
	s.mu.Unlock()
	if done {
		err = errors.Join(err, s.home.close())
	}
	if err != nil {
		return fmt.Errorf("close of a generation: %w", err)
	}
	return nil
}

// Close closes the store. Snapshots that are still open keep their rows; the last of them frees the files. What was
// committed since the last flush is flushed.
func (s *Store) Close() error {
	err := s.Flush()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	s.mu.Lock()
	g := s.current
	s.current = nil
	passed := s.passedLocked()
	s.mu.Unlock()
	passed.release()
	if g == nil {
		return nil
	}
	return errors.Join(err, s.releaseErr(g))
}

// Install replaces everything by what was staged, whose System then says appliedIndex and appliedTerm. It is atomic: after
// a crash the store is the old or the new one. Snapshots that are open stay readable. No Batch may be open.
func (s *Store) Install(st *Staged, appliedIndex, appliedTerm uint64) error {
	if err := s.install(st, appliedIndex, appliedTerm); err != nil {
		return errors.Join(fmt.Errorf("install: %w", err), st.Close())
	}
	return nil
}

func (s *Store) install(st *Staged, index, term uint64) error {
	s.mu.Lock()
	busy, closed := s.writing, s.current == nil
	s.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case busy:
		return errors.New("a batch is open")
	case st.engine == nil:
		return errors.New("already installed or closed")
	}
	sys := st.system
	sys.Applied, sys.Term = index, term
	row := &write{key: systemKey, value: sys.encode()}
	if err := st.engine.apply(func(yield func(*write) bool) { yield(row) }); err != nil {
		return err
	}
	if err := st.engine.flush(); err != nil {
		return err
	}
	if err := st.landing.adopt(); err != nil {
		return err
	}
	next := &generation{engine: st.engine, warm: newWarm(), name: st.landing.name(), users: 1}
	st.engine = nil
	s.mu.Lock()
	old := s.current
	old.discard = true
	s.current, s.system, s.flushed, s.expiry = next, sys, sys, nil
	s.epoch++
	s.open++
	passed := s.passedLocked()
	s.mu.Unlock()
	s.recent.restart(sys)
	passed.release()
	s.release(old)
	return nil
}

// memoryHome is nowhere, or on a disk in memory.
type memoryHome struct{ disk *MemoryDisk }

func (memoryHome) kind() byte           { return kindMemoryEngine }
func (memoryHome) scratch() string      { return "" }
func (memoryHome) discard(string) error { return nil }
func (memoryHome) close() error         { return nil }

func (h memoryHome) land() (landing, error) {
	return &memoryLanding{tree: newMemoryTree(), disk: h.disk}, nil
}
