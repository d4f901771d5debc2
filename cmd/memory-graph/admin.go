package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/membership"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
)

// leaderPatience is how long an order for the leader waits for one.
const leaderPatience = 10 * time.Second

// here answers ClusterService with what this node itself knows and can do. What only the leader can do it refuses elsewhere.
type here struct {
	node      *cluster.Node
	retention fsm.Retention
	// members looks after who belongs to the cluster; nil on a node without peers.
	members *cluster.Members
}

// keeper does what operators ask for; nil on a node without peers.
func (h *here) keeper() *membership.Keeper {
	if h.members == nil {
		return nil
	}
	return h.members.Keeper()
}

// errAlone is for orders that make no sense for a node without peers.
var errAlone = errors.New("this server is a cluster of one node; start it with --peer-addr and let others join it")

// TransferLeader hands leadership to another voter.
func (h *here) TransferLeader(ctx context.Context, nodeID string) (*pb.ClusterTransferLeaderResponse, error) {
	before, err := h.node.Status()
	if err != nil {
		return nil, err
	}
	if before.Leader.NodeID != before.NodeID {
		return nil, notLeader()
	}
	if nodeID != "" {
		server, ok := before.Members.Find(nodeID)
		switch {
		case !ok:
			return nil, unknownMember(nodeID)
		case !server.Voter:
			return nil, &rpc.MemberError{Reason: rpc.ReasonMemberState, NodeID: nodeID, Err: fmt.Errorf("%s is no voter: only voters lead", nodeID)}
		case nodeID == before.NodeID:
			return nil, &rpc.MemberError{Reason: rpc.ReasonMemberState, NodeID: nodeID, Err: fmt.Errorf("%s leads already", nodeID)}
		}
	}
	if before.Members.Voters() < 2 {
		return nil, &rpc.MemberError{Reason: rpc.ReasonMemberState, NodeID: before.NodeID, Err: fmt.Errorf("%s is the only voter: nobody else can lead", before.NodeID)}
	}
	if err := h.node.TransferLeadership(ctx, nodeID); err != nil {
		var known *cluster.Error
		if ctx.Err() != nil || errors.As(err, &known) {
			return nil, logError(err)
		}
		return nil, &rpc.MemberError{Reason: rpc.ReasonMemberState, NodeID: cmp.Or(nodeID, before.NodeID), Err: err}
	}
	for {
		now, changed := h.node.Leader()
		if now.NodeID != "" && now.NodeID != before.NodeID {
			after, err := h.node.Status()
			return &pb.ClusterTransferLeaderResponse{Leader: now.NodeID, Term: after.Term}, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Snapshot makes the rows of this node durable and cuts its log.
func (h *here) Snapshot(context.Context, string) (*pb.ClusterSnapshotResponse, error) {
	if err := h.node.Snapshot(); err != nil {
		return nil, logError(err)
	}
	s, err := h.node.Status()
	if err != nil {
		return nil, err
	}
	return &pb.ClusterSnapshotResponse{NodeId: s.NodeID, Index: s.Durable, FirstLogIndex: s.FirstLog}, nil
}

// Digest is that of this node's state: after a mark that it makes, at a revision that has one, or as it is.
func (h *here) Digest(ctx context.Context, req *pb.ClusterDigestRequest) (*pb.ClusterDigestResponse, error) {
	var mark cluster.Mark
	var err error
	switch {
	case req.GetMark():
		mark, err = h.node.MarkState(ctx)
	case req.GetRevision() > 0:
		mark, err = h.node.MarkAt(ctx, req.GetRevision())
	default:
		return h.newestDigest(ctx, req.GetMinRevision())
	}
	var none *cluster.ErrNoMark
	if errors.As(err, &none) {
		id := h.node.Identity().NodeID
		return nil, &rpc.MemberError{Reason: rpc.ReasonMemberState, NodeID: id, Err: fmt.Errorf("%s does not know its digest at revision %d", id, req.GetRevision())}
	}
	if err != nil {
		return nil, logError(err)
	}
	return &pb.ClusterDigestResponse{NodeId: h.node.Identity().NodeID, Revision: mark.Revision, Digest: hex.EncodeToString(mark.Digest[:])}, nil
}

func (h *here) newestDigest(ctx context.Context, minRevision uint64) (*pb.ClusterDigestResponse, error) {
	if minRevision > 0 {
		if err := h.node.Machine().WaitRevision(ctx, graph.Revision(minRevision)); err != nil {
			return nil, err
		}
	}
	sys := h.node.Machine().Store().System()
	digest := fsm.Digest(sys)
	return &pb.ClusterDigestResponse{NodeId: h.node.Identity().NodeID, Revision: uint64(fsm.Revision(sys)), Digest: hex.EncodeToString(digest[:])}, nil
}

// Remove takes a member out of the cluster.
func (h *here) Remove(ctx context.Context, nodeID string) (uint64, error) {
	return h.change(ctx, nodeID, (*membership.Keeper).Remove)
}

// Promote makes a member a voter.
func (h *here) Promote(ctx context.Context, nodeID string) (uint64, error) {
	return h.change(ctx, nodeID, (*membership.Keeper).Promote)
}

// Demote takes a member's vote.
func (h *here) Demote(ctx context.Context, nodeID string) (uint64, error) {
	return h.change(ctx, nodeID, (*membership.Keeper).Demote)
}

// change has a change of the members made, and returns the index of the configuration that it led to.
func (h *here) change(ctx context.Context, nodeID string, make func(*membership.Keeper, context.Context, membership.NodeID) error) (uint64, error) {
	if err := h.leads(); err != nil {
		return 0, err
	}
	before, err := h.node.Configuration()
	if err != nil {
		return 0, err
	}
	if _, ok := before.Find(nodeID); !ok {
		return 0, unknownMember(nodeID)
	}
	keeper := h.keeper()
	if keeper == nil {
		return 0, &rpc.MemberError{Reason: rpc.ReasonMemberState, NodeID: nodeID, Err: errAlone}
	}
	err = make(keeper, ctx, membership.NodeID(nodeID))
	if errors.Is(err, membership.ErrSelf) {
		// Whoever leads next can do it: the order goes there.
		return 0, cmp.Or(logError(h.node.TransferLeadership(ctx, "")), notLeader())
	}
	if err != nil {
		return 0, memberError(nodeID, err)
	}
	c, err := h.node.Configuration()
	return c.Index, err
}

// Finalize raises the feature level to what every member can do.
func (h *here) Finalize(ctx context.Context) (*pb.ClusterFinalizeResponse, error) {
	if err := h.leads(); err != nil {
		return nil, err
	}
	before := h.node.Machine().Store().System().FeatureLevel
	keeper := h.keeper()
	if keeper == nil {
		if err := h.node.RaiseFeatureLevel(ctx, fsm.FeatureLevel); err != nil {
			return nil, logError(err)
		}
		return &pb.ClusterFinalizeResponse{FeatureLevelBefore: before, FeatureLevel: max(before, fsm.FeatureLevel)}, nil
	}
	after, err := keeper.Finalize(ctx)
	if err != nil {
		return nil, memberError("", err)
	}
	return &pb.ClusterFinalizeResponse{FeatureLevelBefore: before, FeatureLevel: after}, nil
}

// Jobs are what the leader does by itself.
func (h *here) Jobs(context.Context) (*pb.ClusterJobsResponse, error) {
	if err := h.leads(); err != nil {
		return nil, err
	}
	chore := &pb.ClusterJob{Name: "chores", NodeId: h.node.Identity().NodeID, Detail: "nothing to sweep and nothing to trim"}
	due, err := h.node.Machine().Chore(h.retention)
	if err != nil {
		return nil, err
	}
	if due != nil {
		command, err := fsm.DecodeCommand(due)
		if err != nil {
			return nil, err
		}
		chore.Due, chore.Detail = true, "sweeps the rows of a deletion"
		if _, trims := command.GetOperation().(*logpb.Command_TrimEvents); trims {
			chore.Detail = "trims events that are past their retention"
		}
	}
	return &pb.ClusterJobsResponse{Jobs: []*pb.ClusterJob{chore}}, nil
}

// leads is nil when this node can do what only the leader can.
func (h *here) leads() error {
	if term, _ := h.node.LeadingTerm(); term == 0 {
		return notLeader()
	}
	return nil
}

func notLeader() error {
	return &rpc.LogError{Kind: rpc.NoLeader, NotProposed: true, Err: errors.New("this node does not lead")}
}

func unknownMember(nodeID string) error {
	return &rpc.MemberError{Reason: rpc.ReasonUnknownMember, NodeID: nodeID, Err: fmt.Errorf("the cluster has no member %s", nodeID)}
}

// everywhere answers ClusterService on any member: with what this node knows and can do, or with the answer of the one that can.
type everywhere struct{ *here }

// Remove is done by the leader.
func (e *everywhere) Remove(ctx context.Context, nodeID string) (uint64, error) {
	return atLeader(ctx, e, func() (uint64, error) { return e.here.Remove(ctx, nodeID) }, func(c graphgrpc.ClusterServiceClient) (uint64, error) {
		reply, err := c.Remove(ctx, &pb.ClusterRemoveRequest{NodeId: nodeID})
		return reply.GetIndex(), err
	})
}

// Promote is done by the leader.
func (e *everywhere) Promote(ctx context.Context, nodeID string) (uint64, error) {
	return atLeader(ctx, e, func() (uint64, error) { return e.here.Promote(ctx, nodeID) }, func(c graphgrpc.ClusterServiceClient) (uint64, error) {
		reply, err := c.Promote(ctx, &pb.ClusterPromoteRequest{NodeId: nodeID})
		return reply.GetIndex(), err
	})
}

// Demote is done by the leader.
func (e *everywhere) Demote(ctx context.Context, nodeID string) (uint64, error) {
	return atLeader(ctx, e, func() (uint64, error) { return e.here.Demote(ctx, nodeID) }, func(c graphgrpc.ClusterServiceClient) (uint64, error) {
		reply, err := c.Demote(ctx, &pb.ClusterDemoteRequest{NodeId: nodeID})
		return reply.GetIndex(), err
	})
}

// TransferLeader is done by the leader.
func (e *everywhere) TransferLeader(ctx context.Context, nodeID string) (*pb.ClusterTransferLeaderResponse, error) {
	return atLeader(ctx, e, func() (*pb.ClusterTransferLeaderResponse, error) { return e.here.TransferLeader(ctx, nodeID) },
		func(c graphgrpc.ClusterServiceClient) (*pb.ClusterTransferLeaderResponse, error) {
			return c.TransferLeader(ctx, &pb.ClusterTransferLeaderRequest{NodeId: nodeID})
		})
}

// Finalize is done by the leader.
func (e *everywhere) Finalize(ctx context.Context) (*pb.ClusterFinalizeResponse, error) {
	return atLeader(ctx, e, func() (*pb.ClusterFinalizeResponse, error) { return e.here.Finalize(ctx) },
		func(c graphgrpc.ClusterServiceClient) (*pb.ClusterFinalizeResponse, error) {
			return c.Finalize(ctx, &pb.ClusterFinalizeRequest{})
		})
}

// Jobs are the leader's.
func (e *everywhere) Jobs(ctx context.Context) (*pb.ClusterJobsResponse, error) {
	return atLeader(ctx, e, func() (*pb.ClusterJobsResponse, error) { return e.here.Jobs(ctx) },
		func(c graphgrpc.ClusterServiceClient) (*pb.ClusterJobsResponse, error) {
			return c.Jobs(ctx, &pb.ClusterJobsRequest{})
		})
}

// Snapshot is taken by the member named.
func (e *everywhere) Snapshot(ctx context.Context, nodeID string) (*pb.ClusterSnapshotResponse, error) {
	if e.means(nodeID) {
		return e.here.Snapshot(ctx, nodeID)
	}
	return atMember(e, nodeID, func(c graphgrpc.ClusterServiceClient) (*pb.ClusterSnapshotResponse, error) {
		return c.Snapshot(ctx, &pb.ClusterSnapshotRequest{NodeId: nodeID})
	})
}

// Digest is that of the member named, or the leader's where a mark is to be made.
func (e *everywhere) Digest(ctx context.Context, req *pb.ClusterDigestRequest) (*pb.ClusterDigestResponse, error) {
	here := func() (*pb.ClusterDigestResponse, error) { return e.here.Digest(ctx, req) }
	there := func(c graphgrpc.ClusterServiceClient) (*pb.ClusterDigestResponse, error) { return c.Digest(ctx, req) }
	switch {
	case req.GetMark():
		return atLeader(ctx, e, here, there)
	case e.means(req.GetNodeId()):
		return here()
	}
	return atMember(e, req.GetNodeId(), there)
}

// means says whether an id is that of this node, which an empty one is.
func (e *everywhere) means(nodeID string) bool {
	return nodeID == "" || nodeID == e.node.Identity().NodeID
}

// atLeader has an order done by whoever leads, here or there. It waits for a leader, and for the next one when leadership moves
// before the order was taken; one that may have been taken is not repeated.
func atLeader[R any](ctx context.Context, e *everywhere, here func() (R, error), there func(graphgrpc.ClusterServiceClient) (R, error)) (R, error) {
	patience, cancel := context.WithTimeout(ctx, leaderPatience)
	defer cancel()
	for {
		leader, changed := e.node.Leader()
		var reply R
		err := notLeader()
		switch leader.NodeID {
		case "":
		case e.node.Identity().NodeID:
			reply, err = here()
		default:
			reply, err = atMember(e, leader.NodeID, there)
		}
		if !leaderless(err) {
			return reply, err
		}
		select {
		case <-changed:
		case <-time.After(gatePause):
		case <-patience.Done():
			if ctx.Err() != nil {
				return reply, ctx.Err()
			}
			return reply, &rpc.LogError{Kind: rpc.NoLeader, NotProposed: true, Err: fmt.Errorf("no leader for %v", leaderPatience)}
		}
	}
}

// gatePause is how long to wait for a leader to become ready, which nobody tells the others.
const gatePause = 50 * time.Millisecond

// leaderless says whether an order was turned away because the node asked does not lead.
func leaderless(err error) bool {
	var log *rpc.LogError
	if errors.As(err, &log) {
		return log.Kind == rpc.NoLeader && log.NotProposed
	}
	s, ok := status.FromError(err)
	return err != nil && ok && s.Code() == codes.Unavailable && reasonOf(s) == "NO_LEADER"
}

// atMember has another member do something.
func atMember[R any](e *everywhere, nodeID string, ask func(graphgrpc.ClusterServiceClient) (R, error)) (reply R, err error) {
	c, err := e.node.Configuration()
	if err != nil {
		return reply, err
	}
	server, ok := c.Find(nodeID)
	if !ok {
		return reply, unknownMember(nodeID)
	}
	unreachable := func(err error) error {
		return &rpc.MemberError{Reason: rpc.ReasonUnreachable, NodeID: nodeID, Err: fmt.Errorf("%s at %s does not answer %s: %w", nodeID, server.Address, e.node.Identity().NodeID, err)}
	}
	conn, err := e.node.Connect(nodeID, server.Address)
	if err != nil {
		return reply, unreachable(err)
	}
	reply, err = ask(graphgrpc.NewClusterServiceClient(conn))
	if s := status.Convert(err); s.Code() == codes.Unavailable && reasonOf(s) == "" {
		return reply, unreachable(errors.New(s.Message()))
	}
	return reply, err
}
