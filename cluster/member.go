package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/gossip"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/membership"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

const (
	// MinFeatureLevel is the lowest level of replicated state that this program can work at (DECISIONS.md D1).
	MinFeatureLevel = 1
	// firstFeatureLevel is that of a new cluster: whoever founds it does not know what its members can.
	firstFeatureLevel = 1
)

// Gossip is who is there; gossip.Gossip is one.
type Gossip interface {
	// Members are the live nodes, this one included, Departed those that have left or died.
	Members() []gossip.Member
	Departed() []gossip.Member
	// Changed is closed when any of that may have changed since the call.
	Changed() <-chan struct{}
	// Update changes what this node says of itself.
	Update(gossip.Metadata) error
}

// MembersConfig is what a node is told about whom it may belong to.
type MembersConfig struct {
	Settings membership.Settings
	// Expect is how many nodes make a new cluster together, 0 when this node makes none with others.
	Expect int
	// Joins: the node shall become a member of a cluster that there is, or comes to be. A node that neither joins nor expects
	// anybody, and has an empty folder, is a cluster of its own at once, which others may join.
	Joins bool
	// ReadReplica: the node never votes. The same as in [PeersConfig].
	ReadReplica bool
	// APIAddress is where clients reach the node, host:port; it may be empty.
	APIAddress string
	// Events tell of changes of the configuration.
	Events membership.Events
	// Levels are the feature levels to claim in place of this program's, for tests.
	minLevel, maxLevel uint32
}

// Members looks after who belongs to the cluster, on one node. It is made before the node, whose PeersConfig.Register is to call
// Register; Start begins, when there is gossip. Close comes before the gossip's and the node's.
type Members struct {
	config MembersConfig
	// running is nil before Start.
	running atomic.Pointer[memberWork]
}

// memberWork is what runs.
type memberWork struct {
	config MembersConfig
	node   *Node
	gossip Gossip
	former *membership.Former
	keeper *membership.Keeper
	// removed are nodes that are not taken in again.
	removed *removals

	stop  context.CancelFunc
	loops sync.WaitGroup
	// publishing is held while this node says what it is: the newest is said last.
	publishing sync.Mutex

	// said is what this node last said of itself, guarded by publishing.
	said gossip.Metadata
	// told: tellFate has said something. emptySince is when it found a cluster without an entry; only follow uses that.
	told       atomic.Bool
	emptySince time.Time

	// mu guards what follows.
	mu sync.Mutex
	// ordered is the role that an operator gave, empty for none.
	ordered membership.Role
	// joins: the node expects nobody any more.
	joins bool
	// noted are the addresses that the node was told of.
	noted map[string]string
}

// NewMembers makes what Start begins.
func NewMembers(config MembersConfig) (*Members, error) {
	if err := config.Settings.Validate(); err != nil {
		return nil, err
	}
	if config.minLevel == 0 {
		config.minLevel, config.maxLevel = MinFeatureLevel, fsm.FeatureLevel
	}
	return &Members{config: config}, nil
}

// Register adds the calls of other nodes to the peer port.
func (m *Members) Register(_ *Node, to grpc.ServiceRegistrar) {
	graphgrpc.RegisterMembershipServiceServer(to, &memberServer{members: m})
}

// errNotStarted is for calls of others that come very early.
var errNotStarted = errors.New("members are not looked after yet: ask again")

// Metadata is what a node says of itself at first: gossip is opened with it.
func (m *Members) Metadata(n *Node) (gossip.Metadata, error) {
	w, err := m.prepare(n, nil)
	if err != nil {
		return gossip.Metadata{}, err
	}
	return w.metadata(), nil
}

func (m *Members) prepare(n *Node, g Gossip) (*memberWork, error) {
	if n.peers == nil {
		return nil, errNoPeers
	}
	w := &memberWork{config: m.config, node: n, gossip: g, noted: map[string]string{}}
	if !n.config.InMemory {
		role, err := identity.Folder(n.config.Folder).Role()
		if err != nil {
			return nil, err
		}
		w.ordered = membership.Role(role)
	}
	var err error
	w.removed, err = openRemovals(n)
	return w, err
}

