package cluster

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
)

// DefaultSnapshotRate is how many bytes of snapshots a node sends in a second.
const DefaultSnapshotRate = 64 << 20

// A Port is the one port over which the nodes of a cluster talk (package peer). Whoever comes through it is known to have the
// secret of the cluster. All of it may be called from any goroutine.
type Port interface {
	// Address is where other nodes reach this port, host:port. It is what goes into Raft's configuration.
	Address() string
	// Streams carry Raft. Their address is that of the port, Dial takes what [PeerAddress] makes. They take nothing, and dial
	// nobody, before SetCluster. Their Close ends the listening and leaves the port open.
	Streams() raft.StreamLayer
	// Listener accepts connections for the peer service.
	Listener() net.Listener
	// ServerOptions make a gRPC server accept them: credentials, and interceptors that let nodes of no cluster make
	// the open calls alone, and refuse whoever wants another cluster or another node.
	ServerOptions() []grpc.ServerOption
	// Connect makes a connection to the peer service of a node, which dials when it is used. An empty node id is for whoever is
	// there; that one answers the open calls. The caller closes it.
	Connect(nodeID, address string) (*grpc.ClientConn, error)
	// SetCluster says which cluster this node is of, once.
	SetCluster(clusterID string)
	// Close ends everything that came through the port.
	Close() error
}

// PeersConfig is what a node of a cluster of several is told.
type PeersConfig struct {
	// Open opens the port of the node with this id. The node closes it.
	Open func(nodeID string) (Port, error)
	// Register adds services to the server of the peer port, before it serves; it may be nil. The node is not running yet.
	Register func(*Node, grpc.ServiceRegistrar)
	// ReadReplica: this node never votes. It is only told to others: who leads decides by it.
	ReadReplica bool
	// SnapshotRate bounds the bytes of snapshots that this node sends in a second; [DefaultSnapshotRate] when 0.
	SnapshotRate int64
}

// PeerAddress names a node and where it is in one address for Raft's streams: `<node id>@host:port`.
func PeerAddress(nodeID, address string) raft.ServerAddress {
	return raft.ServerAddress(nodeID + "@" + address)
}

// SplitPeerAddress is the inverse of [PeerAddress].
func SplitPeerAddress(address raft.ServerAddress) (nodeID, hostPort string, err error) {
	nodeID, hostPort, ok := strings.Cut(string(address), "@")
	if !ok || nodeID == "" || hostPort == "" {
		return "", "", fmt.Errorf("peer address %q: want <node id>@host:port", address)
	}
	return nodeID, hostPort, nil
}

// errNoPeers is for calls that only a node with a port can do.
var errNoPeers = errors.New("this node is a cluster of one and has no peer port: start it with one")
