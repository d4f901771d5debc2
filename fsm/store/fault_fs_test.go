package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// fullDisk has no room for what a test says, for so many tries.
type fullDisk struct {
	mu   sync.Mutex
	left int
	part string
	err  error
}

func (*fullDisk) String() string { return "full" }

func (d *fullDisk) MaybeError(op errorfs.Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 || op.Kind.ReadOrWrite() != errorfs.OpIsWrite || !strings.Contains(op.Path, d.part) {
		return nil
	}
	d.left--
	return fmt.Errorf("%s: %w", op.Path, d.err)
}

func (d *fullDisk) set(left int, part string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.part, d.err = left, part, err
}

// TestWriteThatFindsNoRoomIsTriedAgainWithSome: a flush on a full disk succeeds when somebody makes room, and nothing is told.
func TestWriteThatFindsNoRoomIsTriedAgainWithSome(t *testing.T) {
	d := &fullDisk{}
	asked := atomic.Int64{}
	o := crashOptions()
	o.OnError = func(err error) { t.Errorf("told of %v", err) }
	o.OnFull = func(path string) bool {
		if !strings.Contains(path, ".sst") {
			t.Errorf("asked about %q", path)
		}
		asked.Add(1)
		return true
	}
	s, err := openPebble(errorfs.Wrap(vfs.NewMem(), d), crashDir, o)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 20; n++ {
		work(t, s, n)
	}
	want := rowsOf(t, s)
	d.set(5, ".sst", syscall.ENOSPC)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if asked.Load() == 0 {
		t.Error("nobody was asked for room")
	}
	if index, _ := s.DurableApplied(); index != 20 {
		t.Errorf("durable up to %d, want 20", index)
	}
	wantRows(t, "after the flush", rowsOf(t, s), want)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWriteThatFailsIsToldAndNotTriedInALoop: each names the file; Pebble, which tries a flush again at once, is slowed down.
func TestWriteThatFailsIsToldAndNotTriedInALoop(t *testing.T) {
	for _, kind := range []error{syscall.ENOSPC, syscall.EIO} {
		t.Run(kind.Error(), func(t *testing.T) {
			d := &fullDisk{}
			heard := make(chan error, 1000)
			o := crashOptions()
			o.OnError = func(err error) {
				select {
				case heard <- err:
				default:
				}
			}
			o.OnFull = func(string) bool { return false }
			again, resume := make(chan bool), make(chan bool)
			o.Pause = func() {
				again <- true
				<-resume
			}
			s, err := openPebble(errorfs.Wrap(vfs.NewMem(), d), crashDir, o)
			if err != nil {
				t.Fatal(err)
			}
			work(t, s, 1)
			d.set(1_000_000, ".sst", kind)
			flushed := make(chan error, 1)
			go func() { flushed <- s.Flush() }()
			told := func() (writes int) {
				for len(heard) > 0 {
					if err := <-heard; errors.Is(err, kind) && strings.Contains(err.Error(), "write of file") && strings.Contains(err.Error(), ".sst") {
						writes++
					}
				}
				return writes
			}
			for range 3 {
				<-again
				if n := told(); n != 1 {
					t.Errorf("%d writes failed before a pause, want one", n)
				}
				resume <- true
			}
			<-again
			d.set(0, "", nil)
			close(resume)
			go func() {
				for range again {
				}
			}()
			defer close(again)
			if err := errors.Join(<-flushed, s.Close()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestReadThatTheDiskCannotDoIsTold, and the end of a file is none.
func TestReadThatTheDiskCannotDoIsTold(t *testing.T) {
	var heard []error
	f := newFaultFS(vfs.NewMem(), Options{OnError: func(err error) { heard = append(heard, err) }})
	if err := f.read("x", errors.New("EOF")); err == nil || len(heard) != 0 {
		t.Errorf("end of a file: %v, told %v", err, heard)
	}
	if err := f.read("x", syscall.EIO); !errors.Is(err, syscall.EIO) || len(heard) != 1 || !strings.Contains(heard[0].Error(), "file x") {
		t.Errorf("told %v", heard)
	}
}
