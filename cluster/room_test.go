package cluster

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

const mib = 1 << 20

// fakeDisk has 1 GiB, of which a test says how much is free. Appends fail on it while nothing is free, but for those that
// find free pages in the file.
type fakeDisk struct {
	raft.LogStore
	free atomic.Uint64
	// pages: appends do not fail from so many on that did.
	pages atomic.Int64
	// failed counts appends that found no room, held those of first entries of a term.
	failed, first atomic.Int64
}

func (d *fakeDisk) measure(string) (reserve.Space, error) {
	return reserve.Space{Free: d.free.Load(), Total: 1 << 30}, nil
}

func (d *fakeDisk) under(logs raft.LogStore) raft.LogStore {
	d.LogStore = logs
	return d
}

func (d *fakeDisk) StoreLogs(logs []*raft.Log) error {
	if pages := d.pages.Load(); d.free.Load() > 0 || (pages > 0 && d.failed.Load() >= pages) {
		return d.LogStore.StoreLogs(logs)
	}
	if logs[0].Type == raft.LogNoop {
		d.first.Add(1)
	}
	d.failed.Add(1)
	return errors.Join(raftlog.ErrFull, syscall.ENOSPC)
}

func (d *fakeDisk) StoreLog(log *raft.Log) error { return d.StoreLogs([]*raft.Log{log}) }

// fullConfig is of a node in memory on a fake disk with a reserve of 100 MiB.
func fullConfig(t *testing.T, free uint64) (Config, *fakeDisk) {
	d := &fakeDisk{}
	d.free.Store(free)
	c := testConfig(t)
	c.Folder, c.DiskReserve, c.measureRoom, c.underLogs = t.TempDir(), 100*mib, d.measure, d.under
	c.Timing, c.TickInterval = LAN(), time.Second
	return c, d
}

func wantNoRoom(t *testing.T, what string, err error) {
	t.Helper()
	wantError(t, what, err, NoRoom, true)
	var full *reserve.FullError
	if !errors.As(err, &full) || !strings.Contains(err.Error(), full.State.Folder) {
		t.Errorf("%s: %v does not name the folder", what, err)
	}
}

func TestBelowTheReserveWritesAreRefusedAndReadsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := fullConfig(t, 500*mib)
		var told []bool
		c.Events.Disk = func(s reserve.State) { told = append(told, s.Refusing) }
		n := start(t, c)
		fill(t, n, 0, 10)
		leader := n.raft.CurrentTerm()
		for _, step := range []struct {
			free    uint64
			refused bool
		}{{99 * mib, true}, {149 * mib, true}, {150 * mib, false}, {60 * mib, true}, {400 * mib, false}} {
			d.free.Store(step.free)
			time.Sleep(2 * reserve.Interval)
			if !step.refused {
				if err := n.Limit(); err != nil {
					t.Errorf("%d MiB free: limit %v", step.free/mib, err)
				}
				propose(t, n, createSession(t, sessionID(int(step.free/mib))))
				continue
			}
			_, err := n.Propose(timeout(t), createSession(t, sessionID(999)))
			wantNoRoom(t, "propose", err)
			wantNoRoom(t, "limit", n.Limit())
			if err := n.Ready(); err != nil {
				t.Errorf("%d MiB free: not ready: %v", step.free/mib, err)
			}
			if s := status(t, n); !s.Disk.Refusing || s.Disk.Free != step.free {
				t.Errorf("status: got %+v", s.Disk)
			}
			wantSessions(t, n, 10)
		}
		if n.raft.CurrentTerm() != leader {
			t.Error("leadership was lost")
		}
		if len(told) != 4 {
			t.Errorf("told: got %v, want every change", told)
		}
		if has(t, n, sessionID(999)) {
			t.Error("a refused command was applied")
		}
		stop(t, n)
	})
}

// TestLogWithoutRoom: the entry fails whole and surely, reads go on without a leader, nobody stands for election again and
// again, and with room the node goes on.
func TestLogWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := fullConfig(t, 200*mib)
		c.DiskReserve = reserve.None
		n := start(t, c)
		fill(t, n, 0, 10)
		d.free.Store(0)
		_, err := n.Propose(timeout(t), createSession(t, sessionID(999)))
		wantError(t, "the entry that found no room", err, NoRoom, true)
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v, want what the disk said", err)
		}
		time.Sleep(5 * time.Second)
		term := n.raft.CurrentTerm()
		time.Sleep(time.Minute)
		if now := n.raft.CurrentTerm(); now != term {
			t.Errorf("terms in a minute: %d to %d, want one", term, now)
		}
		_, err = n.Propose(timeout(t), createSession(t, sessionID(998)))
		wantNoRoom(t, "the next command", err)
		wantSessions(t, n, 10)
		if err := n.Ready(); err != nil {
			t.Errorf("ready to read: %v", err)
		}
		if failed, first := d.failed.Load(), d.first.Load(); failed != first+1 || first < 50 || first > 70 {
			t.Errorf("appends that found no room in a minute: %d, of them first entries %d; want one each second", failed, first)
		}
		d.free.Store(200 * mib)
		time.Sleep(20 * time.Second)
		fill(t, n, 10, 20)
		wantSessions(t, n, 20)
		if has(t, n, sessionID(999)) || has(t, n, sessionID(998)) {
			t.Error("a command that was surely not proposed was applied")
		}
		stop(t, n)
	})
}

