package conformance

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"google.golang.org/grpc"
)

// Through says which nodes of a cluster are called.
type Through int

const (
	// Leader, Follower: all calls go to that node.
	Leader Through = iota + 1
	Follower
	// Random: each call goes to any node.
	Random
)

// clusterSize is the number of nodes of a cluster that conforms.
const clusterSize = 3

// StartCluster runs three nodes for a whole table and stops them with the test.
func StartCluster(t *testing.T, binary string, through Through) Target {
	t.Helper()
	target := Target{Binary: binary, Size: clusterSize, Through: through}
	nodes := newSeveral(t, target, nil)
	t.Cleanup(func() {
		if err := nodes.Stop(detached(t)); err != nil {
			t.Errorf("end of the cluster: %v", err)
		}
		if t.Failed() {
			t.Logf("nodes printed:\n%s", nodes.Logs())
		}
	})
	target.Addresses, target.MetricsAddresses = nodes.Start(t, target)
	return target
}

// several is a server of several nodes.
type several struct {
	*cluster.Cluster
	founded bool
}

func newSeveral(t *testing.T, target Target, args []string) *several {
	t.Helper()
	c, err := cluster.NewCluster(cluster.Config{
		Binary: target.Binary, Dir: t.TempDir(), Size: target.Size, Args: append([]string{"--log-level", "warn"}, args...),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &several{Cluster: c}
}

// Start implements process: it starts all nodes and chooses those that are called.
func (s *several) Start(t *testing.T, target Target) (addresses, metrics []string) {
	t.Helper()
	ctx, start := open(t), s.Found
	if s.founded {
		start = s.Cluster.Start
	}
	if err := start(ctx); err != nil {
		t.Fatal(err)
	}
	s.founded = true
	if err := s.AwaitWhole(ctx); err != nil {
		t.Fatal(err)
	}
	leader, err := s.AwaitLeader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	chosen := s.Nodes
	switch target.Through {
	case Leader:
		chosen = []*cluster.Node{leader}
	case Follower:
		chosen = s.Others(leader)[:1]
	}
	for _, node := range chosen {
		addresses, metrics = append(addresses, node.Address()), append(metrics, node.MetricsAddress())
	}
	return addresses, metrics
}

// Logs implements process.
func (s *several) Logs() string { return s.LastLogs(200) }

// spread sends each call to any of its connections; without one, where it was going.
type spread struct{ conns []*grpc.ClientConn }

func (s *spread) open(t *testing.T, addresses []string) {
	t.Helper()
	for _, address := range addresses {
		conn, err := cluster.Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		s.conns = append(s.conns, conn)
	}
}

func (s *spread) any(otherwise *grpc.ClientConn) *grpc.ClientConn {
	if len(s.conns) == 0 {
		return otherwise
	}
	return s.conns[rand.IntN(len(s.conns))]
}

func (s *spread) unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	return invoke(ctx, method, req, reply, s.any(cc), opts...)
}

func (s *spread) stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, start grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return start(ctx, desc, s.any(cc), method, opts...)
}
