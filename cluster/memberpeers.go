package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/gossip"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/membership"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

// memberNode is the node as a former has it.
type memberNode struct{ work *memberWork }

// Cluster is what the node belongs to.
func (m memberNode) Cluster() membership.Cluster {
	meta := m.work.node.Identity()
	return membership.Cluster{ID: meta.ClusterID, Lineage: meta.Lineage}
}

// Found makes a cluster with these voters.
func (m memberNode) Found(_ context.Context, voters []membership.Server) error {
	n := m.work.node
	var servers []Server
	for _, v := range voters {
		s := Server{NodeID: string(v.ID), Address: v.Address, Voter: true}
		if s.NodeID == n.Identity().NodeID {
			s.Address = n.peers.port.Address()
		}
		servers = append(servers, s)
	}
	err := n.Found(servers)
	m.work.publish()
	return err
}

// Adopt makes the node one of a cluster.
func (m memberNode) Adopt(c membership.Cluster) error {
	err := m.work.node.Adopt(c.ID, c.Lineage)
	m.work.publish()
	return err
}

// memberGossip is gossip as membership has it.
type memberGossip struct{ work *memberWork }

// Servers are the live nodes. What this node is it knows better than what it has said of it.
func (m memberGossip) Servers() []membership.Server {
	self := m.work.report()
	servers := []membership.Server{serverOf(self)}
	for _, g := range m.work.gossip.Members() {
		if g.NodeID != string(self.ID) {
			servers = append(servers, membership.Server{
				ID: membership.NodeID(g.NodeID), ClusterID: g.ClusterID, Address: g.PeerAddr, API: g.APIAddr, Role: roleOf(g.Role),
				Version: g.Version, MinLevel: g.MinFeature, MaxLevel: g.MaxFeature, Expect: g.Expect, Founded: g.Founded,
			})
		}
	}
	return servers
}

func serverOf(r membership.Report) membership.Server {
	return membership.Server{
		ID: r.ID, ClusterID: r.Cluster.ID, Address: r.Address, API: r.API, Role: r.Role, Version: r.Version,
		MinLevel: r.MinLevel, MaxLevel: r.MaxLevel, Expect: r.Expect, Founded: r.Configured,
	}
}

func roleOf(r gossip.Role) membership.Role {
	switch r {
	case gossip.Voter:
		return membership.RoleVoter
	case gossip.Reader:
		return membership.RoleReader
	case gossip.Removed:
		return membership.RoleRemoved
	}
	return membership.Role(r.String())
}

// Left are those that have said that they go.
func (m memberGossip) Left() []membership.NodeID {
	var left []membership.NodeID
	for _, d := range m.work.gossip.Departed() {
		if d.State == gossip.Left {
			left = append(left, membership.NodeID(d.NodeID))
		}
	}
	return left
}

// Changed is gossip's.
func (m memberGossip) Changed() <-chan struct{} { return m.work.gossip.Changed() }

// memberRaft is the log as a keeper has it.
type memberRaft struct{ work *memberWork }

// Leading is whether this node leads and is ready to propose.
func (m memberRaft) Leading() (term uint64, ok bool) {
	term, _ = m.work.node.LeadingTerm()
	return term, term != 0
}

// LeadershipChanged is closed when that has changed.
func (m memberRaft) LeadershipChanged() <-chan struct{} {
	_, changed := m.work.node.LeadingTerm()
	return changed
}

// Configuration is the newest one that this node knows.
func (m memberRaft) Configuration() (membership.Configuration, error) {
	have, err := m.work.node.Configuration()
	if err != nil {
		return membership.Configuration{}, err
	}
	c := membership.Configuration{Index: have.Index}
	for _, s := range have.Servers {
		c.Members = append(c.Members, membership.Member{ID: membership.NodeID(s.NodeID), Address: s.Address, Voter: s.Voter})
	}
	return c, nil
}

