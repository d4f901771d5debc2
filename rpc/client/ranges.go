package client

import (
	"context"
	"errors"
	"io"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// Events ranges over events as they come, across nodes, until ctx ends, the caller stops, or a gap could not be avoided; an error is
// the last pair. With a graph of a plain connection it is a plain stream.
func Events(ctx context.Context, graph graphgrpc.MemoryGraphServiceClient, req *pb.StreamEventsRequest, options ...grpc.CallOption) iter.Seq2[*pb.Event, error] {
	return func(yield func(*pb.Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := graph.StreamEvents(ctx, req, options...)
		for err == nil {
			var e *pb.Event
			if e, err = stream.Recv(); err == nil && !yield(e, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(nil, err)
		}
	}
}

// QueryAll ranges over all nodes that match, page by page, so that it goes on when a node dies. Each page is of a state of its
// own: what is created meanwhile is not seen, what is deleted meanwhile may not be. Limit is the size of a page; 0 is 100. An error
// is the last pair.
func QueryAll(ctx context.Context, graph graphgrpc.MemoryGraphServiceClient, req *pb.QueryRequest, options ...grpc.CallOption) iter.Seq2[*pb.Node, error] {
	return func(yield func(*pb.Node, error) bool) {
		page := proto.CloneOf(req)
		page.SkipTotal = true
		for {
			reply, err := graph.Query(ctx, page, options...)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, n := range reply.GetNodes() {
				if !yield(n, nil) {
					return
				}
			}
			if page.PageToken = reply.GetNextPageToken(); page.PageToken == "" {
				return
			}
		}
	}
}
