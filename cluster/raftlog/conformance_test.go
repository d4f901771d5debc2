package raftlog

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

// logStores opens every kind of log store of this package, empty.
func logStores(t *testing.T) map[string]raft.LogStore {
	memory, _ := NewMemory(nil)
	cached, _ := NewMemory(nil)
	tiny, _ := NewMemory(nil)
	bolt, stable, err := CreateBolt(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(bolt.Close(), stable.Close()); err != nil {
			t.Error(err)
		}
	})
	return map[string]raft.LogStore{
		"memory":     memory,
		"bolt":       bolt,
		"cache":      NewCache(cached, 0),
		"tiny cache": NewCache(tiny, 3*(entryOverheadBytes+10)),
		"watch":      NewWatchLogs(raft.NewInmemStore(), Watchdog{}),
	}
}

func entry(index, term uint64, data string) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: []byte(data), AppendedAt: time.Unix(int64(index), 0).UTC()}
}

func TestLogStoreConformance(t *testing.T) {
	for name, store := range logStores(t) {
		t.Run(name, func(t *testing.T) {
			wantRange(t, store, 0, 0)
			var got raft.Log
			if err := store.GetLog(1, &got); err != raft.ErrLogNotFound {
				t.Fatalf("entry of an empty log: got %v, want log not found", err)
			}
			var logs []*raft.Log
			for i := uint64(1); i <= 10; i++ {
				logs = append(logs, entry(i, 1, fmt.Sprint("data ", i)))
			}
			logs[3].Extensions = []byte("extensions")
			logs[4].Type = raft.LogNoop
			logs[4].Data = nil
			if err := store.StoreLogs(logs[:9]); err != nil {
				t.Fatal(err)
			}
			if err := store.StoreLog(logs[9]); err != nil {
				t.Fatal(err)
			}
			wantRange(t, store, 1, 10)
			for _, want := range logs {
				wantEntry(t, store, want)
			}
			if err := store.DeleteRange(1, 4); err != nil {
				t.Fatal(err)
			}
			wantRange(t, store, 5, 10)
			if err := store.GetLog(4, &got); err != raft.ErrLogNotFound {
				t.Fatalf("deleted entry: got %v, want log not found", err)
			}
			if err := store.DeleteRange(8, 10); err != nil {
				t.Fatal(err)
			}
			wantRange(t, store, 5, 7)
			overwrite := entry(8, 2, "another history")
			if err := store.StoreLog(overwrite); err != nil {
				t.Fatal(err)
			}
			wantEntry(t, store, overwrite)
			wantRange(t, store, 5, 8)
			if err := store.GetLog(9, &got); err != raft.ErrLogNotFound {
				t.Fatalf("entry after the overwritten one: got %v, want log not found", err)
			}
		})
	}
}

func wantRange(t *testing.T, store raft.LogStore, first, last uint64) {
	t.Helper()
	gotFirst, err := store.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	gotLast, err := store.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	if gotFirst != first || gotLast != last {
		t.Fatalf("log runs: got %d to %d, want %d to %d", gotFirst, gotLast, first, last)
	}
}

func wantEntry(t *testing.T, store raft.LogStore, want *raft.Log) {
	t.Helper()
	var got raft.Log
	if err := store.GetLog(want.Index, &got); err != nil {
		t.Fatalf("entry %d: %v", want.Index, err)
	}
	same := cmp.Comparer(func(a, b []byte) bool { return string(a) == string(b) })
	if diff := cmp.Diff(*want, got, same); diff != "" {
		t.Errorf("entry %d (-want +got):\n%s", want.Index, diff)
	}
}

func TestStableStoreConformance(t *testing.T) {
	_, memory := NewMemory(nil)
	logs, bolt, err := CreateBolt(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	defer bolt.Close()
	for name, store := range map[string]raft.StableStore{"memory": memory, "bolt": bolt, "watch": NewWatchStable(memory, Watchdog{})} {
		t.Run(name, func(t *testing.T) {
			// raft compares the text at its first start.
			if _, err := store.Get([]byte("none")); err != ErrKeyNotFound || err.Error() != "not found" {
				t.Errorf("unknown key: got %v, want not found", err)
			}
			if n, err := store.GetUint64([]byte("none")); err != ErrKeyNotFound || n != 0 {
				t.Errorf("unknown number: got %d, %v, want 0, not found", n, err)
			}
			if err := store.Set([]byte("k"), []byte("v")); err != nil {
				t.Fatal(err)
			}
			if err := store.SetUint64([]byte("n"), 1<<60); err != nil {
				t.Fatal(err)
			}
			if v, err := store.Get([]byte("k")); err != nil || string(v) != "v" {
				t.Errorf("k: got %q, %v", v, err)
			}
			if n, err := store.GetUint64([]byte("n")); err != nil || n != 1<<60 {
				t.Errorf("n: got %d, %v", n, err)
			}
			if _, err := store.GetUint64([]byte("k")); !errors.Is(err, ErrDamaged) {
				t.Errorf("number from text: got %v, want damaged", err)
			}
		})
	}
}

func TestBoltKeepsEverythingOverARestart(t *testing.T) {
	folder := t.TempDir()
	logs, stable, err := CreateBolt(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := entry(1, 1, "kept")
	if err := errors.Join(logs.StoreLog(want), stable.SetUint64([]byte("CurrentTerm"), 4), logs.Close(), stable.Close()); err != nil {
		t.Fatal(err)
	}
	if got := logs.AppendedBytes(); got != uint64(len("kept")+SealOverheadBytes) {
		t.Errorf("appended bytes: got %d", got)
	}
	logs, stable, err = OpenBolt(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantEntry(t, logs, want)
	if term, err := stable.GetUint64([]byte("CurrentTerm")); err != nil || term != 4 {
		t.Errorf("term: got %d, %v, want 4", term, err)
	}
	if n, err := logs.Verify(0); n != 1 || err != nil {
		t.Errorf("verify: got %d, %v", n, err)
	}
	if err := errors.Join(logs.Close(), stable.Close()); err != nil {
		t.Fatal(err)
	}
}
