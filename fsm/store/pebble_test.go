package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

func TestPebbleFormatIsTheNewestOfItsVersion(t *testing.T) {
	if pebbleFormat != pebble.FormatNewest {
		t.Errorf("format %d, the newest is %d: raise it behind a feature level", pebbleFormat, pebble.FormatNewest)
	}
}

func TestWhatPebbleSaysIsPassedOn(t *testing.T) {
	var errs []error
	var texts []string
	o := Options{OnError: func(err error) { errs = append(errs, err) }, OnMessage: func(text string) { texts = append(texts, text) }}
	l := pebbleLogger{o}
	l.Infof("flushed %d", 1)
	l.Errorf("not flushed: %w", os.ErrPermission)
	mustPanic(t, "pebble: the end", func() { l.Fatalf("the end") })
	if len(texts) != 1 || texts[0] != "flushed 1" || len(errs) != 2 || !errors.Is(errs[0], os.ErrPermission) {
		t.Errorf("heard %q and %v", texts, errs)
	}
	quiet := pebbleLogger{Options{}}
	quiet.Infof("nobody listens")
	quiet.Errorf("to this neither")
}

func TestReopenedStoreIsTheSame(t *testing.T) {
	dir := t.TempDir()
	var messages int
	o := testOptions(t)
	var mu sync.Mutex
	o.OnMessage = func(string) {
		mu.Lock()
		defer mu.Unlock()
		messages++
	}
	s, err := OpenPebble(filepath.Join(dir, "a", "b"), o)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 30; n++ {
		work(t, s, n)
	}
	want := rowsOf(t, s)
	if _, err := OpenPebble(filepath.Join(dir, "a", "b"), Options{}); err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("opened twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = OpenPebble(filepath.Join(dir, "a", "b"), testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	wantRows(t, "rows", rowsOf(t, s), want)
	if s.System().Applied != 30 {
		t.Errorf("applied %d", s.System().Applied)
	}
	work(t, s, 31)
	mu.Lock()
	defer mu.Unlock()
	if messages == 0 {
		t.Error("nothing was heard of the engine")
	}
}

// goneIsFine: a compaction may remove a file while a test looks at the folder.
func goneIsFine(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func TestFilesAreOursAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := OpenPebble(dir, testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	work(t, s, 1)
	st, err := s.Stage(bytes.NewReader(streamOf(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Install(st, 2, 1); err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return goneIsFine(err)
		}
		info, err := e.Info()
		if err != nil {
			return goneIsFine(err)
		}
		switch {
		case e.IsDir():
			if info.Mode().Perm() != folderMode {
				t.Errorf("folder %s has mode %v", path, info.Mode())
			}
		case e.Name() == lockName:
		default:
			files++
			text, err := os.ReadFile(path)
			if err != nil {
				return goneIsFine(err)
			}
			if info.Mode().Perm() != storeFileMode || !bytes.HasPrefix(text, []byte(fileMagic)) {
				t.Errorf("file %s has mode %v and begins with %q", path, info.Mode(), text[:min(len(text), 8)])
			}
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestLeftoversAreRemovedAndNothingElse(t *testing.T) {
	fs := vfs.NewMem()
	s := openCrash(t, fs)
	work(t, s, 1)
	want := rowsOf(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"g-0000000000000007", "checkpoint-0000000000000009", "g-7", "notes"} {
		if err := fs.MkdirAll(fs.PathJoin(crashDir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFile(fs, fs.PathJoin(crashDir, currentTemporary), strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	s = openCrash(t, fs)
	defer s.Close()
	wantRows(t, "rows", rowsOf(t, s), want)
	names, err := fs.List(crashDir)
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Join(names, " ")
	for _, gone := range []string{"g-0000000000000007", "checkpoint-", currentTemporary} {
		if strings.Contains(list, gone) {
			t.Errorf("%s is still there: %s", gone, list)
		}
	}
	for _, kept := range []string{"notes", "g-7"} {
		if !strings.Contains(list, kept) {
			t.Errorf("%s, which is not ours, was removed: %s", kept, list)
		}
	}
	// Numbers go on after those that were in use.
	if got := s.home.scratch(); got != fs.PathJoin(crashDir, "checkpoint-0000000000000010") {
		t.Errorf("next checkpoint is %s", got)
	}
}

func TestDamagedFoldersAreRefused(t *testing.T) {
	current := crashDir + "/" + currentName
	generation := crashDir + "/" + generationName(1)
	for name, c := range map[string]struct {
		damage func(fs vfs.FS) error
		want   error
		says   string
	}{
		"CURRENT is missing": {func(fs vfs.FS) error { return fs.Remove(current) }, ErrDamaged, "CURRENT is missing"},
		"CURRENT is of something else": {func(fs vfs.FS) error {
			return writeFile(fs, current, strings.NewReader(currentText("g-1", stateReady)))
		}, ErrDamaged, "no file of a store"},
		"CURRENT was changed": {func(fs vfs.FS) error {
			text := strings.Replace(currentText(generationName(1), stateReady), "1", "2", 1)
			return writeFile(headerFS{fs}, current, strings.NewReader(text))
		}, ErrDamaged, "CURRENT"},
		"CURRENT names no generation": {func(fs vfs.FS) error {
			return writeFile(headerFS{fs}, current, strings.NewReader(currentText("../x", stateReady)))
		}, ErrDamaged, "CURRENT"},
		"CURRENT is empty": {func(fs vfs.FS) error {
			return writeFile(headerFS{fs}, current, strings.NewReader(""))
		}, ErrDamaged, "CURRENT"},
		"the generation is missing": {func(fs vfs.FS) error { return fs.RemoveAll(generation) }, ErrDamaged, generation},
		"a table is missing": {func(fs vfs.FS) error {
			return eachFile(fs, generation, ".sst", func(path string) error { return fs.Remove(path) })
		}, ErrDamaged, "sstable"},
		"a file of another kind": {func(fs vfs.FS) error {
			return eachFile(fs, generation, "MANIFEST", func(path string) error {
				return writeFile(fs, path, strings.NewReader(strings.Repeat("something", 9)))
			})
		}, ErrDamaged, "MANIFEST"},
		"a file of a later version": {func(fs vfs.FS) error {
			return patchHeaders(fs, generation, len(fileMagic)+3, fileVersion+1)
		}, ErrVersion, "version 2, at most 1 is known"},
		"a file of an earlier version": {func(fs vfs.FS) error {
			return patchHeaders(fs, generation, len(fileMagic)+3, 0)
		}, ErrDamaged, "version 0"},
		"a sealed file": {func(fs vfs.FS) error {
			return patchHeaders(fs, generation, len(fileMagic)+7, 5)
		}, ErrVersion, "unknown key 5"},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := openCrash(t, fs)
			work(t, s, 1)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(fs); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the lock is free again after the first
				s, err := openPebble(fs, crashDir, crashOptions())
				if err == nil {
					s.Close()
				}
				if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("error %v, want %v that says %q", err, c.want, c.says)
				}
			}
		})
	}
}

func eachFile(fs vfs.FS, dir, part string, do func(path string) error) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.Contains(n, part) && !strings.HasPrefix(n, "marker") {
			if err := do(fs.PathJoin(dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// patchHeaders changes one byte of the headers of manifests.
func patchHeaders(fs vfs.FS, dir string, at int, to byte) error {
	return eachFile(fs, dir, "MANIFEST", func(path string) error {
		f, err := fs.OpenReadWrite(path, headerCategory)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte{to}, int64(at))
		return errors.Join(err, f.Close())
	})
}

// failing fails operations once it is switched on.
type failing struct {
	mu   sync.Mutex
	fail func(op errorfs.Op) bool
}

func (f *failing) String() string { return "failing" }

func (f *failing) set(fail func(op errorfs.Op) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *failing) MaybeError(op errorfs.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil && f.fail(op) && !f.spared(op) {
		return errorfs.ErrInjected
	}
	return nil
}

// spared: Pebble ends the process when it cannot write which files it has, and a compaction may just do so.
func (*failing) spared(op errorfs.Op) bool {
	return strings.Contains(op.Path, "MANIFEST") || strings.Contains(op.Path, "marker")
}

func TestFaultsOfTheDiskAreTold(t *testing.T) {
	fail := &failing{}
	fs := errorfs.Wrap(vfs.NewMem(), fail)
	o := crashOptions()
	o.CacheBytes = 1
	heard := make(chan error, 100)
	o.OnError = func(err error) {
		select {
		case heard <- err:
		default:
		}
	}
	s, err := openPebble(fs, crashDir, o)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 20; n++ {
		work(t, s, n)
	}
	deleting := s.Begin() // so that a file has a row beside which the next one of its kind goes
	deleting.Tx(1).Doom(graph.Doomed{Position: 1})
	if err := deleting.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	sn := s.Snapshot()
	defer sn.Close()
	s.current.warm = newWarm() // so that the disk is asked
	b := s.Begin()
	fail.set(func(op errorfs.Op) bool {
		return strings.HasSuffix(op.Path, ".sst") && (op.Kind == errorfs.OpFileReadAt || op.Kind == errorfs.OpOpen)
	})
	v := sn.View(1)
	if _, _, err := v.NodeAt(1); !errors.Is(err, errorfs.ErrInjected) || !strings.Contains(err.Error(), "tenant 1") {
		t.Errorf("read of a node: %v", err)
	}
	for _, err := range v.Walk(graph.Walk{}) {
		if !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("walk: %v", err)
		}
		break
	}
	mustPanic(t, "injected", func() { b.Tx(1).PutSession(graph.SessionRecord{Position: 1, State: graph.SessionClosed}) })
	mustPanic(t, "injected", func() { b.Tx(1).Doom(graph.Doomed{Position: 1}) })
	mustPanic(t, "injected", func() { b.SetEvent(EventKey{1, 1}, nil) })
	if _, err := b.ExpireOutcomes(1<<40, 5); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("expiry: %v", err)
	}
	b.Discard()

	fail.set(nil)
	for name, faulty := range map[string]func(op errorfs.Op) bool{
		"link":   func(op errorfs.Op) bool { return op.Kind == errorfs.OpLink || op.Kind == errorfs.OpCreate },
		"create": func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate },
	} {
		fail.set(faulty)
		if c, err := s.OpenCheckpoint(); err == nil {
			c.Close()
			t.Errorf("%s: a checkpoint was made on a disk that fails", name)
		}
		fail.set(nil)
	}
	stream := streamOf(t, s)
	fail.set(func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync })
	if _, err := s.Stage(bytes.NewReader(stream)); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("staged on a disk that fails: %v", err)
	}
	fail.set(nil)
	st, err := s.Stage(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	fail.set(func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpRename && strings.Contains(op.Path, currentTemporary)
	})
	if err := s.Install(st, 99, 1); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("installed on a disk that fails: %v", err)
	}
	fail.set(nil)
	if s.System().Applied != 20 || s.Epoch() != 0 {
		t.Error("an install that failed changed the store")
	}
	work(t, s, 21)
	failedFlush(t, s, fail, heard)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// failedFlush: Pebble tries again until it is told to stop; meanwhile we hear of it.
func failedFlush(t *testing.T, s *Store, fail *failing, heard chan error) {
	for len(heard) > 0 {
		<-heard
	}
	fail.set(func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") })
	flushed := make(chan error, 1)
	go func() { flushed <- s.Flush() }()
	if err := <-heard; !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("background error: %v", err)
	}
	fail.set(nil)
	if err := <-flushed; err != nil {
		t.Errorf("flush after the disk was well again: %v", err)
	}
	if index, _ := s.DurableApplied(); index != 21 {
		t.Errorf("durable up to %d, want 21", index)
	}
}

// TestReplacedGenerationsGo: at once, or with the last snapshot that reads them.
func TestReplacedGenerationsGo(t *testing.T) {
	fs := vfs.NewMem()
	s := openCrash(t, fs)
	defer s.Close()
	work(t, s, 1)
	stream := streamOf(t, s)
	install := func() {
		st, err := s.Stage(bytes.NewReader(stream))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Install(st, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	install()
	wantNoLeftovers(t, fs)
	sn := s.Snapshot()
	install()
	if _, ok, err := sn.View(1).NodeAt(1); !ok || err != nil {
		t.Errorf("a snapshot of what was replaced: %v, %v", ok, err)
	}
	sn.Close()
	wantNoLeftovers(t, fs)
}
