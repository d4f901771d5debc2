package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"pgregory.net/rapid"
)

// A village is a cluster without Raft: one configuration, which everybody has at once, and a leader that is named. It checks every
// change that a keeper makes. One goroutine drives it.
type village struct {
	now           time.Time
	configuration Configuration
	people        []*person
	leader        *person
	term          uint64
	level         uint32
	settings      Settings
	// broken is the first rule that was broken.
	broken error
	// byHand: an operator is at work, who may go below MinQuorum.
	byHand bool
	// looks counts the rounds of a leader.
	looks int
	// removals are remembered by all.
	removals []NodeID
}

// A person is a node.
type person struct {
	village *village
	server  Server
	alive   bool
	// since is when it came up again after a leader had missed it, or was taken in; died is the last look before.
	since time.Time
	died  int
	// lag is how many entries it lacks; it catches up a little at a time.
	lag    uint64
	stuck  bool
	left   bool
	reader bool // it was started as a read replica
	keeper *Keeper
}

const logEnd = 100_000

func newVillage(voters int) *village {
	v := &village{now: time.Unix(5000, 0), level: 1, settings: Settings{}.withDefaults()}
	for range voters {
		p := v.settle(RoleVoter)
		p.server.ClusterID, p.server.Founded, p.lag = "c", true, 0
		v.configuration.Members = append(v.configuration.Members, Member{ID: p.server.ID, Address: p.server.Address, Voter: true})
	}
	v.configuration.Index = 1
	v.lead(v.people[0])
	return v
}

// settle adds a node with an empty disk.
func (v *village) settle(r Role) *person {
	n := len(v.people)
	p := &person{
		village: v, alive: true, since: v.now, lag: 50_000, reader: r == RoleReader,
		server: Server{ID: NodeID(fmt.Sprintf("n%02d", n)), Address: fmt.Sprintf("h%d:1", n), Role: r, MinLevel: 1, MaxLevel: 1},
	}
	p.keeper = NewKeeper(KeeperConfig{
		Self: p.server.ID, Settings: v.settings, Raft: p, Gossip: p, Peers: p, Removals: p, Logger: hclog.NewNullLogger(),
		Clock: func() time.Time { return v.now },
	})
	v.people = append(v.people, p)
	return p
}

func (v *village) find(id NodeID) *person {
	return v.people[slices.IndexFunc(v.people, func(p *person) bool { return p.server.ID == id })]
}

// living counts voters, and those that live.
func (v *village) living() (voters, living int) {
	for _, m := range v.configuration.Members {
		if m.Voter {
			voters++
			if v.find(m.ID).alive {
				living++
			}
		}
	}
	return voters, living
}

func (v *village) works() bool {
	voters, living := v.living()
	return living >= quorum(voters)
}

// pass lets time go by, and those that live catch up.
func (v *village) pass(d time.Duration) {
	v.now = v.now.Add(d)
	for _, p := range v.people {
		if p.alive && !p.stuck {
			p.lag -= min(p.lag, 20_000)
		}
	}
}

func (v *village) lead(p *person) {
	v.leader = p
	v.term++
}

// elect names another leader when the one there was cannot go on.
func (v *village) elect() {
	m, member := v.configuration.Find(v.leader.server.ID)
	if v.leader.alive && member && m.Voter {
		return
	}
	for _, m := range v.configuration.Members {
		if p := v.find(m.ID); m.Voter && p.alive {
			v.lead(p)
			return
		}
	}
}

func (v *village) round() {
	v.elect()
	if !v.works() {
		return
	}
	for _, p := range v.people {
		if p.alive {
			// What a keeper cannot do now it does later; what it must not do is in broken.
			_, _ = p.keeper.Round(context.Background())
		}
	}
	v.looks++
}

func (v *village) breaks(format string, args ...any) {
	if v.broken == nil {
		v.broken = fmt.Errorf(format, args...)
	}
}

func (p *person) Leading() (uint64, bool) {
	if p.village.leader != p || !p.village.works() {
		return 0, false
	}
	return p.village.term, true
}

func (p *person) LeadershipChanged() <-chan struct{} { return nil }

func (p *person) Configuration() (Configuration, error) {
	c := p.village.configuration
	c.Members = slices.Clone(c.Members)
	return c, nil
}

func (p *person) Level() uint32 { return p.village.level }

func (p *person) Raise(_ context.Context, level uint32) error {
	for _, m := range p.village.configuration.Members {
		if q := p.village.find(m.ID); q.server.MaxLevel < level {
			p.village.breaks("raised to %d, which %s cannot apply", level, m.ID)
		}
	}
	p.village.level = max(p.village.level, level)
	return nil
}

