package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

var _ raft.BatchingFSM = (*replica)(nil)

// A replica is the state machine as Raft drives it.
type replica struct {
	machine *fsm.Machine
	events  Events
	// fatal hears of what the node does not survive.
	fatal func(error)
	// appended is the count of bytes that went to the log.
	appended func() uint64
	// trail is called before Raft cuts the log, from one goroutine; nil until Raft is there.
	trail atomic.Pointer[func() error]
	// remember keeps an index under one of the keys of raftlog, for good.
	remember func(key string, index uint64) error
	// snapshotAt is the count at the last snapshot.
	snapshotAt atomic.Uint64

	// logs is the log as Raft has it; set before Raft starts.
	logs raft.LogStore
	// sent are the commands of this node that wait for their entries, skipped is called when a snapshot brought some.
	sent    *sentCommands
	skipped func([]*proposal)
	// heard is told the instant of the rows when commands were applied.
	heard func(instant int64)
	// marks are the digests of the state that others can compare theirs with.
	marks *marks

	// mu lets one goroutine at a time at the parts of machine that are for one.
	mu sync.Mutex
	// failed is why nothing is applied any more, guarded by mu.
	failed error
}

// Apply applies one entry. Raft does not call it, because there is ApplyBatch.
func (r *replica) Apply(log *raft.Log) any { return r.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch applies entries in one store batch, or in several where there are marks. The response to each is its []fsm.Result, or an error
// when the store has failed: after that nothing is applied any more, because an entry must never be skipped.
func (r *replica) ApplyBatch(logs []*raft.Log) []any {
	if end := upToMark(logs); end < len(logs) {
		return append(r.applyBatch(logs[:end]), r.ApplyBatch(logs[end:])...)
	}
	return r.applyBatch(logs)
}

// applyBatch applies entries of which none but the last is a mark.
func (r *replica) applyBatch(logs []*raft.Log) []any {
	entries := make([]fsm.LogEntry, len(logs))
	for i, log := range logs {
		entries[i] = fsm.LogEntry{Index: log.Index, Term: log.Term}
		switch log.Type {
		case raft.LogCommand:
			entries[i].Data = log.Data
		case raft.LogConfiguration:
			entries[i].Configuration = log.Data
		}
	}
	start, before := time.Now(), r.machine.Applied()
	results, err := r.apply(entries)
	responses := make([]any, len(logs))
	commands := 0
	for i := range logs {
		if err != nil {
			responses[i] = err
			continue
		}
		responses[i] = results[i]
		commands += len(results[i])
	}
	if err == nil {
		r.mark(logs, before)
		r.heard(r.machine.Store().System().Instant)
		err = r.sent.applied(entries, results)
	}
	if err == nil {
		r.events.applied(len(entries), commands, time.Since(start))
	}
	return responses
}

// mark notes the digest of the state after entries that end with a mark. The state may have been past it at the start of the node.
func (r *replica) mark(logs []*raft.Log, before uint64) {
	last := logs[len(logs)-1]
	if !isMark(last) || before >= last.Index {
		r.marks.pass(last.Index, nil)
		return
	}
	sys := r.machine.Store().System()
	r.marks.pass(last.Index, &Mark{Index: last.Index, Revision: last.Index + sys.Base, Digest: fsm.Digest(sys)})
}

// apply turns the panic of a machine that cannot go on into the end of this replica.
func (r *replica) apply(entries []fsm.LogEntry) (results [][]fsm.Result, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return nil, r.failed
	}
	defer func() {
		if p := recover(); p != nil {
			err = r.failLocked(p)
		}
	}()
	return r.machine.Apply(entries), nil
}

func (r *replica) failLocked(cause any) error {
	err, ok := cause.(error)
	if !ok {
		err = fmt.Errorf("%v", cause)
	}
	r.failed = fmt.Errorf("state machine stopped at entry %d: %w", r.machine.Applied(), err)
	r.fatal(r.failed)
	return r.failed
}

// Snapshot notes where the log stands. The rows are on disk or on their way there, so there is nothing to copy.
func (r *replica) Snapshot() (raft.FSMSnapshot, error) {
	return &replicaSnapshot{replica: r, appended: r.appended()}, nil
}

