package reserve

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const mib = 1 << 20

// disk is a file system of 1 GiB whose free room a test sets. It does not feel the ballast.
type disk struct {
	mu   sync.Mutex
	free uint64
	err  error
}

func (d *disk) set(free uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = free
}

func (d *disk) measure(string) (Space, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Space{Free: d.free, Total: 1 << 30}, d.err
}

func guard(t *testing.T, d *disk, o Options) *Guard {
	t.Helper()
	o.Folder, o.Measure = t.TempDir(), d.measure
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestWritesAreRefusedBelowTheReserveUntilHalfAsMuchAgainIsFree(t *testing.T) {
	d := &disk{free: 101 * mib}
	var told []bool
	g := guard(t, d, Options{Bytes: 100 * mib, Changed: func(s State) { told = append(told, s.Refusing) }})
	for _, step := range []struct {
		free            uint64
		refused, chores bool
	}{
		{101 * mib, false, false}, {100 * mib, false, false}, {100*mib - 1, true, false}, {50 * mib, true, false}, {50*mib - 1, true, true},
		{120 * mib, true, false}, {150*mib - 1, true, false}, {150 * mib, false, false}, {101 * mib, false, false},
	} {
		d.set(step.free)
		g.Look()
		if refused, chores := g.Refusal() != nil, g.RefusalOfChores() != nil; refused != step.refused || chores != step.chores {
			t.Errorf("%d MiB free: refused %t, chores %t; want %t, %t", step.free/mib, refused, chores, step.refused, step.chores)
		}
	}
	if len(told) != 2 || !told[0] || told[1] {
		t.Errorf("told of changes: got %v, want refusing, then not", told)
	}
}

// TestChangesAreToldInTheirOrder, whoever looks: what is told last is how it is.
func TestChangesAreToldInTheirOrder(t *testing.T) {
	d := &disk{free: 200 * mib}
	var g *Guard
	var mu sync.Mutex
	var told []bool
	tell := func(refusing bool) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, refusing)
	}
	again := make(chan struct{})
	var other sync.WaitGroup
	g = guard(t, d, Options{Bytes: 100 * mib, Changed: func(s State) {
		if !s.Refusing {
			tell(false)
			close(again)
			return
		}
		// Somebody else finds room before this is told.
		d.set(200 * mib)
		other.Go(func() { g.Look() })
		select {
		case <-again:
		case <-time.After(100 * time.Millisecond):
		}
		tell(true)
	}})
	d.set(mib)
	g.Look()
	other.Wait()
	if len(told) != 2 || !told[0] || told[1] || g.Refusal() != nil {
		t.Errorf("told of changes: got %v, want refusing, then not; now %v", told, g.Refusal())
	}
}

func TestRefusalNamesFolderAndFigures(t *testing.T) {
	d := &disk{free: 3 * mib}
	g := guard(t, d, Options{Bytes: 100 * mib})
	var full *FullError
	if err := g.Refusal(); !errors.As(err, &full) || full.State.Free != 3*mib || full.State.Resume != 150*mib {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{full.State.Folder, "3145728 bytes are free", "157286400 are needed"} {
		if !strings.Contains(full.Error(), part) {
			t.Errorf("%q does not say %q", full, part)
		}
	}
}

func TestDefaultReserve(t *testing.T) {
	for total, want := range map[uint64]uint64{0: 1 << 30, 10 << 30: 1 << 30, 100 << 30: (100 << 30) / 100 * 5} {
		if got := reserveOf(0, total); got != want {
			t.Errorf("of %d bytes: got %d, want %d", total, got, want)
		}
	}
	if got := reserveOf(None, 1<<40); got != 0 {
		t.Errorf("none: got %d", got)
	}
}

// TestWriteThatFoundNoRoomClosesTheDoor also without a reserve.
func TestWriteThatFoundNoRoomClosesTheDoor(t *testing.T) {
	d := &disk{free: mib}
	g := guard(t, d, Options{Bytes: None})
	if g.Refusal() != nil || g.Admit() != nil {
		t.Fatal("refused before anything happened")
	}
	g.Met()
	if g.Refusal() == nil || g.Admit() == nil || !g.IsMet() {
		t.Error("a write that found no room changed nothing")
	}
	d.set(leastBytes)
	g.Look()
	if err := g.Refusal(); err != nil || g.IsMet() {
		t.Errorf("with %d bytes free: %v", leastBytes, err)
	}
}

// TestNearTheReserveEveryEntryLooks: in a second a fast writer fills more than a small reserve.
func TestNearTheReserveEveryEntryLooks(t *testing.T) {
	d := &disk{free: 200 * mib}
	g := guard(t, d, Options{Bytes: 100 * mib})
	d.set(10 * mib)
	if err := g.Admit(); err == nil {
		t.Error("entry admitted on what was measured before")
	}
	if g.Refusal() == nil {
		t.Error("the look for an entry is not remembered")
	}
}

func TestBallastIsKeptFreedAndKeptAgain(t *testing.T) {
	d := &disk{free: 1 << 30}
	g := guard(t, d, Options{Bytes: 8 * mib})
	path := filepath.Join(g.o.Folder, BallastName)
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { g.Run(ctx) })
		synctest.Wait()
		if size() != 2*mib || g.State().Ballast != 2*mib {
			t.Errorf("ballast: got %d bytes and %+v, want a quarter of the reserve", size(), g.State())
		}
		d.set(4 * mib)
		time.Sleep(Interval)
		synctest.Wait()
		if g.Refusal() == nil || size() != 2*mib {
			t.Errorf("below the reserve: %v, ballast of %d bytes", g.Refusal(), size())
		}
		if !g.FreeBallast() || size() != 0 {
			t.Error("ballast was not freed")
		}
		if g.FreeBallast() {
			t.Error("ballast was freed twice")
		}
		time.Sleep(3 * Interval)
		synctest.Wait()
		if size() != 0 {
			t.Error("ballast came back without room")
		}
		d.set(1 << 30)
		time.Sleep(2 * Interval)
		synctest.Wait()
		if size() != 2*mib || g.Refusal() != nil {
			t.Errorf("with room again: %v, ballast of %d bytes", g.Refusal(), size())
		}
		cancel()
		running.Wait()
	})
}

func TestWhatCannotBeWatchedIsSaid(t *testing.T) {
	broken := errors.New("no such file system")
	if _, err := New(Options{Folder: "x", Measure: (&disk{err: broken}).measure}); !errors.Is(err, broken) {
		t.Errorf("at the start: got %v", err)
	}
	d := &disk{free: mib}
	var warned error
	g := guard(t, d, Options{Bytes: 2 * mib, Warn: func(err error) { warned = err }})
	d.mu.Lock()
	d.err = broken
	d.mu.Unlock()
	if g.Look(); !errors.Is(warned, broken) || g.Refusal() == nil {
		t.Errorf("later: warned of %v, refusal %v", warned, g.Refusal())
	}
}

func TestRealFileSystemIsMeasured(t *testing.T) {
	s, err := measure(t.TempDir())
	if err != nil || s.Total == 0 || s.Free > s.Total {
		t.Errorf("got %+v, %v", s, err)
	}
}
