package raftlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"syscall"

	"github.com/hashicorp/raft"
)

// Types from here on are not raft's: Data and Extensions of one entry are sealed for different places, so that neither
// can stand in for the other, and Data says whether there are Extensions, so that they cannot get lost.
const (
	hasExtensions = 0x40
	isExtensions  = 0x80
)

// ErrFull is the kind of the error of a write that failed whole because the disk has no room: nothing of it is in the file.
var ErrFull = errors.New("disk is full")

var _ raft.LogStore = (*Logs)(nil)

// Options are what every sealed store is told.
type Options struct {
	// File names the store in errors.
	File string
	// OnFault hears of what a node does not survive: a damaged value that a read met, a write that failed for another
	// reason than a full disk (what the disk has of it is unknown, so it is not tried again). It may be nil and must not
	// block.
	OnFault func(error)
}

// Logs is a raft.LogStore that seals Data and Extensions of every entry and verifies them when they are read. Index,
// Term and Type are covered by the sums; AppendedAt, which nothing decides upon, is not. Safe for concurrent use.
type Logs struct {
	inner    raft.LogStore
	options  Options
	guard    guard
	appended atomic.Uint64
	sizes    sizes
}

// NewLogs seals what goes to inner. [Logs.Close] closes inner if it can be closed.
func NewLogs(inner raft.LogStore, o Options) *Logs {
	return &Logs{inner: inner, options: o, guard: guard{file: o.File}}
}

// File names the log in errors.
func (l *Logs) File() string { return l.options.File }

// FirstIndex is the index of the oldest entry, 0 when there is none.
func (l *Logs) FirstIndex() (uint64, error) { return l.edge("first index", l.inner.FirstIndex) }

// LastIndex is the index of the newest entry, 0 when there is none.
func (l *Logs) LastIndex() (uint64, error) { return l.edge("last index", l.inner.LastIndex) }

func (l *Logs) edge(what string, f func() (uint64, error)) (index uint64, err error) {
	err = l.guard.run(what, func() (err error) {
		index, err = f()
		return err
	})
	return index, l.named(what, err)
}

// GetLog reads the entry at index into log. raft.ErrLogNotFound when there is none; an error of the kind [ErrDamaged]
// or [ErrUnsupported] that names file and index when it is not what was stored there.
func (l *Logs) GetLog(index uint64, log *raft.Log) error {
	what := fmt.Sprintf("log entry %d", index)
	var stored raft.Log
	err := l.guard.run(what, func() error { return l.inner.GetLog(index, &stored) })
	switch {
	case errors.Is(err, raft.ErrLogNotFound):
		return raft.ErrLogNotFound
	case errors.Is(err, ErrDamaged):
		return l.report(err)
	case err != nil:
		// The inner store found bytes at the index and could not make an entry of them.
		return l.report(fmt.Errorf("%s: %s: %v: %w", l.options.File, what, err, ErrDamaged))
	case stored.Index != index:
		return l.report(fmt.Errorf("%s: %s: the entry says that it is %d: %w", l.options.File, what, stored.Index, ErrDamaged))
	}
	opened, err := open(&stored)
	if err != nil {
		return l.report(fmt.Errorf("%s: %s: %w", l.options.File, what, err))
	}
	*log = *opened
	return nil
}

// StoreLog stores one entry.
func (l *Logs) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// StoreLogs stores the entries in one transaction of the inner store. The entries are not kept nor changed.
func (l *Logs) StoreLogs(logs []*raft.Log) error {
	sealed := make([]*raft.Log, len(logs))
	var bytes uint64
	for i, log := range logs {
		s, err := seal(log)
		if err != nil {
			return fmt.Errorf("%s: seal log entry %d: %w", l.options.File, log.Index, err)
		}
		sealed[i] = s
		bytes += storedBytes(log)
	}
	if err := l.guard.run("store logs", func() error { return l.inner.StoreLogs(sealed) }); err != nil {
		return l.options.wrote(l.named("store logs", err))
	}
	for _, log := range logs {
		l.sizes.put(log.Index, storedBytes(log))
	}
	l.appended.Add(bytes)
	return nil
}

// DeleteRange removes the entries from low to high, both included.
func (l *Logs) DeleteRange(low, high uint64) error {
	if err := l.guard.run("delete range", func() error { return l.inner.DeleteRange(low, high) }); err != nil {
		return l.options.wrote(l.named("delete range", err))
	}
	l.sizes.drop(low, high)
	return nil
}

// AppendedBytes is how many bytes of sealed values were stored since the store was opened. It only grows; who wants
// the bytes since a snapshot remembers the figure at the snapshot.
func (l *Logs) AppendedBytes() uint64 { return l.appended.Load() }

// RetainedBytes is how many bytes of sealed values are in the log. Of entries that were there when the store was opened it
// knows those that [Logs.Verify] has read.
func (l *Logs) RetainedBytes() uint64 { return l.sizes.sum() }

// Newest is how many of the newest entries have no more than so many bytes together, counted as RetainedBytes does, and
// whether that is all there are.
func (l *Logs) Newest(bytes uint64) (entries uint64, all bool) { return l.sizes.newest(bytes) }

// Close closes the inner store.
func (l *Logs) Close() error { return closeInner(&l.guard, l.inner) }

func (l *Logs) report(err error) error { return l.options.report(err) }

func (o Options) report(err error) error {
	if o.OnFault != nil {
		o.OnFault(err)
	}
	return err
}

// wrote passes on the error of a write, and reports it unless the disk is just full: that is [ErrFull].
func (o Options) wrote(err error) error {
	if err == nil {
		return nil
	}
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return o.report(err)
}

// isFull: the write itself found no room, or no quota, so bbolt has given up the transaction and the file has all that it had.
// After a sync or a truncation that failed nobody knows.
func isFull(err error) bool {
	var failed *fs.PathError
	return errors.As(err, &failed) && failed.Op == "write" && (errors.Is(failed.Err, syscall.ENOSPC) || errors.Is(failed.Err, syscall.EDQUOT))
}

func (l *Logs) named(what string, err error) error {
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%s: %s: %w", l.options.File, what, err)
}

func seal(log *raft.Log) (*raft.Log, error) {
	out := *log
	data, extensions := places(log, len(log.Extensions) > 0)
	var err error
	if out.Data, err = Seal(Header{}, data, log.Data); err != nil {
		return nil, err
	}
	if len(log.Extensions) == 0 {
		out.Extensions = nil
		return &out, nil
	}
	out.Extensions, err = Seal(Header{}, extensions, log.Extensions)
	return &out, err
}

func open(log *raft.Log) (*raft.Log, error) {
	out := *log
	data, extensions := places(log, len(log.Extensions) > 0)
	var err error
	if out.Data, err = Open(data, log.Data); err != nil {
		return nil, err
	}
	if len(log.Extensions) == 0 {
		out.Extensions = nil
		return &out, nil
	}
	if out.Extensions, err = Open(extensions, log.Extensions); err != nil {
		return nil, fmt.Errorf("extensions: %w", err)
	}
	return &out, nil
}

func places(log *raft.Log, withExtensions bool) (data, extensions Place) {
	data = Place{Index: log.Index, Term: log.Term, Type: uint8(log.Type)}
	extensions = data
	extensions.Type |= isExtensions
	if withExtensions {
		data.Type |= hasExtensions
	}
	return data, extensions
}

func closeInner(g *guard, inner any) error {
	c, ok := inner.(io.Closer)
	if !ok {
		return nil
	}
	if err := g.run("close", c.Close); err != nil {
		return fmt.Errorf("close %s: %w", g.file, err)
	}
	return nil
}