func (p *person) Report() Report {
	leader := p.village.leader
	r := Report{
		ID: p.server.ID, Cluster: Cluster{ID: p.server.ClusterID, Lineage: 1}, Address: p.server.Address, Role: p.server.Role,
		Configured: p.server.Founded, Expect: p.server.Expect, MinLevel: p.server.MinLevel, MaxLevel: p.server.MaxLevel,
		State: "Follower", Leader: leader.server.ID, Term: p.village.term, LastIndex: logEnd - p.lag, Committed: logEnd, Applied: logEnd - p.lag,
	}
	if leader == p {
		r.State, r.LastIndex = "Leader", logEnd
	}
	if _, member := p.village.configuration.Find(p.server.ID); !member {
		r.LastContact = -1
	}
	return r
}

// Change checks the rules.
func (p *person) Change(_ context.Context, c Change) error {
	v := p.village
	before, _ := v.living()
	if c.After != v.configuration.Index {
		v.breaks("%v %s was decided upon configuration %d, it is %d", c.Kind, c.ID, c.After, v.configuration.Index)
	}
	target := v.find(c.ID)
	m, member := v.configuration.Find(c.ID)
	at := slices.IndexFunc(v.configuration.Members, func(m Member) bool { return m.ID == c.ID })
	next := slices.Clone(v.configuration.Members)
	switch c.Kind {
	case Add:
		if member || target.server.ClusterID != "c" || !target.alive {
			v.breaks("added %s, which is a member already, of another cluster, or dead", c.ID)
		}
		next = append(next, Member{ID: c.ID, Address: c.Address})
	case Move:
		if c.Voter != m.Voter {
			v.breaks("moved %s as a voter %v, it is one %v", c.ID, c.Voter, m.Voter)
		}
		next[at].Address = c.Address
	case Promote:
		if m.Voter || target.server.Role != RoleVoter || !target.alive || target.lag > DefaultMaxTrailingLogs {
			v.breaks("promoted %s: %+v", c.ID, target)
		}
		if !v.byHand && v.now.Sub(target.since) < v.settings.Stabilization {
			v.breaks("promoted %s after %v", c.ID, v.now.Sub(target.since))
		}
		next[at].Voter = true
	case Demote:
		next[at].Voter = false
	case Remove:
		if !v.byHand && target.alive && target.server.Role != RoleRemoved {
			v.breaks("removed %s, which lives", c.ID)
		}
		next = slices.Delete(next, at, at+1)
	}
	for i, m := range next {
		if slices.ContainsFunc(next[:i], func(other Member) bool { return other.Address == m.Address }) {
			v.breaks("%s has an address that another member has: %s", m.ID, m.Address)
		}
	}
	v.configuration = Configuration{Index: v.configuration.Index + 1, Members: next}
	if c.Kind == Add {
		target.since = v.now
	}
	voters, living := v.living()
	if living < quorum(voters) {
		v.breaks("%v %s: %d of %d voters live", c.Kind, c.ID, living, voters)
	}
	if voters < before && voters < v.settings.MinQuorum && !v.byHand {
		v.breaks("%v %s: %d voters, there were %d", c.Kind, c.ID, voters, before)
	}
	return nil
}

func (p *person) Servers() []Server {
	var live []Server
	for _, q := range p.village.people {
		if q.alive {
			live = append(live, q.server)
		}
	}
	return live
}

func (p *person) Changed() <-chan struct{} { return nil }

func (p *person) Left() []NodeID {
	var left []NodeID
	for _, q := range p.village.people {
		if q.left && !q.alive {
			left = append(left, q.server.ID)
		}
	}
	return left
}

// reach is whoever is at an address, if it is the one that was meant.
func (p *person) reach(to Server) (*person, error) {
	for _, q := range p.village.people {
		if q.alive && q.server.Address == to.Address && q.server.ID == to.ID {
			return q, nil
		}
	}
	return nil, errors.New("no route")
}

// Ask is called by several goroutines at a time.
func (p *person) Ask(_ context.Context, to Server) (Report, error) {
	q, err := p.reach(to)
	if err != nil {
		return Report{}, err
	}
	return q.Report(), nil
}

func (p *person) Welcome(_ context.Context, to Server, w Welcome) error {
	q, err := p.reach(to)
	if err != nil {
		return err
	}
	if q.server.ClusterID != "" && q.server.ClusterID != w.Cluster.ID || q.server.ClusterID == "" && q.server.Expect > 0 {
		p.village.breaks("welcomed %+v", q.server)
		return ErrTaken
	}
	q.server.ClusterID, q.server.Founded = w.Cluster.ID, true
	return nil
}

