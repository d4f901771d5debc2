package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

// peerServer answers other nodes. Who they are the port has seen to.
type peerServer struct {
	graphgrpc.UnimplementedPeerServiceServer
	node *Node
}

// Status is where this node stands.
func (s *peerServer) Status(context.Context, *peerpb.StatusRequest) (*peerpb.StatusReply, error) {
	return s.node.peerStatus(), nil
}

func (n *Node) peerStatus() *peerpb.StatusReply {
	meta, sys := n.Identity(), n.machine.Store().System()
	leader, _ := n.route.get()
	lastIndex, lastTerm := n.lastLog()
	reply := &peerpb.StatusReply{
		NodeId: meta.NodeID, ClusterId: meta.ClusterID, Lineage: meta.Lineage,
		State: n.raft.State().String(), LeaderId: leader.NodeID, Term: n.raft.CurrentTerm(),
		LastLogIndex: lastIndex, LastLogTerm: lastTerm, Committed: n.raft.CommitIndex(),
		Applied: n.machine.Applied(), Revision: uint64(fsm.Revision(sys)),
		LastContact: int64(n.sinceContact()), WallClock: n.config.Clock().UnixNano(), HasRoom: n.room.Refusal() == nil,
		FeatureLevel: sys.FeatureLevel, MaxFeatureLevel: fsm.FeatureLevel, Version: n.config.Version,
		Servers: uint32(len(n.members().Servers)), ReadReplica: n.config.Peers != nil && n.config.Peers.ReadReplica,
		Ready: n.Ready() == nil, StartId: n.startID[:], RunningFor: int64(time.Since(n.startedAt)),
	}
	if gone := n.refusing.Load(); gone != nil && *gone == leader {
		reply.LeaderRefuses = true
	}
	if why := context.Cause(n.isolation.fit); why != nil {
		reply.Quarantine = why.Error()
	}
	if n.peers != nil {
		reply.CommandsForwarded, reply.ReadIndexesAsked, reply.ReadIndexesAnswered = n.forward.forwarded.Load(), n.asks.asked.Load(), n.peers.readIndexes.Load()
	}
	return reply
}

// sinceContact is how long ago this node heard from the leader, 0 on the leader, -1 for never.
func (n *Node) sinceContact() time.Duration {
	if n.raft.State() == raft.Leader {
		return 0
	}
	last := n.raft.LastContact()
	if last.IsZero() {
		return -1
	}
	return time.Since(last)
}

// lastLog is the newest entry in the log, or the end of the rows where the log has none.
func (n *Node) lastLog() (index, term uint64) {
	sys := n.machine.Store().System()
	index, err := n.logs.LastIndex()
	if err != nil || index <= sys.Applied {
		return sys.Applied, sys.Term
	}
	var last raft.Log
	if err := n.logs.GetLog(index, &last); err != nil {
		return sys.Applied, sys.Term
	}
	return index, last.Term
}

// PeerStatus asks a node where it stands. An empty node id is for whoever is there.
func (n *Node) PeerStatus(ctx context.Context, nodeID, address string) (*peerpb.StatusReply, error) {
	conn, err := n.Connect(nodeID, address)
	if err != nil {
		return nil, err
	}
	reply, err := graphgrpc.NewPeerServiceClient(conn).Status(ctx, &peerpb.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("status of %s at %s: %w", nodeID, address, err)
	}
	if nodeID != "" && reply.NodeId != nodeID {
		return nil, fmt.Errorf("status of %s at %s: it is %s: %w", nodeID, address, reply.NodeId, errOtherNode)
	}
	return reply, nil
}

var errOtherNode = errors.New("another node answers there")
