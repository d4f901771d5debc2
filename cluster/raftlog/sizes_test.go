package raftlog

import (
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// TestBytesInTheLogAreCounted compares the figures with those of the entries themselves, also after a start.
func TestBytesInTheLogAreCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inner := raft.NewInmemStore()
		logs := NewLogs(inner, Options{File: "f"})
		first, last := uint64(1), uint64(0)
		model := map[uint64]uint64{}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				var entries []*raft.Log
				for range rapid.IntRange(1, 5).Draw(t, "entries") {
					last++
					e := entry(last, 1, rapid.StringN(0, 40, -1).Draw(t, "data"))
					e.Extensions = []byte(rapid.StringN(0, 3, -1).Draw(t, "extensions"))
					entries = append(entries, e)
				}
				if err := logs.StoreLogs(entries); err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					var stored raft.Log
					if err := inner.GetLog(e.Index, &stored); err != nil {
						t.Fatal(err)
					}
					model[e.Index] = uint64(len(stored.Data) + len(stored.Extensions))
				}
			},
			"replace": func(t *rapid.T) {
				if first > last {
					t.Skip("empty")
				}
				at := rapid.Uint64Range(first, last).Draw(t, "at")
				if err := logs.StoreLog(entry(at, 2, "replaced")); err != nil {
					t.Fatal(err)
				}
				model[at] = uint64(len("replaced") + SealOverheadBytes)
			},
			"cut": func(t *rapid.T) {
				if first > last {
					t.Skip("empty")
				}
				low, high := first, rapid.Uint64Range(first, last).Draw(t, "to")
				if rapid.Bool().Draw(t, "end") {
					low, high, last = high, last, high-1
				} else {
					first = high + 1
				}
				if err := logs.DeleteRange(low, high); err != nil {
					t.Fatal(err)
				}
				for i := low; i <= high; i++ {
					delete(model, i)
				}
			},
			"start": func(t *rapid.T) {
				logs = NewLogs(inner, Options{File: "f"})
				if first > last {
					return // the store in memory forgets where it ended
				}
				if _, err := logs.Verify(0); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				var sum, within, kept uint64
				for _, bytes := range model {
					sum += bytes
				}
				budget := rapid.Uint64Range(0, sum+10).Draw(t, "budget")
				for i := last; i >= first && within+model[i] <= budget; i-- {
					within += model[i]
					kept++
				}
				if got := logs.RetainedBytes(); got != sum {
					t.Fatalf("bytes in the log: got %d, want %d", got, sum)
				}
				if entries, all := logs.Newest(budget); entries != kept || all != (sum <= budget) {
					t.Fatalf("newest of %d bytes: got %d, all %v, want %d, %v", budget, entries, all, kept, sum <= budget)
				}
			},
		})
	})
}

func TestHoleInTheLogCountsAsEntries(t *testing.T) {
	logs := NewLogs(raft.NewInmemStore(), Options{File: "f"})
	if entries, all := logs.Newest(0); entries != 0 || !all {
		t.Errorf("empty: got %d, %v", entries, all)
	}
	for _, index := range []uint64{1, 2, 100} {
		if err := logs.StoreLog(entry(index, 1, "xx")); err != nil {
			t.Fatal(err)
		}
	}
	const each = 2 + SealOverheadBytes
	for bytes, want := range map[uint64]uint64{each - 1: 0, each: 98, 2 * each: 99, 3 * each: 100} {
		if entries, all := logs.Newest(bytes); entries != want || all != (want == 100) {
			t.Errorf("newest of %d bytes: got %d, %v, want %d", bytes, entries, all, want)
		}
	}
	logs.sizes.drop(3, 99)
	if logs.RetainedBytes() != 3*each {
		t.Errorf("dropped from the hole: got %d bytes", logs.RetainedBytes())
	}
}
