package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/hashicorp/raft"
)

// ErrKeyNotFound is what [Stable] answers for a key that was never set. raft compares its text, so it is returned as it
// is, never wrapped.
var ErrKeyNotFound = errors.New("not found")

// Keys of ours beside those of raft. Each is of an index in the log; they tell damage that takes something back from a crash,
// which does not.
const (
	// KeyDurable: the rows have been durable up to there.
	KeyDurable = "DurableIndex"
	// KeyInstalled: a snapshot up to there replaced the rows, or was about to; the log may end before it.
	KeyInstalled = "InstalledIndex"
)

// stableType is the type of every [Place] in a stable store; raft's own types are small.
const stableType = 0xFE

var _ raft.StableStore = (*Stable)(nil)

// Stable is a raft.StableStore that seals every value for its key: what raft keeps there is its term and its vote.
type Stable struct {
	inner   raft.StableStore
	options Options
	guard   guard
}

// NewStable seals what goes to inner. [Stable.Close] closes inner if it can be closed.
func NewStable(inner raft.StableStore, o Options) *Stable {
	return &Stable{inner: inner, options: o, guard: guard{file: o.File}}
}

// Set stores the value of the key.
func (s *Stable) Set(key, value []byte) error {
	sealed, err := Seal(Header{}, keyPlace(key), value)
	if err != nil {
		return fmt.Errorf("%s: seal key %q: %w", s.options.File, key, err)
	}
	what := fmt.Sprintf("set key %q", key)
	err = s.guard.run(what, func() error { return s.inner.Set(key, sealed) })
	if err != nil && !errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%s: %s: %w", s.options.File, what, err)
	}
	return s.options.wrote(err)
}

// Get returns the value of the key, [ErrKeyNotFound] when it was never set, an error of the kind [ErrDamaged] or
// [ErrUnsupported] when the value is not what was stored.
func (s *Stable) Get(key []byte) ([]byte, error) {
	what := fmt.Sprintf("key %q", key)
	var sealed []byte
	err := s.guard.run(what, func() (err error) {
		sealed, err = s.inner.Get(key)
		return err
	})
	switch {
	case err != nil && err.Error() == ErrKeyNotFound.Error():
		return nil, ErrKeyNotFound
	case errors.Is(err, ErrDamaged):
		return nil, s.report(err)
	case err != nil:
		return nil, fmt.Errorf("%s: %s: %w", s.options.File, what, err)
	}
	value, err := Open(keyPlace(key), sealed)
	if err != nil {
		return nil, s.report(fmt.Errorf("%s: %s: %w", s.options.File, what, err))
	}
	return value, nil
}

// SetUint64 stores a number, as eight sealed bytes.
func (s *Stable) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 returns a number; its errors are those of [Stable.Get].
func (s *Stable) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, s.report(fmt.Errorf("%s: key %q: %d bytes are no number: %w", s.options.File, key, len(value), ErrDamaged))
	}
	return binary.BigEndian.Uint64(value), nil
}

// Close closes the inner store.
func (s *Stable) Close() error { return closeInner(&s.guard, s.inner) }

func (s *Stable) report(err error) error { return s.options.report(err) }

func keyPlace(key []byte) Place {
	h := fnv.New64a()
	h.Write(key)
	return Place{Index: h.Sum64(), Type: stableType}
}
