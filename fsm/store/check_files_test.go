package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// checkedFolder is a closed store on a file system in memory.
func checkedFolder(t *testing.T) vfs.FS {
	t.Helper()
	fs := vfs.NewMem()
	for range 2 { // the second opening writes a manifest anew
		s, err := openPebble(fs, "store", testOptions(t))
		if err != nil {
			t.Fatal(err)
		}
		if s.System().Applied == 0 {
			checkable(t, s)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// fileFindings opens a store to be looked at and lists what is wrong with its files; the error of the opening is a finding.
func fileFindings(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	s, err := openReadOnly(fs, "store", Options{CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		return []string{err.Error()}
	}
	defer s.Close()
	var out []string
	if _, err := s.CheckFiles(FileCheck{Report: func(f Finding) { out = append(out, fmt.Sprint(f.Fault, " ", f.Key, " ", f.Problem)) }}); err != nil {
		t.Fatal(err)
	}
	sn := s.Snapshot()
	defer sn.Close()
	if _, err := sn.Check(CheckOptions{Report: func(f Finding) { out = append(out, fmt.Sprint(f.Fault, " ", f.Key, " ", f.Problem)) }}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEveryChangedByteOfAFileIsFound turns each byte of each file round, of a large file some. What carries no checksum is listed here.
func TestEveryChangedByteOfAFileIsFound(t *testing.T) {
	fs := checkedFolder(t)
	if got := fileFindings(t, fs); len(got) > 0 {
		t.Fatalf("findings in a whole store: %q", got)
	}
	files := 0
	for _, path := range paths(t, fs) {
		files++
		text := readWhole(t, fs, path)
		step := 1
		if len(text) > 1<<10 {
			step = 17
		}
		for i := 0; i < len(text); i += step {
			nonce := i >= int(fileHeader)-nonceBytes && i < int(fileHeader)
			without := (strings.Contains(path, "OPTIONS") || strings.HasSuffix(path, ".log")) && i >= int(fileHeader)
			if nonce || without {
				continue
			}
			broken := slices.Clone(text)
			broken[i] ^= 0xff
			writeWhole(t, fs, path, broken)
			if got := fileFindings(t, fs); len(got) == 0 {
				t.Errorf("%s: byte %d of %d is another and nobody notices", path, i, len(text))
			}
		}
		writeWhole(t, fs, path, text)
	}
	if files < 5 {
		t.Errorf("only %d files", files)
	}
	if got := fileFindings(t, fs); len(got) > 0 {
		t.Errorf("findings in the store that was put right: %q", got)
	}
}

// TestRowsThatCannotBeReadAreNoGroundForOthers: what follows from them is not told to be wrong.
func TestRowsThatCannotBeReadAreNoGroundForOthers(t *testing.T) {
	fs := vfs.NewMem()
	s, err := openPebble(fs, "store", testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 300; n++ {
		work(t, s, n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths(t, fs) {
		if strings.HasSuffix(path, ".sst") {
			text := readWhole(t, fs, path)
			text[len(text)*3/4] ^= 0xff // far from the system's row, which is at the beginning
			writeWhole(t, fs, path, text)
		}
	}
	if s, err = openReadOnly(fs, "store", Options{CacheBytes: 1 << 20, MemTableBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sn := s.Snapshot()
	defer sn.Close()
	faults := map[Fault]int{}
	done, err := sn.Check(CheckOptions{Report: func(f Finding) { faults[f.Fault]++ }})
	if err != nil || done.Whole || done.Unnamed != 0 || faults[FaultRead] == 0 || faults[FaultMissing]+faults[FaultStray]+faults[FaultCount] > 0 {
		t.Errorf("%+v, %v, faults %v", done, err, faults)
	}
}

// TestFilesThatAreGoneAreFound removes each file in turn.
func TestFilesThatAreGoneAreFound(t *testing.T) {
	fs := checkedFolder(t)
	all := paths(t, fs)
	for _, path := range all {
		name := filepath.Base(path)
		used := slices.ContainsFunc(all, func(p string) bool { return strings.HasSuffix(p, "."+name) })
		if strings.HasPrefix(name, "OPTIONS") || strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "MANIFEST") && !used {
			continue
		}
		text := readWhole(t, fs, path)
		if err := fs.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got := fileFindings(t, fs); len(got) == 0 {
			t.Errorf("%s is gone and nobody notices", path)
		}
		writeWhole(t, fs, path, text)
	}
}

// paths are the files of the store but locks.
func paths(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	all := []string{fs.PathJoin("store", currentName)}
	for _, n := range names(t, fs) {
		if n != lockName {
			all = append(all, fs.PathJoin("store", generationName(1), n))
		}
	}
	return all
}

func names(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	all, err := fs.List(fs.PathJoin("store", generationName(1)))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestWhatACrashLeavesIsNoFinding: a chunk of the manifest that was cut off, tables that nobody names, other generations.
func TestWhatACrashLeavesIsNoFinding(t *testing.T) {
	fs := checkedFolder(t)
	dir := fs.PathJoin("store", generationName(1))
	for _, n := range names(t, fs) {
		if strings.HasPrefix(n, "MANIFEST") {
			path := fs.PathJoin(dir, n)
			text := readWhole(t, fs, path)
			writeWhole(t, fs, path, append(text, 1, 2, 3, 4, 40, 0, 1, 'c', 'u', 't'))
		}
	}
	writeWhole(t, fs, fs.PathJoin(dir, "900000.sst"), []byte("half a table"))
	if err := fs.MkdirAll(fs.PathJoin("store", generationName(7)), folderMode); err != nil {
		t.Fatal(err)
	}
	s, err := openReadOnly(fs, "store", testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	done, err := s.CheckFiles(FileCheck{Report: func(f Finding) { t.Errorf("%+v", f) }})
	want := []string{fs.PathJoin("store", generationName(7)), fs.PathJoin(dir, "900000.sst")}
	if err != nil || !slices.Equal(done.Leftovers, want) || done.Files < 5 || done.Bytes < 1000 {
		t.Errorf("%+v, %v; want leftovers %q", done, err, want)
	}
}

// TestLookingChangesNothing: every file is as it was, whatever was left over.
func TestLookingChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := OpenPebble(dir, testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	checkable(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, generationName(9)), 0o700); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	look, err := OpenReadOnly(dir, testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := findings(t, look, CheckOptions{}); len(got) > 0 {
		t.Errorf("findings %q", got)
	}
	if _, err := OpenReadOnly(dir, testOptions(t)); err == nil {
		t.Error("a store that is open was opened again")
	}
	if err := look.Close(); err != nil {
		t.Error(err)
	}
	wantRows(t, "files after a look", tree(t, dir), before)
}

func TestFoldersWithoutAStoreAreNoStore(t *testing.T) {
	if _, err := OpenReadOnly(filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := OpenReadOnly(t.TempDir(), Options{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("an empty folder: %v", err)
	}
	fs := checkedFolder(t)
	writeWhole(t, fs, fs.PathJoin("store", currentName), slices.Concat(readWhole(t, fs, fs.PathJoin("store", currentName))[:fileHeader],
		[]byte(currentText(generationName(1), stateCreating))))
	if _, err := openReadOnly(fs, "store", Options{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a store that was not finished: %v", err)
	}
}

// tree is every file below a folder with its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			out[path] = "folder"
			return err
		}
		text, err := os.ReadFile(path)
		out[path] = fmt.Sprintf("%x", text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readWhole(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return text
}

func writeWhole(t *testing.T, fs vfs.FS, path string, text []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
