package raftlog

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// slowStore is a store in memory whose writes take a while. It does nothing else.
type slowStore struct {
	*raft.InmemStore
	takes time.Duration
}

func (s slowStore) StoreLogs(logs []*raft.Log) error {
	time.Sleep(s.takes)
	return s.InmemStore.StoreLogs(logs)
}

func (s slowStore) Set(k, v []byte) error {
	time.Sleep(s.takes)
	return s.InmemStore.Set(k, v)
}

func (s slowStore) SetUint64(k []byte, v uint64) error {
	time.Sleep(s.takes)
	return s.InmemStore.SetUint64(k, v)
}

func TestWatchdogReportsSlowAndGivesUpHung(t *testing.T) {
	writes := map[string]func(raft.LogStore, raft.StableStore) error{
		"log":  func(l raft.LogStore, _ raft.StableStore) error { return l.StoreLog(entry(1, 1, "x")) },
		"vote": func(_ raft.LogStore, s raft.StableStore) error { return s.Set([]byte("k"), []byte("v")) },
		"term": func(_ raft.LogStore, s raft.StableStore) error { return s.SetUint64([]byte("k"), 1) },
	}
	for _, c := range []struct {
		takes      time.Duration
		slow, hung int
	}{
		{SlowAfter - time.Millisecond, 0, 0},
		{SlowAfter + time.Millisecond, 1, 0},
		{HungAfter + time.Millisecond, 1, 1},
	} {
		for name, write := range writes {
			synctest.Test(t, func(t *testing.T) {
				slow, hung := 0, 0
				dog := Watchdog{
					Slow: func(operation string, running time.Duration) {
						if operation == "" || running != SlowAfter {
							t.Errorf("slow: got %q after %v", operation, running)
						}
						slow++
					},
					Hung: func(err error) {
						if !strings.Contains(err.Error(), "hangs") {
							t.Errorf("hung: got %v", err)
						}
						hung++
					},
				}
				inner := slowStore{raft.NewInmemStore(), c.takes}
				if err := write(NewWatchLogs(inner, dog), NewWatchStable(inner, dog)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * HungAfter)
				synctest.Wait()
				if slow != c.slow || hung != c.hung {
					t.Errorf("%s that takes %v: got %d slow, %d hung, want %d, %d", name, c.takes, slow, hung, c.slow, c.hung)
				}
			})
		}
	}
}

func TestWatchdogWithoutListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := NewWatchLogs(slowStore{raft.NewInmemStore(), time.Minute}, Watchdog{}).StoreLog(entry(1, 1, "x")); err != nil {
			t.Fatal(err)
		}
	})
}

// TestStoppedProcessHasNoHungDisk: a tick that comes late, because the process stood still, is one tick. In the bubble time
// does not jump, so the late tick is a timer that takes as long as the process stood still.
func TestStoppedProcessHasNoHungDisk(t *testing.T) {
	const late = time.Hour
	for _, c := range []struct {
		takes      time.Duration // in all, with the hour
		stops      int           // the ticks up to this one are late
		slow, hung time.Duration // when they are told of, 0 for never
	}{
		{takes: late - 1, stops: 1},
		{takes: late + 900*time.Millisecond, stops: 1},
		{takes: late + 5*time.Second, stops: 1, slow: late + 4*time.Second},
		{takes: 2 * late, stops: 1, slow: late + 4*time.Second, hung: late + 14*time.Second},
		{takes: 4*late + time.Millisecond, stops: 4},
		{takes: HungAfter - 1, slow: SlowAfter},
		{takes: late, slow: SlowAfter, hung: HungAfter},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, ticks := time.Now(), 0
			var slow, hung time.Duration
			dog := Watchdog{
				Slow: func(string, time.Duration) { slow += time.Since(began) },
				Hung: func(error) { hung += time.Since(began) },
				after: func(d time.Duration, f func()) *time.Timer {
					if ticks++; ticks <= c.stops {
						d = late
					}
					return time.AfterFunc(d, f)
				},
			}
			if err := NewWatchLogs(slowStore{raft.NewInmemStore(), c.takes}, dog).StoreLog(entry(1, 1, "x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * late)
			synctest.Wait()
			if slow != c.slow || hung != c.hung {
				t.Errorf("%v with %d late ticks: got slow at %v, hung at %v, want %v, %v", c.takes, c.stops, slow, hung, c.slow, c.hung)
			}
		})
	}
}

