package raftlog

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// TestVerifyNamesTheFirstFault wherever it is, also when several parts of the log have one, and counts what is before it.
func TestVerifyNamesTheFirstFault(t *testing.T) {
	for last := uint64(1); last <= 7; last++ {
		for first := uint64(1); first <= last; first++ {
			for second := first; second <= last; second++ {
				inner := raft.NewInmemStore()
				logs := NewLogs(inner, Options{File: "f"})
				for i := uint64(1); i <= last; i++ {
					e := entry(i, 1, fmt.Sprint(i))
					store := logs.StoreLog
					if i == first || i == second {
						store = inner.StoreLog // it has no sum
					}
					if err := store(e); err != nil {
						t.Fatal(err)
					}
				}
				_, err := logs.Verify(0)
				if want := fmt.Sprintf("log entry %d:", first); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), want) {
					t.Errorf("entries %d and %d of %d are damaged: got %v, want %q", first, second, last, err, want)
				}
			}
		}
	}
}

// TestVerifyReadsEveryEntryOnce and notes the size of each, in the order of the log.
func TestVerifyReadsEveryEntryOnce(t *testing.T) {
	for first := uint64(1); first <= 3; first++ {
		for count := uint64(1); count <= 9; count++ {
			inner := raft.NewInmemStore()
			written := NewLogs(inner, Options{File: "f"})
			for i := first; i < first+count; i++ {
				if err := written.StoreLog(entry(i, 1, strings.Repeat("x", int(i)))); err != nil {
					t.Fatal(err)
				}
			}
			logs := NewLogs(inner, Options{File: "f"})
			if n, err := logs.Verify(0); uint64(n) != count || err != nil {
				t.Errorf("%d entries from %d: got %d, %v", count, first, n, err)
			}
			if got, want := logs.RetainedBytes(), written.RetainedBytes(); got != want {
				t.Errorf("%d entries from %d: got %d bytes, want %d", count, first, got, want)
			}
			if n, all := logs.Newest(logs.RetainedBytes()); n != count || !all {
				t.Errorf("%d entries from %d: newest %d, all %t", count, first, n, all)
			}
		}
	}
}
