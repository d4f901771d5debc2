//go:build !wasip1

package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// pebbleFormat is the newest on-disk format of the Pebble that this was built with. It is named, so that a newer library
// does not raise it behind the feature level (D1).
const pebbleFormat = pebble.FormatValueSeparation

const (
	bloomBits       = 10
	stopWritesFiles = 1000    // sublevels in L0 at which writes stop: far away, Raft must not stall
	bytesPerSync    = 1 << 20 // bytes written to a file before they are nudged to disk
	maxOpenFiles    = 4096
	blockBytes      = 16 << 10 // 4 KiB costs more index than it saves on single rows, which are about 1 KiB
)

// pebbleEngine is a Pebble database without a write-ahead log: what is not flushed is lost in a crash, in the order in
// which it was applied, newest first.
type pebbleEngine struct {
	db    *pebble.DB
	fs    vfs.FS
	o     pebbleOptions
	young young // of the one who applies
}

// openEngine opens the database in dir. fresh makes one where none is; else a missing one is damage.
func openEngine(fs vfs.FS, dir string, o pebbleOptions, fresh bool) (*pebbleEngine, error) {
	p := o.pebble(fs)
	p.ErrorIfExists = fresh
	p.ErrorIfNotExists = !fresh
	db, err := openDB(dir, p)
	if errors.Is(err, pebble.ErrDBDoesNotExist) || errors.Is(err, os.ErrNotExist) {
		// This folder was complete once.
		err = fmt.Errorf("entries of MANIFEST were lost, or files are gone: %w: %w", err, ErrDamaged)
	}
	if err != nil {
		if err = kindOf(err); errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("MANIFEST, OPTIONS or a file that they name: %w", err)
		}
		return nil, fmt.Errorf("generation in %s: %w", dir, err)
	}
	return &pebbleEngine{db, fs, o, newYoung()}, nil
}

// openDB turns a panic of a database that rests on what is not so into damage.
func openDB(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("open: %v: %w", p, ErrDamaged)
		}
	}()
	return pebble.Open(dir, o)
}

// pebbleOptions is Options as far as an engine wants them, with the cache that generations share.
type pebbleOptions struct {
	Options
	cache    *pebble.Cache
	readOnly bool
}

func (o pebbleOptions) pebble(fs vfs.FS) *pebble.Options {
	p := &pebble.Options{
		FS:                          fs,
		Cache:                       o.cache,
		DisableWAL:                  true,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: 2,
		L0StopWritesThreshold:       stopWritesFiles,
		BytesPerSync:                bytesPerSync,
		MaxOpenFiles:                maxOpenFiles,
		FormatMajorVersion:          pebbleFormat,
		ReadOnly:                    o.readOnly,
		Logger:                      pebbleLogger{o.Options},
		EventListener: &pebble.EventListener{
			BackgroundError: o.report,
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				o.report(fmt.Errorf("file %s: %w: %w", info.Path, info.Details, ErrDamaged))
			},
		},
	}
	// Zstandard where nearly all rows end up, what costs next to nothing on their way there.
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	p.Experimental.SpanPolicyFunc = spanPolicy
	for i := range p.Levels {
		p.Levels[i].BlockSize = blockBytes
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
	}
	return p
}

// spanPolicy keeps Zstandard for the nodes of the default tenant, and of all other tenants: their contents are most of what can be
// made smaller. A block of it takes 50 times as long to read as one that is compressed in haste, and of the other rows, ids above all, it
// gets hardly more. There are few spans, because every one of them gets files of its own.
func spanPolicy(start []byte) (policy pebble.SpanPolicy, end []byte, err error) {
	nodes, others := tenantKey(graph.DefaultTenant, kindNode, 0), tenantKey(graph.DefaultTenant, kindNodeID, 0)
	fast := pebble.SpanPolicy{PreferFastCompression: true}
	switch {
	case bytes.Compare(start, nodes) < 0:
		return fast, nodes, nil
	case bytes.Compare(start, others) < 0:
		return pebble.SpanPolicy{}, others, nil
	}
	if rest := successor(others[:len(others)-1]); bytes.Compare(start, rest) < 0 {
		return fast, rest, nil
	}
	return pebble.SpanPolicy{}, nil, nil
}

