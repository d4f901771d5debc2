package sim

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Fault is something that is done to the cluster.
type Fault string

// The faults.
const (
	// Isolate cuts one node off from the others, Split the nodes into two groups, Bridge all but those to one node, OneWay in one direction only.
	Isolate Fault = "isolate"
	Split   Fault = "split"
	Bridge  Fault = "bridge"
	OneWay  Fault = "one-way"
	// Slow makes ways take longer, Resets breaks connections, ClientCut keeps clients from nodes.
	Slow      Fault = "slow"
	Resets    Fault = "resets"
	ClientCut Fault = "client-cut"
	// Kill ends processes, Power machines, some or all at once; Restart stops one in good order.
	Kill    Fault = "kill"
	Power   Fault = "power"
	Restart Fault = "restart"
	// Pause stops what a node reads and writes, Stall only its disk; Hang does so for longer than a node lives with.
	Pause Fault = "pause"
	Stall Fault = "disk-stall"
	Hang  Fault = "disk-hang"
	// Transfer hands leadership over, again and again. Snapshots cuts logs and flushes rows.
	Transfer  Fault = "transfer"
	Snapshots Fault = "snapshot"
	// Clock sets the clock of one node.
	Clock Fault = "clock"
	// Wipe takes the disk of a node away, which comes back as another; Join adds a node, Remove takes one out while it runs.
	Wipe   Fault = "wipe"
	Join   Fault = "join"
	Remove Fault = "remove"
)

func allFaults() []Fault {
	return []Fault{Isolate, Split, Bridge, OneWay, Slow, Resets, ClientCut, Kill, Power, Restart, Pause, Stall, Hang, Transfer, Snapshots, Clock, Wipe, Join, Remove}
}

// ofMembers are faults that change who belongs to the cluster; mild ones leave a majority able to work, and may go on meanwhile. Cuts may
// go on during all others.
func ofMembers() []Fault { return []Fault{Wipe, Join, Remove} }
func mild() []Fault      { return []Fault{Slow, Resets, ClientCut, Clock, Snapshots} }
func cuts() []Fault      { return []Fault{Isolate, Split, Bridge, OneWay} }

// Times of faults.
const (
	calmLeast, calmMost = 1 * time.Second, 4 * time.Second
	holdLeast, holdMost = 300 * time.Millisecond, 8 * time.Second
	hangFor             = 17 * time.Second
	leaderPause         = 3 * time.Second
	// withinBound is how soon after everything has healed a write must succeed.
	withinBound = 30 * time.Second
	// settleWithin is how soon the nodes must be the same when nobody writes, operateWithin how long a change of members may take.
	settleWithin, operateWithin = 90 * time.Second, 90 * time.Second
	askAgain                    = 50 * time.Millisecond
)

// A hurt is a fault in force.
type hurt struct {
	fault Fault
	hold  time.Duration
	heal  func(context.Context) error
}

// hurt lets calm and faults take turns. After each fault has healed somebody must be able to write.
func (r *run) hurt(ctx context.Context, l *load) error {
	for time.Since(r.began) < r.config.Duration {
		if err := r.wait(ctx, r.between(calmLeast, calmMost)); err != nil {
			return err
		}
		if err := r.strike(ctx); err != nil {
			return err
		}
		if err := l.works(ctx); err != nil {
			return err
		}
	}
	return nil
}

