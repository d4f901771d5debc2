package rpc

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strconv"

	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// transfer is GraphTransferService.
type transfer struct {
	graphgrpc.UnimplementedGraphTransferServiceServer
	*Server
}

// An importing is one Import stream: what was committed, and how to name its end.
type importing struct {
	server *Server
	// skip is how many chunks an earlier stream has committed; seen must then be expected.
	skip     uint64
	expected [tokenPartSize]byte
	// chunks counts those of this stream, seen is their digest so far.
	chunks uint64
	seen   [sha256.Size]byte
	done   pb.ImportResponse
}

// Import writes records, one atomic change a message.
func (t *transfer) Import(stream grpc.ClientStreamingServer[pb.ImportRequest, pb.ImportResponse]) error {
	ctx := stream.Context()
	im := &importing{server: t.Server}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = im.chunk(ctx, req)
		}
		if err != nil {
			return im.stopped(ended(ctx, err))
		}
	}
	if im.chunks < im.skip {
		return im.stopped(graph.Invalidf("resume_token", "names %d chunks, but only %d came", im.skip, im.chunks))
	}
	im.done.ResumeToken = im.token()
	return stream.SendAndClose(&im.done)
}

// stopped adds to an error where to resume, and what became of the chunks before it.
func (im *importing) stopped(err error) error {
	if im.chunks == 0 || im.chunks < im.skip {
		return err
	}
	whole := func(n int64) string { return strconv.FormatInt(n, 10) }
	return &notedError{err: err, notes: map[string]string{
		"resume_token": im.token(), "chunks": strconv.FormatUint(im.chunks, 10),
		"nodes_created": whole(im.done.NodesCreated), "nodes_unchanged": whole(im.done.NodesUnchanged),
		"edges_created": whole(im.done.EdgesCreated), "edges_unchanged": whole(im.done.EdgesUnchanged),
	}}
}

// chunk commits one message, unless an earlier stream has.
func (im *importing) chunk(ctx context.Context, req *pb.ImportRequest) error {
	if req.ResumeToken != "" {
		if err := im.resume(ctx, req.ResumeToken); err != nil {
			return err
		}
		req.ResumeToken = ""
	}
	body := sha256.Sum256(graph.Encode(req))
	seen := sha256.Sum256(append(im.seen[:], body[:]...))
	if im.chunks < im.skip {
		im.chunks, im.seen = im.chunks+1, seen
		if im.chunks == im.skip && [tokenPartSize]byte(seen[:]) != im.expected {
			return graph.Invalidf("resume_token", "belongs to other chunks than these")
		}
		return nil
	}
	if err := im.commit(ctx, req); err != nil {
		return err
	}
	im.chunks, im.seen = im.chunks+1, seen
	return nil
}

func (im *importing) commit(ctx context.Context, req *pb.ImportRequest) error {
	if err := atMost("nodes", len(req.Nodes)+len(req.Edges), graph.MaxImportRecords); err != nil {
		return err
	}
	if len(req.Nodes)+len(req.Edges) == 0 {
		return nil
	}
	w := im.server.begin(ctx, req, im.chunks)
	for i, n := range req.Nodes {
		if err := graph.CheckImport(at("nodes", i), n); err != nil {
			return err
		}
	}
	for i, e := range req.Edges {
		if err := graph.CheckImportEdge(at("edges", i), e); err != nil {
			return err
		}
	}
	done, err := w.propose(ctx, &logpb.Command{Operation: &logpb.Command_Import{
		Import: &logpb.Import{Nodes: req.Nodes, Edges: req.Edges},
	}})
	if err != nil {
		return err
	}
	im.done.NodesCreated += done.Imported.NodesCreated
	im.done.NodesUnchanged += done.Imported.NodesUnchanged
	im.done.EdgesCreated += done.Imported.EdgesCreated
	im.done.EdgesUnchanged += done.Imported.EdgesUnchanged
	return nil
}

// tokens of imports have the digest of the chunks as what they belong to.
func (im *importing) tokens(ctx context.Context) tokens {
	return tokens{system: im.server.machine.Store().System(), tenant: tenantOf(ctx), field: "resume_token"}
}

func (im *importing) token() string {
	t := im.tokens(context.Background())
	copy(t.selection[:], im.seen[:])
	return t.seal(im.chunks, 0)
}

// resume reads the token of an earlier stream. Only the first message may bring one.
func (im *importing) resume(ctx context.Context, token string) error {
	if im.chunks > 0 {
		return graph.Invalidf("resume_token", "is for the first message only")
	}
	t := im.tokens(ctx)
	selection, err := t.peek(token)
	if err != nil {
		return err
	}
	t.selection, im.expected = selection, selection
	im.skip, _, err = t.open(token)
	return err
}
