package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// A stream is one that a server sends, of any number of streams underneath. Streams of events go on where they were, others only
// begin again, before the first message. It sends nothing before the request has come in full.
type stream struct {
	client  *Client
	ctx     context.Context
	cancel  context.CancelFunc
	desc    *grpc.StreamDesc
	options []grpc.CallOption
	seen    *Causal

	// mu guards what follows against a caller who asks for the headers while another one receives.
	mu      sync.Mutex
	call    call
	request any
	cursor  *cursor // nil for streams that are not of events
	closed  bool    // the request is complete
	current *attempt
	// header is that of the first stream underneath that was accepted; begun says that there was one.
	header metadata.MD
	begun  bool
	// lost is since when there is no stream underneath; zero while there is one.
	lost time.Time
	// delivered counts messages.
	delivered int
	end       error // io.EOF or why it has ended; nil while it goes on
}

// An attempt is one stream underneath.
type attempt struct {
	grpc.ClientStream
	node    *node
	held    context.Context
	from    peer.Peer
	release func()
}

func (c *Client) newStream(ctx context.Context, desc *grpc.StreamDesc, method string, options []grpc.CallOption, seen *Causal) (grpc.ClientStream, error) {
	s, options := c.cfg.split(options)
	k := kindOf(method)
	s.minRevision = max(s.minRevision, seen.revision())
	ctx, key, _ := s.outgoing(ctx, k)
	a := call{client: c, method: method, kind: k, key: key, once: s.once, seen: seen}
	if desc.ClientStreams || k == other {
		return c.upload(ctx, desc, a, options)
	}
	ctx, cancel := context.WithCancel(ctx)
	return &stream{client: c, ctx: ctx, cancel: cancel, desc: desc, options: options, seen: seen, call: a}, nil
}

// Context is that of the stream.
func (s *stream) Context() context.Context { return s.ctx }

// SendMsg takes the request.
func (s *stream) SendMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.request != nil {
		return status.Error(codes.Internal, "the call takes one request")
	}
	s.request = m
	if s.call.kind == feeds {
		s.cursor = newCursor(m)
	}
	return nil
}

// CloseSend completes the request.
func (s *stream) CloseSend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Header waits until a node has accepted the stream. Like gRPC's, it leaves errors to RecvMsg.
func (s *stream) Header() (metadata.MD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.openLocked()
	return s.header, nil
}

// Trailer is empty: it would be that of one of many streams.
func (s *stream) Trailer() metadata.MD { return nil }

// RecvMsg receives the next message, from whichever node.
func (s *stream) RecvMsg(m any) error {
	for {
		s.mu.Lock()
		a, err := s.openLocked()
		s.mu.Unlock()
		if err != nil {
			return err
		}
		err = a.RecvMsg(m)
		s.mu.Lock()
		switch {
		case err == nil && (s.cursor == nil || s.cursor.deliver(m)):
			a.node.heard.Add(1)
			s.delivered++
			s.beganLocked()
			s.mu.Unlock()
			return nil
		case err == nil: // delivered before
			a.node.heard.Add(1)
		case errors.Is(err, io.EOF):
			s.finishLocked(io.EOF)
		default:
			s.brokenLocked(err)
		}
		s.mu.Unlock()
	}
}

// openLocked is the stream underneath; it makes one if there is none.
func (s *stream) openLocked() (*attempt, error) {
	for s.end == nil && s.current == nil {
		if s.request == nil || !s.closed {
			return nil, status.Error(codes.Internal, "the request is not complete: call SendMsg and CloseSend first")
		}
		if s.lost.IsZero() {
			s.lost = time.Now()
		}
		s.tryLocked()
	}
	return s.current, s.end
}
