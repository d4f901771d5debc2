//go:build !wasip1

package store

import (
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// OpenReadOnly opens the store in a folder to be looked at: it writes no file but the locks, and clears no leftovers away.
// Begin, Flush, OpenCheckpoint, Stage and Install must not be called on it. A folder without a finished store is damaged.
func OpenReadOnly(dir string, o Options) (*Store, error) {
	return openReadOnly(vfs.Default, dir, o)
}

func openReadOnly(base vfs.FS, dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	h := &pebbleHome{fs: headerFS{base}, dir: dir, o: pebbleOptions{Options: o, readOnly: true}}
	s, err := h.look()
	if err != nil {
		return nil, fmt.Errorf("store in %s: %w", dir, err)
	}
	return s, nil
}

// look is open for a reader.
func (h *pebbleHome) look() (*Store, error) {
	if _, err := h.fs.Stat(h.dir); err != nil {
		return nil, err
	}
	lock, err := h.fs.Lock(h.path(lockName))
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	h.lock = lock
	h.o.cache = pebble.NewCache(h.o.CacheBytes)
	g, err := h.lookCurrent()
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	sys, err := systemOf(g.engine)
	if err != nil {
		return nil, errors.Join(err, g.engine.close(), h.close())
	}
	return newStore(h.o.Options, h, g, sys), nil
}

// lookCurrent opens the generation that CURRENT names.
func (h *pebbleHome) lookCurrent() (*generation, error) {
	if _, err := h.fs.Stat(h.path(currentName)); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: %w", currentName, ErrDamaged)
	}
	name, state, err := h.readCurrent(nil)
	if err != nil {
		return nil, err
	}
	if state != stateReady {
		return nil, fmt.Errorf("%s: the store was not finished: %w", currentName, ErrDamaged)
	}
	e, err := openEngine(h.fs, h.path(name), h.o, false)
	if err != nil {
		return nil, err
	}
	return &generation{engine: readOnlyEngine{e}, name: name}, nil
}

// readOnlyEngine has nothing to flush.
type readOnlyEngine struct{ *pebbleEngine }

func (readOnlyEngine) flush() error { return nil }
