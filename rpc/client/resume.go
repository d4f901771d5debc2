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
	"google.golang.org/grpc/status"
)

// errImpatient ends a stream that has found no node to go on with.
var errImpatient = errors.New("no node has taken the stream on for as long as the client is patient")

// until is how long a node is looked for: Config.Patience for a stream that has lost one, else Config.Timeout.
func (s *stream) until() time.Time {
	if s.begun {
		return s.lost.Add(s.client.cfg.Patience)
	}
	return s.lost.Add(s.client.cfg.Timeout)
}

// tryLocked opens a stream on one node and waits for its headers, which say that it was accepted. What goes wrong either ends the
// stream or leaves it without one underneath, when it is time for the next attempt.
func (s *stream) tryLocked() {
	ctx, cancel := context.WithDeadlineCause(s.ctx, s.until(), errImpatient)
	defer cancel()
	n, err := s.client.pool.pick(ctx, s.call.kind, &s.call.tries, s.client.cfg.FailFast && !s.begun)
	if err != nil {
		s.finishLocked(s.failure(s.call.lastAnswer(), err))
		return
	}
	start := time.Now()
	s.current = &attempt{node: n}
	if err := s.current.open(s); err != nil {
		s.brokenLocked(err)
		return
	}
	header, _ := s.current.Header() // what goes wrong comes with RecvMsg
	s.seen.note(header, start)
	if s.header == nil || header != nil {
		s.header = header
	}
	if s.call.kind != feeds {
		return // accepted with the first message
	}
	// A stream that was refused does not tell its place; why, comes with RecvMsg.
	if _, accepted := only(header, headerLastEvent); !accepted {
		return
	}
	if s.begun {
		s.client.cfg.Watch.resumed(shortName(s.call.method), n.dial, s.cursor.after)
	}
	s.cursor.began(header)
	s.beganLocked()
}

// beganLocked notes that the stream underneath was accepted.
func (s *stream) beganLocked() {
	if s.begun && s.lost.IsZero() {
		return
	}
	n := s.current.node
	n.heard.Add(1)
	n.pool.judged(n, verdict{node: well})
	s.client.budget.succeeded(s.call.tries.count > 0)
	s.begun, s.lost, s.call.tries = true, time.Time{}, tries{}
}

// open asks the node of an attempt for the stream.
func (a *attempt) open(s *stream) error {
	ctx, request := s.ctx, s.request
	if s.cursor != nil {
		request = s.cursor.next()
		if s.begun {
			ctx = atLeast(ctx, s.cursor.revision())
		}
	}
	a.hold(ctx, s.call.kind)
	var err error
	a.ClientStream, err = a.node.conn.NewStream(a.held, s.desc, s.call.method, a.with(s.options)...)
	if err == nil {
		err = a.SendMsg(request)
	}
	if errors.Is(err, io.EOF) {
		return a.RecvMsg(nil) // which says why
	}
	if err == nil {
		err = a.CloseSend()
	}
	return err
}

// hold makes the context of an attempt. What it holds is let go of when the attempt or the caller's context ends.
func (a *attempt) hold(ctx context.Context, k kind) {
	held, release := a.node.hold(ctx, k)
	var once sync.Once
	done := func() {
		once.Do(func() {
			release()
			a.node.pool.release(a.node)
		})
	}
	detach := context.AfterFunc(ctx, done)
	a.held, a.release = held, func() {
		detach()
		done()
	}
}

func (a *attempt) with(options []grpc.CallOption) []grpc.CallOption {
	return append(options[:len(options):len(options)], grpc.Peer(&a.from))
}

// brokenLocked decides what becomes of the stream after the one underneath has ended with an error, and waits until it is time for the
// next.
func (s *stream) brokenLocked(err error) {
	a := s.current
	s.current = nil
	moved := errors.Is(context.Cause(a.held), errAside)
	err = a.why(s.ctx, err)
	a.release()
	v := s.judge(a, err)
	s.call.tries.failed(a.node, err)
	if s.ctx.Err() == nil && !moved {
		a.node.pool.judged(a.node, v)
	}
	switch {
	case s.ctx.Err() != nil:
		s.finishLocked(s.failure(err, context.Cause(s.ctx)))
		return
	case !v.again || s.call.once:
		s.finishLocked(s.failure(err, nil))
		return
	case s.client.cfg.FailFast && !s.begun && s.call.triedAll():
		s.finishLocked(s.failure(err, errors.New("no node can do it")))
		return
	}
	if s.lost.IsZero() {
		s.lost = time.Now()
		s.client.cfg.Watch.lost(shortName(s.call.method), a.node.dial, err)
	} else {
		s.client.cfg.Watch.retry(shortName(s.call.method), a.node.dial, err)
	}
	if moved {
		return
	}
	wait := backoff(s.call.tries.count)
	if !s.client.pool.another(s.call.kind, &s.call.tries) {
		wait = max(wait, jitter(v.after))
	}
	ctx, cancel := context.WithDeadlineCause(s.ctx, s.until(), errImpatient)
	defer cancel()
	if e := errors.Join(pause(ctx, wait)); e != nil {
		s.finishLocked(s.failure(err, e))
	} else if e := s.client.budget.take(ctx); e != nil {
		s.finishLocked(s.failure(err, e))
	}
}