// Change makes one change of the configuration.
func (m memberRaft) Change(ctx context.Context, c membership.Change) error {
	n, id := m.work.node, string(c.ID)
	var err error
	switch {
	case c.Kind == membership.Promote, c.Kind == membership.Move && c.Voter:
		_, err = n.AddVoter(ctx, id, c.Address, c.After)
	case c.Kind == membership.Add, c.Kind == membership.Move:
		_, err = n.AddNonvoter(ctx, id, c.Address, c.After)
	case c.Kind == membership.Demote:
		_, err = n.DemoteVoter(ctx, id, c.After)
	case c.Kind == membership.Remove:
		_, err = n.RemoveServer(ctx, id, c.After)
	default:
		panic(fmt.Sprintf("change %v", c.Kind))
	}
	return err
}

// Report says how this node does.
func (m memberRaft) Report() membership.Report { return m.work.report() }

// Level is the feature level of the rows.
func (m memberRaft) Level() uint32 { return m.work.node.machine.Store().System().FeatureLevel }

// Raise raises it.
func (m memberRaft) Raise(ctx context.Context, level uint32) error {
	return m.work.node.RaiseFeatureLevel(ctx, level)
}

// RaiseFeatureLevel raises the feature level of the replicated state, if it is lower (DECISIONS.md D1). There is no way back to a
// release that does not know the level. Every member must be able to apply it: on a node with peers membership.Keeper's Finalize sees
// to that and calls this. Only the leader can: elsewhere the error is of the kind NoLeader.
func (n *Node) RaiseFeatureLevel(_ context.Context, level uint32) error {
	if level > fsm.FeatureLevel {
		return fmt.Errorf("raise the feature level to %d: this release knows %d at most", level, fsm.FeatureLevel)
	}
	if term, _ := n.gate.state(); term == 0 {
		return surely(NoLeader, fmt.Errorf("raise the feature level to %d: this node does not lead", level))
	}
	return n.raise(level)
}

func (n *Node) raise(level uint32) error {
	if n.machine.Store().System().FeatureLevel >= level {
		return nil
	}
	command, err := fsm.EncodeCommand(&logpb.Command{Operation: &logpb.Command_RaiseFeatureLevel{RaiseFeatureLevel: &logpb.RaiseFeatureLevel{Level: level}}})
	if err != nil {
		return fmt.Errorf("raise the feature level to %d: %w", level, err)
	}
	// It needs no time of its own, and the clock of this node may be wrong.
	results, err := n.commit([]*logpb.Stamped{{Stamp: n.machine.Store().System().Instant, Command: command}})
	if err != nil {
		return fmt.Errorf("raise the feature level to %d: %w", level, applyError(err))
	}
	return results[0].Err
}

// memberPeers asks other nodes over the peer port.
type memberPeers struct{ work *memberWork }

func (m memberPeers) client(to membership.Server) (graphgrpc.MembershipServiceClient, error) {
	conn, err := m.work.node.Connect(string(to.ID), to.Address)
	if err != nil {
		return nil, err
	}
	return graphgrpc.NewMembershipServiceClient(conn), nil
}

// Ask asks a node about itself.
func (m memberPeers) Ask(ctx context.Context, to membership.Server) (membership.Report, error) {
	client, err := m.client(to)
	if err != nil {
		return membership.Report{}, err
	}
	s, err := client.Report(ctx, &peerpb.ReportRequest{Removed: m.work.removed.list()})
	if err == nil && s.ClusterId == m.work.node.Identity().ClusterID {
		err = m.work.removed.note(s.Removed)
	}
	if err != nil {
		return membership.Report{}, err
	}
	return membership.Report{
		ID: membership.NodeID(s.NodeId), Cluster: membership.Cluster{ID: s.ClusterId, Lineage: s.Lineage}, Address: s.PeerAddress, API: s.ApiAddress,
		Role: membership.Role(s.Role), Version: s.Version, Configured: s.Configured, Expect: int(s.Expect),
		MinLevel: s.MinFeatureLevel, MaxLevel: s.MaxFeatureLevel, State: s.State, Leader: membership.NodeID(s.LeaderId), Term: s.Term,
		LastIndex: s.LastLogIndex, Committed: s.Committed, Applied: s.Applied, Revision: s.Revision,
		LastContact: time.Duration(s.LastContact), Problem: s.Problem,
	}, nil
}

