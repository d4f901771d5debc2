package rpc

import (
	"context"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// Cluster is the cluster as ClusterService needs it: what this node knows of it, and what it passes on to whoever can do it.
// Node ids have been checked for their form. Errors are [*LogError]s, [MemberError]s and those of contexts.
type Cluster interface {
	Status(context.Context) (*pb.ClusterStatusResponse, error)
	Members(context.Context) (*pb.ClusterMembersResponse, error)
	Health(context.Context) (*pb.ClusterHealthResponse, error)
	// Remove, Promote and Demote return the log index of the new configuration.
	Remove(ctx context.Context, nodeID string) (uint64, error)
	Promote(ctx context.Context, nodeID string) (uint64, error)
	Demote(ctx context.Context, nodeID string) (uint64, error)
	// TransferLeader hands leadership to a voter, to the best one when nodeID is empty.
	TransferLeader(ctx context.Context, nodeID string) (*pb.ClusterTransferLeaderResponse, error)
	// Snapshot and Digest are of the node asked when nodeID is empty.
	Snapshot(ctx context.Context, nodeID string) (*pb.ClusterSnapshotResponse, error)
	Digest(context.Context, *pb.ClusterDigestRequest) (*pb.ClusterDigestResponse, error)
	Finalize(context.Context) (*pb.ClusterFinalizeResponse, error)
	Jobs(context.Context) (*pb.ClusterJobsResponse, error)
}

// MemberReason classes why something was not done with a member.
type MemberReason string

// The reasons.
const (
	// ReasonUnknownMember: the cluster has no such member.
	ReasonUnknownMember MemberReason = "UNKNOWN_MEMBER"
	// ReasonUnreachable: the member, or the leader, does not answer.
	ReasonUnreachable MemberReason = "MEMBER_UNREACHABLE"
	// ReasonQuorum: too few voters that are well would be left.
	ReasonQuorum MemberReason = "QUORUM_AT_RISK"
	// ReasonMemberState: the member is not in a state that allows it.
	ReasonMemberState MemberReason = "MEMBER_STATE"
	// ReasonChanging: another change of the members is under way.
	ReasonChanging MemberReason = "CHANGE_UNDER_WAY"
)

// A MemberError says why something was not done with a member.
type MemberError struct {
	Reason MemberReason
	// NodeID of the member.
	NodeID string
	Err    error
}

func (e *MemberError) Error() string { return e.Err.Error() }

func (e *MemberError) Unwrap() error { return e.Err }

// maxNodeIDBytes bounds what may be meant for the id of a node.
const maxNodeIDBytes = 128

// checkNodeID refuses what cannot be the id of a node.
func checkNodeID(id string) error {
	switch {
	case id == "":
		return graph.Invalidf("node_id", "is empty; see who belongs to the cluster with Members")
	case len(id) > maxNodeIDBytes:
		return graph.Invalidf("node_id", "has %d bytes, at most %d", len(id), maxNodeIDBytes)
	}
	return nil
}

// anyNodeID is checkNodeID for calls that mean a node by an empty id.
func anyNodeID(id string) error {
	if id == "" {
		return nil
	}
	return checkNodeID(id)
}

// admin is ClusterService.
type admin struct {
	graphgrpc.UnimplementedClusterServiceServer
	cluster Cluster
}

func (a *admin) Status(ctx context.Context, _ *pb.ClusterStatusRequest) (*pb.ClusterStatusResponse, error) {
	return a.cluster.Status(ctx)
}

func (a *admin) Members(ctx context.Context, _ *pb.ClusterMembersRequest) (*pb.ClusterMembersResponse, error) {
	return a.cluster.Members(ctx)
}

func (a *admin) Health(ctx context.Context, _ *pb.ClusterHealthRequest) (*pb.ClusterHealthResponse, error) {
	return a.cluster.Health(ctx)
}

func (a *admin) Remove(ctx context.Context, req *pb.ClusterRemoveRequest) (*pb.ClusterChangeResponse, error) {
	return change(ctx, req.GetNodeId(), a.cluster.Remove)
}

func (a *admin) Promote(ctx context.Context, req *pb.ClusterPromoteRequest) (*pb.ClusterChangeResponse, error) {
	return change(ctx, req.GetNodeId(), a.cluster.Promote)
}

func (a *admin) Demote(ctx context.Context, req *pb.ClusterDemoteRequest) (*pb.ClusterChangeResponse, error) {
	return change(ctx, req.GetNodeId(), a.cluster.Demote)
}

func change(ctx context.Context, nodeID string, make func(context.Context, string) (uint64, error)) (*pb.ClusterChangeResponse, error) {
	if err := checkNodeID(nodeID); err != nil {
		return nil, err
	}
	index, err := make(ctx, nodeID)
	if err != nil {
		return nil, err
	}
	return &pb.ClusterChangeResponse{Index: index}, nil
}

func (a *admin) TransferLeader(ctx context.Context, req *pb.ClusterTransferLeaderRequest) (*pb.ClusterTransferLeaderResponse, error) {
	if err := anyNodeID(req.GetNodeId()); err != nil {
		return nil, err
	}
	return a.cluster.TransferLeader(ctx, req.GetNodeId())
}

func (a *admin) Snapshot(ctx context.Context, req *pb.ClusterSnapshotRequest) (*pb.ClusterSnapshotResponse, error) {
	if err := anyNodeID(req.GetNodeId()); err != nil {
		return nil, err
	}
	return a.cluster.Snapshot(ctx, req.GetNodeId())
}

func (a *admin) Digest(ctx context.Context, req *pb.ClusterDigestRequest) (*pb.ClusterDigestResponse, error) {
	if err := anyNodeID(req.GetNodeId()); err != nil {
		return nil, err
	}
	if req.GetMark() && (req.GetNodeId() != "" || req.GetRevision() != 0) {
		return nil, graph.Invalidf("mark", "excludes node_id and revision: the leader answers, at a revision that it makes")
	}
	return a.cluster.Digest(ctx, req)
}

func (a *admin) Finalize(ctx context.Context, _ *pb.ClusterFinalizeRequest) (*pb.ClusterFinalizeResponse, error) {
	return a.cluster.Finalize(ctx)
}

func (a *admin) Jobs(ctx context.Context, _ *pb.ClusterJobsRequest) (*pb.ClusterJobsResponse, error) {
	return a.cluster.Jobs(ctx)
}

// PeerClusterService is ClusterService for the peer port, where one member asks another to do what only that one can. It has no
// interceptors there, so its errors are made ready for the wire here.
func PeerClusterService(c Cluster) graphgrpc.ClusterServiceServer {
	return &peerAdmin{admin: admin{cluster: c}}
}

type peerAdmin struct {
	graphgrpc.UnimplementedClusterServiceServer
	admin admin
}

func (p *peerAdmin) Remove(ctx context.Context, req *pb.ClusterRemoveRequest) (*pb.ClusterChangeResponse, error) {
	return ready(p.admin.Remove(ctx, req))
}

func (p *peerAdmin) Promote(ctx context.Context, req *pb.ClusterPromoteRequest) (*pb.ClusterChangeResponse, error) {
	return ready(p.admin.Promote(ctx, req))
}

func (p *peerAdmin) Demote(ctx context.Context, req *pb.ClusterDemoteRequest) (*pb.ClusterChangeResponse, error) {
	return ready(p.admin.Demote(ctx, req))
}

func (p *peerAdmin) TransferLeader(ctx context.Context, req *pb.ClusterTransferLeaderRequest) (*pb.ClusterTransferLeaderResponse, error) {
	return ready(p.admin.TransferLeader(ctx, req))
}

func (p *peerAdmin) Snapshot(ctx context.Context, req *pb.ClusterSnapshotRequest) (*pb.ClusterSnapshotResponse, error) {
	return ready(p.admin.Snapshot(ctx, req))
}

func (p *peerAdmin) Digest(ctx context.Context, req *pb.ClusterDigestRequest) (*pb.ClusterDigestResponse, error) {
	return ready(p.admin.Digest(ctx, req))
}

func (p *peerAdmin) Finalize(ctx context.Context, req *pb.ClusterFinalizeRequest) (*pb.ClusterFinalizeResponse, error) {
	return ready(p.admin.Finalize(ctx, req))
}

func (p *peerAdmin) Jobs(ctx context.Context, req *pb.ClusterJobsRequest) (*pb.ClusterJobsResponse, error) {
	return ready(p.admin.Jobs(ctx, req))
}

// ready makes an error a status, as the interceptors of the public port do.
func ready[R any](reply R, err error) (R, error) {
	st, _ := asStatus(err)
	return reply, st
}
