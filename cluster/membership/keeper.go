package membership

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Raft is this node's own part of the log.
type Raft interface {
	// Leading gives the term in which this node leads and has applied all that was committed before; ok is false when it does
	// not.
	Leading() (term uint64, ok bool)
	// LeadershipChanged is closed when that may have changed since the call.
	LeadershipChanged() <-chan struct{}
	// Configuration is the newest one that this node has, committed or not. It has no members on a node of no cluster.
	Configuration() (Configuration, error)
	// Change makes one change of the configuration and waits until it is committed.
	Change(ctx context.Context, c Change) error
	// Report says how this node does.
	Report() Report
	// Level is the feature level of its rows.
	Level() uint32
	// Raise raises the feature level. Only the leader can.
	Raise(ctx context.Context, level uint32) error
}

// Removals remembers the nodes that operators have removed and that could not be told, for the leaders to come.
type Removals interface {
	Removed() []NodeID
	// NoteRemoved remembers one for good.
	NoteRemoved(id NodeID) error
}

// Events tell what happens, for metrics. Every field may be nil; none may block.
type Events struct {
	// Changed: the configuration was changed, or could not be.
	Changed func(kind ChangeKind, id NodeID, err error)
}

func (e Events) changed(kind ChangeKind, id NodeID, err error) {
	if e.Changed != nil {
		e.Changed(kind, id, err)
	}
}

// KeeperConfig is what a keeper is told. All but Removals and Events must be set.
type KeeperConfig struct {
	Self     NodeID
	Settings Settings
	Raft     Raft
	Gossip   Gossip
	Peers    Peers
	// Removals is nil for a keeper that remembers nobody.
	Removals Removals
	Logger   hclog.Logger
	Clock    func() time.Time
	Events   Events
}

// A Keeper looks after the members of a cluster while its node leads. Run does the work; everything else may be called from
// any goroutine at any time.
type Keeper struct {
	config KeeperConfig

	// changing has a token from a look at the configuration until the change that was decided upon is done: one at a time.
	changing chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// term is the one that seen is of.
	term uint64
	seen map[NodeID]*sighting
	// told is what was last logged of a server that is not taken in, so that it is said once.
	told map[NodeID]string
}

// A sighting is what the leader of this term knows of a server.
type sighting struct {
	report Report
	// reported: there is a report.
	reported bool
	// there is when it was last there, or first missed. healthySince is zero while it is not healthy.
	there, healthySince time.Time
	health              Health
}

// NewKeeper makes a keeper. It does nothing before Run.
func NewKeeper(config KeeperConfig) *Keeper {
	config.Settings = config.Settings.withDefaults()
	return &Keeper{config: config, changing: make(chan struct{}, 1), seen: map[NodeID]*sighting{}, told: map[NodeID]string{}}
}

// Run keeps the members until ctx ends, whose error it returns.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(k.config.Settings.Interval)
	defer tick.Stop()
	for {
		gossip, leadership := k.config.Gossip.Changed(), k.config.Raft.LeadershipChanged()
		for {
			changed, err := k.Round(ctx)
			if err != nil && ctx.Err() == nil {
				k.config.Logger.Warn("members", "error", err)
			}
			if !changed || err != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-gossip:
		case <-leadership:
		case <-tick.C:
		}
	}
}

// Round looks at the members once and makes at most one change. It reports whether it made one. On a node that does not lead
// it only tells members of the configuration that have no cluster yet of theirs: those that were founded with it.
func (k *Keeper) Round(ctx context.Context) (changed bool, err error) {
	if err := k.begin(ctx); err != nil {
		return false, err
	}
	defer k.end()
	v, err := k.view(ctx)
	if err != nil || v.Cluster.ID == "" {
		return false, err
	}
	if err := k.welcomeMembers(ctx, v); err != nil {
		k.config.Logger.Warn("welcome", "error", err)
	}
	if v.Health == nil || v.Configuration.Index == 0 {
		return false, nil // it does not lead, or what it would decide upon may yet be undone
	}
	k.tellRemoved(ctx, v)
	k.tellObstacles(v)
	if step := k.config.Settings.Plan(v); step.Change.Kind != 0 {
		return true, k.take(ctx, v, step)
	}
	if k.config.Settings.AutoFinalize {
		return false, k.raise(ctx, v)
	}
	return false, nil
}

