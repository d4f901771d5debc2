//go:build !wasip1

package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The folder of a store:
//
//	CURRENT            names the generation in use; replaced by a rename only
//	LOCK               held while the store is open
//	g-<16 digits>      a generation, a Pebble database; all but the one in use are leftovers
//	checkpoint-<n>     a frozen state; a leftover when the store opens
const (
	currentName      = "CURRENT"
	currentTemporary = "CURRENT.tmp"
	lockName         = "LOCK"
	generationPrefix = "g-"
	checkpointPrefix = "checkpoint-"
	stateCreating    = "creating"
	stateReady       = "ready"
)

// OpenPebble opens the store in a folder, making it when there is none. It refuses one that is open already, damaged
// (ErrDamaged) or written by a newer version (ErrVersion).
func OpenPebble(dir string, o Options) (*Store, error) { return openPebble(vfs.Default, dir, o) }

// OpenPebbleOn is OpenPebble on another file system than that of the machine.
func OpenPebbleOn(fs vfs.FS, dir string, o Options) (*Store, error) { return openPebble(fs, dir, o) }

func openPebble(base vfs.FS, dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	h := &pebbleHome{fs: headerFS{newFaultFS(base, o)}, dir: dir, o: pebbleOptions{Options: o}}
	s, err := h.open()
	if err != nil {
		return nil, fmt.Errorf("store in %s: %w", dir, err)
	}
	return s, nil
}

// pebbleHome is a folder with generations.
type pebbleHome struct {
	fs   vfs.FS
	dir  string
	o    pebbleOptions
	lock io.Closer

	mu   sync.Mutex
	last uint64 // guarded by mu: the last number given to a generation or a checkpoint
}

func (h *pebbleHome) kind() byte { return kindPebbleEngine }

func (h *pebbleHome) path(name string) string { return h.fs.PathJoin(h.dir, name) }

func (h *pebbleHome) open() (*Store, error) {
	if err := makeDir(h.fs, h.dir); err != nil {
		return nil, err
	}
	lock, err := h.fs.Lock(h.path(lockName))
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	h.lock = lock
	h.o.cache = pebble.NewCache(h.o.CacheBytes)
	g, err := h.openCurrent()
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	sys, err := systemOf(g.engine)
	if err != nil {
		return nil, errors.Join(err, g.engine.close(), h.close())
	}
	return newStore(h.o.Options, h, g, sys), nil
}

// openCurrent opens the generation that CURRENT names, or makes the first, and removes leftovers.
func (h *pebbleHome) openCurrent() (*generation, error) {
	names, err := h.fs.List(h.dir)
	if err != nil {
		return nil, err
	}
	name, state, err := h.readCurrent(names)
	if err != nil {
		return nil, err
	}
	if err := h.removeLeftovers(names, name, state); err != nil {
		return nil, err
	}
	fresh := state == stateCreating
	e, err := openEngine(h.fs, h.path(name), h.o, fresh)
	if err == nil && fresh {
		if err = h.writeCurrent(name, stateReady); err != nil {
			err = errors.Join(err, e.close())
		}
	}
	if err != nil {
		return nil, err
	}
	return &generation{engine: e, warm: newWarm(), name: name}, nil
}

// readCurrent reads CURRENT. Without one the folder must be new: the state is then creating.
func (h *pebbleHome) readCurrent(names []string) (name, state string, err error) {
	f, err := h.fs.Open(h.path(currentName))
	if errors.Is(err, os.ErrNotExist) {
		for _, n := range names {
			if _, ok := number(n, generationPrefix); ok {
				return "", "", fmt.Errorf("%s is missing, but there is %s: %w", currentName, n, ErrDamaged)
			}
		}
		name = generationName(1)
		return name, stateCreating, h.writeCurrent(name, stateCreating)
	}
	if err != nil {
		return "", "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", "", fmt.Errorf("%s: %w", currentName, err)
	}
	return parseCurrent(string(text))
}

// parseCurrent reads `name state checksum`.
func parseCurrent(text string) (name, state string, err error) {
	part := strings.Fields(text)
	if len(part) == 3 && text == currentText(part[0], part[1]) {
		_, named := number(part[0], generationPrefix)
		if named && (part[1] == stateCreating || part[1] == stateReady) {
			return part[0], part[1], nil
		}
	}
	return "", "", fmt.Errorf("%s: %q: %w", currentName, text, ErrDamaged)
}

func currentText(name, state string) string {
	text := name + " " + state
	sum := crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))
	return fmt.Sprintf("%s %08x\n", text, sum)
}

// writeCurrent replaces CURRENT; when it returns, for good.
func (h *pebbleHome) writeCurrent(name, state string) error {
	err := writeFile(h.fs, h.path(currentTemporary), strings.NewReader(currentText(name, state)))
	if err == nil {
		err = h.fs.Rename(h.path(currentTemporary), h.path(currentName))
	}
	if err == nil {
		err = syncDir(h.fs, h.dir)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", currentName, err)
	}
	return nil
}

