package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// liveID names the one snapshot there always is: the store itself.
const liveID = "live"

var (
	_ raft.SnapshotStore = (*snapshots)(nil)
	_ raft.SnapshotSink  = (*sink)(nil)

	errCancelled = errors.New("snapshot was cancelled")
)

// snapshots serves Raft's snapshots from the live store (RAFT.md 4.3): taking one is a flush, a copy is made only when
// somebody has to be sent one. A snapshot that comes in is staged beside the store until it is restored.
type snapshots struct {
	store *store.Store
	// stalled is called when a snapshot that comes in stands still, to end the stream that it comes on; nil without other nodes.
	stalled func()
	// unfit says why the store must not be sent to anybody, nil for no reason.
	unfit func() error
	// underway: one comes in. For tests.
	underway atomic.Bool

	// mu guards incoming and last.
	mu       sync.Mutex
	incoming map[string]*incoming
	last     int
}

func newSnapshots(s *store.Store) *snapshots {
	return &snapshots{store: s, incoming: map[string]*incoming{}}
}

// List gives the live store as of what a crash would leave, or nothing.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	index, term := s.store.DurableApplied()
	if index == 0 {
		return nil, nil
	}
	meta, err := metaOf(s.store.System())
	if err != nil {
		return nil, err
	}
	// While the node runs the members may be newer than the rows on disk; Raft looks at them at the start only.
	meta.Index, meta.Term = index, term
	return []*raft.SnapshotMeta{meta}, nil
}

// Open freezes the live store and streams it, with the index that the stream itself has, which may be past the one that
// List said; or opens what came in.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if id != liveID {
		s.mu.Lock()
		defer s.mu.Unlock()
		in, ok := s.incoming[id]
		if !ok {
			return nil, nil, fmt.Errorf("snapshot %q is not here", id)
		}
		return &in.meta, in, nil
	}
	if s.unfit != nil {
		if err := s.unfit(); err != nil {
			return nil, nil, fmt.Errorf("open snapshot: %w", err)
		}
	}
	c, err := s.store.OpenCheckpoint()
	if err != nil {
		return nil, nil, fmt.Errorf("open snapshot: %w", err)
	}
	meta, err := metaOf(c.System())
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	meta.Size = c.Size()
	return meta, c, nil
}

// metaOf reads what Raft wants to know from the rows.
func metaOf(sys store.System) (meta *raft.SnapshotMeta, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("members in the store as of entry %d: %v: %w", sys.ConfigIndex, p, store.ErrDamaged)
		}
	}()
	meta = &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: liveID,
		Index: sys.Applied, Term: sys.Term, ConfigurationIndex: sys.ConfigIndex,
	}
	if len(sys.Config) > 0 {
		meta.Configuration = raft.DecodeConfiguration(sys.Config)
	}
	return meta, nil
}

// Create begins a snapshot: of the live store, when nothing is written to the sink, else one that comes in.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("snapshot version %d, want %d", version, raft.SnapshotVersionMax)
	}
	meta := raft.SnapshotMeta{Version: version, ID: liveID, Index: index, Term: term, Configuration: members, ConfigurationIndex: membersIndex}
	return &sink{snapshots: s, meta: meta}, nil
}

// keep holds a staged snapshot until it is restored; an earlier one that nobody restored goes.
func (s *snapshots) keep(meta raft.SnapshotMeta, staged *store.Staged) error {
	err := s.drop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incoming[meta.ID] = &incoming{snapshots: s, meta: meta, staged: staged}
	return err
}

// drop removes every staged snapshot that was not restored.
func (s *snapshots) drop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for id, in := range s.incoming {
		errs = append(errs, in.staged.Close())
		delete(s.incoming, id)
	}
	return errors.Join(errs...)
}

func (s *snapshots) nextID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	return fmt.Sprintf("incoming-%d", s.last)
}

// A sink is one snapshot that is being made. Raft uses it from one goroutine.
type sink struct {
	snapshots *snapshots
	meta      raft.SnapshotMeta

	// pipe leads to the goroutine that stages, nil until something is written.
	pipe   *io.PipeWriter
	staged chan stagedOrErr
	done   bool
	// stall goes off when no part comes; nil without pipe, and where nobody wants to know.
	stall *time.Timer
}

type stagedOrErr struct {
	staged *store.Staged
	err    error
}

// ID is that of the live store unless something was written.
func (k *sink) ID() string { return k.meta.ID }

// Write takes in a part of the stream. A stream that is damaged is an error as soon as that shows.
func (k *sink) Write(p []byte) (int, error) {
	if k.pipe == nil {
		k.meta.ID = k.snapshots.nextID()
		k.snapshots.underway.Store(true)
		r, w := io.Pipe()
		k.pipe, k.staged = w, make(chan stagedOrErr, 1)
		go func() {
			staged, err := k.snapshots.store.Stage(r)
			r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
			k.staged <- stagedOrErr{staged, err}
		}()
		if k.snapshots.stalled != nil {
			k.stall = time.AfterFunc(readStall, k.snapshots.stalled)
		}
	}
	k.listen(false) // to stage is no standing still
	n, err := k.pipe.Write(p)
	k.meta.Size += int64(n)
	k.listen(true)
	return n, err
}

// listen begins to wait for the next part, or ends that.
func (k *sink) listen(on bool) {
	switch {
	case k.stall == nil:
	case on:
		k.stall.Reset(readStall)
	default:
		k.stall.Stop()
	}
}

// Close ends the stream and waits until it is staged whole.
func (k *sink) Close() error {
	if k.done || k.pipe == nil {
		return nil
	}
	k.done = true
	k.listen(false)
	k.snapshots.underway.Store(false)
	k.pipe.Close()
	got := <-k.staged
	if got.err != nil {
		return fmt.Errorf("stage snapshot at entry %d: %w", k.meta.Index, got.err)
	}
	return k.snapshots.keep(k.meta, got.staged)
}

// Cancel gives up the stream and removes what was staged.
func (k *sink) Cancel() error {
	if k.done || k.pipe == nil {
		return nil
	}
	k.done = true
	k.listen(false)
	k.snapshots.underway.Store(false)
	k.pipe.CloseWithError(errCancelled)
	if got := <-k.staged; got.err == nil {
		return got.staged.Close()
	}
	return nil
}

// incoming is a snapshot that came in whole. It was read when it was staged, so there is nothing to read.
type incoming struct {
	snapshots *snapshots
	meta      raft.SnapshotMeta
	staged    *store.Staged
}

func (*incoming) Read([]byte) (int, error) { return 0, io.EOF }

func (*incoming) Close() error { return nil }

// take hands over the staged rows, once.
func (in *incoming) take() (*store.Staged, error) {
	in.snapshots.mu.Lock()
	defer in.snapshots.mu.Unlock()
	if in.snapshots.incoming[in.meta.ID] != in {
		return nil, fmt.Errorf("snapshot %q was restored or dropped before", in.meta.ID)
	}
	delete(in.snapshots.incoming, in.meta.ID)
	return in.staged, nil
}

// incomingOf finds the snapshot inside of what Raft wraps around it.
func incomingOf(rc io.ReadCloser) (*incoming, error) {
	for {
		switch r := rc.(type) {
		case *incoming:
			return r, nil
		case raft.ReadCloserWrapper:
			rc = r.WrappedReadCloser()
		default:
			return nil, fmt.Errorf("restore from %T, which no snapshot store of ours made", rc)
		}
	}
}