// begin waits until nobody else is at a change, for as long as ctx lets it.
func (k *Keeper) begin(ctx context.Context) error {
	select {
	case k.changing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *Keeper) end() { <-k.changing }

// take makes the change that was decided upon.
func (k *Keeper) take(ctx context.Context, v View, step Step) error {
	c := step.Change
	c.After = v.Configuration.Index
	ctx, cancel := context.WithTimeout(ctx, k.config.Settings.ChangeTimeout)
	defer cancel()
	if step.Welcome {
		if err := k.config.Peers.Welcome(ctx, step.Server, Welcome{From: k.config.Self, Cluster: v.Cluster}); err != nil {
			return fmt.Errorf("welcome %s: %w", step.Server.ID, err)
		}
	}
	err := k.config.Raft.Change(ctx, c)
	k.config.Events.changed(c.Kind, c.ID, err)
	if err != nil {
		return fmt.Errorf("%v %s: %w", c.Kind, c.ID, err)
	}
	k.config.Logger.Info("members changed", "change", c.Kind.String(), "node", c.ID, "address", c.Address, "why", step.Why)
	return nil
}

// welcomeMembers tells members that have no cluster of theirs. It need not lead for that: the configuration has them.
func (k *Keeper) welcomeMembers(ctx context.Context, v View) error {
	var errs []error
	for _, live := range sorted(v.Live) {
		if _, member := v.Configuration.Find(live.ID); !member || live.ClusterID != "" || live.ID == k.config.Self {
			continue
		}
		ask, cancel := context.WithTimeout(ctx, k.config.Settings.AskTimeout)
		err := k.config.Peers.Welcome(ask, live, Welcome{From: k.config.Self, Cluster: v.Cluster})
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("welcome %s: %w", live.ID, err))
		}
	}
	return errors.Join(errs...)
}

// tellRemoved tells nodes that have come back that they were removed, so that they know it themselves.
func (k *Keeper) tellRemoved(ctx context.Context, v View) {
	for _, live := range sorted(v.Live) {
		if _, member := v.Configuration.Find(live.ID); member || !v.Removed[live.ID] || live.Role == RoleRemoved || live.ClusterID != v.Cluster.ID {
			continue
		}
		if err := k.tell(ctx, v, live.ID, RoleRemoved); err != nil {
			k.config.Logger.Warn("a node that was removed has come back and was not told", "node", live.ID, "error", err)
		}
	}
}

// tellObstacles logs once why a live server is not taken in.
func (k *Keeper) tellObstacles(v View) {
	k.mu.Lock()
	defer k.mu.Unlock()
	told := map[NodeID]string{}
	for _, live := range v.Live {
		if _, member := v.Configuration.Find(live.ID); member {
			continue
		}
		why := Obstacle(v, live)
		if why == "" && !v.Health[live.ID].answers() {
			why = v.Health[live.ID].Why
		}
		if why == "" {
			continue
		}
		told[live.ID] = why
		if k.told[live.ID] != why {
			k.config.Logger.Info("a node is not taken in", "node", live.ID, "address", live.Address, "why", why)
		}
	}
	k.told = told
}

// raise raises the feature level to what every member has reported that it can.
func (k *Keeper) raise(ctx context.Context, v View) error {
	target, err := k.target(v)
	if err != nil || target <= v.Level {
		return nil // it is tried again when everybody has reported
	}
	ctx, cancel := context.WithTimeout(ctx, k.config.Settings.ChangeTimeout)
	defer cancel()
	if err := k.config.Raft.Raise(ctx, target); err != nil {
		return fmt.Errorf("raise the feature level to %d: %w", target, err)
	}
	k.config.Logger.Info("feature level raised", "from", v.Level, "to", target)
	return nil
}
