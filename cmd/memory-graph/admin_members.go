package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/membership"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const (
	// askTimeout is how long a member may take to say how it is.
	askTimeout = 2 * time.Second
	// silence is how long ago a voter that is well has heard from the leader at most, and behind how many log entries it lacks.
	silence = 5 * time.Second
	behind  = 20_000
)

// Status tells who leads and who belongs to the cluster, as this node knows it, with or without a leader.
func (h *here) Status(ctx context.Context) (*pb.ClusterStatusResponse, error) {
	s, err := h.node.Status()
	if err != nil {
		return nil, err
	}
	sys := h.node.Machine().Store().System()
	return &pb.ClusterStatusResponse{
		ClusterId: s.ClusterID, Leader: s.Leader.NodeID, Term: s.Term, Revision: uint64(fsm.Revision(sys)),
		Members: h.look(ctx, s), AnsweredBy: s.NodeID, Lineage: fmt.Sprintf("%08x", sys.Lineage), FeatureLevel: sys.FeatureLevel,
	}, nil
}

// Members tells all that is known of each member.
func (h *here) Members(ctx context.Context) (*pb.ClusterMembersResponse, error) {
	s, err := h.node.Status()
	if err != nil {
		return nil, err
	}
	return &pb.ClusterMembersResponse{Members: h.look(ctx, s)}, nil
}

// Health says what is wrong with the cluster.
func (h *here) Health(ctx context.Context) (*pb.ClusterHealthResponse, error) {
	s, err := h.node.Status()
	if err != nil {
		return nil, err
	}
	return healthOf(s.Leader.NodeID, h.look(ctx, s)), nil
}

// healthOf judges members.
func healthOf(leader string, members []*pb.ClusterMember) *pb.ClusterHealthResponse {
	r := &pb.ClusterHealthResponse{Leader: leader}
	for _, m := range members {
		well := m.Problem == ""
		if m.Role == pb.ClusterMember_ROLE_VOTER && m.State != pb.ClusterMember_STATE_JOINING {
			r.Voters++
			if well {
				r.VotersWell++
			}
		}
		if !well {
			r.Problems = append(r.Problems, fmt.Sprintf("%s at %s: %s", m.Id, m.Address, m.Problem))
		}
	}
	r.FailureTolerance = r.VotersWell - (r.Voters/2 + 1)
	if leader == "" {
		r.Problems = append([]string{"nobody leads: writes and linearizable reads wait"}, r.Problems...)
	}
	if r.FailureTolerance < 0 {
		r.Problems = append([]string{fmt.Sprintf("%d of %d voters are well, %d are needed", r.VotersWell, r.Voters, r.Voters/2+1)}, r.Problems...)
	}
	r.Healthy = len(r.Problems) == 0
	return r
}

// look asks every member, and every node that is about to become one, how it is.
func (h *here) look(ctx context.Context, s cluster.Status) []*pb.ClusterMember {
	live := map[string]membership.Server{}
	if h.members != nil {
		for _, server := range h.members.Servers() {
			live[string(server.ID)] = server
		}
	}
	var members []*pb.ClusterMember
	for _, server := range s.Members.Servers {
		m := &pb.ClusterMember{Id: server.NodeID, Address: server.Address, Role: pb.ClusterMember_ROLE_NON_VOTER, ApiAddress: live[server.NodeID].API}
		if server.Voter {
			m.Role = pb.ClusterMember_ROLE_VOTER
		}
		members = append(members, m)
	}
	for _, server := range live {
		ours := server.ClusterID == "" || server.ClusterID == s.ClusterID && server.Role != membership.RoleRemoved
		if _, member := s.Members.Find(string(server.ID)); !member && ours {
			members = append(members, &pb.ClusterMember{
				Id: string(server.ID), Address: server.Address, Role: pb.ClusterMember_ROLE_NON_VOTER, State: pb.ClusterMember_STATE_JOINING, ApiAddress: server.API,
			})
		}
	}
	slices.SortFunc(members, func(a, b *pb.ClusterMember) int { return cmp.Compare(a.Id, b.Id) })
	h.ask(ctx, s, members)
	return members
}