// pebbleLogger passes on what Pebble has to say. What it cannot go on after ends the process.
type pebbleLogger struct{ o Options }

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.o.OnMessage != nil {
		l.o.OnMessage(fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.o.report(fmt.Errorf("pebble: "+format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("pebble: "+format, args...)
	l.o.report(err)
	panic(err)
}

// kindOf adds ErrDamaged to what Pebble calls corruption, and the file where Pebble knows it. An offset that the error names
// is behind the header of the file.
func kindOf(err error) error {
	if errors.Is(err, ErrDamaged) {
		return err
	}
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return fmt.Errorf("file %s: %w: %w", info.Path, info.Details, ErrDamaged)
	}
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", err, ErrDamaged)
	}
	return err
}

func (e *pebbleEngine) snapshot() (snapshot, error) {
	s := e.db.NewSnapshot()
	return &pebbleReader{from: s, closer: s}, nil
}

func (e *pebbleEngine) live() snapshot {
	return &pebbleReader{from: e.db, young: &e.young}
}

func (e *pebbleEngine) apply(writes iter.Seq[*write]) (err error) {
	b := e.db.NewBatch()
	defer func() { err = errors.Join(err, b.Close()) }()
	var system []byte
	for w := range writes {
		if w.deleted {
			err = b.Delete(w.key, nil)
		} else {
			err = b.Set(w.key, w.value, nil)
		}
		if err != nil {
			return err
		}
		e.young.add(w.key)
		if bytes.Equal(w.key, systemKey) {
			system = w.value
		}
	}
	if err := b.Commit(pebble.NoSync); err != nil || system == nil {
		return err
	}
	return e.settle(system)
}

// settle lets go of what is known of ids that are in files by now.
func (e *pebbleEngine) settle(system []byte) error {
	if !e.young.full() {
		return nil
	}
	sys, err := decodeSystem(system)
	if err != nil {
		return err
	}
	return e.young.settle(sys.Applied, func() (uint64, error) {
		row, ok, err := e.durable(systemKey)
		if err != nil || !ok {
			return 0, err
		}
		sys, err := decodeSystem(row)
		return sys.Applied, err
	})
}

func (e *pebbleEngine) durable(key []byte) (value []byte, ok bool, err error) {
	it, err := e.db.NewIter(&pebble.IterOptions{
		LowerBound: key, UpperBound: extend(key, 0), OnlyReadGuaranteedDurable: true,
	})
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return nil, false, it.Error()
	}
	v, err := it.ValueAndErr()
	return append([]byte(nil), v...), err == nil, err
}

func (e *pebbleEngine) flush() error { return e.db.Flush() }

func (e *pebbleEngine) close() error { return e.db.Close() }

func (e *pebbleEngine) checkpoint(name string) (frozen, error) {
	if err := e.db.Checkpoint(name); err != nil {
		return nil, err
	}
	return &pebbleFrozen{fs: e.fs, dir: name, cache: e.o.cache, o: e.o.Options}, nil
}

// pebbleReader reads a database or a snapshot of one. It keeps iterators that are not in use for the next cursor.
type pebbleReader struct {
	from   pebble.Reader
	closer io.Closer
	young  *young // nil for all but the writer's

	mu     sync.Mutex
	free   []*pebble.Iterator // guarded by mu: for ranges
	points []*pebble.Iterator // guarded by mu: for single keys, without bounds
	sought []*pebble.Iterator // guarded by mu: the same, for ids
	filed  []*pebble.Iterator // guarded by mu: the same, of what is in files
}

