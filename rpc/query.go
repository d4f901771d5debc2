package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// selection is a query without what may differ from page to page.
func selection(req *pb.QueryRequest) *pb.QueryRequest {
	return &pb.QueryRequest{
		SessionId: req.SessionId, NodeType: req.NodeType, After: req.After, Before: req.Before, Filters: req.Filters,
	}
}

// Query returns a page of the nodes that match.
func (s *Server) Query(ctx context.Context, req *pb.QueryRequest) (*pb.QueryResponse, error) {
	q, err := graph.NewQuery(req)
	if err != nil {
		return nil, err
	}
	limit, offset, err := paging(req.GetLimit(), req.GetOffset(), graph.DefaultQueryLimit)
	if err != nil {
		return nil, err
	}
	defer s.metrics.Read()()
	done := s.metrics.Query()
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	pages := st.pages(ctx, selection(req))
	from, err := pages.place(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	page, err := q.Page(st.view, graph.Paging{
		From: from, Offset: offset, Limit: limit, SkipTotal: req.GetSkipTotal(), MaxBytes: maxPageBytes, Grown: holdOf(ctx).grow, Expired: nearDeadline(ctx),
	})
	if err != nil {
		return nil, err
	}
	done()
	return &pb.QueryResponse{
		Nodes: page.Nodes, TotalCount: page.Total, TotalIsLowerBound: page.LowerBound, NextPageToken: pages.token(page.Next),
	}, nil
}

// answerTime is what is left of a call's time for its answer when counting stops.
const answerTime = 200 * time.Millisecond

// nearDeadline tells when a call has no time left but for its answer.
func nearDeadline(ctx context.Context) func() bool {
	deadline, ok := ctx.Deadline()
	return func() bool { return ctx.Err() != nil || (ok && time.Until(deadline) < answerTime) }
}

// StreamQuery streams all nodes that match, from one snapshot.
func (s *Server) StreamQuery(req *pb.QueryRequest, stream grpc.ServerStreamingServer[pb.Node]) error {
	ctx := stream.Context()
	q, err := graph.NewQuery(req)
	if err != nil {
		return err
	}
	limit, offset, err := paging(req.GetLimit(), req.GetOffset(), everything)
	if err != nil {
		return err
	}
	done := s.metrics.Query()
	st, err := s.readFirst(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	pages := st.pages(ctx, selection(req))
	from, err := pages.place(req.GetPageToken())
	if err != nil {
		return err
	}
	progress := progressOf(ctx, pages)
	if from != nil {
		offset = 0
	}
	sent := 0
	defer func() { s.metrics.Streamed(callOf(ctx).method, sent%countEvery) }()
	err = q.Each(st.view, from, offset, limit, func(m graph.Match) (bool, error) {
		node, err := m.Wire()
		if err == nil {
			err = stream.SendMsg(encoded(node))
		}
		if err != nil {
			return false, err
		}
		progress.at(m.Place)
		if sent++; sent%countEvery == 0 {
			s.metrics.Streamed(callOf(ctx).method, countEvery)
		}
		return true, nil
	}, nil)
	if err == nil {
		done()
	}
	return err
}

// countEvery is after how many nodes of a stream they are counted.
const countEvery = 256

// everything is no limit.
const everything = -1

// readFirst is read for a stream: only the wait for a fresh state is bound by the timeout of calls.
func (s *Server) readFirst(ctx context.Context) (*state, error) {
	limited, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	if err := s.fresh(limited); err != nil {
		return nil, err
	}
	return s.open(ctx)
}
