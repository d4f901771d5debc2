package rpc

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strconv"

	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
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
	// underway waits for the message that is being committed and counts it; nil when none is.
	underway func() error
}

// Import writes records, one atomic change a message. While one is committed, the next is received and checked.
func (t *transfer) Import(stream grpc.ClientStreamingServer[pb.ImportRequest, pb.ImportResponse]) error {
	ctx := stream.Context()
	im := &importing{server: t.Server}
	defer func() { _ = im.wait() }() // also when the call panics; errors were told before
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = im.chunk(ctx, req)
		}
		// What was wrong with an earlier message comes first, and it counts what came before it.
		if err != nil {
			return im.stopped(ended(ctx, cmp.Or(im.wait(), err)))
		}
	}
	if err := im.wait(); err != nil {
		return im.stopped(ended(ctx, err))
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

// chunk checks one message and begins to commit it, unless an earlier stream has. An error is that of the message, or of the
// one before it.
func (im *importing) chunk(ctx context.Context, req *pb.ImportRequest) error {
	if req.ResumeToken != "" {
		if err := cmp.Or(im.wait(), im.resume(ctx, req.ResumeToken)); err != nil {
			return err
		}
		req.ResumeToken = ""
	}
	encoded := graph.Encode(req)
	body := sha256.Sum256(encoded)
	if im.chunks < im.skip {
		im.committed(body)
		if im.chunks == im.skip && [tokenPartSize]byte(im.seen[:]) != im.expected {
			return graph.Invalidf("resume_token", "belongs to other chunks than these")
		}
		return nil
	}
	if err := checkImport(req); err != nil {
		return err
	}
	if len(req.Nodes)+len(req.Edges) == 0 {
		err := im.wait()
		if err == nil {
			im.committed(body)
		}
		return err
	}
	// All that can be done before the message before is committed is done by then.
	part := im.chunks
	if im.underway != nil {
		part++
	}
	w := im.server.beginEncoded(ctx, encoded, part)
	command := &logpb.Command{Operation: &logpb.Command_Import{Import: &logpb.Import{Nodes: req.Nodes, Edges: req.Edges}}}
	change, err := w.encode(ctx, command)
	if err := cmp.Or(im.wait(), err); err != nil {
		return err
	}
	im.commit(body, func() (fsm.Result, error) { return w.proposeEncoded(ctx, command, change) })
	return nil
}

// committed notes a message as committed.
func (im *importing) committed(body [sha256.Size]byte) {
	im.chunks, im.seen = im.chunks+1, sha256.Sum256(append(im.seen[:], body[:]...))
}

func checkImport(req *pb.ImportRequest) error {
	if err := atMost("nodes", len(req.Nodes)+len(req.Edges), graph.MaxImportRecords); err != nil {
		return err
	}
	for i, n := range req.Nodes {
		if err := graph.CheckImport("", n); err != nil {
			return graph.CheckImport(at("nodes", i), n)
		}
	}
	for i, e := range req.Edges {
		if err := graph.CheckImportEdge("", e); err != nil {
			return graph.CheckImportEdge(at("edges", i), e)
		}
	}
	return nil
}

// commit begins to commit a message; wait waits for it.
func (im *importing) commit(body [sha256.Size]byte, propose func() (fsm.Result, error)) {
	done := make(chan outcome, 1)
	im.underway = func() error {
		o := <-done
		if o.panicked != nil {
			panic(o.panicked)
		}
		if o.err != nil {
			return o.err
		}
		im.committed(body)
		im.done.NodesCreated += o.imported.NodesCreated
		im.done.NodesUnchanged += o.imported.NodesUnchanged
		im.done.EdgesCreated += o.imported.EdgesCreated
		im.done.EdgesUnchanged += o.imported.EdgesUnchanged
		return nil
	}
	go func() {
		var o outcome
		defer func() {
			o.panicked = recover()
			done <- o
		}()
		result, err := propose()
		o.imported, o.err = result.Imported, err
	}()
}

// An outcome is what became of a message. A panic goes on in the goroutine of the call, which is guarded against it.
type outcome struct {
	imported graph.Imported
	err      error
	panicked any
}

// wait waits for the message that is being committed, if one is.
func (im *importing) wait() error {
	underway := im.underway
	im.underway = nil
	if underway == nil {
		return nil
	}
	return underway()
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
