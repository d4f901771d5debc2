package rpc

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
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
	// streaming are the full names of the calls that are not bounded in time.
	streaming map[string]bool
	open      atomic.Int64
}

func newGate(cfg Config) *gate {
	return &gate{most: int64(cfg.MaxCalls), patience: cfg.RequestTimeout, streaming: map[string]bool{}}
}

// know learns which calls stream. It comes before the server serves.
func (g *gate) know(services map[string]grpc.ServiceInfo) {
	for name, service := range services {
		for _, m := range service.Methods {
			if m.IsClientStream || m.IsServerStream {
				g.streaming["/"+name+"/"+m.Name] = true
			}
		}
	}
}

// admit counts a call until it has ended, and gives a unary call its deadline: its caller's, else the server's.
func (g *gate) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	if g.open.Add(1) > g.most {
		g.open.Add(-1)
		refusal, _ := asStatus(errTooManyCalls)
		return nil, refusal
	}
	limited, cancel := ctx, context.CancelFunc(func() {})
	if !g.streaming[info.FullMethodName] {
		patience := g.patience
		if _, set := ctx.Deadline(); set {
			patience = maxUnaryTime
		}
		limited, cancel = context.WithTimeout(ctx, patience)
	}
	context.AfterFunc(ctx, func() {
		cancel()
		g.open.Add(-1)
	})
	return limited, nil
}