func (p *person) Tell(_ context.Context, to Server, r Role) error {
	q, err := p.reach(to)
	if err != nil {
		return err
	}
	if q.reader && r == RoleVoter {
		return errors.New("it was started as a read replica")
	}
	q.server.Role = r
	return nil
}

func (p *person) Removed() []NodeID { return p.village.removals }

func (p *person) NoteRemoved(id NodeID) error {
	p.village.removals = append(p.village.removals, id)
	return nil
}

func (p *person) Pledge(context.Context, Server, Pledge) error { return ErrTaken }

// settled says what is not as it shall be when nothing has happened for long.
func (v *village) settled() error {
	voters, _ := v.living()
	for _, p := range v.people {
		m, member := v.configuration.Find(p.server.ID)
		switch {
		case !p.alive && member && !m.Voter:
			return fmt.Errorf("%s, a dead non-voter, is still a member", m.ID)
		case !p.alive && member && voters > v.settings.MinQuorum:
			return fmt.Errorf("%s, a dead voter, is still a member", m.ID)
		case p.alive && p.server.Role == RoleVoter && !m.Voter && p.server.MaxLevel >= v.level:
			return fmt.Errorf("%s is no voter: %+v in %+v", p.server.ID, p.server, v.configuration)
		case p.alive && p.server.Role == RoleReader && !member && p.server.MaxLevel >= v.level:
			return fmt.Errorf("%s, a reader, is no member", p.server.ID)
		case p.alive && member && m.Address != p.server.Address:
			return fmt.Errorf("%s is at %s, the configuration has %s", m.ID, p.server.Address, m.Address)
		}
	}
	return nil
}

func (v *village) rounds(n int) {
	for range n {
		v.pass(v.settings.Interval)
		v.round()
	}
}

// TestKeeperNeverEndangersTheQuorum: nodes come, die, come back elsewhere, lose their disks, take each other's addresses; leaders
// change. Every change is checked, and in the end all is as it shall be.
func TestKeeperNeverEndangersTheQuorum(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := newVillage(rapid.SampledFrom([]int{1, 2, 3, 5}).Draw(rt, "voters"))
		pick := func() *person { return v.people[rapid.IntRange(0, len(v.people)-1).Draw(rt, "node")] }
		var lost []*person // disks that are gone
		for range rapid.IntRange(0, 60).Draw(rt, "actions") {
			switch rapid.IntRange(0, 10).Draw(rt, "what") {
			case 0:
				if len(v.people) < 12 {
					v.settle(rapid.SampledFrom([]Role{RoleVoter, RoleVoter, RoleReader}).Draw(rt, "role"))
				}
			case 1:
				p := pick()
				p.alive, p.died = false, v.looks
			case 2: // an empty disk on the same address
				p := pick()
				if !p.alive {
					break
				}
				p.alive = false
				if !v.works() || len(v.people) >= 12 {
					p.alive = true
					break
				}
				lost = append(lost, p)
				v.settle(p.server.Role).server.Address = p.server.Address
			case 3: // back, perhaps elsewhere
				p := pick()
				if !p.alive && !slices.Contains(lost, p) {
					p.alive = true
					if v.looks > p.died {
						p.since = v.now
					}
					if rapid.Bool().Draw(rt, "moves") {
						p.server.Address = fmt.Sprintf("m%d:1", rapid.IntRange(0, 3).Draw(rt, "to"))
					}
					for _, q := range v.people {
						if q != p && q.alive && q.server.Address == p.server.Address {
							p.alive = false // no two at one address
						}
					}
				}
			case 4:
				pick().stuck = rapid.Bool().Draw(rt, "stuck")
			case 5:
				if p := pick(); p.alive {
					if m, _ := v.configuration.Find(p.server.ID); m.Voter {
						v.lead(p)
					}
				}
			case 6:
				v.rounds(1)
				v.pass(time.Duration(rapid.IntRange(1, 900).Draw(rt, "seconds")) * time.Second)
			default:
				v.rounds(rapid.IntRange(1, 10).Draw(rt, "rounds"))
			}
			if v.broken != nil {
				rt.Fatal(v.broken)
			}
		}
		for _, p := range v.people {
			p.stuck = false
			if !v.works() && !slices.Contains(lost, p) && !slices.ContainsFunc(v.people, func(q *person) bool { return q != p && q.alive && q.server.Address == p.server.Address }) {
				p.alive, p.since = true, v.now
			}
		}
		if !v.works() {
			return // nothing can be done without an operator
		}
		v.rounds(50)
		v.pass(v.settings.Grace)
		v.rounds(50)
		if v.broken != nil {
			rt.Fatal(v.broken)
		}
		if err := v.settled(); err != nil {
			rt.Fatal(err)
		}
	})
}
