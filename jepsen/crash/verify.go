package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/emptypb"
)

var (
	errLost    = errors.New("acknowledged writes are lost or changed")
	errSurplus = errors.New("there is more than was acknowledged")
	errCounts  = errors.New("counters differ from what is there")
)

// verifier holds a server against the models of all writers.
type verifier struct {
	graph    graphgrpc.MemoryGraphServiceClient
	transfer graphgrpc.GraphTransferServiceClient
	writers  []*writer
	// beside is what there is besides the records of the writers.
	beside tally
}

// tally counts records.
type tally struct{ nodes, sessions, active int64 }

func (v verifier) all(ctx context.Context) error {
	for _, w := range v.writers {
		for _, s := range w.model.sessions {
			if err := v.session(ctx, w.model, s); err != nil {
				return fmt.Errorf("session %s: %w", s.id, err)
			}
		}
		if err := v.sessionless(ctx, w.model); err != nil {
			return err
		}
		if err := v.gone(ctx, w.model); err != nil {
			return err
		}
	}
	return v.counts(ctx)
}

// session compares one session with everything in it: state, records, order, edges.
func (v verifier) session(ctx context.Context, m *model, s *session) error {
	got, err := v.graph.GetSession(ctx, &graphpb.GetSessionRequest{SessionId: s.id})
	if err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	if got.GetIsActive() == s.closed {
		return fmt.Errorf("%w: active is %v", errLost, got.GetIsActive())
	}
	nodes, err := drain(v.graph.StreamQuery(ctx, &graphpb.QueryRequest{SessionId: &s.id}))
	if err != nil {
		return fmt.Errorf("read the session: %w", err)
	}
	var ids []string
	for _, node := range nodes {
		ids = append(ids, node.GetId())
	}
	want := slices.Clone(s.order)
	slices.Reverse(want)
	want = append(want, s.id)
	if diff := cmp.Diff(want, ids); diff != "" {
		return fmt.Errorf("%w: ids, newest first (-want +got):\n%s", errLost, diff)
	}
	for _, node := range nodes[:len(nodes)-1] {
		if err := v.node(ctx, m, node); err != nil {
			return err
		}
	}
	return nil
}

func (v verifier) node(ctx context.Context, m *model, node *graphpb.Node) error {
	if want := m.nodes[node.GetId()].data; !proto.Equal(want, dataOf(node)) {
		return fmt.Errorf("%w: node %s (-want +got):\n%s", errLost, node.GetId(), cmp.Diff(want, dataOf(node), protocmp.Transform()))
	}
	reply, err := v.graph.GetEdges(ctx, &graphpb.GetEdgesRequest{NodeId: node.GetId()})
	if err != nil {
		return fmt.Errorf("edges of %s: %w", node.GetId(), err)
	}
	var got []string
	for _, edge := range reply.GetEdges() {
		place := ""
		if edge.GetType() == graphpb.EdgeType_EDGE_TYPE_INVOKES {
			place = edge.GetProperties()["invocation_order"]
		}
		got = append(got, fmt.Sprint(edge.GetType(), " ", edge.GetToNodeId(), " ", place))
	}
	slices.Sort(got)
	if diff := cmp.Diff(m.edges(node.GetId()), got); diff != "" {
		return fmt.Errorf("%w: edges of %s (-want +got):\n%s", errLost, node.GetId(), diff)
	}
	return nil
}

// sessionless compares agents and templates.
func (v verifier) sessionless(ctx context.Context, m *model) error {
	for id, r := range m.nodes {
		if r.session != "" {
			continue
		}
		node, err := v.graph.GetNode(ctx, &graphpb.GetNodeRequest{NodeId: id})
		if err != nil {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		if uses, isTemplate := m.uses[id]; isTemplate {
			if got := node.GetTemplate().GetUsageCount(); got != uses {
				return fmt.Errorf("%w: usage_count of %s is %d, want %d", errLost, id, got, uses)
			}
			node.GetTemplate().UsageCount = 0
		}
		if !proto.Equal(r.data, dataOf(node)) {
			return fmt.Errorf("%w: node %s is %v, want %v", errLost, id, node, r.data)
		}
	}
	return nil
}

// gone looks for the things that were deleted last.
func (v verifier) gone(ctx context.Context, m *model) error {
	for _, id := range m.gone[max(0, len(m.gone)-50):] {
		node, err := v.graph.GetNode(ctx, &graphpb.GetNodeRequest{NodeId: id})
		if status.Code(err) != codes.NotFound {
			return fmt.Errorf("%w: %s was deleted and is %v, %w", errSurplus, id, node, errorOrNone(err))
		}
	}
	return nil
}

// counts compares the counters with the models and with everything that can be read.
func (v verifier) counts(ctx context.Context) error {
	nodes, sessions, active := v.beside.nodes, v.beside.sessions, v.beside.active
	for _, w := range v.writers {
		nodes += int64(len(w.model.nodes) + len(w.model.sessions))
		sessions += int64(len(w.model.sessions))
		for _, s := range w.model.sessions {
			if !s.closed {
				active++
			}
		}
	}
	counted, err := v.graph.GetMetrics(ctx, &emptypb.Empty{})
	if err != nil {
		return fmt.Errorf("counters: %w", err)
	}
	read, err := drain(v.graph.StreamQuery(ctx, &graphpb.QueryRequest{}))
	if err != nil {
		return fmt.Errorf("read everything: %w", err)
	}
	edges, err := v.edgeIDs(ctx)
	if err != nil {
		return err
	}
	want := []int64{nodes, nodes, sessions, active, int64(len(edges))}
	got := []int64{
		counted.GetTotalNodes(), int64(len(read)), counted.GetTotalSessions(), counted.GetActiveSessions(), counted.GetTotalEdges(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("%w: nodes, nodes read, sessions, active sessions, edges (-want +got):\n%s", errCounts, diff)
	}
	return nil
}

// edgeIDs are all edges that an export shows.
func (v verifier) edgeIDs(ctx context.Context) (map[string]bool, error) {
	parts, err := drain(v.transfer.Export(ctx, &graphpb.ExportRequest{}))
	if err != nil {
		return nil, fmt.Errorf("export everything: %w", err)
	}
	edges := make(map[string]bool)
	for _, part := range parts {
		for _, edge := range part.GetEdges() {
			if edges[edge.GetId()] {
				return nil, fmt.Errorf("%w: edge %s comes twice", errSurplus, edge.GetId())
			}
			edges[edge.GetId()] = true
		}
	}
	return edges, nil
}

// drain reads a stream to its end.
func drain[T any](stream grpc.ServerStreamingClient[T], err error) ([]*T, error) {
	if err != nil {
		return nil, err
	}
	var all []*T
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
}
