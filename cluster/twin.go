package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

// Two processes with copies of one data folder are one node that votes twice. So a node that finds itself elsewhere than the configuration has
// it asks there whether it runs already: before it takes part, and every few seconds. The younger one ends.
const (
	twinTimeout  = time.Second
	twinInterval = 10 * time.Second
)

// errTwin says that another process has the id of this node.
var errTwin = errors.New("this node runs twice")

// refuseTwin asks at the address that the rows have for this node, before it starts.
func (n *Node) refuseTwin() error {
	if n.peers == nil {
		return nil
	}
	var configured raft.Configuration
	if config := n.machine.Store().System().Config; len(config) > 0 {
		configured = raft.DecodeConfiguration(config)
	}
	twin, at := n.findTwin(context.Background(), configured)
	if twin == nil {
		return nil
	}
	return n.twinError(twin, at)
}

// watchTwin asks now and then while the node runs.
func (n *Node) watchTwin(ctx context.Context) {
	tick := time.NewTicker(twinInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		twin, at := n.findTwin(ctx, n.members())
		switch {
		case twin == nil:
		case time.Duration(twin.RunningFor) < time.Since(n.startedAt):
			n.logger.Error("another process has the data folder of this node, or a copy: stop it", "node", twin.NodeId, "address", at, "this_one", n.peers.port.Address())
		default:
			n.fatal(n.twinError(twin, at))
			return
		}
	}
}

func (n *Node) twinError(twin *peerpb.StatusReply, at string) error {
	return fmt.Errorf("%s has been running at %s for %v, and this one at %s has the same id: its data folder is a copy, or the other process was not stopped. "+
		"Stop one of them; to have one more node start it with an empty folder: %w",
		twin.NodeId, at, time.Duration(twin.RunningFor).Round(time.Second), n.peers.port.Address(), errTwin)
}

// findTwin asks whoever is where a configuration has this node, when that is not where it is. Nil is for nobody, or another node.
func (n *Node) findTwin(ctx context.Context, configured raft.Configuration) (twin *peerpb.StatusReply, at string) {
	self, own := n.Identity().NodeID, n.peers.port.Address()
	for _, s := range configured.Servers {
		if string(s.ID) == self {
			at = string(s.Address)
		}
	}
	if at == "" || at == own {
		return nil, at
	}
	conn, err := n.peers.port.Connect(self, at)
	if err != nil {
		return nil, at
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, twinTimeout)
	defer cancel()
	reply, err := graphgrpc.NewPeerServiceClient(conn).Status(ctx, &peerpb.StatusRequest{})
	if err != nil || reply.NodeId != self || len(reply.StartId) == 0 || bytes.Equal(reply.StartId, n.startID[:]) {
		return nil, at
	}
	return reply, at
}