// Restore replaces the rows by a snapshot that came in whole.
func (r *replica) Restore(rc io.ReadCloser) error {
	in, err := incomingOf(rc)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := r.install(in); err != nil {
		return fmt.Errorf("install snapshot at entry %d: %w", in.meta.Index, err)
	}
	if err := r.fence(in.meta); err != nil {
		return err
	}
	r.snapshotAt.Store(r.appended())
	r.marks.forget(in.meta.Index)
	r.heard(r.machine.Store().System().Instant)
	if missed := r.sent.skipped(in.meta.Index); len(missed) > 0 {
		r.skipped(missed)
	}
	r.events.installed(in.meta.Index, time.Since(start))
	return nil
}

// fence ends the node when its log has another entry in the place where the snapshot ended: then all that follows was never committed,
// but Raft would keep it, find that it does not fit, and have the snapshot sent again, for ever (hashicorp/raft#697). The rows are
// those of the snapshot now, so the log can go, and the next start goes on from there.
func (r *replica) fence(snapshot raft.SnapshotMeta) error {
	var own raft.Log
	err := r.logs.GetLog(snapshot.Index, &own)
	if errors.Is(err, raft.ErrLogNotFound) || err == nil && own.Term == snapshot.Term {
		return nil
	}
	if err != nil {
		return err
	}
	first, err := r.logs.FirstIndex()
	if err != nil {
		return err
	}
	last, err := r.logs.LastIndex()
	if err != nil {
		return err
	}
	if err := r.logs.DeleteRange(first, last); err != nil {
		return err
	}
	err = fmt.Errorf("log has entry %d of term %d, the cluster agreed on one of term %d: what followed was never agreed on and is removed; start this node again: %w",
		snapshot.Index, own.Term, snapshot.Term, errDiverged)
	r.fatal(err)
	return err
}

var errDiverged = errors.New("log had diverged")

// install swaps the rows. The members are those that Raft names: a snapshot of another cluster brings others.
func (r *replica) install(in *incoming) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	staged, err := in.take()
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = r.failLocked(p)
		}
	}()
	if err := r.remember(raftlog.KeyInstalled, in.meta.Index); err != nil {
		return errors.Join(err, staged.Close())
	}
	staged.SetConfig(in.meta.ConfigurationIndex, raft.EncodeConfiguration(in.meta.Configuration))
	return r.machine.Install(staged, in.meta.Index, in.meta.Term)
}

// witness takes over what Raft knows of a snapshot and the machine does not: an index past its own, of entries that carry
// no commands, and the members. So the log can be cut there without a gap.
func (r *replica) witness(s *sink) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return r.failed
	}
	if s.meta.Index <= r.machine.Applied() {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = r.failLocked(p)
		}
	}()
	entry := fsm.LogEntry{Index: s.meta.Index, Term: s.meta.Term}
	if members := raft.EncodeConfiguration(s.meta.Configuration); !bytes.Equal(members, r.machine.Store().System().Config) {
		entry.Configuration = members
	}
	r.machine.Apply([]fsm.LogEntry{entry})
	return nil
}

// replicaSnapshot is a moment in the log.
type replicaSnapshot struct {
	replica *replica
	// appended is the count of bytes in the log at the moment.
	appended uint64
}

// Persist makes the rows durable up to the index of the sink. It runs while entries are applied.
func (s *replicaSnapshot) Persist(raftSink raft.SnapshotSink) error {
	sink, ok := raftSink.(*sink)
	if !ok {
		return fmt.Errorf("snapshot into a foreign sink %T", raftSink)
	}
	start := time.Now()
	r := s.replica
	if err := r.witness(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := r.machine.Store().Flush(); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	// Raft cuts the log once this returns, so it is worth one look that the rows are really there.
	if durable, _ := r.machine.Store().DurableApplied(); durable < sink.meta.Index {
		return errors.Join(fmt.Errorf("rows are durable up to entry %d, snapshot is at %d", durable, sink.meta.Index), sink.Cancel())
	}
	if err := r.remember(raftlog.KeyDurable, sink.meta.Index); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	// Every snapshot comes by here just before Raft looks at how many entries it keeps, its own ones too.
	if trail := r.trail.Load(); trail != nil {
		if err := (*trail)(); err != nil {
			return errors.Join(err, sink.Cancel())
		}
	}
	r.snapshotAt.Store(s.appended)
	r.events.snapshot(sink.meta.Index, time.Since(start))
	return sink.Close()
}

// Release has nothing to free.
func (*replicaSnapshot) Release() {}
