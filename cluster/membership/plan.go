package membership

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// nowhere is the end of the address of a member that somebody else has the address of: no name under it resolves (RFC 2606).
const nowhere = ".invalid:1"

// A View is what the leader knows when it decides.
type View struct {
	Self          NodeID
	Cluster       Cluster
	Level         uint32
	Configuration Configuration
	// Live are the servers that gossip knows, Health is of these and of the members; nil on a node that does not lead.
	Live   []Server
	Health map[NodeID]Health
	// Removed are nodes that operators have removed and that may not know it.
	Removed map[NodeID]bool
}

// role is what a live server may be, whatever it says itself.
func (v View) role(s Server) Role {
	if v.Removed[s.ID] {
		return RoleRemoved
	}
	return s.Role
}

// Health is how a server does.
type Health struct {
	// Healthy: it answers, hears from the leader, and lacks little. HealthyFor is since when without a break.
	Healthy    bool
	HealthyFor time.Duration
	// GoneFor is how long gossip has not known it and it has not answered; 0 for one that is there.
	GoneFor time.Duration
	// Left: it has said that it goes.
	Left bool
	// Why it is not healthy.
	Why string
}

// A Step is what the leader does next.
type Step struct {
	// Change of the configuration; its Kind is 0 when there is nothing to do.
	Change Change
	// Welcome: the server has no cluster yet and has to be told of this one before.
	Welcome bool
	// Server that the change is about, as gossip knows it, if it does.
	Server Server
	// Why, for people.
	Why string
}

// Plan decides upon the next change, at most one. It is pure: the same view gives the same step. The order is that of urgency:
// a server that cannot be reached is no use to the quorum, and a healthy voter more makes a removal safe.
func (s Settings) Plan(v View) Step {
	s = s.withDefaults()
	for _, plan := range []func(View) Step{s.planMove, s.planPromotion, s.planRemoval, s.planRetirement, s.planAddition} {
		if step := plan(v); step.Change.Kind != 0 {
			return step
		}
	}
	return Step{}
}

// planMove follows a member to its new address.
func (s Settings) planMove(v View) Step {
	for _, m := range members(v.Configuration) {
		live, ok := byID(v.Live, m.ID)
		if !ok || live.ClusterID != v.Cluster.ID || live.Address == "" || live.Address == m.Address {
			continue
		}
		if step, taken := makeRoom(v, live); taken {
			if step.Change.Kind == 0 {
				continue
			}
			return step
		}
		return Step{
			Change: Change{Kind: Move, ID: m.ID, Address: live.Address, Voter: m.Voter}, Server: live,
			Why: fmt.Sprintf("it has moved from %s", m.Address),
		}
	}
	return Step{}
}

// makeRoom takes the address of a server from another member that the configuration still has there. (Raft takes no address
// twice.) That member is either gone, or gets its own new address next. When both say that they are there nothing is done, or
// they would take it from each other for ever.
func makeRoom(v View, server Server) (step Step, taken bool) {
	for _, m := range v.Configuration.Members {
		if m.ID == server.ID || m.Address != server.Address {
			continue
		}
		if holder, live := byID(v.Live, m.ID); live && holder.Address == m.Address {
			return Step{}, true
		}
		return Step{
			Change: Change{Kind: Move, ID: m.ID, Address: string(m.ID) + nowhere, Voter: m.Voter},
			Why:    fmt.Sprintf("%s is at %s now", server.ID, m.Address),
		}, true
	}
	return Step{}, false
}

// planPromotion gives a vote to a server that has caught up and is stable.
func (s Settings) planPromotion(v View) Step {
	for _, m := range members(v.Configuration) {
		live, ok := byID(v.Live, m.ID)
		h := v.Health[m.ID]
		if m.Voter || !ok || v.role(live) != RoleVoter || !fits(live, v.Level) || !h.Healthy || h.HealthyFor < s.Stabilization {
			continue
		}
		voters, healthy := count(v, m.ID)
		if healthy+1 < quorum(voters+1) {
			continue // nothing would be committed any more
		}
		return Step{
			Change: Change{Kind: Promote, ID: m.ID, Address: m.Address}, Server: live,
			Why: fmt.Sprintf("it has been healthy for %v", h.HealthyFor.Round(time.Millisecond)),
		}
	}
	return Step{}
}

