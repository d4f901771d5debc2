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

const (
	// maxChunkBytes is how large a chunk grows before it is sent. One record more than fits is at most 2,000,000 bytes and
	// a little (a tool call's parameters and its result), so a chunk stays below graph.MaxRequestBytes.
	maxChunkBytes = 2 << 20
	// recordOverhead bounds what a record takes in a chunk beside itself: tag and length.
	recordOverhead = 8
	// windowChunks and windowBytes bound what one stream carries, which is held until the server has committed it.
	windowChunks = 32
	windowBytes  = 16 << 20
	// aheadChunks is how many chunks may wait while one is being sent: reading goes on meanwhile.
	aheadChunks = 2
)

// An origin is where a record comes from.
type origin struct {
	source, where string
	line          int // when where is empty
}

func (o origin) position() string {
	if o.where == "" && o.line > 0 {
		return fmt.Sprintf("line %d", o.line)
	}
	return o.where
}

// A chunk is one atomic change, with the origins of its records.
type chunk struct {
	req              pb.ImportRequest
	size             int
	nodesOf, edgesOf []origin
}

func (c *chunk) records() int { return len(c.req.Nodes) + len(c.req.Edges) }

// A sender packs records into chunks, which a goroutine of its own sends down one stream after the other. finish or abort
// ends it and waits for it.
type sender struct {
	ctx    context.Context
	cancel context.CancelFunc
	dry    bool
	now    *chunk
	queue  chan *chunk
	// done is closed when the goroutine is over; err and delivery.sum are its results.
	done     chan struct{}
	err      error
	delivery *delivery
}

// newSender starts a sender; a dry one sends nothing. refused is called, from the goroutine, for each record that the
// server does not take.
func newSender(ctx context.Context, client graphgrpc.GraphTransferServiceClient, dry bool, refused func(origin, string)) *sender {
	s := &sender{ctx: ctx, cancel: func() {}, dry: dry}
	if dry {
		return s
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.queue, s.done = make(chan *chunk, aheadChunks), make(chan struct{})
	s.delivery = &delivery{ctx: s.ctx, client: client, refused: refused, lost: make(map[string]bool)}
	go func(queue <-chan *chunk) {
		defer close(s.done)
		s.err = s.delivery.run(queue)
	}(s.queue)
	return s
}

func (s *sender) node(n *pb.Node, o origin) error {
	if s.dry {
		return s.ctx.Err()
	}
	if err := s.room(proto.Size(n)); err != nil {
		return err
	}
	s.now.req.Nodes, s.now.nodesOf = append(s.now.req.Nodes, n), append(s.now.nodesOf, o)
	return nil
}

func (s *sender) edge(e *pb.Edge, o origin) error {
	if s.dry {
		return s.ctx.Err()
	}
	if err := s.room(proto.Size(e)); err != nil {
		return err
	}
	s.now.req.Edges, s.now.edgesOf = append(s.now.req.Edges, e), append(s.now.edgesOf, o)
	return nil
}

// room passes the chunk on when a record does not fit into it any more.
func (s *sender) room(size int) error {
	size += recordOverhead
	if s.now != nil && (s.now.size+size > maxChunkBytes || s.now.records() >= graph.MaxImportRecords) {
		if err := s.pass(); err != nil {
			return err
		}
	}
	if s.now == nil {
		s.now = &chunk{}
	}
	s.now.size += size
	return nil
}

// pass gives the chunk to the goroutine, unless that has stopped.
func (s *sender) pass() error {
	full := s.now
	s.now = nil
	select {
	case s.queue <- full:
		return nil
	case <-s.done:
		if s.err == nil {
			return errors.New("sending has stopped")
		}
		return s.err
	}
}

// finish sends what is left.
func (s *sender) finish() error {
	if s.dry {
		return nil
	}
	if s.now != nil {
		if err := s.pass(); err != nil {
			return err
		}
	}
	close(s.queue)
	s.queue = nil
	<-s.done
	return s.err
}

// abort ends the sending where it is, which after finish is at its end, and returns what the server has said that it did.
func (s *sender) abort() committed {
	s.cancel()
	if s.dry {
		return committed{}
	}
	if s.queue != nil {
		close(s.queue)
		s.queue = nil
		<-s.done
	}
	return s.delivery.sum
}

// committed counts what the server has done.
type committed struct{ created, unchanged int64 }

// A delivery sends chunks. It holds those of the stream that is open, since the server says only at the end of a stream
// which of them it has refused; from a refused chunk it takes out the records that are to blame and sends the rest.
type delivery struct {
	ctx     context.Context
	client  graphgrpc.GraphTransferServiceClient
	refused func(origin, string)
	sum     committed

	stream grpc.ClientStreamingClient[pb.ImportRequest, pb.ImportResponse]
	window []*chunk
	bytes  int
	// lost are ids that the server does not have; what refers to them is not sent.
	lost map[string]bool
}

func (d *delivery) run(queue <-chan *chunk) error {
	for c := range queue {
		if err := d.send(c); err != nil {
			return err
		}
	}
	return d.settle()
}

// send puts a chunk on the stream, and ends the stream when it carries enough.
func (d *delivery) send(c *chunk) error {
	if d.drop(c); c.records() == 0 {
		return nil
	}
	if d.stream == nil {
		stream, err := d.client.Import(d.ctx)
		if err != nil {
			return err
		}
		d.stream = stream
	}
	d.window, d.bytes = append(d.window, c), d.bytes+c.size
	if err := d.stream.Send(&c.req); err != nil && !errors.Is(err, io.EOF) {
		return err
	} else if err == nil && len(d.window) < windowChunks && d.bytes < windowBytes {
		return nil
	}
	return d.settle() // after io.EOF the answer says why the server has ended the stream
}

// settle ends the stream, and deals with what the server has refused of it.
func (d *delivery) settle() error {
	if d.stream == nil {
		return nil
	}
	stream, window := d.stream, d.window
	d.stream, d.window, d.bytes = nil, nil, 0
	answer, err := stream.CloseAndRecv()
	if err == nil {
		d.count(answer)
		return nil
	}
	done, answer := progressOf(err)
	d.count(answer)
	if !isRefusal(err) || done >= len(window) {
		return err
	}
	if err := d.isolate(window[done], err); err != nil {
		return err
	}
	for _, c := range window[done+1:] {
		if err := d.send(c); err != nil {
			return err
		}
	}
	return d.settle()
}

func (d *delivery) count(r *pb.ImportResponse) {
	d.sum.created += r.GetNodesCreated() + r.GetEdgesCreated()
	d.sum.unchanged += r.GetNodesUnchanged() + r.GetEdgesUnchanged()
}
