package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

const crashDir = "store"

// crashOptions are so small that memtables fill and flush on their own.
func crashOptions() Options { return Options{CacheBytes: 1 << 20, MemTableBytes: 128 << 10} }

func openCrash(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := openPebble(fs, crashDir, crashOptions())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// crash is what a disk holds after power was lost now: all that was synced and some of the rest.
func crash(fs *vfs.MemFS, rng *rand.Rand) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: rng.IntN(101), RNG: rng,
	})
}

// TestCrashLeavesAPrefix: the reopened store is what it was after some batch, not one before the last flush.
func TestCrashLeavesAPrefix(t *testing.T) {
	want := newAfter(t)
	lost := 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		fs := vfs.NewCrashableMem()
		s := openCrash(t, fs)
		last, floor := uint64(1+rng.IntN(150)), uint64(0)
		for n := uint64(1); n <= last; n++ {
			work(t, s, n)
			switch rng.IntN(40) {
			case 0:
				if err := s.Flush(); err != nil {
					t.Fatal(err)
				}
				floor = n
				if got, term := s.DurableApplied(); got != n || term != 1+n/10 {
					t.Errorf("seed %d: durable up to %d of term %d right after the flush of %d", seed, got, term, n)
				}
			case 1:
				durable, _ := s.DurableApplied()
				floor = max(floor, durable)
			}
		}
		disk := crash(fs, rng)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openCrash(t, disk)
		got := s.System().Applied
		if got < floor || got > last {
			t.Errorf("seed %d: applied %d after a crash, want %d to %d", seed, got, floor, last)
		}
		if durable, _ := s.DurableApplied(); durable != got {
			t.Errorf("seed %d: durable %d after a crash, applied %d", seed, durable, got)
		}
		if got < last {
			lost++
		}
		wantRows(t, fmt.Sprintf("seed %d, after batch %d", seed, got), rowsOf(t, s), want.batches(t, got))
		// The log is replayed from there.
		for n := got + 1; n <= last; n++ {
			work(t, s, n)
		}
		wantRows(t, fmt.Sprintf("seed %d, replayed to %d", seed, last), rowsOf(t, s), want.batches(t, last))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if lost == 0 {
		t.Error("no crash lost anything: this test no longer tests")
	}
}

// crashPoint copies the disk before the operation number at.
type crashPoint struct {
	fs   *vfs.MemFS
	rng  *rand.Rand
	at   int64
	seen atomic.Int64
	disk atomic.Pointer[vfs.MemFS]
}

func (c *crashPoint) String() string { return "crash" }

func (c *crashPoint) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && c.seen.Add(1) == c.at {
		c.disk.Store(crash(c.fs, c.rng))
	}
	return nil
}

// TestCrashWhileOpening: a store that was being made is made again.
func TestCrashWhileOpening(t *testing.T) {
	for at := int64(1); ; at++ {
		c := &crashPoint{fs: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(uint64(at), 3)), at: at}
		if err := openCrash(t, errorfs.Wrap(c.fs, c)).Close(); err != nil {
			t.Fatal(err)
		}
		disk := c.disk.Load()
		if disk == nil {
			if at < 20 {
				t.Errorf("only %d operations were seen", at)
			}
			return
		}
		s := openCrash(t, disk)
		work(t, s, 1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrashWhileInstalling: the store is the old one or the new one, whole, and leftovers are gone.
func TestCrashWhileInstalling(t *testing.T) {
	want := newAfter(t)
	source := openCrash(t, vfs.NewMem())
	for n := uint64(1); n <= 30; n++ {
		work(t, source, n)
	}
	var stream bytes.Buffer
	if _, err := source.WriteCheckpoint(&stream); err != nil {
		t.Fatal(err)
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	outcomes := map[uint64]int{}
	for at := int64(1); ; at++ {
		c := &crashPoint{fs: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(uint64(at), 4)), at: at}
		s := openCrash(t, errorfs.Wrap(c.fs, c))
		work(t, s, 1)
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		c.seen.Store(0)
		c.disk.Store(nil)
		st, err := s.Stage(bytes.NewReader(stream.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Install(st, 30, 4); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		disk := c.disk.Load()
		if disk == nil {
			break
		}
		s = openCrash(t, disk)
		applied := s.System().Applied
		outcomes[applied]++
		wantRows(t, fmt.Sprintf("crash at operation %d", at), rowsOf(t, s), want.batches(t, applied))
		wantNoLeftovers(t, disk)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(outcomes) != 2 || outcomes[1] == 0 || outcomes[30] == 0 {
		t.Errorf("states after a crash: %v, want some of 1 and of 30", outcomes)
	}
}

// wantNoLeftovers checks that one generation is all there is.
func wantNoLeftovers(t testing.TB, fs vfs.FS) {
	t.Helper()
	names, err := fs.List(crashDir)
	if err != nil {
		t.Fatal(err)
	}
	generations := 0
	for _, n := range names {
		switch {
		case strings.HasPrefix(n, generationPrefix):
			generations++
		case n != currentName && n != lockName:
			t.Errorf("leftover %s", n)
		}
	}
	if generations != 1 {
		t.Errorf("%d generations: %v", generations, names)
	}
}
