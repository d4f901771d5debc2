package store

import "iter"

// keyRange is a half-open range of keys.
type keyRange struct{ lower, upper []byte }

// reader reads one state of the rows.
type reader interface {
	// get returns a value that the caller may keep but not change.
	get(key []byte) ([]byte, bool, error)
	// open starts a cursor over a range, forwards or in reverse. It stands nowhere until its first seek.
	open(r keyRange, reverse bool) (cursor, error)
}

// cursor moves over rows in one direction.
type cursor interface {
	// seek moves to the first key at or after key, or in reverse to the last key before it, within the range.
	seek(key []byte) bool
	// first moves to the start of the range, in reverse to its end.
	first() bool
	// next moves on. Only after a seek, first or next that returned true.
	next() bool
	// key and value are valid until the next move; value may be kept after copying only.
	key() []byte
	value() ([]byte, error)
	// err is why a move returned false, nil at the end of the range.
	err() error
	close()
}

// snapshot is a state that does not change. It may be used by several goroutines.
type snapshot interface {
	reader
	close() error
}

// engine is an ordered map from keys to values that changes in atomic batches.
type engine interface {
	// snapshot is the state after the last apply.
	snapshot() (snapshot, error)
	// live reads the present state for the one who applies; nothing is applied while it is open.
	live() snapshot
	// apply makes all writes visible at once, each key once. Keys that lie near each other come together.
	apply(writes iter.Seq[*write]) error
	// durable reads one row as a crash now would leave it, apart from what is already on its way.
	durable(key []byte) ([]byte, bool, error)
	// flush returns when all that was applied before would survive a crash.
	flush() error
	// checkpoint freezes a state that is not behind the last flush; name is of a folder that does not exist yet.
	checkpoint(name string) (frozen, error)
	close() error
}

// frozen is a state of an engine as files to send.
type frozen interface {
	system() (System, error)
	files() ([]frozenFile, error)
	close() error
}

// write is one change of a batch.
type write struct {
	key, value []byte
	deleted    bool
	// void: it changes nothing, because it was undone or only read.
	void bool
	// before is the value in the state under the batch, nil for none, when known says that it was read.
	before []byte
	known  bool
	hash   uint64
}

// idle reports a write that changes nothing.
func (w *write) idle() bool {
	return w.void || w.known && w.deleted && w.before == nil
}