// ask fills in what the members say of themselves.
func (h *here) ask(ctx context.Context, s cluster.Status, members []*pb.ClusterMember) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	replies := make([]*peerpb.StatusReply, len(members))
	problems := make([]error, len(members))
	var waiting sync.WaitGroup
	for i, m := range members {
		if m.Id != s.NodeID {
			waiting.Go(func() { replies[i], problems[i] = h.node.PeerStatus(ctx, m.Id, m.Address) })
		}
	}
	waiting.Wait()
	committed := s.Committed
	for _, r := range replies {
		committed = max(committed, r.GetCommitted())
	}
	for i, m := range members {
		if m.Id == s.NodeID {
			h.tellSelf(s, m)
		} else {
			tellPeer(m, replies[i], problems[i], s.Leader.NodeID)
		}
		// Of one that says nothing nobody knows what it has: it may be nothing.
		m.Lag = committed - min(committed, m.Applied)
		if m.Problem == "" && m.Lag > behind {
			m.Problem = fmt.Sprintf("it lags %d log entries behind", m.Lag)
		}
	}
}

// quarantined begins what is said of a member in quarantine.
const quarantined = "it is in quarantine: "

// tellSelf is what this node says of itself.
func (h *here) tellSelf(s cluster.Status, m *pb.ClusterMember) {
	m.State, m.Applied, m.Version, m.MaxFeatureLevel = stateOf(s.State), s.Applied, version, fsm.FeatureLevel
	m.LastContact = contact(s.LastContact)
	if h.members == nil {
		m.Address = "" // Raft's name for a node that nobody dials
	}
	switch why := context.Cause(h.node.Fit()); {
	case why != nil:
		m.Problem = quarantined + why.Error()
	case s.Disk.Refusing:
		m.Problem = "its disk is too full for writes"
	case s.Leader.NodeID != s.NodeID && s.LastContact > silence:
		m.Problem = fmt.Sprintf("it last heard from the leader %v ago", s.LastContact.Round(time.Millisecond))
	}
}

// tellPeer is what another node says of itself, or that it says nothing.
func tellPeer(m *pb.ClusterMember, r *peerpb.StatusReply, err error, leader string) {
	if err != nil {
		m.State, m.Problem = pb.ClusterMember_STATE_UNREACHABLE, "it does not answer: "+oneSentence(err)
		return
	}
	m.Applied, m.Version, m.ReadReplica, m.MaxFeatureLevel = r.GetApplied(), r.GetVersion(), r.GetReadReplica(), r.GetMaxFeatureLevel()
	m.LastContact = contact(time.Duration(r.GetLastContact()))
	if m.State == pb.ClusterMember_STATE_JOINING {
		return
	}
	m.State = stateOf(r.GetState())
	switch last := time.Duration(r.GetLastContact()); {
	case r.GetQuarantine() != "":
		m.Problem = quarantined + r.GetQuarantine()
	case !r.GetHasRoom():
		m.Problem = "its disk is too full for writes"
	case m.Id != leader && last < 0:
		m.Problem = "it has not heard from the leader"
	case m.Id != leader && last > silence:
		m.Problem = fmt.Sprintf("it last heard from the leader %v ago", last.Round(time.Millisecond))
	case leader != "" && r.GetLeaderId() != "" && r.GetLeaderId() != leader:
		m.Problem = "it follows " + r.GetLeaderId()
	}
}

// oneSentence is an error without what gRPC puts around it.
func oneSentence(err error) string {
	_, text, found := strings.Cut(err.Error(), "desc = ")
	if !found {
		return err.Error()
	}
	return strings.TrimSuffix(text, `"`)
}

func contact(since time.Duration) *durationpb.Duration {
	if since < 0 {
		return nil
	}
	return durationpb.New(since)
}

func stateOf(raft string) pb.ClusterMember_State {
	switch raft {
	case "Leader":
		return pb.ClusterMember_STATE_LEADER
	case "Follower":
		return pb.ClusterMember_STATE_FOLLOWER
	case "Candidate":
		return pb.ClusterMember_STATE_CANDIDATE
	}
	return pb.ClusterMember_STATE_UNSPECIFIED
}