// Start looks after the members from now on. A node with an empty folder that waits for nobody is a cluster of one when it returns.
func (m *Members) Start(n *Node, g Gossip) error {
	w, err := m.prepare(n, g)
	if err != nil {
		return fmt.Errorf("members: %w", err)
	}
	self := membership.NodeID(n.Identity().NodeID)
	logger := n.config.Logger.Named("members")
	w.former = membership.NewFormer(membership.FormerConfig{
		Self: self, Settings: m.config.Settings, Expect: m.config.Expect, Node: memberNode{w}, Gossip: memberGossip{w}, Peers: memberPeers{w},
		Logger: logger, Clock: time.Now, Joins: w.expectNobody,
	})
	w.keeper = membership.NewKeeper(membership.KeeperConfig{
		Self: self, Settings: m.config.Settings, Raft: memberRaft{w}, Gossip: memberGossip{w}, Peers: memberPeers{w},
		Removals: w.removed, Logger: logger, Clock: time.Now, Events: m.config.Events,
	})
	if n.Identity().Waits() && m.config.Expect == 0 && !m.config.Joins {
		alone := Server{NodeID: string(self), Address: n.peers.port.Address(), Voter: true}
		if err := n.Found([]Server{alone}); err != nil {
			return fmt.Errorf("members: %w", err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	m.running.Store(w)
	w.loops.Go(func() { w.follow(ctx) })
	w.loops.Go(func() {
		if w.former.Run(ctx) == nil {
			w.publish()
			_ = w.keeper.Run(ctx) // it only says that ctx has ended
		}
	})
	return nil
}

// Close ends it, when it was started.
func (m *Members) Close() {
	if w := m.running.Load(); w != nil {
		w.stop()
		w.loops.Wait()
	}
}

// Keeper does what operators ask for; nil before Start.
func (m *Members) Keeper() *membership.Keeper {
	if w := m.running.Load(); w != nil {
		return w.keeper
	}
	return nil
}

// Servers are the live nodes as gossip tells of them; none before Start.
func (m *Members) Servers() []membership.Server {
	if w := m.running.Load(); w != nil {
		return memberGossip{w}.Servers()
	}
	return nil
}

// follow tells the node where the others are, and the others what this node is.
func (w *memberWork) follow(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		changed := w.gossip.Changed()
		w.noteAddresses()
		w.publish()
		w.tellFate()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// noteAddresses hands on where live nodes are. An address is kept when its node dies, as long as it is a member: it may come back.
func (w *memberWork) noteAddresses() {
	w.mu.Lock()
	defer w.mu.Unlock()
	live := map[string]bool{}
	for _, m := range w.gossip.Members() {
		live[m.NodeID] = true
		if m.PeerAddr == "" || m.NodeID == w.node.Identity().NodeID || w.noted[m.NodeID] == m.PeerAddr {
			continue
		}
		w.noted[m.NodeID] = m.PeerAddr
		w.node.NoteAddress(m.NodeID, m.PeerAddr)
	}
	members := w.node.members()
	for id := range w.noted {
		if !live[id] && !isMember(members, id) {
			delete(w.noted, id)
			w.node.NoteAddress(id, "")
		}
	}
}

// firstEntryPatience is how long a node that was taken in waits for the first entry before it tells of it.
const firstEntryPatience = time.Minute

// tellFate says once what only an operator can change: that this node was removed, or that its cluster does not begin.
func (w *memberWork) tellFate() {
	meta, members := w.node.Identity(), w.node.members()
	switch {
	case w.told.Load() || meta.Waits():
	case len(members.Servers) > 0 || w.node.machine.Applied() > 0:
		if w.role() != membership.RoleRemoved || isMember(members, meta.NodeID) {
			return
		}
		w.told.Store(true)
		w.node.logger.Warn("this node was removed from its cluster: stop it; with an empty data folder it may join as a new node", "cluster", meta.ClusterID)
	case w.emptySince.IsZero():
		w.emptySince = time.Now()
	case time.Since(w.emptySince) > firstEntryPatience:
		w.told.Store(true)
		w.node.logger.Warn("this node was taken into a cluster and has heard nothing of it since: if its founder is gone for good, remove the data folder; nothing is in it", "cluster", meta.ClusterID)
	}
}

// publish says what this node is, when that has changed.
func (w *memberWork) publish() {
	w.publishing.Lock()
	defer w.publishing.Unlock()
	now := w.metadata()
	if now == w.said {
		return
	}
	if err := w.gossip.Update(now); err != nil {
		w.node.logger.Warn("others do not hear of what has changed here", "error", err)
		return
	}
	w.said = now
}

func (w *memberWork) metadata() gossip.Metadata {
	r := w.report()
	roles := map[membership.Role]gossip.Role{membership.RoleVoter: gossip.Voter, membership.RoleReader: gossip.Reader, membership.RoleRemoved: gossip.Removed}
	return gossip.Metadata{
		ClusterID: r.Cluster.ID, PeerAddr: r.Address, APIAddr: r.API, Role: roles[r.Role], Version: r.Version,
		MinFeature: r.MinLevel, MaxFeature: r.MaxLevel, Expect: r.Expect, Founded: r.Configured,
	}
}

// report is what this node says of itself.
func (w *memberWork) report() membership.Report {
	n := w.node
	s := n.peerStatus()
	r := membership.Report{
		ID: membership.NodeID(s.NodeId), Cluster: membership.Cluster{ID: s.ClusterId, Lineage: s.Lineage},
		Address: n.peers.port.Address(), API: w.config.APIAddress, Role: w.role(), Version: s.Version,
		Configured: s.Servers > 0 || s.Applied > 0, MinLevel: w.config.minLevel, MaxLevel: w.config.maxLevel,
		State: s.State, Leader: membership.NodeID(s.LeaderId), Term: s.Term, LastIndex: s.LastLogIndex, Committed: s.Committed, Applied: s.Applied,
		Revision: s.Revision, LastContact: time.Duration(s.LastContact),
	}
	w.mu.Lock()
	if !w.joins && r.Cluster.ID == "" {
		r.Expect = w.config.Expect
	}
	w.mu.Unlock()
	switch err := cmp.Or(n.failed(), n.Quarantine()); {
	case err != nil:
		r.Problem = err.Error()
	case !s.HasRoom:
		r.Problem = "its disk is too full for writes"
	}
	return r
}

// role is what the node may be: what an operator said goes before how it was started, but for a read replica that shall vote.
func (w *memberWork) role() membership.Role {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ordered == membership.RoleRemoved:
		return w.ordered
	case w.config.ReadReplica:
		return membership.RoleReader
	case w.ordered != "":
		return w.ordered
	}
	return membership.RoleVoter
}

// take gives the node a role for good.
func (w *memberWork) take(r membership.Role) error {
	if !r.Known() {
		return fmt.Errorf("role %q is not known to this release", string(r))
	}
	if r == membership.RoleVoter && w.config.ReadReplica {
		return errors.New("it was started as a read replica: start it without that")
	}
	w.mu.Lock()
	if !w.node.config.InMemory {
		if err := identity.Folder(w.node.config.Folder).SetRole(string(r)); err != nil {
			w.mu.Unlock()
			return err
		}
	}
	w.ordered = r
	w.mu.Unlock()
	w.publish()
	return nil
}

// expectNobody is for a node that has met a cluster.
func (w *memberWork) expectNobody() {
	w.mu.Lock()
	w.joins = true
	w.mu.Unlock()
	w.publish()
}