// Welcome tells a node that it belongs to a cluster.
func (m memberPeers) Welcome(ctx context.Context, to membership.Server, w membership.Welcome) error {
	client, err := m.client(to)
	if err != nil {
		return err
	}
	reply, err := client.TakeIn(ctx, &peerpb.TakeInRequest{From: string(w.From), ClusterId: w.Cluster.ID, Lineage: w.Cluster.Lineage})
	return refusal(reply, err)
}

// Pledge asks a node for its word.
func (m memberPeers) Pledge(ctx context.Context, to membership.Server, p membership.Pledge) error {
	client, err := m.client(to)
	if err != nil {
		return err
	}
	reply, err := client.Pledge(ctx, &peerpb.PledgeRequest{From: string(p.From), Expect: uint32(p.Expect)})
	return refusal(reply, err)
}

// Tell gives a node another role.
func (m memberPeers) Tell(ctx context.Context, to membership.Server, r membership.Role) error {
	if to.ID == membership.NodeID(m.work.node.Identity().NodeID) {
		return m.work.take(r)
	}
	client, err := m.client(to)
	if err != nil {
		return err
	}
	reply, err := client.SetRole(ctx, &peerpb.SetRoleRequest{Role: string(r)})
	return refusal(reply, err)
}

func refusal(reply interface{ GetRefusal() string }, err error) error {
	if err != nil {
		return err
	}
	if text := reply.GetRefusal(); text != "" {
		return errors.New(text)
	}
	return nil
}

// memberServer answers other nodes.
type memberServer struct {
	graphgrpc.UnimplementedMembershipServiceServer
	members *Members
}

func (s *memberServer) work() (*memberWork, error) {
	w := s.members.running.Load()
	if w == nil {
		return nil, errNotStarted
	}
	return w, nil
}

// Report is what this node says of itself.
func (s *memberServer) Report(_ context.Context, request *peerpb.ReportRequest) (*peerpb.ReportReply, error) {
	w, err := s.work()
	if err != nil {
		return nil, err
	}
	if err := w.removed.note(request.Removed); err != nil {
		return nil, err
	}
	r := w.report()
	return &peerpb.ReportReply{
		NodeId: string(r.ID), ClusterId: r.Cluster.ID, Lineage: r.Cluster.Lineage, PeerAddress: r.Address, ApiAddress: r.API,
		Role: string(r.Role), Version: r.Version, Configured: r.Configured, Expect: uint32(r.Expect),
		MinFeatureLevel: r.MinLevel, MaxFeatureLevel: r.MaxLevel, State: r.State, LeaderId: string(r.Leader), Term: r.Term,
		LastLogIndex: r.LastIndex, Committed: r.Committed, Applied: r.Applied, Revision: r.Revision,
		LastContact: int64(r.LastContact), Problem: r.Problem, Removed: w.removed.list(),
	}, nil
}

// Pledge gives this node's word, or does not.
func (s *memberServer) Pledge(_ context.Context, request *peerpb.PledgeRequest) (*peerpb.PledgeReply, error) {
	w, err := s.work()
	if err != nil {
		return nil, err
	}
	return &peerpb.PledgeReply{Refusal: textOf(w.former.Pledge(membership.Pledge{From: membership.NodeID(request.From), Expect: int(request.Expect)}))}, nil
}

// TakeIn makes this node one of a cluster.
func (s *memberServer) TakeIn(_ context.Context, request *peerpb.TakeInRequest) (*peerpb.TakeInReply, error) {
	w, err := s.work()
	if err != nil {
		return nil, err
	}
	welcome := membership.Welcome{From: membership.NodeID(request.From), Cluster: membership.Cluster{ID: request.ClusterId, Lineage: request.Lineage}}
	return &peerpb.TakeInReply{Refusal: textOf(w.former.Welcome(welcome))}, nil
}

// SetRole gives this node another role.
func (s *memberServer) SetRole(_ context.Context, request *peerpb.SetRoleRequest) (*peerpb.SetRoleReply, error) {
	w, err := s.work()
	if err != nil {
		return nil, err
	}
	return &peerpb.SetRoleReply{Refusal: textOf(w.take(membership.Role(request.Role)))}, nil
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