// TestTickAfterTheWriteIsBack is that of a timer which has fired already when the write comes back.
func TestTickAfterTheWriteIsBack(t *testing.T) {
	var tick func()
	set := 0
	dog := Watchdog{
		Slow: func(string, time.Duration) { t.Error("slow") },
		Hung: func(error) { t.Error("hung") },
		after: func(_ time.Duration, f func()) *time.Timer {
			set++
			tick = f
			return time.NewTimer(time.Hour)
		},
	}
	done := dog.watch("write")
	for range 4 {
		tick()
	}
	done()
	for range 20 {
		tick()
	}
	if set != 5 {
		t.Errorf("ticks set: got %d, want 5", set)
	}
}

// brokenStore refuses everything.
type brokenStore struct{ raft.InmemStore }

var errBroken = errors.New("broken")

func (*brokenStore) StoreLogs([]*raft.Log) error          { return errBroken }
func (*brokenStore) GetLog(uint64, *raft.Log) error       { return errBroken }
func (*brokenStore) FirstIndex() (uint64, error)          { return 0, errBroken }
func (*brokenStore) DeleteRange(uint64, uint64) error     { return errBroken }
func (*brokenStore) Set([]byte, []byte) error             { return errBroken }
func (*brokenStore) Get([]byte) ([]byte, error)           { return nil, errBroken }
func (*brokenStore) Close() error                         { return errBroken }
func (*brokenStore) LastIndex() (uint64, error)           { panic("assertion failed") }
func (*brokenStore) GetUint64(key []byte) (uint64, error) { return 0, errBroken }

func TestFullDiskIsNoFaultAndOtherFailedWritesAre(t *testing.T) {
	failed := func(op string, err error) error { return &fs.PathError{Op: op, Path: "f", Err: err} }
	for _, c := range []struct {
		err    error
		faults int
	}{
		{failed("write", syscall.ENOSPC), 0},
		{failed("write", syscall.EDQUOT), 0},
		{failed("write", syscall.EIO), 2},
		{failed("sync", syscall.ENOSPC), 2},
		{syscall.ENOSPC, 2},
	} {
		faults := 0
		o := Options{File: "f", OnFault: func(error) { faults++ }}
		inner := &failingStore{err: c.err}
		if err := NewLogs(inner, o).StoreLog(entry(1, 1, "x")); !errors.Is(err, c.err) {
			t.Errorf("append: got %v, want %v", err, c.err)
		}
		if err := NewStable(inner, o).Set([]byte("k"), nil); !errors.Is(err, c.err) {
			t.Errorf("vote: got %v, want %v", err, c.err)
		}
		if err := NewLogs(inner, o).StoreLog(entry(1, 1, "x")); errors.Is(err, ErrFull) != (c.faults == 0) {
			t.Errorf("append: got %v of the wrong kind", err)
		}
		if c.faults > 0 {
			c.faults++
		}
		if faults != c.faults {
			t.Errorf("%v: got %d faults, want %d", c.err, faults, c.faults)
		}
	}
}

// failingStore fails its writes with one error.
type failingStore struct {
	raft.InmemStore
	err error
}

func (s *failingStore) StoreLogs([]*raft.Log) error { return s.err }
func (s *failingStore) Set([]byte, []byte) error    { return s.err }

func TestErrorsOfTheInnerStoreNameTheFile(t *testing.T) {
	o := Options{File: "the file"}
	logs, stable := NewLogs(&brokenStore{}, o), NewStable(&brokenStore{}, o)
	_, first := logs.FirstIndex()
	_, get := stable.Get([]byte("k"))
	_, verify := logs.Verify(0)
	for name, err := range map[string]error{
		"store":      logs.StoreLog(entry(1, 1, "x")),
		"delete":     logs.DeleteRange(1, 2),
		"first":      first,
		"verify":     verify,
		"read":       logs.GetLog(1, &raft.Log{}),
		"set":        stable.Set([]byte("k"), nil),
		"get":        get,
		"close logs": logs.Close(),
		"close vote": stable.Close(),
	} {
		if err == nil || !strings.Contains(err.Error(), "the file") {
			t.Errorf("%s: got %v, want one that names the file", name, err)
		}
	}
	if err := logs.StoreLog(entry(1, 1, "x")); !errors.Is(err, errBroken) {
		t.Errorf("store: got %v, want the inner error wrapped", err)
	}
	if _, err := logs.LastIndex(); !errors.Is(err, ErrDamaged) {
		t.Errorf("panic of the inner store: got %v, want damaged", err)
	}
	if err := logs.StoreLog(entry(1, 1, "x")); !errors.Is(err, ErrDamaged) {
		t.Errorf("store after a panic: got %v, want damaged", err)
	}
}
