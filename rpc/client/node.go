package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// A node is one connection, and what is known of who is at its other end.
type node struct {
	endpoint
	pool *pool
	conn *grpc.ClientConn
	// heard counts what has come from it.
	heard atomic.Uint64
	stop  context.CancelFunc
	done  chan struct{}

	// The rest is guarded by pool.mu.

	// connected and serving: the transport stands; the node says that it serves. silent: it gives no sign of life.
	connected, serving, silent bool
	// aside is since when it has said that it does not serve; zero while it does.
	aside time.Time
	// settling is until when its first word is waited for; zero once it has come.
	settling time.Time
	// strikes are failures in a row; until then it is used only when there is no better: for all calls, and for changes alone.
	strikes           int
	ejected, noWrites time.Time
	// underway are the calls on it; gone says that its address is no longer one of ours: it is closed with the last of them.
	underway int
	gone     bool
	// failure is why it could not be reached; nil when it could.
	failure error
	// calls and feed end when the node is given up: all that runs on it, or only what can move without harm.
	calls, feed life
}

// A life ends at once what hangs on it, and is then followed by another.
type life struct {
	ctx context.Context
	end context.CancelCauseFunc
}

func newLife() life {
	ctx, end := context.WithCancelCause(context.Background())
	return life{ctx, end}
}

// hold makes a context for one attempt: that of the caller, which also ends when the node is given up.
func (n *node) hold(ctx context.Context, k kind) (context.Context, context.CancelFunc) {
	held, cancel := context.WithCancelCause(ctx)
	n.pool.mu.Lock()
	l := n.calls
	if k == feeds {
		l = n.feed
	}
	n.pool.mu.Unlock()
	detach := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	return held, func() {
		detach()
		cancel(nil)
	}
}

// run keeps the connection up until ctx ends.
func (n *node) run(ctx context.Context) {
	defer close(n.done)
	for {
		state := n.conn.GetState()
		switch state {
		case connectivity.Idle:
			n.conn.Connect()
		case connectivity.Ready:
			n.stay(ctx)
			if ctx.Err() != nil {
				return
			}
			continue
		case connectivity.TransientFailure:
			n.pool.unreachable(n, n.why(ctx))
		case connectivity.Connecting, connectivity.Shutdown:
		}
		if !n.conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// why asks gRPC why it cannot connect: a call says so at once.
func (n *node) why(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.pool.cfg.ProbeTimeout)
	defer cancel()
	err := n.check(ctx)
	if s, ok := status.FromError(err); ok && err != nil {
		return errors.New(s.Message())
	}
	return err
}

// stay looks after a connection that stands, until it falls.
func (n *node) stay(ctx context.Context) {
	n.pool.reached(n)
	defer n.pool.unreachable(n, errors.New("the connection was lost"))
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { n.listen(ctx) })
	all.Go(func() { n.attend(ctx) })
	n.conn.WaitForStateChange(ctx, connectivity.Ready)
	cancel()
	all.Wait()
}

// listen follows what the node says of itself. One that does not offer that is believed to serve.
func (n *node) listen(ctx context.Context) {
	for attempts := 1; ; attempts++ {
		err := n.watch(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case slices.Contains([]codes.Code{codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied}, status.Code(err)):
			n.pool.says(n, true)
			return
		}
		// It was turned away, or is going down; in the latter case the connection falls next.
		n.pool.says(n, false)
		if pause(ctx, jitter(min(firstPause<<min(attempts, 8), lastPause))) != nil {
			return
		}
	}
}

func (n *node) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := grpc_health_v1.NewHealthClient(n.conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	for {
		said, err := stream.Recv()
		if err != nil {
			return err
		}
		n.heard.Add(1)
		n.pool.says(n, said.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING)
	}
}

// looks is how often in the time of Config.Silence it is looked whether a node has said something.
const looks = 4

// attend looks whether the node still lives, while something depends on it.
func (n *node) attend(ctx context.Context) {
	ticker := time.NewTicker(max(n.pool.cfg.Silence/looks, time.Millisecond))
	defer ticker.Stop()
	quiet, before := 0, n.heard.Load()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		n.pool.moveAside(n)
		quiet++
		if now := n.heard.Load(); now != before {
			quiet, before = 0, now
		}
		if quiet < looks || !n.pool.doubtful(n) {
			continue
		}
		quiet = 0
		probe, cancel := context.WithTimeout(ctx, n.pool.cfg.ProbeTimeout)
		err := n.check(probe)
		timedOut := probe.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case timedOut && err != nil:
			n.pool.silence(n)
		default: // any answer is a sign of life; a broken connection is gRPC's to notice
			n.pool.speaks(n)
		}
	}
}

// check asks the node for any answer.
func (n *node) check(ctx context.Context) error {
	_, err := grpc_health_v1.NewHealthClient(n.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return err
}
