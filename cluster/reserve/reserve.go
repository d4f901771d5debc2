package reserve

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Bounds, bytes.
const (
	// LeastDefaultBytes and DefaultShare make the reserve where nobody names one: a share of the file system, in percent,
	// but at least so much.
	LeastDefaultBytes = 1 << 30
	DefaultShare      = 5
	// MaxBallastBytes bounds the ballast, which has a quarter of the reserve.
	MaxBallastBytes = 64 << 20
	// leastBytes are free again before writes go on after one has found no room at all, however small the reserve; or an
	// eighth of a disk that is small. bbolt makes its file longer by as much at a time.
	leastBytes = 16 << 20
	leastShare = 8
	// nearBytes above the reserve every entry of the log is a reason to look: a second may be too long.
	nearBytes = 512 << 20
)

// Interval is how often the room is looked at.
const Interval = time.Second

// None as Options.Bytes means that nothing is held back: writes go on until the disk itself refuses them.
const None = -1

// Options of a Guard.
type Options struct {
	// Folder is any folder in the file system; the ballast is in it. It must exist.
	Folder string
	// Bytes are to stay free: 0 for the default, None for nothing.
	Bytes int64
	// Changed hears that writes are refused from now on, or taken again, one change after the other. It may be nil, must not
	// block, and must not make the guard look.
	Changed func(State)
	// Warn hears of what hinders the guard itself: room that cannot be measured, a ballast that cannot be written.
	Warn func(error)

	// Measure is what looks at the disk, in tests; nil for the real one.
	Measure func(folder string) (Space, error)
}

// Space is what a file system has, bytes; Free as this process may use it.
type Space struct{ Free, Total uint64 }

// State is how a guard sees its disk.
type State struct {
	// Folder is the one that the guard looks at.
	Folder string
	// Free is what there is, Reserve what is to stay free, Resume what has to be free before writes go on.
	Free, Reserve, Resume uint64
	// Refusing: there is too little room for writes.
	Refusing bool
	// Ballast is how many bytes the ballast file holds.
	Ballast uint64
}

// FullError says that there is too little room for a write.
type FullError struct{ State State }

// Error names the folder, what is free and what is needed.
func (e *FullError) Error() string {
	return fmt.Sprintf("disk of data folder %s is full: %d bytes are free, %d are needed before this node takes writes again: make room, or grow the disk",
		e.State.Folder, e.State.Free, e.State.Resume)
}

// A Guard watches the room of one data folder. Safe for concurrent use. A nil one has always room: that is how a node in
// memory goes.
type Guard struct {
	o       Options
	ballast ballast

	// looking lets one look after the other measure, judge and tell: else an old measurement could be judged, or told, last.
	// It is taken before mu.
	looking sync.Mutex
	// mu guards state and met.
	mu    sync.Mutex
	state State
	// met: a write found no room at all, whatever was measured. It ends like a breach of the reserve.
	met bool
}

// New makes a guard and looks at the disk once. The error is that of the first look: a reserve that nobody can watch would
// be none.
func New(o Options) (*Guard, error) {
	if o.Measure == nil {
		o.Measure = measure
	}
	g := &Guard{o: o, ballast: ballast{folder: o.Folder}}
	space, err := o.Measure(o.Folder)
	if err != nil {
		return nil, fmt.Errorf("room of %s: %w", o.Folder, err)
	}
	g.state = State{Folder: o.Folder, Reserve: reserveOf(o.Bytes, space.Total), Ballast: g.ballast.held()}
	g.judge(space)
	return g, nil
}

func reserveOf(bytes int64, total uint64) uint64 {
	switch {
	case bytes < 0:
		return 0
	case bytes > 0:
		return uint64(bytes)
	}
	return max(LeastDefaultBytes, total/100*DefaultShare)
}

// Run looks at the disk every second until ctx ends, and keeps the ballast while there is room for it.
func (g *Guard) Run(ctx context.Context) {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		g.keepBallast()
		select {
		case <-tick.C:
			g.Look()
		case <-ctx.Done():
			return
		}
	}
}

// Look measures now and says how things stand.
func (g *Guard) Look() State {
	g.looking.Lock()
	defer g.looking.Unlock()
	space, err := g.o.Measure(g.o.Folder)
	if err != nil {
		g.warn(fmt.Errorf("room of %s: %w", g.o.Folder, err))
		return g.State()
	}
	return g.judge(space)
}

// judge takes in a measurement. Writes are refused below the reserve, and until there is half as much again: else they would
// be refused and taken in turns. Looking is held.
func (g *Guard) judge(space Space) State {
	g.mu.Lock()
	before := g.state.Refusing
	g.state.Free, g.state.Resume = space.Free, g.resumeLocked(space)
	switch {
	case space.Free >= g.state.Resume:
		g.state.Refusing, g.met = false, false
	case space.Free < g.state.Reserve, g.met:
		g.state.Refusing = true
	}
	now := g.state
	g.mu.Unlock()
	if now.Refusing != before && g.o.Changed != nil {
		g.o.Changed(now)
	}
	return now
}

// resumeLocked is what has to be free before writes go on.
func (g *Guard) resumeLocked(space Space) uint64 {
	resume := g.state.Reserve / 2 * 3
	if g.met {
		resume = max(resume, min(leastBytes, space.Total/leastShare))
	}
	return resume
}

// State is as of the last look.
func (g *Guard) State() State {
	if g == nil {
		return State{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// Refusal is a [*FullError] while there is too little room for writes, else nil.
func (g *Guard) Refusal() error {
	if g == nil {
		return nil
	}
	if s := g.State(); s.Refusing {
		return &FullError{s}
	}
	return nil
}

// RefusalOfChores is that of writes that give room back in the end, though they need some first: they may have half of the
// reserve, unless a write has found no room at all.
func (g *Guard) RefusalOfChores() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state.Refusing && (g.met || g.state.Free < g.state.Reserve/2) {
		return &FullError{g.state}
	}
	return nil
}

// Admit says whether an entry may go to the log: a [*FullError] when chores would be refused. Near the reserve it looks first.
func (g *Guard) Admit() error {
	if g == nil {
		return nil
	}
	if s := g.State(); s.Free < s.Reserve+nearBytes {
		g.Look()
	}
	return g.RefusalOfChores()
}

// IsMet says whether a write has found no room, and there is not enough yet.
func (g *Guard) IsMet() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.met
}

// Met is told that a write found no room: from now on writes are refused, until there is enough.
func (g *Guard) Met() {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.met = true
	g.mu.Unlock()
	g.Look()
}

// FreeBallast gives the room of the ballast back. It reports whether there was any.
func (g *Guard) FreeBallast() bool {
	if g == nil {
		return false
	}
	freed, err := g.ballast.release()
	if err != nil {
		g.warn(fmt.Errorf("free the ballast: %w", err))
	}
	g.note()
	return freed
}

// keepBallast writes the ballast when there is room for it beyond the point where writes go on.
func (g *Guard) keepBallast() {
	s := g.State()
	want := min(s.Reserve/4, MaxBallastBytes)
	if want == s.Ballast || s.Refusing || s.Free+s.Ballast < s.Resume+want {
		return
	}
	if err := g.ballast.keep(want); err != nil {
		g.warn(fmt.Errorf("ballast: %w", err))
	}
	g.note()
}

func (g *Guard) note() {
	held := g.ballast.held()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state.Ballast = held
}

func (g *Guard) warn(err error) {
	if g.o.Warn != nil {
		g.o.Warn(err)
	}
}
