package backup

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Until is where a restore ends. The zero value is the end of what there is; at most one field is set.
type Until struct {
	// Revision is the last one to apply, all of it.
	Revision graph.Revision
	// Instant is that of the last command to apply, or later; Unix nanoseconds.
	Instant int64
}

// tally counts an entry as what it holds.
func tally(t *pb.BackupTrailer, e *pb.BackupEntry) error {
	t.Entries++
	t.Revision, t.Digest = e.Revision, e.Digest
	if len(e.Data) == 0 {
		return nil
	}
	commands, err := fsm.DecodeEntry(e.Data)
	if err != nil {
		return fmt.Errorf("entry at revision %d: %w: %w", e.Revision, err, ErrDamaged)
	}
	t.Commands += uint64(len(commands))
	last := nanos(t.Instant)
	for _, c := range commands {
		last = max(last, c.Stamp)
	}
	t.Instant = graph.Timestamp(last)
	return nil
}

// Bounds of what is applied in one batch.
const (
	batchEntries = 256
	batchBytes   = 4 << 20
	// A batch ends with an entry whose digest is known once it has so many.
	fewEntries = 32
)

// A Replay applies the entries of increments to the machine of a store that was loaded, in their order and without a gap. It
// compares digests with those of the source wherever that told them.
type Replay struct {
	machine *fsm.Machine
	until   Until
	// last is the revision of the last entry taken, instant that of the last command.
	last    graph.Revision
	instant int64
	done    bool

	batch []fsm.LogEntry
	bytes int
	// digest is what the source had after the last entry of the batch.
	digest []byte
}

// NewReplay begins one on a machine as it was loaded. A state that is past the end already is an error.
func NewReplay(m *fsm.Machine, until Until) (*Replay, error) {
	sys := m.Store().System()
	r := &Replay{machine: m, until: until, last: fsm.Revision(sys), instant: sys.Instant}
	switch {
	case until.Revision != 0 && until.Revision < r.last:
		return nil, fmt.Errorf("the backup is of revision %d, after %d: take an earlier full backup", r.last, until.Revision)
	case until.Instant != 0 && until.Instant < r.instant:
		return nil, fmt.Errorf("the backup is of %s, after %s: take an earlier full backup", moment(r.instant), moment(until.Instant))
	}
	r.done = until.Revision == r.last
	return r, nil
}

func moment(ns int64) string {
	return graph.Timestamp(ns).AsTime().Format("2006-01-02T15:04:05.999999999Z07:00")
}

// Done says that the end was reached: what comes after is not wanted.
func (r *Replay) Done() bool { return r.done }

// errDone ends the reading of a file whose rest is not wanted.
var errDone = errors.New("the end was reached")

// File applies an increment, which must begin where the last one ended or before.
func (r *Replay) File(b *Reader) error {
	if r.done {
		return nil
	}
	h, sys := b.Header(), r.machine.Store().System()
	switch {
	case h.ClusterId != sys.ClusterID || h.Lineage != formatLineage(sys.Lineage):
		return fmt.Errorf("the increment is of cluster %s and lineage %s, the backup of %s and %s", h.ClusterId, h.Lineage, sys.ClusterID, formatLineage(sys.Lineage))
	case h.Revision > uint64(r.last):
		return fmt.Errorf("the increment begins after revision %d, and what is before it ends at %d: entries are missing", h.Revision, r.last)
	}
	_, err := b.Entries(r.entry)
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// entry takes the next entry; those that the state has are passed over.
func (r *Replay) entry(e *pb.BackupEntry) error {
	if e.Revision <= uint64(r.last) {
		return nil
	}
	if r.until.Revision != 0 && e.Revision > uint64(r.until.Revision) {
		r.done = true
		return errDone
	}
	data, digest, err := r.cut(e)
	if err != nil {
		return err
	}
	if r.done && data == nil {
		return errDone
	}
	base := r.machine.Store().System().Base
	r.batch = append(r.batch, fsm.LogEntry{Index: e.Revision - base, Data: data})
	r.last, r.digest, r.bytes = graph.Revision(e.Revision), digest, r.bytes+len(data)
	r.done = r.done || e.Revision == uint64(r.until.Revision)
	if len(r.batch) >= batchEntries || r.bytes >= batchBytes || len(digest) > 0 && len(r.batch) >= fewEntries {
		if err := r.flush(); err != nil {
			return err
		}
	}
	if r.done {
		return errDone
	}
	return nil
}

// cut is the data of an entry up to the last command that is wanted, nil for none of it.
func (r *Replay) cut(e *pb.BackupEntry) (data, digest []byte, err error) {
	if len(e.Data) == 0 {
		return nil, e.Digest, nil
	}
	commands, err := fsm.DecodeEntry(e.Data)
	if err != nil {
		return nil, nil, fmt.Errorf("entry at revision %d: %w: %w", e.Revision, err, ErrDamaged)
	}
	for i, c := range commands {
		next := max(c.Stamp, r.instant+1) // as apply does
		if r.until.Instant != 0 && next > r.until.Instant {
			return r.part(commands[:i], e)
		}
		r.instant = next
	}
	return e.Data, e.Digest, nil
}

// part ends within an entry.
func (r *Replay) part(wanted []*logpb.Stamped, e *pb.BackupEntry) ([]byte, []byte, error) {
	r.done = true
	if len(wanted) == 0 {
		return nil, nil, nil
	}
	data, err := fsm.EncodeEntry(wanted)
	if err != nil {
		return nil, nil, fmt.Errorf("part of the entry at revision %d: %w", e.Revision, err)
	}
	return data, nil, nil
}

// Finish applies what was taken and not applied. An end that was not reached is an error when it is a revision; nobody knows
// whether there were commands up to a moment.
func (r *Replay) Finish() error {
	if err := r.flush(); err != nil {
		return err
	}
	if r.until.Revision != 0 && !r.done {
		return fmt.Errorf("the backup ends at revision %d, before %d", r.last, r.until.Revision)
	}
	return nil
}

// flush applies the batch and holds the state against what its source had. A machine that panics has met what it cannot apply.
func (r *Replay) flush() (err error) {
	if len(r.batch) == 0 {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("entries up to revision %d cannot be applied: %v: %w", r.last, p, ErrDamaged)
		}
	}()
	r.machine.Apply(r.batch)
	r.batch, r.bytes = r.batch[:0], 0
	if got := fsm.Digest(r.machine.Store().System()); len(r.digest) > 0 && !bytes.Equal(r.digest, got[:]) {
		return fmt.Errorf("at revision %d the source had the digest %x, replaying gives %x: %w", r.last, r.digest, got, ErrDamaged)
	}
	return nil
}

// nanos is Unix nanoseconds, 0 for no time.
func nanos(t *timestamppb.Timestamp) int64 {
	if t == nil {
		return 0
	}
	return t.AsTime().UnixNano()
}
