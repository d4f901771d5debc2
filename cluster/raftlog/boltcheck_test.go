package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// TestCheckTakesWhatBboltWrites grows and cuts a log as a node does for long, with entries of many pages, and checks the
// file after each step: a false alarm would keep a healthy node from starting.
func TestCheckTakesWhatBboltWrites(t *testing.T) {
	folder := t.TempDir()
	logs, stable, err := CreateBolt(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(logs.Close(), stable.Close()); err != nil {
			t.Error(err)
		}
	}()
	const seed = 4
	random := rand.New(rand.NewPCG(seed, seed))
	first, next := uint64(1), uint64(1)
	for round := range 60 {
		var batch []*raft.Log
		for range 1 + random.IntN(200) {
			size := random.IntN(300)
			if random.IntN(40) == 0 {
				size = random.IntN(100_000)
			}
			batch = append(batch, &raft.Log{Index: next, Term: 1, Data: bytes.Repeat([]byte{byte(next)}, size)})
			next++
		}
		err := logs.StoreLogs(batch)
		switch random.IntN(6) {
		case 0, 1:
			to := first + random.Uint64N(next-first)
			err = errors.Join(err, logs.DeleteRange(first, to))
			first = min(to+1, next)
		case 2:
			from := max(first, next-min(next, 30))
			err = errors.Join(err, logs.DeleteRange(from, next-1))
			next = from
		}
		err = errors.Join(err, stable.SetUint64([]byte("CurrentTerm"), uint64(round)), stable.Set([]byte("LastVoteCand"), []byte("me")))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(checkFile(filepath.Join(folder, FirstLog)), checkFile(filepath.Join(folder, StableFile))); err != nil {
			t.Fatalf("seed %d round %d: %v", seed, round, err)
		}
	}
	if n, err := logs.Verify(0); err != nil || n != int(next-first) {
		t.Errorf("verify: got %d, %v, want %d", n, err, next-first)
	}
}

// TestCheckSeesEveryKindOfStructuralDamage writes over fields of pages of a log with a deep tree.
func TestCheckSeesEveryKindOfStructuralDamage(t *testing.T) {
	folder := t.TempDir()
	logs, stable, err := CreateBolt(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= 2000; i++ {
		if i%100 == 0 {
			var batch []*raft.Log
			for j := i - 99; j <= i; j++ {
				batch = append(batch, entry(j, 1, strings.Repeat("x", 100)))
			}
			if err := logs.StoreLogs(batch); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(logs.Close(), stable.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, FirstLog)
	intact := usedPages(t, path)
	meta, err := readMetas(bytes.NewReader(intact), int64(len(intact)))
	if err != nil {
		t.Fatal(err)
	}
	size := uint64(meta.pageSize)
	e := binary.NativeEndian
	// The bucket of the log is the second element of the root.
	root := intact[meta.root*size:]
	logsElement := root[boltPageHeader+boltElement:]
	bucket := logsElement[e.Uint32(logsElement[4:])+e.Uint32(logsElement[8:]):]
	top := e.Uint64(bucket) * size
	if e.Uint16(intact[top+8:]) != boltBranchFlag {
		t.Fatalf("the log's tree has no branch: flags %x", e.Uint16(intact[top+8:]))
	}
	leaf := top
	for e.Uint16(intact[leaf+8:]) == boltBranchFlag {
		leaf = e.Uint64(intact[leaf+boltPageHeader+8:]) * size
	}
	last := top
	for e.Uint16(intact[last+8:]) == boltBranchFlag {
		newest := uint64(e.Uint16(intact[last+10:])) - 1
		last = e.Uint64(intact[last+boltPageHeader+newest*boltElement+8:]) * size
	}
	free := meta.freelist * size
	for name, change := range map[string]func(b []byte){
		"page of another id":   func(b []byte) { b[leaf] ^= 1 },
		"page of another kind": func(b []byte) { b[leaf+8] = 0x20 },
		"endless overflow":     func(b []byte) { e.PutUint32(b[leaf+12:], 1<<30) },
		"too many elements":    func(b []byte) { e.PutUint16(b[leaf+10:], 0xFFF0) },
		"fewer rows":           func(b []byte) { e.PutUint16(b[last+10:], e.Uint16(b[last+10:])-1) },
		"one row":              func(b []byte) { e.PutUint16(b[last+10:], 1) },
		"fewer children":       func(b []byte) { e.PutUint16(b[top+10:], e.Uint16(b[top+10:])-1) },
		"no children":          func(b []byte) { e.PutUint16(b[top+10:], 0) },
		"child is its parent":  func(b []byte) { e.PutUint64(b[top+boltPageHeader+8:], top/size) },
		"child is not there":   func(b []byte) { e.PutUint64(b[top+boltPageHeader+8:], 1<<40) },
		"child is used twice": func(b []byte) {
			copy(b[top+boltPageHeader+8:top+boltPageHeader+16], b[top+boltPageHeader+boltElement+8:])
		},
		"child key past the page":     func(b []byte) { e.PutUint32(b[top+boltPageHeader+4:], 1<<31) },
		"child key out of order":      func(b []byte) { b[top+boltPageHeader+uint64(e.Uint32(b[top+boltPageHeader:]))] = 0xFF },
		"element past the page":       func(b []byte) { e.PutUint32(b[leaf+boltPageHeader+12:], 1<<31) },
		"key of another length":       func(b []byte) { e.PutUint32(b[leaf+boltPageHeader+8:], 7) },
		"row that is a bucket":        func(b []byte) { e.PutUint32(b[leaf+boltPageHeader:], 1) },
		"key out of order":            func(b []byte) { b[leaf+boltPageHeader+uint64(e.Uint32(b[leaf+boltPageHeader+4:]))] = 0xFF },
		"no freelist":                 func(b []byte) { b[free+8] = boltLeafFlag },
		"freelist past its page":      func(b []byte) { e.PutUint16(b[free+10:], 0xFFFE) },
		"freelist of no known length": func(b []byte) { e.PutUint16(b[free+10:], 0xFFFF); e.PutUint64(b[free+16:], 1<<60) },
		"page in use is free":         func(b []byte) { e.PutUint64(b[free+16:], leaf/size) },
		"free page is lost":           func(b []byte) { e.PutUint16(b[free+10:], e.Uint16(b[free+10:])-1) },
		"bucket of another name": func(b []byte) {
			copy(b[meta.root*size:], bytes.Replace(b[meta.root*size:][:size], []byte("logs"), []byte("mogs"), 1))
		},
	} {
		broken := bytes.Clone(intact)
		change(broken)
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := OpenBolt(folder, nil); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want damaged with the path", name, err)
		}
	}
	if err := os.WriteFile(path, intact, 0o600); err != nil {
		t.Fatal(err)
	}
	logs, stable, err = OpenBolt(folder, nil)
	if err != nil {
		t.Fatalf("intact file: %v", err)
	}
	if err := errors.Join(logs.Close(), stable.Close()); err != nil {
		t.Fatal(err)
	}
}
