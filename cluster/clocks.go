package cluster

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
)

// Instants never go back (DECISIONS.md D7), so a leader whose clock is ahead would spoil them for good. It compares clocks when it gains
// leadership, before it stamps anything, and every ten seconds, and hands over when it is the one that is off. A jump of its clock
// is not stamped before the others confirm it.
const (
	clockBound    = 5 * time.Second
	clockJump     = time.Minute
	clockInterval = 10 * time.Second
	// The comparison at a takeover may not cost writers much: it ends when all have answered, a moment after the majority has, or
	// with the last bound.
	clockPatience = 300 * time.Millisecond
	clockGrace    = 100 * time.Millisecond
	// leastClocks is how many clocks it takes to say which one is off: of two nobody can.
	leastClocks = 3
	statusTime  = time.Second
)

// A voterStatus is what another voter said.
type voterStatus struct {
	server raft.Server
	reply  *peerpb.StatusReply
	// ahead is how far its clock is ahead of this node's, give or take half of the time that the question took.
	ahead time.Duration
}

// askVoters asks all other voters where they stand, and returns those that answered in time. Enough, given the answers so far and
// how many were asked, may end it before the rest: it is called for each answer, and says how long to wait for more.
func (n *Node) askVoters(ctx context.Context, enough func(answered, asked int) (time.Duration, bool)) []voterStatus {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	var asked []raft.Server
	for _, s := range n.members().Servers {
		if s.Suffrage == raft.Voter && string(s.ID) != n.Identity().NodeID {
			asked = append(asked, s)
		}
	}
	answers := make(chan *voterStatus, len(asked))
	var asking sync.WaitGroup
	for _, s := range asked {
		asking.Go(func() { answers <- n.askVoter(ctx, s) })
	}
	var all []voterStatus
	var over <-chan time.Time
	for range asked {
		select {
		case one := <-answers:
			if one != nil {
				all = append(all, *one)
			}
		case <-over:
			cancel()
			asking.Wait()
			return all
		}
		if enough != nil {
			if grace, ok := enough(len(all), len(asked)); ok && over == nil {
				over = time.After(grace)
			}
		}
	}
	asking.Wait()
	return all
}

func (n *Node) askVoter(ctx context.Context, s raft.Server) *voterStatus {
	address, _ := n.peers.addresses.find(s.ID)
	sent, wall := time.Now(), n.config.Clock()
	reply, err := n.PeerStatus(ctx, string(s.ID), address)
	if err != nil {
		n.logger.Debug("status of a voter", "voter", s.ID, "error", err)
		return nil
	}
	took := time.Since(sent)
	here := wall.Add(took / 2).UnixNano()
	return &voterStatus{server: s, reply: reply, ahead: time.Duration(reply.WallClock - here)}
}

// A clockCheck is a comparison of clocks.
type clockCheck struct {
	// off is how far this node's clock is ahead of the median of all that were read, its own among them.
	off time.Duration
	// clocks is how many those are, majority whether they are one of the voters.
	clocks   int
	majority bool
	// vouched is how far ahead of this node's clock a time is that a majority of the voters has reached; only with a majority.
	vouched time.Duration
	voters  []voterStatus
	// of is the clock that was compared.
	of reading
}

// A reading is what a wall clock said, and when by the monotonic clock.
type reading struct{ wall, at time.Time }

// later is what that clock says at a later moment if nobody sets it.
func (r reading) later(at time.Time) time.Time { return r.wall.Add(at.Sub(r.at)) }

// readClock reads this node's wall clock.
func (n *Node) readClock() reading { return reading{wall: n.config.Clock().Round(0), at: time.Now()} }

// isOff: this clock is wrong, and not another.
func (c clockCheck) isOff() bool { return c.clocks >= leastClocks && c.off.Abs() > clockBound }

func compare(voters []voterStatus, asked int) clockCheck {
	ahead := []time.Duration{0}
	for _, v := range voters {
		ahead = append(ahead, v.ahead)
	}
	slices.Sort(ahead)
	median := ahead[len(ahead)/2]
	if len(ahead)%2 == 0 {
		median = (median + ahead[len(ahead)/2-1]) / 2
	}
	c := clockCheck{off: -median, clocks: len(ahead), majority: len(ahead) > (asked+1)/2, voters: voters}
	if c.majority {
		c.vouched = ahead[len(ahead)-(asked+1)/2-1]
	}
	return c
}

