package raftlog

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// countingStore counts reads that reach it.
type countingStore struct {
	*raft.InmemStore
	reads int
	fail  bool
}

func (s *countingStore) GetLog(index uint64, log *raft.Log) error {
	s.reads++
	return s.InmemStore.GetLog(index, log)
}

func (s *countingStore) StoreLogs(logs []*raft.Log) error {
	if s.fail {
		return errors.New("disk full")
	}
	return s.InmemStore.StoreLogs(logs)
}

func TestCacheServesTheNewestWithinItsBytes(t *testing.T) {
	inner := &countingStore{InmemStore: raft.NewInmemStore()}
	const each = 1000 + entryOverheadBytes
	c := NewCache(inner, 3*each)
	for i := uint64(1); i <= 10; i++ {
		if err := c.StoreLog(entry(i, 1, strings.Repeat("x", 1000))); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.Bytes(); got != 3*each {
		t.Errorf("cached bytes: got %d, want %d", got, 3*each)
	}
	var e raft.Log
	for i := uint64(8); i <= 10; i++ {
		if err := c.GetLog(i, &e); err != nil || e.Index != i {
			t.Fatalf("entry %d: got %d, %v", i, e.Index, err)
		}
	}
	if inner.reads != 0 {
		t.Errorf("reads below the cache of what it holds: got %d, want 0", inner.reads)
	}
	if err := c.GetLog(7, &e); err != nil || inner.reads != 1 {
		t.Errorf("entry that fell out: got %v after %d reads, want 1 read", err, inner.reads)
	}
	if err := c.StoreLog(entry(11, 1, strings.Repeat("x", 10*each))); err != nil {
		t.Fatal(err)
	}
	if got := c.Bytes(); got != 0 {
		t.Errorf("cached bytes after an entry larger than the bound: got %d, want 0", got)
	}
}

func TestCacheForgets(t *testing.T) {
	inner := &countingStore{InmemStore: raft.NewInmemStore()}
	c := NewCache(inner, 0)
	if err := c.StoreLogs([]*raft.Log{entry(1, 1, "a"), entry(2, 1, "b")}); err != nil {
		t.Fatal(err)
	}
	inner.fail = true
	if err := c.StoreLog(entry(2, 2, "not stored")); err == nil {
		t.Fatal("failing store: got no error")
	}
	var e raft.Log
	if err := c.GetLog(2, &e); err != nil || string(e.Data) != "b" || inner.reads != 1 {
		t.Errorf("after a failed overwrite: got %q, %v after %d reads, want what the store has", e.Data, err, inner.reads)
	}
	c.Purge()
	if err := c.GetLog(1, &e); err != nil || inner.reads != 2 || c.Bytes() != 0 {
		t.Errorf("after a purge: %v, %d reads, %d bytes", err, inner.reads, c.Bytes())
	}
}

// TestCacheIsInvisible drives a cached and a plain store alike; they answer alike.
func TestCacheIsInvisible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain, inner := raft.NewInmemStore(), raft.NewInmemStore()
		c := NewCache(inner, rapid.IntRange(1, 2000).Draw(t, "limit"))
		term := uint64(1)
		both := func(f func(raft.LogStore) error) {
			if err := errors.Join(f(plain), f(c)); err != nil {
				t.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			first, _ := plain.FirstIndex()
			last, _ := plain.LastIndex()
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				n := rapid.Uint64Range(1, 6).Draw(t, "n")
				var logs []*raft.Log
				for i := range n {
					logs = append(logs, entry(last+1+i, term, strings.Repeat("x", rapid.IntRange(0, 300).Draw(t, "size"))))
				}
				both(func(s raft.LogStore) error { return s.StoreLogs(logs) })
			case 2:
				if last > 0 {
					to := rapid.Uint64Range(first, last).Draw(t, "to")
					both(func(s raft.LogStore) error { return s.DeleteRange(first, to) })
				}
			case 3:
				if last > 0 {
					from := rapid.Uint64Range(first, last).Draw(t, "from")
					both(func(s raft.LogStore) error { return s.DeleteRange(from, last) })
					term++
				}
			case 4:
				// A snapshot was installed: the log goes on after a gap.
				both(func(s raft.LogStore) error { return s.StoreLog(entry(last+5, term, "gap")) })
			}
			last, _ = plain.LastIndex()
			for i := uint64(0); i <= last+2; i++ {
				var a, b raft.Log
				errA, errB := plain.GetLog(i, &a), c.GetLog(i, &b)
				if !errors.Is(errB, errA) || a.Term != b.Term || string(a.Data) != string(b.Data) || a.Index != b.Index {
					t.Fatalf("entry %d: plain %v %v, cached %v %v", i, a, errA, b, errB)
				}
			}
			if c.Bytes() > c.limit {
				t.Fatalf("cached bytes: got %d, limit %d", c.Bytes(), c.limit)
			}
		}
	})
}
