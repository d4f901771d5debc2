package store

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// rotOptions keep nothing in memory that could hide what is on disk.
func rotOptions(hear func(error)) Options {
	return Options{CacheBytes: 1, MemTableBytes: 128 << 10, OnError: hear}
}

// rotten is a copy of a disk on which one byte of a file is another.
func rotten(t *testing.T, disk *vfs.MemFS, path string, content []byte, at int) *vfs.MemFS {
	t.Helper()
	copied := vfs.NewMem()
	if _, err := vfs.Clone(disk, copied, crashDir, crashDir); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(content)
	changed[at] ^= 0x41
	overwrite(t, copied, path, changed)
	return copied
}

func overwrite(t *testing.T, fs vfs.FS, path string, content []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(content)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func contentOf(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// allRows reads every row, or says why that cannot be done.
func allRows(s *Store) (rows []string, err error) {
	sn := s.Snapshot()
	defer sn.Close()
	err = sn.WalkRows(func(key, value []byte) error {
		rows = append(rows, string(key)+"\x00"+string(value))
		return nil
	})
	return rows, err
}

// TestRotIsNeverServed changes bytes of every file of a store: all of a small file; of a table the first and the last ones,
// and a sample of the rest. Each time the store is refused, or a read fails, with an error that names the file; or the
// content is what it was. A byte that nobody reads, of OPTIONS or between two blocks, may be any.
//
// Pebble takes a wrong entry at the end of MANIFEST for one that a crash cut short, and the store is what it was at an earlier
// flush. That is no other content: the log is replayed from there, and a node whose log begins later refuses (cluster).
func TestRotIsNeverServed(t *testing.T) {
	disk := vfs.NewMem()
	s, err := openPebble(disk, crashDir, rotOptions(nil))
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 60; n++ {
		work(t, s, n)
		if n%25 == 0 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	prefixes := newAfter(t)
	want, err := allRows(s)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, path := range filesOf(t, disk, crashDir) {
		content := contentOf(t, disk, path)
		name := path[strings.LastIndex(path, "/")+1:]
		noticed := 0
		for _, at := range sample(len(content)) {
			if rotIsNoticed(t, rotten(t, disk, path, content, at), name, at, want, prefixes) {
				noticed++
			}
		}
		t.Logf("%s: %d bytes, %d of %d changes noticed", name, len(content), noticed, len(sample(len(content))))
		kinds[kindOfFile(name)] += noticed
	}
	for _, kind := range []string{currentName, "MANIFEST", "sst"} {
		if kinds[kind] == 0 {
			t.Errorf("no change of a file of kind %s was noticed: %v", kind, kinds)
		}
	}
}

// filesOf are the files in a folder and below.
func filesOf(t *testing.T, fs vfs.FS, dir string) (paths []string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			paths = append(paths, filesOf(t, fs, path)...)
		} else {
			paths = append(paths, path)
		}
	}
	return paths
}

func kindOfFile(name string) string {
	if strings.HasSuffix(name, ".sst") {
		return "sst"
	}
	kind, _, _ := strings.Cut(name, "-")
	kind, _, _ = strings.Cut(kind, ".")
	return kind
}

// sample are the offsets to change.
func sample(size int) (at []int) {
	const ends, step = 40, 397
	for i := range size {
		if size <= 4*ends || i < ends || i >= size-ends || i%step == 0 {
			at = append(at, i)
		}
	}
	return at
}

// namesFile: an error that Pebble makes of a whole folder names the kind of the file.
func namesFile(text, name string) bool {
	kind := kindOfFile(name)
	return strings.Contains(text, name) || (kind == "MANIFEST" || kind == "OPTIONS") && strings.Contains(text, kind)
}

func rotIsNoticed(t *testing.T, disk *vfs.MemFS, name string, at int, want []string, prefixes *after) bool {
	t.Helper()
	var mu sync.Mutex
	var heard []string // guarded by mu: a compaction tells of what it meets, too
	s, err := openPebble(disk, crashDir, rotOptions(func(err error) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, err.Error())
	}))
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) || !namesFile(err.Error(), name) {
			t.Errorf("%s byte %d: refused with %v, which does not name the file", name, at, err)
		}
		return true
	}
	defer s.Close()
	got, err := allRows(s)
	if err != nil {
		mu.Lock()
		defer mu.Unlock()
		if !namesFile(err.Error()+strings.Join(heard, "\n"), name) {
			t.Errorf("%s byte %d: neither %v nor %q names the file", name, at, err, heard)
		}
		return true
	}
	if applied := s.System().Applied; strings.HasPrefix(name, "MANIFEST") && applied < 60 {
		wantRows(t, name, rowsOf(t, s), prefixes.batches(t, applied))
		return true
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s byte %d: served %d rows, %d are stored, or others", name, at, len(got), len(want))
	}
	return false
}