// checkClocks compares now.
func (n *Node) checkClocks(ctx context.Context) clockCheck {
	of := n.readClock()
	c := compare(n.askVoters(ctx, nil), n.otherVoters())
	c.of = of
	return c
}

// checkClocksSoon compares without making writers wait for the dead.
func (n *Node) checkClocksSoon(ctx context.Context) clockCheck {
	ctx, cancel := context.WithTimeout(ctx, clockPatience)
	defer cancel()
	of := n.readClock()
	voters := n.askVoters(ctx, func(answered, asked int) (time.Duration, bool) { return clockGrace, answered+1 > (asked+1)/2 })
	c := compare(voters, n.otherVoters())
	c.of = of
	return c
}

// actOnClocks tells of a clock that is off, and hands leadership to a voter with a better one. It reports whether somebody else leads now.
func (n *Node) actOnClocks(ctx context.Context, c clockCheck) bool {
	if c.majority {
		n.clock.confirm(reading{wall: c.of.wall.Add(c.vouched), at: c.of.at})
	}
	if c.off.Abs() <= clockBound {
		return false
	}
	if !c.isOff() {
		n.logger.Error("clocks differ, and two cannot tell which one is wrong: check the time of both machines", "ahead", c.off)
		n.config.Events.clock(c.off, false)
		return false
	}
	median := -c.off
	better := furthest(c.voters, func(v voterStatus) bool { return (v.ahead - median).Abs() <= clockBound })
	handed := better != nil && n.TransferLeadership(ctx, string(better.server.ID)) == nil
	n.logger.Error("the clock of this leader is off: check the time of this machine", "ahead", c.off, "clocks", c.clocks, "handed_over", handed)
	n.config.Events.clock(c.off, handed)
	return handed
}

// furthest is the voter that has most of the log among those that will do, nil when none does.
func furthest(voters []voterStatus, will func(voterStatus) bool) *voterStatus {
	var best *voterStatus
	for i, v := range voters {
		if will(v) && (best == nil || v.reply.LastLogIndex > best.reply.LastLogIndex) {
			best = &voters[i]
		}
	}
	return best
}

// hear notes the instant of the rows, and when that was applied here.
func (n *Node) hear(instant int64) {
	if h := n.heard.Load(); h == nil || h.wall.UnixNano() < instant {
		n.heard.Store(&reading{wall: time.Unix(0, instant), at: time.Now()})
	}
}

// A jumpGuard reads a wall clock, and goes on from the newest instant of the rows where that clock has jumped ahead of it, until a majority
// has reached the new time: so neither a clock that is set while this node leads nor one that was wrong before makes instants run ahead, by
// which request ids are forgotten. Now is for one goroutine.
type jumpGuard struct {
	clock func() time.Time
	// heard is the newest instant of the rows; nil before there is one.
	heard func() *reading
	// suspects has a token when there was a jump; asked is when that was last put there.
	suspects chan struct{}
	asked    time.Time
	// confirmed is a time that a majority had reached. It vouches for a clock that has gone on from there, and for no jump after it.
	confirmed atomic.Pointer[reading]

	// last is what the clock said last.
	last reading
}

// suspectAgain is how often the others are asked about a jump.
const suspectAgain = time.Second

func newJumpGuard(clock func() time.Time, heard func() *reading) *jumpGuard {
	return &jumpGuard{clock: clock, heard: heard, suspects: make(chan struct{}, 1), last: reading{wall: clock(), at: time.Now()}}
}

// now is the time to stamp.
func (g *jumpGuard) now() time.Time {
	wall, at := g.clock().Round(0), time.Now()
	expected := g.last.later(at)
	if h := g.heard(); h != nil {
		expected = h.later(at)
	}
	if c := g.confirmed.Load(); c != nil && c.later(at).After(expected) {
		expected = c.later(at)
	}
	if wall.Sub(expected) <= clockJump {
		g.last = reading{wall: wall, at: at}
		return wall
	}
	if at.Sub(g.asked) >= suspectAgain {
		g.asked = at
		select {
		case g.suspects <- struct{}{}:
		default:
		}
	}
	return expected
}

// confirm lets the time be what a majority has reached, and go on from there.
func (g *jumpGuard) confirm(r reading) { g.confirmed.Store(&r) }
