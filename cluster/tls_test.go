package cluster_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A realNode is one on disk, with a port over TCP and TLS on loopback.
type realNode struct {
	*cluster.Node
	address string
}

func (r *realNode) id() string { return r.Identity().NodeID }

func (r *realNode) config(t *testing.T, folder string) cluster.Config {
	return cluster.Config{
		Folder: folder, Name: "real", Random: rand.Reader, DiskReserve: reserve.None,
		Fatal: func(err error) { t.Errorf("fatal: %v", err) },
		Peers: &cluster.PeersConfig{Open: func(nodeID string) (cluster.Port, error) {
			s, err := secret.New([]byte(strings.Repeat("s", secret.MinBytes)))
			if err != nil {
				return nil, err
			}
			credentials, err := peer.FromSecrets(nodeID, []secret.Secret{s})
			if err != nil {
				return nil, err
			}
			listener, err := peer.Listen(t.Context(), "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			r.address = listener.Addr().String()
			return peer.Open(peer.Config{NodeID: nodeID, Credentials: credentials, Listener: listener})
		}},
	}
}

func openReal(t *testing.T, folder string) *realNode {
	t.Helper()
	r := &realNode{}
	var err error
	if r.Node, err = cluster.Open(r.config(t, folder)); err != nil {
		t.Fatal(err)
	}
	return r
}

// welcome makes another node, which waits, one of the cluster of this one.
func (r *realNode) welcome(t *testing.T, to *realNode) {
	t.Helper()
	if err := to.Adopt(r.Identity().ClusterID, r.Identity().Lineage); err != nil {
		t.Fatal(err)
	}
}

// write makes session i through a node.
func write(t *testing.T, n *realNode, i int) {
	t.Helper()
	id := binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i)+1)
	session := &pb.Session{Id: fmt.Sprintf("00000000-0000-4000-8000-%012d", i)}
	command, err := fsm.EncodeCommand(&logpb.Command{
		Tenant: 1, RequestId: id, Fingerprint: id,
		Operation: &logpb.Command_CreateSession{CreateSession: &logpb.CreateSession{Session: session}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if r, err := n.Propose(ctx, command); err != nil || r.Err != nil {
		t.Fatalf("session %d: %v, %v", i, err, r.Err)
	}
}

func events(t *testing.T, n *realNode) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.Barrier(ctx, 0); err != nil {
		t.Fatal(err)
	}
	return n.Machine().Store().System().EventRows
}

// TestThreeNodesOverTLS runs three nodes on disk over the real port: writes go through each, go on without the first, and a node that comes
// back on another port has what it missed.
func TestThreeNodesOverTLS(t *testing.T) {
	var folders []string
	var nodes []*realNode
	var members []cluster.Server
	for range 3 {
		folders = append(folders, t.TempDir())
		n := openReal(t, folders[len(folders)-1])
		nodes = append(nodes, n)
		members = append(members, cluster.Server{NodeID: n.id(), Address: n.address, Voter: true})
	}
	defer func() {
		for _, n := range nodes {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := nodes[0].Found(members); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes[1:] {
		nodes[0].welcome(t, n)
	}
	for i := range 9 {
		write(t, nodes[i%3], i)
	}
	var forwarded uint64
	for _, n := range nodes[1:] {
		status, err := nodes[0].PeerStatus(t.Context(), n.id(), n.address)
		if err != nil {
			t.Fatal(err)
		}
		forwarded += status.CommandsForwarded
	}
	if forwarded == 0 {
		t.Error("two nodes took writes, one of them leads at most, and neither says that it forwarded any")
	}
	if err := nodes[0].Close(); err != nil {
		t.Fatal(err)
	}
	write(t, nodes[1], 9)
	write(t, nodes[2], 10)
	nodes[0] = openReal(t, folders[0])
	for _, n := range nodes {
		for _, other := range nodes {
			n.NoteAddress(other.id(), other.address)
		}
	}
	for _, n := range nodes {
		if got := events(t, n); got != 11 {
			t.Errorf("%s: %d sessions, want 11", n.id(), got)
		}
	}
	write(t, nodes[0], 11)
}
