package rpc

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// ownServices begins the names of the calls that metrics count: health checks and reflection are not load.
const ownServices = "/llm.memory.graph.v1."

// unary is what is the same for all unary calls.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	start := time.Now()
	c, err := newCall(ctx, info.FullMethod)
	var reply any
	if err == nil {
		ctx = context.WithValue(ctx, callKey{}, c)
		reply, err = s.serve(ctx, req, info.FullMethod, handler)
	}
	if err == nil {
		reply, err = s.afford(ctx, c, reply)
	}
	err = s.answer(ctx, c, err)
	s.finished(info.FullMethod, c, err, start)
	if header := grpc.SetHeader(ctx, s.headers(c)); header != nil {
		s.logger.Debug("reply headers not sent", "method", c.method, "error", header)
	}
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// serve runs a handler unless its request did not decode or its time is up. A panic becomes an error.
func (s *Server) serve(ctx context.Context, req any, method string, handler grpc.UnaryHandler) (reply any, err error) {
	if err := decodeFault(req); err != nil {
		return nil, err
	}
	if err := s.unfit(method); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer s.recovered(callOf(ctx), &err)
	return handler(ctx, req)
}

// recovered turns a panic into an error and logs where it came from. For use in defer.
func (s *Server) recovered(c *call, err *error) {
	if p := recover(); p != nil {
		s.logger.Error("panic in a call", "method", c.method, "panic", p, "stack", string(debug.Stack()))
		*err = fmt.Errorf("%s: %w: %v", c.method, errPanic, p)
	}
}

// unfit says why this node cannot answer a call that needs its state; nil as long as it can.
func (s *Server) unfit(method string) error {
	if s.cfg.Fit == nil || s.cfg.Fit.Err() == nil || !needsState(method) {
		return nil
	}
	return &LogError{Kind: Quarantined, NotProposed: true, Err: context.Cause(s.cfg.Fit)}
}

// needsState reports a call that reads the graph or writes to it. Others tell how the node and the cluster are.
func needsState(method string) bool {
	return strings.HasPrefix(method, ownServices) && method != graphgrpc.MemoryGraphService_Health_FullMethodName &&
		!strings.HasPrefix(method, "/"+graphgrpc.ClusterService_ServiceDesc.ServiceName+"/")
}

// answer is the error as the caller gets it.
func (s *Server) answer(ctx context.Context, c *call, err error) error {
	st, damaged := asStatus(ended(ctx, err))
	if damaged {
		s.logger.Error("the store cannot be read", "method", c.method, "error", err)
	}
	return st
}

// ended replaces the error of a context by why it ended; what became of a proposal stays what it was.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if !errors.Is(err, context.Canceled) || ctx.Err() == nil || errors.Is(cause, context.Canceled) {
		return err
	}
	var before, now *LogError
	if errors.As(err, &before) && errors.As(cause, &now) {
		return &LogError{Kind: now.Kind, NotProposed: before.NotProposed, Err: now.Err}
	}
	return cause
}

func (s *Server) finished(fullMethod string, c *call, err error, start time.Time) {
	if strings.HasPrefix(fullMethod, ownServices) {
		s.metrics.Finished(c.method, codeName(err), time.Since(start))
	}
}

// headers are those of every reply. A reply that read nothing tells the revision of this node.
func (s *Server) headers(c *call) metadata.MD {
	sys := s.machine.Store().System()
	revision := graph.Revision(c.revision.Load())
	if revision == 0 {
		revision = fsm.Revision(sys)
	}
	return metadata.MD{headerRevision: {formatRevision(revision)}, headerLineage: {formatLineage(sys.Lineage)}}
}

func formatRevision(r graph.Revision) string { return strconv.FormatUint(uint64(r), 10) }

func formatLineage(l uint32) string { return hex.EncodeToString(binary.BigEndian.AppendUint32(nil, l)) }

