package membership

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// A NodeID names a data folder, and with it a node: a new disk is a new node.
type NodeID string

// Role is what a node may be.
type Role string

// The roles.
const (
	// RoleVoter is that of a node that votes as soon as it has caught up.
	RoleVoter Role = "voter"
	// RoleReader is that of a read replica: it never votes.
	RoleReader Role = "reader"
	// RoleRemoved is that of a node that was told to stay away: it is not taken in again.
	RoleRemoved Role = "removed"
)

// Known reports whether r is one of the roles.
func (r Role) Known() bool { return r == RoleVoter || r == RoleReader || r == RoleRemoved }

// A Cluster is what a node belongs to.
type Cluster struct {
	// ID is a UUID, empty for none.
	ID string
	// Lineage is that of the moment of joining (DECISIONS.md D5).
	Lineage uint32
}

// A Server is a live node as gossip tells of it.
type Server struct {
	ID NodeID
	// ClusterID is empty while the node has none.
	ClusterID string
	// Address is where peers reach it, host:port.
	Address string
	// API is where clients reach it, host:port; it may be empty.
	API  string
	Role Role
	// Version of its program.
	Version string
	// MinLevel and MaxLevel are the feature levels that it can work at.
	MinLevel, MaxLevel uint32
	// Expect is how many nodes it waits for to make a cluster with, 0 when it makes none.
	Expect int
	// Founded: it has a configuration, or data.
	Founded bool
}

// A Member is a server of the configuration.
type Member struct {
	ID      NodeID
	Address string
	Voter   bool
}

// A Configuration is who belongs to the cluster, as the log has it.
type Configuration struct {
	// Index is that of the log entry that says so, 0 while that is not committed.
	Index   uint64
	Members []Member
}

// Find returns a member by its id.
func (c Configuration) Find(id NodeID) (Member, bool) {
	i := slices.IndexFunc(c.Members, func(m Member) bool { return m.ID == id })
	if i < 0 {
		return Member{}, false
	}
	return c.Members[i], true
}

// Voters counts them.
func (c Configuration) Voters() int {
	n := 0
	for _, m := range c.Members {
		if m.Voter {
			n++
		}
	}
	return n
}

// quorum is how many of n voters decide.
func quorum(n int) int { return n/2 + 1 }

// A Report is what a node says of itself to a peer that asks.
type Report struct {
	ID      NodeID
	Cluster Cluster
	Address string
	API     string
	Role    Role
	Version string
	// Configured: it has a configuration, or data.
	Configured         bool
	Expect             int
	MinLevel, MaxLevel uint32
	// State is Leader, Follower, Candidate or Shutdown.
	State string
	// Leader is who leads as far as it knows, empty for nobody.
	Leader NodeID
	Term   uint64
	// LastIndex is that of the newest entry in its log, Committed of the newest one that it knows to be agreed upon, Applied of
	// the newest one in its rows.
	LastIndex, Committed, Applied uint64
	// Revision is that of its rows.
	Revision uint64
	// LastContact is how long ago it heard from the leader, 0 of the leader itself, negative for never.
	LastContact time.Duration
	// Problem is why it should not be relied upon, empty for nothing.
	Problem string
}

// A Change is one change of the configuration.
type Change struct {
	Kind ChangeKind
	ID   NodeID
	// Address of the server that is added or has moved; empty else.
	Address string
	// Voter is whether the server that has moved votes.
	Voter bool
	// After is the index of the configuration that the change was decided upon: when another one has come, it is refused. The
	// keeper sets it.
	After uint64
}

// ChangeKind is what a change does.
type ChangeKind int

// The kinds of changes.
const (
	// Add adds a server that does not vote.
	Add ChangeKind = iota + 1
	// Move gives a server another address.
	Move
	// Promote makes a voter of a server that does not vote.
	Promote
	// Demote takes a voter's vote.
	Demote
	// Remove takes a server out.
	Remove
)

func (k ChangeKind) String() string {
	return [...]string{"none", "add", "move", "promote", "demote", "remove"}[k]
}

// Gossip is who is there, as far as this node hears.
type Gossip interface {
	// Servers are the live nodes, this one included.
	Servers() []Server
	// Left are nodes that have said that they go, and are not back. Some of them may be forgotten.
	Left() []NodeID
	// Changed is closed when any of that may have changed since the call.
	Changed() <-chan struct{}
}

// Peers asks other nodes. Every call ends with its context.
type Peers interface {
	// Ask asks a node about itself.
	Ask(ctx context.Context, to Server) (Report, error)
	// Welcome tells a node that it belongs to a cluster from now on.
	Welcome(ctx context.Context, to Server, w Welcome) error
	// Tell gives a node another role, for good. It refuses when it was started as something else.
	Tell(ctx context.Context, to Server, r Role) error
	// Pledge asks a node for its word that it makes a cluster with nobody else.
	Pledge(ctx context.Context, to Server, p Pledge) error
}

// A Welcome tells a node which cluster it belongs to.
type Welcome struct {
	// From is the node that says so.
	From    NodeID
	Cluster Cluster
}

// A Pledge asks for the word to make a cluster with nobody but From.
type Pledge struct {
	From   NodeID
	Expect int
}

// sorted returns servers in the order of their ids.
func sorted(servers []Server) []Server {
	servers = slices.Clone(servers)
	slices.SortFunc(servers, func(a, b Server) int { return cmp.Compare(a.ID, b.ID) })
	return servers
}

// byID finds a live server.
func byID(servers []Server, id NodeID) (Server, bool) {
	i := slices.IndexFunc(servers, func(s Server) bool { return s.ID == id })
	if i < 0 {
		return Server{}, false
	}
	return servers[i], true
}

func idList(ids []NodeID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	return strings.Join(texts, ", ")
}