// planRemoval takes out a server that is gone. A voter that has said that it goes is stopped for a while, and stays, unless another
// has its place.
func (s Settings) planRemoval(v View) Step {
	for _, m := range members(v.Configuration) {
		h := v.Health[m.ID]
		if m.ID == v.Self || h.GoneFor == 0 {
			continue
		}
		why := fmt.Sprintf("it has been gone for %v", h.GoneFor.Round(time.Second))
		if other, replaced := successor(v, m); replaced {
			why = fmt.Sprintf("%s has taken its place", other)
		} else if h.GoneFor < s.Grace || m.Voter && h.Left {
			continue
		}
		if m.Voter && !s.canSpare(v, m.ID) {
			continue
		}
		return Step{Change: Change{Kind: Remove, ID: m.ID}, Why: why}
	}
	return Step{}
}

// successor is the live member at the address of one that is gone: a node with an empty disk that was put in its place.
func successor(v View, gone Member) (NodeID, bool) {
	for _, live := range v.Live {
		if live.ID == gone.ID || live.ClusterID != v.Cluster.ID {
			continue
		}
		if live.Address == gone.Address || gone.Address == string(gone.ID)+nowhere {
			if _, member := v.Configuration.Find(live.ID); member {
				return live.ID, true
			}
		}
	}
	return "", false
}

// planRetirement does what roles ask for: a voter that shall only read loses its vote, one that shall stay away goes.
func (s Settings) planRetirement(v View) Step {
	for _, m := range members(v.Configuration) {
		live, ok := byID(v.Live, m.ID)
		if !ok || live.ClusterID != v.Cluster.ID || m.ID == v.Self {
			continue
		}
		switch {
		case m.Voter && v.role(live) != RoleVoter && s.canSpare(v, m.ID):
			return Step{Change: Change{Kind: Demote, ID: m.ID}, Server: live, Why: "its role is " + string(v.role(live))}
		case !m.Voter && v.role(live) == RoleRemoved:
			return Step{Change: Change{Kind: Remove, ID: m.ID}, Server: live, Why: "its role is " + string(v.role(live))}
		}
	}
	return Step{}
}

// canSpare reports whether the leader may take a vote by itself: enough voters remain, and most of them are healthy.
func (s Settings) canSpare(v View, id NodeID) bool {
	voters, healthy := count(v, id)
	return voters-1 >= s.MinQuorum && healthy >= quorum(voters-1)
}

// planAddition takes in a server that is of this cluster, or of none.
func (s Settings) planAddition(v View) Step {
	for _, live := range sorted(v.Live) {
		if _, member := v.Configuration.Find(live.ID); member || Obstacle(v, live) != "" {
			continue
		}
		if !v.Health[live.ID].answers() {
			continue
		}
		if step, taken := makeRoom(v, live); taken {
			if step.Change.Kind == 0 {
				continue
			}
			return step
		}
		return Step{Change: Change{Kind: Add, ID: live.ID, Address: live.Address}, Welcome: live.ClusterID == "", Server: live, Why: "it has come"}
	}
	return Step{}
}

// answers reports whether a server that is no member can be asked: it need not hear from the leader.
func (h Health) answers() bool { return h.Healthy && h.GoneFor == 0 }

// Obstacle says why a live server that is no member is not taken in, empty for no reason.
func Obstacle(v View, live Server) string {
	switch {
	case live.ClusterID != "" && live.ClusterID != v.Cluster.ID:
		return "it belongs to cluster " + live.ClusterID
	case v.role(live) == RoleRemoved:
		return "it was removed: start it with an empty data folder"
	case !live.Role.Known():
		return fmt.Sprintf("its role %q is not known to this release", string(live.Role))
	case live.Address == "":
		return "it tells no address for peers"
	case live.ClusterID == "" && live.Founded:
		return "it has data of no known cluster"
	case live.ClusterID == "" && live.Expect > 0:
		return "it waits to make a cluster of its own"
	case !fits(live, v.Level):
		return fmt.Sprintf("the feature level is %d, it can work at %d to %d: start another release", v.Level, live.MinLevel, live.MaxLevel)
	}
	return ""
}

// fits reports whether a server can work at a feature level.
func fits(live Server, level uint32) bool { return live.MinLevel <= level && level <= live.MaxLevel }

// count gives the voters, and how many of them are healthy without the one that may change. The leader always is.
func count(v View, without NodeID) (voters, healthy int) {
	for _, m := range v.Configuration.Members {
		if !m.Voter {
			continue
		}
		voters++
		if m.ID != without && (m.ID == v.Self || v.Health[m.ID].Healthy) {
			healthy++
		}
	}
	return voters, healthy
}

// members are those of a configuration in the order of their ids.
func members(c Configuration) []Member {
	ms := slices.Clone(c.Members)
	slices.SortFunc(ms, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return ms
}
