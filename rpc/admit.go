package rpc

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/tap"
)

// maxUnaryTime is the longest that a unary call may take, whatever deadline its caller set: one that is never sent in full
// holds its place until then.
const maxUnaryTime = 10 * time.Minute

// errTooManyCalls refuses a call before anything of it is read.
var errTooManyCalls = errors.New("as many calls are under way as this node takes at a time")

// A gate lets calls in before their first message is read: gRPC calls no interceptor until it has come in full.
type gate struct {
	most     int64
	patience time.Duration
	budget   *requestBudget
	// streaming tells of the calls that there are, by their full names, whether they are streams: those are not bounded in time.
	streaming map[string]bool
	open      atomic.Int64
	// refused hears of each call that is, by its full name.
	refused func(method string, refusal error)
}

func newGate(cfg Config, b *requestBudget, refused func(method string, refusal error)) *gate {
	return &gate{most: int64(cfg.MaxCalls), patience: cfg.RequestTimeout, budget: b, streaming: map[string]bool{}, refused: refused}
}

type holdKey struct{}

// holdOf is what a unary call holds of the budget, until its reply has gone or nobody waits for it any more. gRPC keeps a reply that
// is not read, and tells nobody.
func holdOf(ctx context.Context) *hold {
	h, ok := ctx.Value(holdKey{}).(*hold)
	if !ok {
		panic("rpc: a call came past the gate")
	}
	return h
}

// know learns which calls stream. It comes before the server serves.
func (g *gate) know(services map[string]grpc.ServiceInfo) {
	for name, service := range services {
		for _, m := range service.Methods {
			g.streaming["/"+name+"/"+m.Name] = m.IsClientStream || m.IsServerStream
		}
	}
}

// admit counts a call until it has ended, and gives a unary call its deadline: its caller's, else the server's.
func (g *gate) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	if g.open.Add(1) > g.most {
		g.open.Add(-1)
		refusal, _ := asStatus(errTooManyCalls)
		if _, known := g.streaming[info.FullMethodName]; known { // names that callers make up are no labels
			g.refused(info.FullMethodName, refusal)
		}
		return nil, refusal
	}
	if g.streaming[info.FullMethodName] {
		context.AfterFunc(ctx, func() { g.open.Add(-1) })
		return ctx, nil
	}
	patience := g.patience
	if _, set := ctx.Deadline(); set {
		patience = maxUnaryTime
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	held := &hold{budget: g.budget}
	context.AfterFunc(ctx, func() {
		cancel()
		held.end()
		g.open.Add(-1)
	})
	return context.WithValue(limited, holdKey{}, held), nil
}

// afford takes what a reply needs of the budget, in place of what its request did; small ones need nothing. A change has been
// made and cannot be refused any more: its reply takes what it needs in any case.
func (s *Server) afford(ctx context.Context, c *call, reply any) (any, error) {
	h := holdOf(ctx)
	size := sizeOf(reply)
	if size <= smallRequestBytes {
		h.change(0)
		return reply, nil
	}
	if c.reads() {
		if err := h.grow(size); err != nil {
			return nil, err
		}
	}
	if err := grpc.SetSendCompressor(ctx, encoding.Identity); err != nil {
		s.logger.Debug("a large reply may be compressed", "method", c.method, "error", err)
	}
	return newOutgoing(ctx, s.budget, reply, h.handOver(int64(size))), nil
}