// why is the error of an attempt: when it was cut off here, for what reason.
func (a *attempt) why(ctx context.Context, err error) error {
	if ctx.Err() != nil || a.held.Err() == nil {
		return err
	}
	cut := context.Cause(a.held)
	if errors.Is(cut, ErrClosed) {
		return status.Error(codes.Canceled, cut.Error())
	}
	return status.Error(codes.Unavailable, cut.Error())
}

// judge says whether the stream can go on after an error.
func (s *stream) judge(a *attempt, err error) verdict {
	v := judge(s.call.kind, false, a.from.Addr != nil, err)
	if s.call.kind == readStreams {
		v.again = v.again && s.delivered == 0
		return v
	}
	if torn(s.ctx, err) && context.Cause(a.held) != ErrClosed {
		v.again, v.node = true, failing
	}
	// Where it would have to go on must be known, unless it has never begun.
	v.again = v.again && s.cursor != nil && (s.cursor.known || !s.begun)
	return v
}

// torn reports the end of a stream that no server of ours has decided upon, and a deadline that is not the caller's.
func torn(ctx context.Context, err error) bool {
	st := status.Convert(err)
	switch st.Code() {
	case codes.DeadlineExceeded:
		deadline, ok := ctx.Deadline()
		return !ok || time.Until(deadline) > lastPause
	case codes.Internal, codes.Unknown, codes.Canceled:
		return infoOf(st) == nil
	default:
		return false
	}
}

// failure is the error of the stream.
func (s *stream) failure(last, cause error) error {
	e := s.call.fail(last, cause)
	e.Delivered = s.delivered
	return e
}

// finishLocked ends the stream.
func (s *stream) finishLocked(err error) {
	if s.end != nil {
		return
	}
	s.end = err
	if s.current != nil {
		s.current.release()
		s.current = nil
	}
	s.cancel()
}

// A passage is a stream that is made on one node and stays there: uploads, and calls that are not known here.
type passage struct {
	*attempt
	call call
	ctx  context.Context
	desc *grpc.StreamDesc
	// received counts messages.
	received int
}

// upload begins a stream on one node. It is never begun again: what was sent is not kept.
func (c *Client) upload(ctx context.Context, desc *grpc.StreamDesc, a call, options []grpc.CallOption) (grpc.ClientStream, error) {
	limited, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	for {
		n, err := c.pool.pick(limited, a.kind, &a.tries, c.cfg.FailFast)
		if err != nil {
			return nil, a.fail(a.lastAnswer(), err)
		}
		p := &passage{attempt: &attempt{node: n}, call: a, ctx: ctx, desc: desc}
		p.hold(ctx, a.kind)
		p.ClientStream, err = n.conn.NewStream(p.held, desc, a.method, p.with(options)...)
		if err == nil {
			return p, nil
		}
		p.release()
		if err := a.next(limited, n, a.failed(ctx, p.held, n, p.from.Addr != nil, err)); err != nil {
			return nil, err
		}
	}
}

// RecvMsg receives a message from the node of the passage.
func (p *passage) RecvMsg(m any) error {
	err := p.ClientStream.RecvMsg(m)
	if err == nil {
		p.node.heard.Add(1)
		p.received++
		if p.desc.ServerStreams {
			return nil
		}
	}
	defer p.release()
	if err == nil || errors.Is(err, io.EOF) {
		header, _ := p.Header()
		p.call.seen.note(header, time.Time{})
		return err
	}
	said := p.call.failed(p.ctx, p.held, p.node, p.from.Addr != nil, err)
	var why answer
	if errors.As(said, &why) {
		err = why.error
	}
	e := p.call.fail(err, nil)
	e.Delivered = p.received
	return e
}

// Header is that of the stream of the node.
func (p *passage) Header() (metadata.MD, error) { return p.ClientStream.Header() }
