package importer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// maxChunkBytes is how large a chunk grows before it is sent. One record more than fits is at most 2,000,000 bytes and a
// little (a tool call's parameters and its result), so a chunk stays below graph.MaxRequestBytes.
const maxChunkBytes = 2 << 20

// recordOverhead bounds what a record takes in a chunk beside itself: tag and length.
const recordOverhead = 8

// A sender packs records into chunks and sends them down one stream, which it opens with the first chunk.
type sender struct {
	ctx    context.Context
	cancel context.CancelFunc
	client graphgrpc.GraphTransferServiceClient
	dry    bool
	stream grpc.ClientStreamingClient[pb.ImportRequest, pb.ImportResponse]
	chunk  *pb.ImportRequest
	size   int
}

func (s *sender) node(n *pb.Node) error {
	if err := s.room(n); err != nil || s.dry {
		return err
	}
	s.chunk.Nodes = append(s.chunk.Nodes, n)
	return nil
}

func (s *sender) edge(e *pb.Edge) error {
	if err := s.room(e); err != nil || s.dry {
		return err
	}
	s.chunk.Edges = append(s.chunk.Edges, e)
	return nil
}

// room sends the chunk when the record does not fit into it any more.
func (s *sender) room(record proto.Message) error {
	if s.dry {
		return s.ctx.Err()
	}
	size := proto.Size(record) + recordOverhead
	full := s.chunk != nil && (s.size+size > maxChunkBytes || len(s.chunk.Nodes)+len(s.chunk.Edges) >= graph.MaxImportRecords)
	if full {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if s.chunk == nil {
		s.chunk, s.size = &pb.ImportRequest{}, 0
	}
	s.size += size
	return nil
}

func (s *sender) flush() error {
	if s.stream == nil {
		ctx, cancel := context.WithCancel(s.ctx)
		s.cancel = cancel
		stream, err := s.client.Import(ctx)
		if err != nil {
			return err
		}
		s.stream = stream
	}
	chunk := s.chunk
	s.chunk = nil
	if err := s.stream.Send(chunk); err != nil {
		if !errors.Is(err, io.EOF) {
			return err
		}
		// The server has ended the stream; its answer says why.
		if _, err = s.stream.CloseAndRecv(); err == nil {
			err = fmt.Errorf("the server stopped reading before the end")
		}
		return err
	}
	return nil
}

// finish sends what is left and returns the server's answer; nil when nothing was sent.
func (s *sender) finish() (*pb.ImportResponse, error) {
	if s.chunk != nil {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}
	if s.stream == nil {
		return nil, nil
	}
	return s.stream.CloseAndRecv()
}

// abort lets go of the stream; after finish it does nothing more.
func (s *sender) abort() {
	if s.cancel != nil {
		s.cancel()
	}
}
