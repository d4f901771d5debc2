package rpc

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// CreateNode creates a node of any type but a session.
func (s *Server) CreateNode(ctx context.Context, req *pb.CreateNodeRequest) (*pb.Node, error) {
	w := s.begin(ctx, req, 0)
	n := req.GetNode()
	if err := graph.CheckNode("node", n); err != nil {
		return nil, err
	}
	mint(n)
	done, err := w.propose(ctx, createNodes(n))
	return first(done), graph.Moved(err, "nodes[0].", "node.")
}

// GetNode returns a node of any type.
func (s *Server) GetNode(ctx context.Context, req *pb.GetNodeRequest) (*pb.Node, error) {
	if err := graph.CheckID("node_id", req.GetNodeId()); err != nil {
		return nil, err
	}
	defer s.metrics.Read()()
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	n, _, err := nodeOf(st.view, "node", "Node", req.GetNodeId())
	return n, err
}

// UpdateNode replaces the data of a node.
func (s *Server) UpdateNode(ctx context.Context, req *pb.UpdateNodeRequest) (*pb.Node, error) {
	w := s.begin(ctx, req, 0)
	n := req.GetNode()
	if err := graph.CheckUpdate("node", n); err != nil {
		return nil, err
	}
	done, err := w.propose(ctx, &logpb.Command{Operation: &logpb.Command_UpdateNode{
		UpdateNode: &logpb.UpdateNode{Node: n, ExpectedRevision: req.ExpectedRevision},
	}})
	return first(done), err
}

// DeleteNode removes a node with its edges.
func (s *Server) DeleteNode(ctx context.Context, req *pb.DeleteNodeRequest) (*emptypb.Empty, error) {
	w := s.begin(ctx, cascaded(ctx, req), 0)
	if err := graph.CheckID("node_id", req.GetNodeId()); err != nil {
		return nil, err
	}
	_, err := w.propose(ctx, &logpb.Command{Operation: &logpb.Command_DeleteNode{
		DeleteNode: &logpb.DeleteNode{NodeId: req.GetNodeId(), Cascade: callOf(ctx).cascade},
	}})
	return &emptypb.Empty{}, err
}

// cascaded is what the fingerprint of a DeleteNode is of: the metadata that says what goes along belongs to the request.
func cascaded(ctx context.Context, req *pb.DeleteNodeRequest) proto.Message {
	return &logpb.DeleteNode{NodeId: req.GetNodeId(), Cascade: callOf(ctx).cascade}
}

// BatchCreateNodes creates nodes, all or none.
func (s *Server) BatchCreateNodes(ctx context.Context, req *pb.BatchCreateNodesRequest) (*pb.BatchCreateNodesResponse, error) {
	w := s.begin(ctx, req, 0)
	if err := atMost("nodes", len(req.GetNodes()), graph.MaxBatchNodes); err != nil {
		return nil, err
	}
	if len(req.GetNodes()) == 0 {
		return nil, graph.Invalidf("nodes", "is required")
	}
	for i, n := range req.GetNodes() {
		if err := graph.CheckNode(at("nodes", i), n); err != nil {
			return nil, err
		}
		mint(n)
	}
	s.metrics.Batch(len(req.GetNodes()))
	done, err := w.propose(ctx, createNodes(req.GetNodes()...))
	if err != nil {
		return nil, err
	}
	return &pb.BatchCreateNodesResponse{Nodes: done.Nodes, CreatedCount: int32(len(done.Nodes))}, nil
}

func at(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

func atMost(field string, n, most int) error {
	if n > most {
		return graph.Invalidf(field, "has %d entries, at most %d", n, most)
	}
	return nil
}

// BatchGetNodes returns nodes in the order asked for, unknown ids left out.
func (s *Server) BatchGetNodes(ctx context.Context, req *pb.BatchGetNodesRequest) (*pb.BatchGetNodesResponse, error) {
	ids := req.GetNodeIds()
	if err := atMost("node_ids", len(ids), graph.MaxBatchGet); err != nil {
		return nil, err
	}
	for i, id := range ids {
		if err := graph.CheckID(at("node_ids", i), id); err != nil {
			return nil, err
		}
	}
	size, err := pageSize(req.GetPageSize(), graph.MaxBatchGet)
	if err != nil {
		return nil, err
	}
	defer s.metrics.Read()()
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	s.metrics.Batch(len(ids))
	pages := st.pages(ctx, &pb.BatchGetNodesRequest{NodeIds: ids})
	next, err := pages.index(req.GetPageToken(), len(ids))
	if err != nil {
		return nil, err
	}
	reply, sum := &pb.BatchGetNodesResponse{}, budget{paged: size > 0, grown: holdOf(ctx).grow}
	for ; next < len(ids) && (size == 0 || len(reply.Nodes) < size); next++ {
		rec, ok, err := st.view.NodeByID(ids[next])
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		n, err := graph.Present(st.view, rec)
		if err != nil {
			return nil, err
		}
		if full, err := sum.add(n); err != nil {
			return nil, err
		} else if full {
			break
		}
		reply.Nodes = append(reply.Nodes, n)
	}
	if next < len(ids) {
		reply.NextPageToken = pages.seal(uint64(next), 0)
	}
	return reply, nil
}

// index reads a token that names how many ids the pages before have dealt with.
func (t tokens) index(token string, most int) (int, error) {
	if token == "" {
		return 0, nil
	}
	n, _, err := t.open(token)
	if err == nil && n > uint64(most) {
		err = graph.Invalidf(t.field, "belongs to another request")
	}
	return int(n), err
}

// pageSize checks a page_size; 0 is no paging.
func pageSize(n int32, most int) (int, error) {
	if n < 0 || int(n) > most {
		return 0, graph.Invalidf("page_size", "must be 0 to %d, got %d", most, n)
	}
	return int(n), nil
}

// A budget keeps a reply below graph.MaxReplyBytes.
type budget struct {
	paged bool
	used  int
	// grown hears what the reply has now.
	grown func(bytes int) error
}

// entryOverhead is what an entry of a list takes beside itself: tag and length.
const entryOverhead = 8

// add counts an entry. full says that it has to wait for the next page; without pages that is a refusal (D15).
func (b *budget) add(m proto.Message) (full bool, err error) {
	size := proto.Size(m) + entryOverhead
	if b.used+size <= maxPageBytes || b.used == 0 {
		b.used += size
		return false, b.grown(b.used)
	}
	if b.paged {
		return true, nil
	}
	return false, &graph.Error{Kind: graph.Exhausted, Field: "page_size", Reason: "REPLY_TOO_LARGE",
		Message: "the reply would exceed 4 MiB: set page_size and follow next_page_token"}
}
