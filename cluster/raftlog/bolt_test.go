package raftlog

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

const marker = "a body that is easy to find in the file "

// writtenFolder is the folder of a node that stored some entries and a vote.
func writtenFolder(t *testing.T) (folder string, entries []*raft.Log) {
	t.Helper()
	folder = t.TempDir()
	logs, stable, err := CreateBolt(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= 3; i++ {
		e := entry(i, i, marker+strings.Repeat("x", int(i)))
		if i == 2 {
			e.Extensions = []byte(marker)
		}
		entries = append(entries, e)
		if err := logs.StoreLog(e); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(stable.SetUint64([]byte("CurrentTerm"), 3), stable.Set([]byte("LastVoteCand"), []byte("node-1")), logs.Close(), stable.Close())
	if err != nil {
		t.Fatal(err)
	}
	return folder, entries
}

// readAll opens the folder and returns what it says, as a node that starts would.
func readAll(folder string) (entries []*raft.Log, term uint64, vote string, err error) {
	logs, stable, err := OpenBolt(folder, nil)
	if err != nil {
		return nil, 0, "", err
	}
	defer logs.Close()
	defer stable.Close()
	if _, err := logs.Verify(0); err != nil {
		return nil, 0, "", err
	}
	first, err := logs.FirstIndex()
	if err != nil {
		return nil, 0, "", err
	}
	last, err := logs.LastIndex()
	if err != nil {
		return nil, 0, "", err
	}
	for i := first; i <= last && i != 0; i++ {
		var e raft.Log
		if err := logs.GetLog(i, &e); err != nil {
			return nil, 0, "", err
		}
		entries = append(entries, &e)
	}
	if term, err = stable.GetUint64([]byte("CurrentTerm")); err != nil {
		return nil, 0, "", err
	}
	v, err := stable.Get([]byte("LastVoteCand"))
	return entries, term, string(v), err
}

// TestFlippedBytesAreNeverServed flips bytes of both files: every one that belongs to a value, every one of the meta
// pages, and a sample of the rest. Each time the node either refuses, naming the file, or reads what was written.
func TestFlippedBytesAreNeverServed(t *testing.T) {
	folder, want := writtenFolder(t)
	refused := 0
	for _, name := range []string{FirstLog, StableFile} {
		intact := usedPages(t, filepath.Join(folder, name))
		for _, at := range flips(intact) {
			if flipIsRefused(t, folder, name, at, intact, want) {
				refused++
			}
		}
	}
	if refused == 0 {
		t.Error("no flip was noticed, so none hit anything")
	}
}

func flipIsRefused(t *testing.T, folder, name string, at int, intact []byte, want []*raft.Log) bool {
	t.Helper()
	broken := bytes.Clone(intact)
	broken[at] ^= 0x41
	copied := t.TempDir()
	defer os.RemoveAll(copied)
	for _, other := range []string{FirstLog, StableFile} {
		data := broken
		if other != name {
			data = usedPages(t, filepath.Join(folder, other))
		}
		if err := os.WriteFile(filepath.Join(copied, other), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	entries, term, vote, err := readAll(copied)
	if err != nil {
		if !strings.Contains(err.Error(), name) || !errors.Is(err, ErrDamaged) {
			t.Errorf("%s byte %d: the error does not name the file: %v", name, at, err)
		}
		return true
	}
	same := slices.EqualFunc(entries, want, func(a, b *raft.Log) bool {
		return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
	})
	if !same || term != 3 || vote != "node-1" {
		t.Errorf("%s byte %d flipped: served %d entries, term %d, vote %q", name, at, len(entries), term, vote)
	}
	return false
}

// usedPages reads a file up to its high water mark; bbolt grows files by 16 MiB.
func usedPages(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	first, err := readMeta(f, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := readMeta(f, 1, int64(first.pageSize))
	if err != nil {
		t.Fatal(err)
	}
	used := make([]byte, max(first.highWater, second.highWater)*uint64(first.pageSize))
	if _, err := f.ReadAt(used, 0); err != nil {
		t.Fatal(err)
	}
	return used
}

// flips are the offsets to flip: meta pages, every place with a value, and every 97th byte.
func flips(file []byte) (at []int) {
	const page = 4096
	for _, from := range []int{0, page} {
		for i := range boltPageHeader + boltMetaBytes {
			at = append(at, from+i)
		}
	}
	values := []string{marker, "CurrentTerm", "LastVoteCand", "logs", "conf"}
	for _, v := range values {
		for from := 0; ; {
			i := bytes.Index(file[from:], []byte(v))
			if i < 0 {
				break
			}
			for j := max(0, from+i-24); j < min(len(file), from+i+len(v)+24); j += 3 {
				at = append(at, j)
			}
			from += i + 1
		}
	}
	for i := 0; i < len(file); i += 97 {
		at = append(at, i)
	}
	slices.Sort(at)
	return slices.Compact(at)
}

func TestFileThatWasCutShortIsDamaged(t *testing.T) {
	folder, _ := writtenFolder(t)
	path := filepath.Join(folder, FirstLog)
	used := int64(len(usedPages(t, path)))
	for _, size := range []int64{used - 1, used / 2, 2 * 4096, 4096 + 20, 4096, 40, 1} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		_, _, err := OpenBolt(folder, nil)
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("cut to %d bytes: got %v, want damaged with the path", size, err)
		}
	}
}

func TestFileThatShrinksUnderTheProcessIsAnError(t *testing.T) {
	folder, _ := writtenFolder(t)
	var heard []error
	logs, stable, err := OpenBolt(folder, func(err error) { heard = append(heard, err) })
	if err != nil {
		t.Fatal(err)
	}
	defer stable.Close()
	path := filepath.Join(folder, FirstLog)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	var e raft.Log
	if err := logs.GetLog(2, &e); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("read of a file that is gone: got %v, want damaged with the path", err)
	}
	if err := logs.StoreLog(entry(4, 4, "x")); !errors.Is(err, ErrDamaged) {
		t.Errorf("write after that: got %v, want damaged", err)
	}
	if len(heard) != 2 {
		t.Errorf("damage heard of: got %v, want one of the read and one of the write", heard)
	}
}

func TestMissingOrEmptyFilesAreNotStartedAnew(t *testing.T) {
	folder := t.TempDir()
	if _, _, err := OpenBolt(folder, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: got %v, want not exist", err)
	}
	folder, _ = writtenFolder(t)
	if err := os.Truncate(filepath.Join(folder, StableFile), 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenBolt(folder, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty vote file: got %v, want not exist", err)
	}
	if err := os.Remove(filepath.Join(folder, StableFile)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenBolt(folder, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no vote file: got %v, want not exist", err)
	}
}

func TestCreateNeverTouchesFilesInUse(t *testing.T) {
	folder, _ := writtenFolder(t)
	if _, _, err := CreateBolt(folder, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a written folder: got %v, want exist", err)
	}
	if err := os.Truncate(filepath.Join(folder, FirstLog), 5000); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, StableFile)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := CreateBolt(folder, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("create over a damaged file: got %v, want damaged", err)
	}
	if _, _, err := CreateBolt(filepath.Join(folder, "absent"), nil); err == nil {
		t.Error("create in a folder that is not there: got no error")
	}
}

func TestCreateTakesUpAFirstStartThatWasCutShort(t *testing.T) {
	folder := t.TempDir()
	logs, stable, err := CreateBolt(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(logs.Close(), stable.Close(), os.Truncate(filepath.Join(folder, StableFile), 0)); err != nil {
		t.Fatal(err)
	}
	logs, stable, err = CreateBolt(folder, nil)
	if err != nil {
		t.Fatalf("second first start: %v", err)
	}
	if err := errors.Join(logs.Close(), stable.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestFileHeldByAnotherSaysSo(t *testing.T) {
	folder, _ := writtenFolder(t)
	logs, stable, err := OpenBolt(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stable.Close()
	defer logs.Close()
	if _, _, err := OpenBolt(folder, nil); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second open: got %v, want one that names another process", err)
	}
}

// TestDamageUnderTheSeal writes through raft-boltdb itself what bit rot in its own encoding would leave behind.
func TestDamageUnderTheSeal(t *testing.T) {
	sealed := func(index, term uint64, data string) *raft.Log {
		s, err := seal(entry(index, term, data))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	moved, otherTerm, plain, lost := sealed(1, 1, "a"), sealed(3, 1, "b"), entry(4, 1, "never sealed"), entry(5, 1, "c")
	moved.Index = 2
	otherTerm.Term = 2
	lost.Extensions = []byte("x")
	lost, err := seal(lost)
	if err != nil {
		t.Fatal(err)
	}
	lost.Extensions = nil
	path := filepath.Join(t.TempDir(), FirstLog)
	inner, err := raftboltdb.NewBoltStore(path)
	if err != nil {
		t.Fatal(err)
	}
	logs := NewLogs(inner, Options{File: path})
	defer logs.Close()
	if err := inner.StoreLogs([]*raft.Log{sealed(1, 1, "a"), moved, otherTerm, plain, lost}); err != nil {
		t.Fatal(err)
	}
	for index := uint64(2); index <= 5; index++ {
		var e raft.Log
		if err := logs.GetLog(index, &e); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("entry %d: got %v (%q), want damaged with the path", index, err, e.Data)
		}
	}
	if n, err := logs.Verify(0); n != 1 || !errors.Is(err, ErrDamaged) {
		t.Errorf("verify: got %d, %v, want 1, damaged", n, err)
	}
}

func TestVerifyRefusesAHoleThatNoSnapshotCovers(t *testing.T) {
	logs, _ := NewMemory(nil)
	if err := logs.StoreLogs([]*raft.Log{entry(1, 1, "a"), entry(4, 1, "b")}); err != nil {
		t.Fatal(err)
	}
	if _, err := logs.Verify(2); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "entry 3") {
		t.Errorf("hole up to 3, snapshot at 2: got %v, want damaged at entry 3", err)
	}
	if n, err := logs.Verify(3); n != 2 || err != nil {
		t.Errorf("hole up to 3, snapshot at 3: got %d, %v, want 2 entries", n, err)
	}
}
