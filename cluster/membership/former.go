package membership

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

var (
	// ErrTaken says that a node has a cluster, or data, and takes no other.
	ErrTaken = errors.New("node belongs to a cluster already")
	// ErrPledged says that a node has given its word to another one.
	ErrPledged = errors.New("node has given its word to another one")
	// ErrNotYours says that a node gives its word to nobody like the one that asks.
	ErrNotYours = errors.New("node makes no cluster with this one")
)

// Self is this node, which may have no cluster yet. What it does is durable when it returns.
type Self interface {
	// Cluster is what the node belongs to; zero for none.
	Cluster() Cluster
	// Found makes a cluster with these voters, this node among them, and makes this node its first member. Cut short it is done
	// again, or finished by the next start, and nobody else has heard of the cluster before.
	Found(ctx context.Context, voters []Server) error
	// Adopt makes this node one of a cluster.
	Adopt(c Cluster) error
}

// FormerConfig is what a former is told. All must be set but Expect.
type FormerConfig struct {
	Self     NodeID
	Settings Settings
	// Expect is how many nodes make the cluster, 0 when this node shall only join one.
	Expect int
	Node   Self
	Gossip Gossip
	Peers  Peers
	Logger hclog.Logger
	Clock  func() time.Time
	// Joins is called when this node has given up to make a cluster, for as long as it runs: it should tell the others that it
	// expects nobody any more.
	Joins func()
}

// A Former brings a node that has no cluster into one. (RAFT.md 5.3, but that nodes which make a cluster give their word before:
// so two that do not see the same nodes cannot make two clusters of them.)
//
// The one with the smallest id of those that are there asks the next ones for their pledge to make a cluster with nobody else; it
// founds when it has all of them, and then welcomes them. A pledge is kept in memory, and for a time: nothing has to be undone when
// somebody dies. What is durable is done by one node alone, in one step.
type Former struct {
	config FormerConfig

	// founding is held while this node founds, or is taken into a cluster.
	founding sync.Mutex
	// mu guards what follows.
	mu sync.Mutex
	// pledged is who has this node's word, itself while it asks others for theirs; until is for how long.
	pledged NodeID
	until   time.Time
	// joins: there is a cluster, so that this node makes none any more.
	joins bool
	// told is what was last logged, so that it is said once.
	told string
}

// NewFormer makes a former. It gives no pledge and takes no welcome before.
func NewFormer(config FormerConfig) *Former {
	config.Settings = config.Settings.withDefaults()
	return &Former{config: config, joins: config.Expect == 0}
}

// Run returns nil when this node belongs to a cluster, and the error of ctx when that ends before.
func (f *Former) Run(ctx context.Context) error {
	tick := time.NewTicker(f.config.Settings.Interval)
	defer tick.Stop()
	for {
		changed := f.config.Gossip.Changed()
		if done, err := f.Round(ctx); done {
			return nil
		} else if err != nil && ctx.Err() == nil {
			f.tell("no cluster yet", err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-tick.C:
		}
	}
}

// Round does what can be done now. It reports whether this node belongs to a cluster; the error says what is waited for.
func (f *Former) Round(ctx context.Context) (done bool, err error) {
	if f.config.Node.Cluster().ID != "" {
		return true, nil
	}
	live := f.config.Gossip.Servers()
	if other, found := f.cluster(live); found {
		return false, f.join(other)
	}
	if f.joining() {
		return false, errors.New("waiting for a member of a cluster to appear")
	}
	voters, err := f.candidates(live)
	if err != nil {
		return false, err
	}
	return f.form(ctx, voters)
}

// cluster finds a live server that has one.
func (f *Former) cluster(live []Server) (Server, bool) {
	for _, s := range sorted(live) {
		if s.ID != f.config.Self && (s.ClusterID != "" || s.Founded) {
			return s, true
		}
	}
	return Server{}, false
}

// join gives up to make a cluster, for as long as this process runs. The leader takes this node in.
func (f *Former) join(other Server) error {
	f.mu.Lock()
	first := !f.joins
	f.joins = true
	f.mu.Unlock()
	if first && f.config.Joins != nil {
		f.config.Joins()
	}
	return fmt.Errorf("waiting to be taken into cluster %s, which %s belongs to", other.ClusterID, other.ID)
}

func (f *Former) joining() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.joins
}

// candidates are the nodes with which this one founds, itself the first. The error says why it does not.
func (f *Former) candidates(live []Server) ([]Server, error) {
	var mine []Server
	for _, s := range sorted(live) {
		switch {
		case s.Role != RoleVoter || s.Expect == 0:
		case s.Expect != f.config.Expect:
			return nil, fmt.Errorf("%s expects %d nodes, this one %d: start all with the same number", s.ID, s.Expect, f.config.Expect)
		default:
			mine = append(mine, s)
		}
	}
	if len(mine) < f.config.Expect {
		return nil, fmt.Errorf("waiting for %d nodes to make a cluster, %d are here", f.config.Expect, len(mine))
	}
	if mine[0].ID != f.config.Self {
		return nil, fmt.Errorf("waiting for %s to make the cluster", mine[0].ID)
	}
	return mine[:f.config.Expect], nil
}