// strike does one fault, or two at once, and heals them.
func (r *run) strike(ctx context.Context) error {
	first := r.pick(r.config.Faults)
	var second Fault
	if r.random.IntN(3) == 0 {
		second = r.pick(r.config.Faults)
	}
	if second == first || !slices.Contains(mild(), second) && (slices.Contains(ofMembers(), first) || !slices.Contains(cuts(), second)) {
		second = ""
	}
	var inForce []hurt
	for _, f := range []Fault{second, first} {
		if f == "" {
			continue
		}
		h, err := r.begin(ctx, f, slices.Contains(ofMembers(), first))
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		if h.heal != nil {
			inForce = append(inForce, h)
			r.count(f)
		}
	}
	hold := time.Duration(0)
	for _, h := range inForce {
		hold = max(hold, h.hold)
	}
	if err := r.wait(ctx, hold); err != nil {
		return err
	}
	for _, h := range slices.Backward(inForce) {
		r.tell("heal %s", h.fault)
		if err := h.heal(ctx); err != nil {
			return fmt.Errorf("heal %s: %w", h.fault, err)
		}
	}
	return r.revive(ctx)
}

func (r *run) pick(from []Fault) Fault { return from[r.random.IntN(len(from))] }

func (r *run) between(least, most time.Duration) time.Duration {
	return least + time.Duration(r.random.Int64N(int64(most-least)))
}

func (r *run) count(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[f]++
}

// begin brings a fault into force, gently so that a majority can work meanwhile. A fault that is impossible now has no heal.
func (r *run) begin(ctx context.Context, f Fault, gently bool) (hurt, error) {
	m := r.victim()
	h := hurt{fault: f, hold: r.between(holdLeast, holdMost), heal: func(context.Context) error { return nil }}
	var err error
	switch f {
	case Slow:
		r.slow(&h, m, gently)
	case Isolate, Split, Bridge, OneWay, Resets, ClientCut:
		r.beginNetwork(&h, m)
	case Kill, Power:
		r.beginCrash(&h)
	case Restart:
		r.tell("restart %s", m.name)
		if err = m.stop(ctx); err == nil {
			err = m.start()
		}
	case Pause, Stall, Hang:
		r.beginStall(&h, m)
	case Transfer:
		r.transfer(ctx)
	case Snapshots:
		r.snapshot()
	case Clock:
		ahead := r.between(-2*time.Hour, 2*time.Hour) / time.Duration(1+r.random.IntN(3600))
		r.tell("clock of %s is %v ahead", m.name, ahead)
		m.ahead.Store(int64(ahead))
		h.heal = func(context.Context) error {
			m.ahead.Store(0)
			return nil
		}
	case Wipe:
		err = r.replace(ctx, m)
	case Join:
		err = r.grow(ctx, &h)
	case Remove:
		err = r.shrink(ctx, m, &h)
	default:
		panic("no such fault: " + string(f))
	}
	return h, err
}

func (r *run) beginNetwork(h *hurt, m *machine) {
	others := without(r.machines, m)
	var ways []way
	switch h.fault {
	case Isolate:
		ways = both([]*machine{m}, others)
		if r.random.IntN(2) == 0 {
			ways = append(ways, way{clients, m.name}, way{m.name, clients})
		}
	case Split:
		at := 1 + r.random.IntN(len(r.machines)-1)
		mixed := slices.Clone(r.machines)
		r.random.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		ways = both(mixed[:at], mixed[at:])
	case Bridge:
		for i, a := range others {
			ways = append(ways, both([]*machine{a}, others[i+1:])...)
		}
	case OneWay:
		ways = r.oneWay(m, others)
	case ClientCut:
		ways = []way{{clients, m.name}, {m.name, clients}}
	case Resets:
		for range 1 + r.random.IntN(4) {
			r.network.reset(m.name)
		}
		r.tell("resets of %s", m.name)
		return
	}
	r.tell("%s %v", h.fault, ways)
	r.network.set(true, ways...)
	h.heal = func(context.Context) error {
		r.network.set(false, ways...)
		return nil
	}
}

func (r *run) oneWay(m *machine, others []*machine) []way {
	var ways []way
	switch r.random.IntN(3) {
	case 0:
		for _, o := range others {
			ways = append(ways, way{o.name, m.name})
		}
	case 1:
		for _, o := range others {
			ways = append(ways, way{m.name, o.name})
		}
	default:
		o := others[r.random.IntN(len(others))]
		ways = []way{{m.name, o.name}}
	}
	return ways
}

