package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// CreateEdge links two nodes.
func (s *Server) CreateEdge(ctx context.Context, req *pb.CreateEdgeRequest) (*pb.Edge, error) {
	w := s.begin(ctx, req, 0)
	e := req.GetEdge()
	if err := graph.CheckEdge("edge", e); err != nil {
		return nil, err
	}
	if e.Id == "" {
		e.Id = newID()
	}
	done, err := w.propose(ctx, &logpb.Command{Operation: &logpb.Command_CreateEdge{CreateEdge: &logpb.CreateEdge{Edge: e}}})
	return done.Edge, err
}

// GetEdges returns the edges of a node.
func (s *Server) GetEdges(ctx context.Context, req *pb.GetEdgesRequest) (*pb.GetEdgesResponse, error) {
	q, err := graph.NewEdgeQuery(req)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(req.GetPageSize(), graph.MaxQueryLimit)
	if err != nil {
		return nil, err
	}
	defer s.metrics.Read()()
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	pages := st.pages(ctx, &pb.GetEdgesRequest{NodeId: req.GetNodeId(), Direction: req.Direction, Type: req.Type})
	from, err := pages.edgePlace(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	reply, sum := &pb.GetEdgesResponse{}, budget{paged: size > 0, grown: holdOf(ctx).grow}
	var last graph.EdgePlace
	err = q.Each(st.view, from, func(place graph.EdgePlace, rec graph.EdgeRecord) (bool, error) {
		e, err := rec.Edge()
		if err != nil {
			return false, err
		}
		full, err := sum.add(e)
		if err != nil {
			return false, err
		}
		if full || (size > 0 && len(reply.Edges) == size) {
			reply.NextPageToken = pages.edgeToken(last)
			return false, nil
		}
		reply.Edges, last = append(reply.Edges, e), place
		return true, ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// edgeToken and edgePlace keep the direction in the first number of a token.
func (t tokens) edgeToken(p graph.EdgePlace) string {
	incoming := uint64(0)
	if p.Incoming {
		incoming = 1
	}
	return t.seal(incoming, uint64(p.Position))
}

func (t tokens) edgePlace(token string) (*graph.EdgePlace, error) {
	if token == "" {
		return nil, nil
	}
	incoming, position, err := t.open(token)
	if err != nil {
		return nil, err
	}
	return &graph.EdgePlace{Incoming: incoming == 1, Position: graph.Position(position)}, nil
}

// DeleteEdge removes an edge.
func (s *Server) DeleteEdge(ctx context.Context, req *pb.DeleteEdgeRequest) (*emptypb.Empty, error) {
	w := s.begin(ctx, req, 0)
	if err := graph.CheckID("edge_id", req.GetEdgeId()); err != nil {
		return nil, err
	}
	_, err := w.propose(ctx, &logpb.Command{Operation: &logpb.Command_DeleteEdge{
		DeleteEdge: &logpb.DeleteEdge{EdgeId: req.GetEdgeId()},
	}})
	return &emptypb.Empty{}, err
}
