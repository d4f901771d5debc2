package membership

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrNotLeader says that only the leader can do it: ask the leader.
	ErrNotLeader = errors.New("this node does not lead")
	// ErrSelf says that the leader cannot do it to itself: hand leadership over and ask the new leader.
	ErrSelf = errors.New("the leader cannot take its own vote")
	// ErrUnknown says that there is no such member.
	ErrUnknown = errors.New("no such member")
	// ErrQuorum says that too few healthy voters would remain.
	ErrQuorum = errors.New("too few healthy voters would remain")
	// ErrChanging says that another change is not committed yet: try again.
	ErrChanging = errors.New("another change of the members is not committed yet")
	// ErrUnfit says that a member cannot become what it was to become.
	ErrUnfit = errors.New("member is not fit for it")
)

// Remove takes a member out for good: it is told to stay away, and its folder does not come back. One that does not answer is taken out as
// well, and told when it comes back; until then the members remember it. It returns when the new configuration is committed. The error is of
// the kind [ErrNotLeader], [ErrSelf], [ErrUnknown], [ErrQuorum], [ErrChanging], or what the log said.
func (k *Keeper) Remove(ctx context.Context, id NodeID) error {
	return k.operate(ctx, id, func(v View, m Member) (Step, error) {
		if m.Voter {
			if err := spare(v, id); err != nil {
				return Step{}, err
			}
		}
		told := v.Health[id].GoneFor == 0
		if told {
			if err := k.tell(ctx, v, id, RoleRemoved); err != nil {
				told = false
				k.config.Logger.Warn("a member that is removed was not told", "node", id, "error", err)
			}
		}
		if !told && k.config.Removals != nil {
			if err := k.config.Removals.NoteRemoved(id); err != nil {
				return Step{}, err
			}
		}
		return Step{Change: Change{Kind: Remove, ID: id}}, nil
	})
}

// Demote takes a voter's vote, for good: it is told to be a read replica. Errors are like those of Remove, and of the kind
// [ErrUnfit] when it cannot be told.
func (k *Keeper) Demote(ctx context.Context, id NodeID) error {
	return k.operate(ctx, id, func(v View, m Member) (Step, error) {
		if !m.Voter {
			return Step{}, nil
		}
		if err := spare(v, id); err != nil {
			return Step{}, err
		}
		if err := k.tell(ctx, v, id, RoleReader); err != nil {
			return Step{}, fmt.Errorf("%w: %w", err, ErrUnfit)
		}
		return Step{Change: Change{Kind: Demote, ID: id}}, nil
	})
}

// Promote makes a voter of a member that has caught up, at once. Errors are like those of Remove, and of the kind [ErrUnfit] when it
// was started as a read replica, is not healthy, or cannot work at the feature level.
func (k *Keeper) Promote(ctx context.Context, id NodeID) error {
	return k.operate(ctx, id, func(v View, m Member) (Step, error) {
		if m.Voter {
			return Step{}, nil
		}
		live, ok := byID(v.Live, id)
		switch h := v.Health[id]; {
		case !h.Healthy:
			return Step{}, fmt.Errorf("%s: %w", h.Why, ErrUnfit)
		case !ok:
			return Step{}, fmt.Errorf("gossip does not know it: %w", ErrUnfit)
		case !fits(live, v.Level):
			return Step{}, fmt.Errorf("it cannot work at feature level %d: %w", v.Level, ErrUnfit)
		}
		if err := k.tell(ctx, v, id, RoleVoter); err != nil {
			return Step{}, fmt.Errorf("%w: %w", err, ErrUnfit)
		}
		return Step{Change: Change{Kind: Promote, ID: id, Address: m.Address}}, nil
	})
}

// Finalize raises the feature level to what every member can apply. Afterwards no older release can be a member. It returns the
// level that is in force now. The error is of the kind [ErrNotLeader], or [ErrUnfit] when not every member has said what it can.
func (k *Keeper) Finalize(ctx context.Context) (uint32, error) {
	if err := k.begin(ctx); err != nil {
		return 0, fmt.Errorf("finalize: %w", err)
	}
	defer k.end()
	v, err := k.leaderView(ctx)
	if err != nil {
		return 0, fmt.Errorf("finalize: %w", err)
	}
	target, err := k.target(v)
	if err != nil {
		return v.Level, fmt.Errorf("finalize: %w: %w", err, ErrUnfit)
	}
	if target <= v.Level {
		return v.Level, nil
	}
	if err := k.raise(ctx, v); err != nil {
		return v.Level, fmt.Errorf("finalize: %w", err)
	}
	return target, nil
}

// operate makes the change that an operator asked for, of the members as they are now. A step without a change is for one that is
// not needed.
func (k *Keeper) operate(ctx context.Context, id NodeID, decide func(View, Member) (Step, error)) error {
	if err := k.begin(ctx); err != nil {
		return err
	}
	defer k.end()
	v, err := k.leaderView(ctx)
	if err != nil {
		return err
	}
	m, ok := v.Configuration.Find(id)
	if !ok {
		return fmt.Errorf("%s: %w: see the list of members", id, ErrUnknown)
	}
	step, err := decide(v, m)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	if step.Change.Kind == 0 {
		return nil
	}
	step.Why = "an operator asked for it"
	return k.take(ctx, v, step)
}

func (k *Keeper) leaderView(ctx context.Context) (View, error) {
	v, err := k.view(ctx)
	switch {
	case err != nil:
	case v.Health == nil:
		err = ErrNotLeader
	case v.Configuration.Index == 0:
		err = ErrChanging
	}
	return v, err
}

// spare refuses to take a vote when most of the voters that remain are not healthy, or none remains.
func spare(v View, id NodeID) error {
	voters, healthy := count(v, id)
	if voters == 1 || healthy < quorum(voters-1) {
		return fmt.Errorf("%d of the %d other voters are healthy, %d have to be: %w", healthy, voters-1, quorum(max(1, voters-1)), ErrQuorum)
	}
	if id == v.Self {
		return ErrSelf
	}
	return nil
}

func (k *Keeper) tell(ctx context.Context, v View, id NodeID, r Role) error {
	server, live := byID(v.Live, id)
	if !live {
		m, _ := v.Configuration.Find(id)
		server = Server{ID: id, Address: m.Address, ClusterID: v.Cluster.ID}
	}
	ctx, cancel := context.WithTimeout(ctx, k.config.Settings.AskTimeout)
	defer cancel()
	if err := k.config.Peers.Tell(ctx, server, r); err != nil {
		return fmt.Errorf("tell it to be a %s: %w", r, err)
	}
	return nil
}