// get seeks with an iterator that it keeps: several times cheaper than a Get of Pebble, which makes one each time.
func (r *pebbleReader) get(key []byte) ([]byte, bool, error) {
	list := r.lookIn(key)
	it, err := r.point(list)
	if err != nil {
		return nil, false, err
	}
	if !it.SeekPrefixGE(key) {
		if err := it.Error(); err != nil {
			it.Close() //nolint:errcheck // the same error again
			return nil, false, kindOf(err)
		}
		r.keep(list, it)
		return nil, false, nil
	}
	v, err := it.ValueAndErr()
	if err != nil {
		it.Close() //nolint:errcheck // the same error again
		return nil, false, kindOf(err)
	}
	v = append(make([]byte, 0, len(v)), v...)
	r.keep(list, it)
	return v, true, nil
}

// lookIn chooses the iterators for a key: those of the writer, who looks for ids to find that there are none, use the filters of the
// last level too, and pass over the memtables where they can.
func (r *pebbleReader) lookIn(key []byte) *[]*pebble.Iterator {
	switch {
	case r.young == nil || !asked(key):
		return &r.points
	case r.young.filed(key):
		return &r.filed
	default:
		return &r.sought
	}
}

// point is an iterator of a list, a new one when there is none.
func (r *pebbleReader) point(list *[]*pebble.Iterator) (*pebble.Iterator, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(*list); n > 0 {
		it := (*list)[n-1]
		*list = (*list)[:n-1]
		return it, nil
	}
	if list == &r.points {
		return r.from.NewIter(nil)
	}
	return r.from.NewIter(&pebble.IterOptions{UseL6Filters: true, OnlyReadGuaranteedDurable: list == &r.filed})
}

func (r *pebbleReader) keep(list *[]*pebble.Iterator, it *pebble.Iterator) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = append(*list, it)
}

func (r *pebbleReader) open(k keyRange, reverse bool) (cursor, error) {
	r.mu.Lock()
	if n := len(r.free); n > 0 {
		it := r.free[n-1]
		r.free = r.free[:n-1]
		r.mu.Unlock()
		it.SetBounds(k.lower, k.upper)
		return &pebbleCursor{reader: r, it: it, reverse: reverse}, nil
	}
	r.mu.Unlock()
	it, err := r.from.NewIter(&pebble.IterOptions{LowerBound: k.lower, UpperBound: k.upper})
	if err != nil {
		return nil, err
	}
	return &pebbleCursor{reader: r, it: it, reverse: reverse}, nil
}

func (r *pebbleReader) close() error {
	r.mu.Lock()
	free := slices.Concat(r.free, r.points, r.sought, r.filed)
	r.free, r.points, r.sought, r.filed = nil, nil, nil, nil
	r.mu.Unlock()
	var errs []error
	for _, it := range free {
		errs = append(errs, it.Close())
	}
	if r.closer != nil {
		errs = append(errs, r.closer.Close())
	}
	return errors.Join(errs...)
}

type pebbleCursor struct {
	reader  *pebbleReader
	it      *pebble.Iterator
	reverse bool
}

func (c *pebbleCursor) seek(key []byte) bool {
	if c.reverse {
		return c.it.SeekLT(key)
	}
	return c.it.SeekGE(key)
}

func (c *pebbleCursor) first() bool {
	if c.reverse {
		return c.it.Last()
	}
	return c.it.First()
}

func (c *pebbleCursor) next() bool {
	if c.reverse {
		return c.it.Prev()
	}
	return c.it.Next()
}

func (c *pebbleCursor) key() []byte { return c.it.Key() }
func (c *pebbleCursor) err() error  { return kindOf(c.it.Error()) }

func (c *pebbleCursor) value() ([]byte, error) {
	v, err := c.it.ValueAndErr()
	return v, kindOf(err)
}

// close keeps the iterator for the next cursor, unless it is broken.
func (c *pebbleCursor) close() {
	if c.it.Error() != nil {
		c.it.Close() //nolint:errcheck // it is the error that err has told already
		return
	}
	c.reader.keep(&c.reader.free, c.it)
}