// form asks for pledges, and founds when it has all.
func (f *Former) form(ctx context.Context, voters []Server) (done bool, err error) {
	begun := f.config.Clock()
	if err := f.pledge(f.config.Self, begun); err != nil {
		return false, err
	}
	defer f.release(f.config.Self)
	others := voters[1:]
	for id, a := range askAll(ctx, f.config.Peers, f.config.Settings.AskTimeout, f.config.Self, others) {
		switch {
		case a.err != nil:
			return false, fmt.Errorf("waiting for %s to answer: %w", id, a.err)
		case a.report.Configured || a.report.Cluster.ID != "":
			return false, f.join(Server{ID: id, ClusterID: a.report.Cluster.ID})
		}
	}
	for _, s := range others {
		ask, cancel := context.WithTimeout(ctx, f.config.Settings.AskTimeout)
		err := f.config.Peers.Pledge(ask, s, Pledge{From: f.config.Self, Expect: f.config.Expect})
		cancel()
		if err != nil {
			return false, fmt.Errorf("waiting for the pledge of %s: %w", s.ID, err)
		}
	}
	if err := f.found(ctx, voters, begun); err != nil {
		return false, err
	}
	f.welcome(ctx, others)
	return true, nil
}

// found makes the cluster, unless this node has been taken into one meanwhile.
func (f *Former) found(ctx context.Context, voters []Server, begun time.Time) error {
	f.founding.Lock()
	defer f.founding.Unlock()
	if f.config.Node.Cluster().ID != "" {
		return nil
	}
	if f.config.Clock().Sub(begun) > f.config.Settings.PledgeFor/2 {
		return errors.New("pledges have become too old: asking again")
	}
	if err := f.config.Node.Found(ctx, voters); err != nil {
		return fmt.Errorf("found a cluster: %w", err)
	}
	f.config.Logger.Info("founded a cluster", "cluster", f.config.Node.Cluster().ID, "voters", len(voters))
	return nil
}

// welcome tells the other voters. That all hear it is not waited for: the keeper goes on with it (see [Keeper.Round]).
func (f *Former) welcome(ctx context.Context, others []Server) {
	cluster := f.config.Node.Cluster()
	for _, s := range others {
		ask, cancel := context.WithTimeout(ctx, f.config.Settings.AskTimeout)
		if err := f.config.Peers.Welcome(ask, s, Welcome{From: f.config.Self, Cluster: cluster}); err != nil {
			f.config.Logger.Info("a voter is not told of the cluster yet", "node", s.ID, "error", err)
		}
		cancel()
	}
}

// pledge gives this node's word, if nobody else has it.
func (f *Former) pledge(to NodeID, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pledged != "" && f.pledged != to && now.Before(f.until) {
		return fmt.Errorf("%s has it: %w", f.pledged, ErrPledged)
	}
	f.pledged, f.until = to, now.Add(f.config.Settings.PledgeFor)
	return nil
}

func (f *Former) release(to NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pledged == to {
		f.pledged = ""
	}
}

// Pledge answers a node that wants to found with this one. The error is of the kind [ErrTaken], [ErrPledged] or [ErrNotYours].
func (f *Former) Pledge(p Pledge) error {
	switch {
	case f.config.Node.Cluster().ID != "":
		return ErrTaken
	case f.config.Expect == 0 || f.joining():
		return fmt.Errorf("it joins a cluster that there is: %w", ErrNotYours)
	case p.Expect != f.config.Expect:
		return fmt.Errorf("it expects %d nodes, not %d: %w", f.config.Expect, p.Expect, ErrNotYours)
	case p.From >= f.config.Self:
		return fmt.Errorf("its id is smaller than %s: %w", p.From, ErrNotYours)
	}
	for _, s := range f.config.Gossip.Servers() {
		if s.ID < p.From && s.Expect == f.config.Expect && s.Role == RoleVoter {
			return fmt.Errorf("%s is there, whose id is smaller: %w", s.ID, ErrNotYours)
		}
	}
	return f.pledge(p.From, f.config.Clock())
}

// Welcome takes this node into a cluster. It may be said again. The error is of the kind [ErrTaken] when the node has another
// cluster, or data, and [ErrPledged] while it has given its word to another founder.
func (f *Former) Welcome(w Welcome) error {
	f.founding.Lock()
	defer f.founding.Unlock()
	switch have := f.config.Node.Cluster(); {
	case have.ID == w.Cluster.ID && have.ID != "":
		return nil
	case have.ID != "":
		return fmt.Errorf("it is of cluster %s: %w", have.ID, ErrTaken)
	}
	if err := f.pledge(w.From, f.config.Clock()); err != nil {
		return err
	}
	if err := f.config.Node.Adopt(w.Cluster); err != nil {
		return fmt.Errorf("adopt cluster %s: %w", w.Cluster.ID, err)
	}
	f.config.Logger.Info("taken into a cluster", "cluster", w.Cluster.ID, "by", w.From)
	return nil
}

// tell logs a text once.
func (f *Former) tell(message, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told == text {
		return
	}
	f.told = text
	f.config.Logger.Info(message, "why", text)
}