// writeFile writes a file and syncs it.
func writeFile(fs vfs.FS, path string, r io.Reader) error {
	f, err := fs.Create(path, headerCategory)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, make([]byte, copyBytes))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// makeDir makes a folder and those above it, for good.
func makeDir(fs vfs.FS, dir string) error {
	var above []string
	for path := dir; ; path = fs.PathDir(path) {
		_, err := fs.Stat(path)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		parent := fs.PathDir(path)
		if parent == path {
			break
		}
		above = append(above, parent)
	}
	if err := fs.MkdirAll(dir, folderMode); err != nil {
		return err
	}
	for _, path := range above {
		if err := syncDir(fs, path); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeLeftovers removes generations and checkpoints that nobody uses; of a first generation that was not finished too.
// It leaves alone what it does not know.
func (h *pebbleHome) removeLeftovers(names []string, current, state string) error {
	for _, n := range names {
		g, isGeneration := number(n, generationPrefix)
		c, isCheckpoint := number(n, checkpointPrefix)
		h.last = max(h.last, g, c)
		if !isGeneration && !isCheckpoint && n != currentTemporary || n == current && state == stateReady {
			continue
		}
		if err := h.fs.RemoveAll(h.path(n)); err != nil {
			return fmt.Errorf("leftover %s: %w", n, err)
		}
	}
	g, _ := number(current, generationPrefix)
	h.last = max(h.last, g)
	return nil
}

func generationName(n uint64) string { return fmt.Sprintf("%s%016d", generationPrefix, n) }

func number(name, prefix string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

func (h *pebbleHome) next() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	return h.last
}

func (h *pebbleHome) scratch() string {
	return h.path(fmt.Sprintf("%s%016d", checkpointPrefix, h.next()))
}

func (h *pebbleHome) discard(name string) error {
	return h.fs.RemoveAll(h.path(name))
}

func (h *pebbleHome) close() error {
	h.o.cache.Unref()
	return h.lock.Close()
}

func (h *pebbleHome) land() (landing, error) {
	l := &pebbleLanding{home: h, folder: generationName(h.next())}
	if err := h.fs.MkdirAll(h.path(l.folder), folderMode); err != nil {
		return nil, err
	}
	return l, nil
}

// pebbleLanding is a generation folder that no CURRENT names yet.
type pebbleLanding struct {
	home   *pebbleHome
	folder string
}

func (l *pebbleLanding) name() string { return l.folder }

// checkpointFiles are the names that a checkpoint may hold. OPTIONS are left out: they name folders.
var checkpointFiles = regexp.MustCompile(`^(\d{6,20}\.sst|MANIFEST-\d{6,20}|` +
	`marker\.manifest\.\d{6}\.MANIFEST-\d{6,20}|marker\.format-version\.\d{6}\.\d{3})$`)

func (l *pebbleLanding) accept(name string, _ int64, r io.Reader) error {
	if !checkpointFiles.MatchString(name) {
		return fmt.Errorf("no such file is known: %w", ErrDamaged)
	}
	return writeFile(l.home.fs, l.home.fs.PathJoin(l.home.path(l.folder), name), r)
}

func (l *pebbleLanding) open() (engine, error) {
	dir := l.home.path(l.folder)
	if err := errors.Join(syncDir(l.home.fs, dir), syncDir(l.home.fs, l.home.dir)); err != nil {
		return nil, err
	}
	e, err := openEngine(l.home.fs, dir, l.home.o, false)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (l *pebbleLanding) adopt() error { return l.home.writeCurrent(l.folder, stateReady) }

// pebbleFrozen is a folder of hard links.
type pebbleFrozen struct {
	fs    vfs.FS
	dir   string
	cache *pebble.Cache
	o     Options
}

// system reads the checkpoint itself: it may hold more than the flush before it.
func (f *pebbleFrozen) system() (sys System, err error) {
	e, err := openEngine(f.fs, f.dir, pebbleOptions{Options: f.o, cache: f.cache, readOnly: true}, false)
	if err != nil {
		return System{}, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	return systemOf(e)
}

func (f *pebbleFrozen) files() ([]frozenFile, error) {
	names, err := f.fs.List(f.dir)
	if err != nil {
		return nil, err
	}
	var out []frozenFile
	for _, n := range names {
		if !checkpointFiles.MatchString(n) {
			continue
		}
		path := f.fs.PathJoin(f.dir, n)
		info, err := f.fs.Stat(path)
		if err != nil {
			return nil, err
		}
		open := func() (io.ReadCloser, error) { return f.fs.Open(path, vfs.SequentialReadsOption) }
		out = append(out, frozenFile{name: n, size: info.Size(), open: open})
	}
	return out, nil
}

func (f *pebbleFrozen) close() error { return f.fs.RemoveAll(f.dir) }
