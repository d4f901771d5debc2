package cluster

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
)

// A node with a port and an empty folder waits: it has a node id, which is written down, and no cluster. Somebody calls Found on
// one such node, and Adopt on the others. The founder writes the first log entry before its cluster id. If it dies between
// the two, the next start finishes: nobody can have heard of the cluster before the id.

// ErrOtherCluster says that a node is a member of another cluster already.
var ErrOtherCluster = errors.New("node is of another cluster")

// Found makes the first configuration of a new cluster, in which this node is a voter at the address of its port. It may be called on
// one of the members alone, and only when all of them are of no cluster. It returns when the configuration is on disk here; then tell the
// others, which membership does (see [Node.Adopt]).
func (n *Node) Found(members []Server) error {
	n.joining.Lock()
	defer n.joining.Unlock()
	if n.peers == nil {
		return errNoPeers
	}
	if meta := n.Identity(); !meta.Waits() {
		return fmt.Errorf("found a cluster: this node is of cluster %s: %w", meta.ClusterID, ErrOtherCluster)
	}
	configuration, err := n.founders(members)
	if err != nil {
		return fmt.Errorf("found a cluster: %w", err)
	}
	if err := n.raft.BootstrapCluster(configuration).Error(); err != nil {
		return fmt.Errorf("found a cluster: %w", err)
	}
	return n.finishFounding()
}

// founders is the first configuration, in the order of node ids.
func (n *Node) founders(members []Server) (raft.Configuration, error) {
	var c raft.Configuration
	self := Server{NodeID: n.Identity().NodeID, Address: n.peers.port.Address(), Voter: true}
	if !slices.Contains(members, self) {
		return c, fmt.Errorf("members %v do not have this node, %v", members, self)
	}
	sorted := slices.SortedFunc(slices.Values(members), func(a, b Server) int {
		if a.NodeID < b.NodeID {
			return -1
		}
		return 1
	})
	for _, s := range sorted {
		suffrage := raft.Nonvoter
		if s.Voter {
			suffrage = raft.Voter
		}
		c.Servers = append(c.Servers, raft.Server{Suffrage: suffrage, ID: raft.ServerID(s.NodeID), Address: raft.ServerAddress(s.Address)})
	}
	return c, nil
}

// finishFounding gives the cluster, whose first entry is in the log, its id.
func (n *Node) finishFounding() error {
	meta, err := n.newIdentity()
	if err != nil {
		return err
	}
	return n.join(meta.ClusterID, meta.Lineage)
}

// Adopt makes this node, which is of no cluster, one of a cluster. From then on it takes the traffic of that cluster. It may be done
// again. The error is of the kind [ErrOtherCluster] for another cluster.
func (n *Node) Adopt(clusterID string, lineage uint32) error {
	n.joining.Lock()
	defer n.joining.Unlock()
	if n.peers == nil {
		return errNoPeers
	}
	meta := n.Identity()
	switch {
	case clusterID == "" || lineage == 0:
		return fmt.Errorf("adopt cluster %q of lineage %d: want both", clusterID, lineage)
	case meta.ClusterID == clusterID:
		return nil
	case !meta.Waits():
		return fmt.Errorf("adopt cluster %s: this node is of cluster %s: %w", clusterID, meta.ClusterID, ErrOtherCluster)
	}
	return n.join(clusterID, lineage)
}

// join writes down whose member this node is, and opens the port for that cluster.
func (n *Node) join(clusterID string, lineage uint32) error {
	meta := n.Identity()
	meta.ClusterID, meta.Lineage = clusterID, lineage
	if err := n.saveIdentity(meta); err != nil {
		return fmt.Errorf("join cluster %s: %w", clusterID, err)
	}
	n.meta.Store(&meta)
	n.peers.port.SetCluster(clusterID)
	n.logger.Info("this node is of a cluster now", "cluster", clusterID, "node", meta.NodeID)
	return nil
}

// resumeJoining puts right what a crash in Found left: a term without an entry, or an entry without a cluster id.
func (n *Node) resumeJoining(logs raft.LogStore, stable raft.StableStore) error {
	if !n.Identity().Waits() {
		return nil
	}
	last, err := logs.LastIndex()
	if err != nil {
		return err
	}
	if last > 0 {
		return n.finishFounding()
	}
	term, err := stable.GetUint64([]byte(keyCurrentTerm))
	if err != nil && !errors.Is(err, raftlog.ErrKeyNotFound) || term == 0 {
		return nil
	}
	if err := stable.SetUint64([]byte(keyCurrentTerm), 0); err != nil {
		return fmt.Errorf("begin without a cluster: %w", err)
	}
	return nil
}
