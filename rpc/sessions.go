package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// CreateSession opens a session.
func (s *Server) CreateSession(ctx context.Context, req *pb.CreateSessionRequest) (*pb.Session, error) {
	w := s.begin(ctx, req, 0)
	if err := graph.CheckMetadata("metadata", req.GetMetadata()); err != nil {
		return nil, err
	}
	done, err := w.propose(ctx, &logpb.Command{Operation: &logpb.Command_CreateSession{CreateSession: &logpb.CreateSession{
		Session: &pb.Session{Id: newID(), Metadata: req.GetMetadata()},
	}}})
	if err != nil {
		return nil, err
	}
	return first(done).GetSession(), nil
}

// GetSession returns a session.
func (s *Server) GetSession(ctx context.Context, req *pb.GetSessionRequest) (*pb.Session, error) {
	id, err := graph.CheckSessionID("session_id", req.GetSessionId())
	if err != nil {
		return nil, err
	}
	defer s.metrics.Read()()
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	session, _, err := sessionOf(st.view, id)
	return session, err
}

// DeleteSession deletes a session with all that belongs to it.
func (s *Server) DeleteSession(ctx context.Context, req *pb.DeleteSessionRequest) (*emptypb.Empty, error) {
	w := s.begin(ctx, req, 0)
	id, err := graph.CheckSessionID("session_id", req.GetSessionId())
	if err != nil {
		return nil, err
	}
	_, err = w.propose(ctx, &logpb.Command{Operation: &logpb.Command_DeleteSession{
		DeleteSession: &logpb.DeleteSession{SessionId: id},
	}})
	return &emptypb.Empty{}, err
}

// CloseSession ends a session.
func (s *Server) CloseSession(ctx context.Context, req *pb.CloseSessionRequest) (*pb.Session, error) {
	w := s.begin(ctx, req, 0)
	id, err := graph.CheckSessionID("session_id", req.GetSessionId())
	if err != nil {
		return nil, err
	}
	done, err := w.propose(ctx, &logpb.Command{Operation: &logpb.Command_CloseSession{
		CloseSession: &logpb.CloseSession{SessionId: id},
	}})
	if err != nil {
		return nil, err
	}
	return first(done).GetSession(), nil
}

// ListSessions lists sessions, newest first.
func (s *Server) ListSessions(ctx context.Context, req *pb.ListSessionsRequest) (*pb.ListSessionsResponse, error) {
	limit, offset, err := paging(req.GetLimit(), req.GetOffset(), graph.DefaultQueryLimit)
	if err != nil {
		return nil, err
	}
	defer s.metrics.Read()()
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	pages := st.pages(ctx, &pb.ListSessionsRequest{})
	from, err := pages.place(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	page, err := graph.Sessions().Page(st.view, graph.Paging{
		From: from, Offset: offset, Limit: limit, MaxBytes: maxPageBytes, Grown: holdOf(ctx).grow,
	})
	if err != nil {
		return nil, err
	}
	reply := &pb.ListSessionsResponse{TotalCount: page.Total, NextPageToken: pages.token(page.Next)}
	for _, n := range page.Nodes {
		reply.Sessions = append(reply.Sessions, n.GetSession())
	}
	return reply, nil
}

// maxPageBytes leaves room in a reply for the count and the token.
const maxPageBytes = graph.MaxReplyBytes - 4<<10

// paging checks limit and offset of a request and fills in the default limit.
func paging(limit, offset int32, otherwise int) (most, skip int, err error) {
	switch {
	case limit < 0:
		return 0, 0, graph.Invalidf("limit", "must not be negative, got %d", limit)
	case limit > graph.MaxQueryLimit:
		return 0, 0, graph.Invalidf("limit", "is %d, at most %d", limit, graph.MaxQueryLimit)
	case offset < 0:
		return 0, 0, graph.Invalidf("offset", "must not be negative, got %d", offset)
	case limit == 0:
		return otherwise, int(offset), nil
	default:
		return int(limit), int(offset), nil
	}
}
