package jepsen_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/client"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// An upgrade is a cluster whose nodes go from one release to the next.
type upgrade struct {
	t         *testing.T
	ctx       context.Context
	cluster   *cluster.Cluster
	old, next string
	written   int64
}

// call makes a call at one node, again while that cannot decide it: on a busy machine there is an election now and then.
func (u *upgrade) call(node *cluster.Node, call func(context.Context, graphgrpc.MemoryGraphServiceClient) error) error {
	patient := client.New(client.Config{
		Addresses: func() []string { return []string{node.Addresses().API} }, Dial: u.cluster.Dial, Attempt: time.Minute, Deadline: 5 * time.Minute,
	})
	_, err := patient.Call(u.ctx, call)
	return errors.Join(err, patient.Close())
}

// write makes a session through each node.
func (u *upgrade) write() {
	u.t.Helper()
	for _, node := range u.cluster.Nodes {
		key := fmt.Sprint("session ", u.written)
		if err := u.call(node, func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) error {
			_, err := g.CreateSession(metadata.AppendToOutgoingContext(ctx, "idempotency-key", key), &pb.CreateSessionRequest{})
			return err
		}); err != nil {
			u.t.Fatalf("write through %s: %v", node.Name(), err)
		}
		u.written++
	}
}

// count reads how many sessions each node has.
func (u *upgrade) count() {
	u.t.Helper()
	for _, node := range u.cluster.Nodes {
		var page *pb.ListSessionsResponse
		err := u.call(node, func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (err error) {
			page, err = g.ListSessions(ctx, &pb.ListSessionsRequest{Limit: 1})
			return err
		})
		if err != nil || page.TotalCount != u.written {
			u.t.Errorf("%s has %d sessions, %v, want %d", node.Name(), page.GetTotalCount(), err, u.written)
		}
	}
}

// restart has a node go on as another release, and waits until the cluster is whole.
func (u *upgrade) restart(node *cluster.Node, binary string) {
	u.t.Helper()
	if err := node.Stop(u.ctx); err != nil {
		u.t.Fatal(err)
	}
	node.Use(binary)
	if err := node.Start(u.ctx); err != nil {
		u.t.Fatal(err)
	}
	if err := u.cluster.AwaitWhole(u.ctx); err != nil {
		u.t.Fatal(err)
	}
}

// finalize ends an upgrade, and wants a feature level.
func (u *upgrade) finalize(node *cluster.Node, want uint32) {
	u.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for { // on a busy machine a member may not have told in time what it can
		_, err := u.cluster.Command(u.ctx, node, "cluster", "finalize")
		if level := u.level(node); err == nil && level == want {
			break
		} else if level > want || u.ctx.Err() != nil {
			u.t.Fatalf("level %d, %v, want %d", level, err, want)
		}
		<-tick.C
	}
	for _, node := range u.cluster.Nodes { // a follower applies the raise a moment later
		for u.level(node) != want {
			if <-tick.C; u.ctx.Err() != nil {
				u.t.Fatalf("%s does not come to level %d", node.Name(), want)
			}
		}
	}
}

// level is the feature level that a node says, 0 when it does not answer.
func (u *upgrade) level(node *cluster.Node) uint32 {
	s, err := u.cluster.Status(u.ctx, node)
	if err != nil {
		u.t.Logf("status of %s: %v", node.Name(), err)
	}
	return s.GetFeatureLevel()
}

// TestRollingUpgradeAndBack: an old and a new release in one cluster, which serves all the time; back, as long as nobody has
// finalized; afterwards the new one uses what it brings, and the old one refuses to start.
func TestRollingUpgradeAndBack(t *testing.T) {
	u := &upgrade{t: t}
	var err error
	if u.old, err = cluster.Binary(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if u.next, err = cluster.NextBinary(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	u.ctx = ctx
	if u.cluster, err = cluster.NewCluster(cluster.Config{Binary: u.old, Dir: t.TempDir(), Size: 3}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(u.cluster.LastLogs(15))
		}
		if err := u.cluster.Kill(); err != nil {
			t.Error(err)
		}
	})
	if err := u.cluster.Found(ctx); err != nil {
		t.Fatal(err)
	}
	u.write()

	first := u.cluster.Nodes[0]
	u.restart(first, u.next)
	u.write()
	u.finalize(first, 1) // two cannot
	u.restart(first, u.old)
	u.write()
	for _, node := range u.cluster.Nodes {
		u.restart(node, u.next)
		u.write()
	}
	u.finalize(first, 2)
	for range 10 {
		u.write()
	}
	u.count()
	if err := u.cluster.AwaitSameDigest(ctx); err != nil {
		t.Error(err)
	}

	if err := first.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	first.Use(u.old)
	if err := first.Start(ctx); !errors.Is(err, cluster.ErrExited) || !strings.Contains(first.Logs(), "feature level 2, this release knows 1") {
		t.Errorf("the old release after the upgrade was finalized: %v, want that it says why it does not start\n%s", err, first.Logs())
	}
	if err := first.Kill(); err != nil { // it has ended, and is forgotten with this
		t.Fatal(err)
	}
	first.Use(u.next)
	if err := first.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := u.cluster.AwaitWhole(ctx); err != nil {
		t.Fatal(err)
	}
	u.count()
}