// stream is what is the same for all streaming calls.
func (s *Server) stream(srv any, inner grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	start := time.Now()
	ctx, cancel := context.WithCancelCause(inner.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.stop, func() { cancel(errStopping) })()
	if s.cfg.Fit != nil && needsState(info.FullMethod) {
		defer context.AfterFunc(s.cfg.Fit, func() { cancel(s.unfit(info.FullMethod)) })()
	}
	c, err := newCall(ctx, info.FullMethod)
	if err == nil {
		err = s.unfit(info.FullMethod)
	}
	ctx = context.WithValue(ctx, callKey{}, c)
	st := &serverStream{ServerStream: inner, ctx: ctx, server: s, call: c, cancel: cancel, hold: hold{budget: s.budget}}
	own := strings.HasPrefix(info.FullMethod, ownServices)
	if own {
		s.metrics.Streams(1)
		defer s.metrics.Streams(-1)
	}
	if err == nil && c.holdsSnapshot() {
		var release func()
		if release, err = s.paced(st); err == nil {
			defer release()
		}
	}
	if err == nil {
		err = s.run(st, srv, handler)
	}
	if c.progress != nil && errors.Is(err, errStalled) {
		err = c.progress.cutOff(err)
	}
	err = s.answer(ctx, c, err)
	s.finished(info.FullMethod, c, err, start)
	if !st.opened.Load() {
		if header := inner.SetHeader(s.headers(c)); header != nil {
			s.logger.Debug("reply headers not sent", "method", c.method, "error", header)
		}
	}
	return err
}

// paced lets a stream hold a snapshot if not too many do.
func (s *Server) paced(st *serverStream) (release func(), err error) {
	if s.snapshots.Add(1) > int64(s.cfg.MaxSnapshots) {
		s.snapshots.Add(-1)
		return nil, errManySnapshots
	}
	st.pace = newPace(s.cfg.StallTimeout, func() { st.cancel(errStalled) })
	return func() {
		st.pace.stop()
		s.snapshots.Add(-1)
	}, nil
}

// lastWords is how long a handler may take to end once its stream has: to say where an import stands, or a health watch
// that it ends.
const lastWords = time.Second

// run runs the handler of a stream. One that waits for its peer, to send or to read, is left behind when the stream ends:
// it returns once gRPC has closed the stream, and Shutdown waits for it.
func (s *Server) run(st *serverStream, srv any, handler grpc.StreamHandler) error {
	done := make(chan error, 1)
	s.streams.Add(1)
	go func() {
		defer s.streams.Done()
		var err error
		defer func() { done <- err }()
		defer st.hold.end()
		defer s.recovered(st.call, &err)
		err = handler(srv, st)
	}()
	select {
	case err := <-done:
		return err
	case <-st.ctx.Done():
	}
	patience := time.NewTimer(lastWords)
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-patience.C:
		return context.Cause(st.ctx)
	}
}

// serverStream sends the headers of every reply with the first message, checks what it receives, and ends with the server.
type serverStream struct {
	grpc.ServerStream
	ctx    context.Context
	server *Server
	call   *call
	cancel context.CancelCauseFunc
	opened atomic.Bool
	// hold is what the last message takes of the budget, until the next is asked for.
	hold hold
	// received says that the first message has come; one goroutine receives.
	received bool
	// pace ends a stream that holds a snapshot when its reader is too slow; nil for others.
	pace *pace
}

func (st *serverStream) Context() context.Context { return st.ctx }

// open sends the headers, with more than those of every reply.
func (st *serverStream) open(more metadata.MD) error {
	if !st.opened.CompareAndSwap(false, true) {
		return nil
	}
	return st.ServerStream.SendHeader(metadata.Join(st.server.headers(st.call), more))
}

// SendMsg gives up on a reader that holds a snapshot and is too slow.
func (st *serverStream) SendMsg(m any) error {
	if err := st.open(nil); err != nil {
		return err
	}
	if st.pace == nil {
		return st.ServerStream.SendMsg(m)
	}
	size := sizeOf(m)
	if size > smallRequestBytes {
		st.server.budget.charge(int64(size))
		m = newOutgoing(st.ctx, st.server.budget, m, int64(size))
	}
	st.pace.begin()
	err := st.ServerStream.SendMsg(m)
	st.pace.end(size)
	return err
}

// errNoRequest ends a stream that was opened and not asked anything.
var errNoRequest = fmt.Errorf("the stream was opened, but its first message did not come in time: %w", context.DeadlineExceeded)

// RecvMsg refuses what did not decode. It does not wait longer than the stream lives; m is not to be used after an error.
func (st *serverStream) RecvMsg(m any) error {
	st.hold.change(0)
	if !st.received {
		st.received = true
		impatient := time.AfterFunc(st.server.cfg.RequestTimeout, func() { st.cancel(errNoRequest) })
		defer impatient.Stop()
	}
	received := make(chan error, 1)
	st.server.streams.Add(1)
	go func() {
		defer st.server.streams.Done()
		err := st.ServerStream.RecvMsg(m)
		st.hold.change(claim(m))
		received <- err
	}()
	select {
	case err := <-received:
		if err != nil {
			return err
		}
		return decodeFault(m)
	case <-st.ctx.Done():
		return context.Cause(st.ctx)
	}
}