// TestFullNodeReadsAgainAfterARestart although nothing becomes free: the first entries of its term go into pages that are.
func TestFullNodeReadsAgainAfterARestart(t *testing.T) {
	for name, free := range map[string]uint64{"below the reserve": 50 * mib, "nothing free": 0} {
		t.Run(name, func(t *testing.T) {
			c, d := stoppedFull(t)
			d.free.Store(free)
			d.pages.Store(2)
			n := start(t, c)
			wantSessions(t, n, 20)
			if err := n.Ready(); err != nil || n.room.IsMet() != (free == 0) {
				t.Errorf("ready: %v; met no room %t", err, n.room.IsMet())
			}
			_, err := n.Propose(timeout(t), createSession(t, sessionID(999)))
			wantNoRoom(t, "propose", err)
			wantNoRoom(t, "limit", n.Limit())
		})
	}
}

// stoppedFull is the config of a node that was stopped on a fake disk, its rows not durable.
func stoppedFull(t *testing.T) (Config, *fakeDisk) {
	t.Helper()
	c := diskConfig(t)
	n := start(t, c)
	fill(t, n, 0, 20)
	c = crashed(t, c)
	d := &fakeDisk{}
	c.DiskReserve, c.measureRoom, c.underLogs = 100*mib, d.measure, d.under
	return c, d
}

// TestNodeThatCannotStartWithoutRoomSaysSo to whoever waits or asks, stands for election once, goes on when there is room
// although less than the reserve, and closes.
func TestNodeThatCannotStartWithoutRoomSaysSo(t *testing.T) {
	c, d := stoppedFull(t)
	began := time.Now()
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, n)
	ctx, cancel := context.WithTimeout(t.Context(), 2*reserve.Interval)
	defer cancel()
	full := &reserve.FullError{}
	err = n.WaitReady(ctx)
	wantError(t, "wait", err, Interrupted, true)
	if !errors.As(err, &full) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: %v does not say that the disk is full", err)
	}
	err = n.Ready()
	wantError(t, "ready", err, NoLeader, true)
	if !errors.As(err, &full) || !strings.Contains(err.Error(), c.Folder) {
		t.Errorf("ready: %v does not say that the disk is full", err)
	}
	// An append of a first entry is counted as that before it is counted as one.
	failed, first := d.failed.Load(), d.first.Load()
	if seconds := time.Since(began) / reserve.Interval; failed > first || first > int64(seconds)+3 {
		t.Errorf("appends that found no room in %d seconds: %d, of them first entries %d; want one each second", seconds, failed, first)
	}
	d.free.Store(1)
	wantSessions(t, n, 20)
	_, err = n.Propose(timeout(t), createSession(t, sessionID(999)))
	wantNoRoom(t, "propose", err)
}

// TestNodeThatCannotStartWithoutRoomCloses while it waits.
func TestNodeThatCannotStartWithoutRoomCloses(t *testing.T) {
	c, d := stoppedFull(t)
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for ctx := timeout(t); d.first.Load() == 0 && ctx.Err() == nil; {
		runtime.Gosched()
	}
	stop(t, n)
}

func TestNodeWithoutRoomCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := fullConfig(t, 200*mib)
		n := start(t, c)
		d.free.Store(0)
		_, err := n.commit(nil)
		if !errors.Is(err, raftlog.ErrFull) {
			t.Fatalf("got %v", err)
		}
		time.Sleep(5 * time.Second)
		stop(t, n)
	})
}

// TestWhatWaitsIsRefusedWhenTheDiskIsFull: it would wait for a leader that there cannot be.
func TestWhatWaitsIsRefusedWhenTheDiskIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := proposing(t, time.Now)
		n.logger = hclog.NewNullLogger()
		waits := ask(context.Background(), n, []byte("x"))
		n.roomChanged(reserve.State{Folder: "f", Refusing: true})
		wantNoRoom(t, "waiting command", <-waits)
	})
}

// TestChoresMayUseHalfOfTheReserve: they give room back in the end.
func TestChoresMayUseHalfOfTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := fullConfig(t, 500*mib)
		c.Retention = fsm.Retention{Count: 5}
		c.TickInterval = time.Hour
		n := start(t, c)
		fill(t, n, 0, 50)
		d.free.Store(60 * mib)
		time.Sleep(2 * reserve.Interval)
		if due, err := n.chore(t.Context()); !due || err != nil {
			t.Errorf("with more than half of the reserve free: due %t, %v", due, err)
		}
		if rows := n.Machine().Store().System().EventRows; rows >= 50 {
			t.Errorf("%d events are left", rows)
		}
		d.free.Store(40 * mib)
		time.Sleep(2 * reserve.Interval)
		if n.room.RefusalOfChores() == nil {
			t.Error("chores go on below half of the reserve")
		}
		stop(t, n)
	})
}
