package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/grpc"
)

const (
	// commandWithin bounds one call of the command line, its start included; askWithin one question to a node.
	commandWithin = 3 * time.Minute
	askWithin     = 30 * time.Second
)

var (
	errDisagree = errors.New("nodes do not see the same cluster")
	errNoLeader = errors.New("no leader is known")
	errDigests  = errors.New("nodes have different states at one revision")
)

// Command runs `memory-graph <args> --address <node>` at the client's place and returns what it printed.
func (c *Cluster) Command(ctx context.Context, node *Node, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.config.Binary, append(args, "--address", node.place().API)...)
	bind(cmd)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := c.config.Network.Start(cmd, Client); err != nil {
		return nil, fmt.Errorf("memory-graph %v: %w", args, err)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("memory-graph %v at %s: %w: %s", args, node.Name(), err, errs.Bytes())
	}
	return out.Bytes(), nil
}

// ask makes one call of the service that looks after clusters.
func ask[Q, A any](
	ctx context.Context, c *Cluster, node *Node,
	method func(graphgrpc.ClusterServiceClient, context.Context, Q, ...grpc.CallOption) (A, error), question Q,
) (answer A, err error) {
	conn, err := c.Dial(node.place().API)
	if err != nil {
		return answer, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if answer, err = method(graphgrpc.NewClusterServiceClient(conn), ctx, question); err != nil {
		return answer, fmt.Errorf("ask %s: %w", node.Name(), err)
	}
	return answer, nil
}

// Status asks one node how it sees the cluster.
func (c *Cluster) Status(ctx context.Context, node *Node) (*pb.ClusterStatusResponse, error) {
	return ask(ctx, c, node, graphgrpc.ClusterServiceClient.Status, &pb.ClusterStatusRequest{})
}

// Transfer asks a node to see to it that another node leads.
func (c *Cluster) Transfer(ctx context.Context, node *Node) (*pb.ClusterTransferLeaderResponse, error) {
	return ask(ctx, c, node, graphgrpc.ClusterServiceClient.TransferLeader, &pb.ClusterTransferLeaderRequest{})
}

// Digest asks a node for the digest of its own state.
func (c *Cluster) Digest(ctx context.Context, node *Node) (*pb.ClusterDigestResponse, error) {
	return ask(ctx, c, node, graphgrpc.ClusterServiceClient.Digest, &pb.ClusterDigestRequest{})
}

// NodeOf finds the node with the id of a member; nil when there is none.
func (c *Cluster) NodeOf(id string) *Node {
	for _, node := range c.Nodes {
		if strings.HasPrefix(id, node.Name()+"-") {
			return node
		}
	}
	return nil
}

// AwaitLeader waits until all nodes of the list (all that run, when it is empty) name the same leader, one of them, and returns it.
func (c *Cluster) AwaitLeader(ctx context.Context, among ...*Node) (leader *Node, err error) {
	err = await(ctx, "there is a leader", func(ctx context.Context) (bool, error) {
		nodes := among
		if len(nodes) == 0 {
			nodes = c.running()
		}
		leader, err = c.agreed(ctx, nodes)
		return err == nil, err
	})
	return leader, err
}

// agreed is the leader that all the nodes name.
func (c *Cluster) agreed(ctx context.Context, nodes []*Node) (*Node, error) {
	var seen string
	for _, node := range nodes {
		s, err := c.Status(ctx, node)
		if err != nil {
			return nil, err
		}
		if s.GetLeader() == "" || seen != "" && seen != s.GetLeader() {
			return nil, fmt.Errorf("%w: %s says that %q leads, another that %q does", errNoLeader, node.Name(), s.GetLeader(), seen)
		}
		seen = s.GetLeader()
	}
	leader := c.NodeOf(seen)
	for _, node := range nodes {
		if node == leader {
			return leader, nil
		}
	}
	return nil, fmt.Errorf("%w: %q leads, which is none of those asked", errNoLeader, seen)
}

func (c *Cluster) running() []*Node {
	var all []*Node
	for _, node := range c.Nodes {
		if node.Running() {
			all = append(all, node)
		}
	}
	return all
}

// Others are all nodes but one.
func (c *Cluster) Others(node *Node) []*Node {
	var all []*Node
	for _, other := range c.Nodes {
		if other != node {
			all = append(all, other)
		}
	}
	return all
}

// AwaitWhole waits until every node sees every node as a voter, no other member, and the same leader.
func (c *Cluster) AwaitWhole(ctx context.Context) error {
	return await(ctx, "the cluster is whole", func(ctx context.Context) (bool, error) {
		var first *pb.ClusterStatusResponse
		for i, node := range c.Nodes {
			s, err := c.Status(ctx, node)
			if err != nil {
				return false, err
			}
			if err := c.whole(s); err != nil {
				return false, fmt.Errorf("node %s: %w", node.Name(), err)
			}
			if i == 0 {
				first = s
			}
			if s.GetLeader() != first.GetLeader() || s.GetClusterId() != first.GetClusterId() {
				return false, fmt.Errorf("%w: %v and %v", errDisagree, first, s)
			}
		}
		return true, nil
	})
}

// whole says what is missing in a status.
func (c *Cluster) whole(s *pb.ClusterStatusResponse) error {
	if c.NodeOf(s.GetLeader()) == nil {
		return errNoLeader
	}
	if len(s.GetMembers()) != len(c.Nodes) {
		return fmt.Errorf("%w: %d members, want %d: %v", errDisagree, len(s.GetMembers()), len(c.Nodes), s.GetMembers())
	}
	for _, m := range s.GetMembers() {
		if m.GetRole() != pb.ClusterMember_ROLE_VOTER || c.NodeOf(m.GetId()) == nil {
			return fmt.Errorf("%w: member %v", errDisagree, m)
		}
		if state := m.GetState(); state != pb.ClusterMember_STATE_LEADER && state != pb.ClusterMember_STATE_FOLLOWER {
			return fmt.Errorf("%w: member %v", errDisagree, m)
		}
	}
	return nil
}

// AwaitSameDigest waits until all nodes are at one revision, and compares their digests there. Nobody may write meanwhile.
func (c *Cluster) AwaitSameDigest(ctx context.Context) error {
	return await(ctx, "all nodes are at one revision", func(ctx context.Context) (bool, error) {
		var first *pb.ClusterDigestResponse
		for i, node := range c.Nodes {
			d, err := c.Digest(ctx, node)
			if err != nil {
				return false, err
			}
			if i == 0 {
				first = d
			}
			if d.GetRevision() != first.GetRevision() {
				return false, fmt.Errorf("%w: revisions %d and %d", errDisagree, first.GetRevision(), d.GetRevision())
			}
			if d.GetDigest() != first.GetDigest() || d.GetDigest() == "" {
				return false, &final{fmt.Errorf("%w: %v and %v", errDigests, first, d)}
			}
		}
		return true, nil
	})
}