// slow makes the ways of one node, or all, take longer. Beside a change of members, which waits for a majority however long that takes, a
// round trip stays well below the lease of a leader: with a longer one nobody leads two nodes.
func (r *run) slow(h *hurt, m *machine, gently bool) {
	others := without(r.machines, m)
	ways, by := both([]*machine{m}, others), r.between(5*time.Millisecond, 150*time.Millisecond)
	if gently {
		by /= 5
	}
	if r.random.IntN(2) == 0 {
		ways = append(ways, both(others, r.machines)...)
		by /= 4
	}
	r.tell("slow by %v: %v", by, ways)
	r.network.slowDown(by, ways...)
	h.heal = func(context.Context) error {
		r.network.slowDown(0, ways...)
		return nil
	}
}

// beginCrash ends one node, some, or all.
func (r *run) beginCrash(h *hurt) {
	mixed := slices.Clone(r.machines)
	r.random.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	down := mixed[:1]
	switch r.random.IntN(4) {
	case 0:
		down = mixed
	case 1:
		down = mixed[:1+r.random.IntN(len(mixed))]
	case 2:
		down = []*machine{r.victim()}
	}
	for _, m := range down {
		r.tell("%s %s", h.fault, m.name)
		m.crash(h.fault == Power)
	}
	h.heal = func(context.Context) error {
		for _, m := range down {
			if err := m.boot(); err != nil {
				return err
			}
		}
		return nil
	}
}

// beginStall holds up what a node does, or its disk only.
//
// A bubble's time stands still while anybody waits for a mutex. Raft holds one, that of a question whether it still leads, while it waits
// for its main loop, which waits for the disk, once 64 such questions wait. So a leader is held up for as long only as that cannot be,
// and never its disk alone; it comes back disk first.
func (r *run) beginStall(h *hurt, m *machine) {
	leads := m == r.leader()
	if leads && h.fault != Pause {
		m = without(r.machines, m)[0]
	}
	r.tell("%s %s", h.fault, m.name)
	d := m.disk
	switch h.fault {
	case Pause:
		r.network.pause(m.name, true)
		if leads {
			h.hold = min(h.hold, leaderPause)
		}
	case Stall:
		h.hold = min(h.hold, 4*time.Second)
	case Hang:
		h.hold = hangFor
	}
	d.stall(true)
	h.heal = func(context.Context) error {
		d.stall(false)
		if h.fault == Pause {
			pass(time.Millisecond)
			r.network.pause(m.name, false)
		}
		return nil
	}
}

// transfer hands leadership over some times.
func (r *run) transfer(ctx context.Context) {
	for range 1 + r.random.IntN(5) {
		if leader := r.leader(); leader != nil {
			r.tell("transfer from %s", leader.name)
			one, cancel := context.WithTimeout(ctx, 5*time.Second)
			if err := leader.node().TransferLeadership(one, ""); err != nil {
				r.tell("transfer: %v", err)
			}
			cancel()
		}
		pass(r.between(0, 300*time.Millisecond))
	}
}

// snapshot makes all nodes take one, or flushes the rows of one.
func (r *run) snapshot() {
	some := r.random.IntN(2) == 0
	for _, n := range nodes(r.machines) {
		var err error
		if some {
			err = n.Snapshot()
		} else {
			err = n.Machine().Store().Flush()
		}
		if err != nil {
			r.tell("snapshot: %v", err)
		}
	}
}

// both are the ways between two groups.
func both(a, b []*machine) []way {
	var ways []way
	for _, x := range a {
		for _, y := range b {
			if x != y {
				ways = append(ways, way{x.name, y.name}, way{y.name, x.name})
			}
		}
	}
	return ways
}

func without(all []*machine, m *machine) []*machine {
	return slices.DeleteFunc(slices.Clone(all), func(o *machine) bool { return o == m })
}
