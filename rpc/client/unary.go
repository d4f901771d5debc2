package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// A call is one call with all its attempts. Not for concurrent use.
type call struct {
	client *Client
	method string
	kind   kind
	key    string
	once   bool
	// minted: nodes remember the key for a quarter of an hour. began is when the first attempt did.
	minted bool
	began  time.Time
	tries  tries
	// lost says that an attempt may have taken effect.
	lost bool
	// seen is told the revision of every reply; nil for none.
	seen *Causal
}

func (c *Client) invoke(ctx context.Context, method string, args, reply any, options []grpc.CallOption, seen *Causal) error {
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
		ctx = limited
	}
	s, options := c.cfg.split(options)
	a := &call{client: c, method: method, kind: kindOf(method), once: s.once, seen: seen, began: time.Now()}
	s.minRevision = max(s.minRevision, seen.revision())
	ctx, a.key, a.minted = s.outgoing(ctx, a.kind)
	if s.tell != nil {
		a.seen = s.tell
	}
	for {
		n, err := c.pool.pick(ctx, a.kind, &a.tries, c.cfg.FailFast)
		if err != nil {
			return a.fail(a.lastAnswer(), err)
		}
		err = a.attempt(ctx, n, args, reply, options)
		if err == nil {
			c.budget.succeeded(a.tries.count > 0)
			return nil
		}
		if err := a.next(ctx, n, err); err != nil {
			return err
		}
	}
}

// attempt asks one node.
func (a *call) attempt(ctx context.Context, n *node, args, reply any, options []grpc.CallOption) error {
	defer a.client.pool.release(n)
	held, release := n.hold(ctx, a.kind)
	defer release()
	if limit := a.client.cfg.AttemptTimeout; limit > 0 {
		timed, cancel := context.WithTimeoutCause(held, limit, errSlow)
		defer cancel()
		held = timed
	}
	var header metadata.MD
	var from peer.Peer
	start := time.Now()
	err := n.conn.Invoke(held, a.method, args, reply, append(options[:len(options):len(options)], grpc.Header(&header), grpc.Peer(&from))...)
	a.seen.note(header, start)
	if err == nil {
		n.heard.Add(1)
		n.pool.judged(n, verdict{node: well})
		return nil
	}
	return a.failed(ctx, held, n, from.Addr != nil, err)
}

// errSlow ends an attempt that has taken longer than Config.AttemptTimeout.
var errSlow = errors.New("the node took too long")

// An answer is an error with what it means.
type answer struct {
	error
	verdict verdict
}

func (a answer) Unwrap() error { return a.error }

// failed reads what came instead of an answer, and draws the conclusions about the node.
func (a *call) failed(ctx, held context.Context, n *node, sent bool, err error) error {
	if ctx.Err() == nil && held.Err() != nil {
		cut := context.Cause(held)
		code := codes.Unavailable
		if errors.Is(cut, ErrClosed) {
			code = codes.Canceled
		}
		err = status.Error(code, cut.Error())
	}
	v := judge(a.kind, a.key != "", sent, err)
	a.tries.failed(n, err)
	a.lost = a.lost && unknown(status.Code(err)) || v.lost
	if ctx.Err() == nil {
		if v.node != failing {
			n.heard.Add(1)
		}
		n.pool.judged(n, v)
	}
	return answer{err, v}
}

// repeatFor is how long a change that may have taken effect is repeated with a key of ours: later nodes may have forgotten the key.
const repeatFor = 10 * time.Minute

var errForgotten = fmt.Errorf("it may have taken effect, and is not repeated after %v: nodes forget the key that it was sent with; give one to have it remembered for a day", repeatFor)

// next decides whether there is another attempt, and waits until it is time for it. The error is that of the call.
func (a *call) next(ctx context.Context, n *node, err error) error {
	var said answer
	if !errors.As(err, &said) {
		return a.fail(err, nil)
	}
	switch {
	case ctx.Err() != nil:
		return a.fail(said.error, context.Cause(ctx))
	case !said.verdict.again || a.once:
		return a.fail(said.error, nil)
	case a.minted && a.lost && time.Since(a.began) > repeatFor:
		return a.fail(said.error, errForgotten)
	case a.client.cfg.FailFast && a.triedAll():
		return a.fail(said.error, errors.New("no node can do it"))
	}
	wait := backoff(a.tries.count)
	if !a.client.pool.another(a.kind, &a.tries) {
		wait = max(wait, jitter(said.verdict.after))
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return a.fail(said.error, fmt.Errorf("no time is left for another attempt: %w", context.DeadlineExceeded))
	}
	a.client.cfg.Watch.retry(shortName(a.method), n.dial, said.error)
	if err := pause(ctx, wait); err != nil {
		return a.fail(said.error, err)
	}
	if err := a.client.budget.take(ctx); err != nil {
		return a.fail(said.error, fmt.Errorf("too many calls are repeated already: %w", err))
	}
	return nil
}

// triedAll reports that each node that can be reached was asked.
func (a *call) triedAll() bool {
	p := a.client.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.nodes {
		if n.failure == nil && a.tries.times(n) == 0 {
			return false
		}
	}
	return true
}

// lastAnswer is the last that a node has answered; nil when none has.
func (a *call) lastAnswer() error {
	for i := len(a.tries.all) - 1; i >= 0; i-- {
		if t := a.tries.all[i]; t.Times > 0 {
			return t.Err
		}
	}
	return nil
}

// fail is the error of the call: what was answered last, and why nobody is asked any more if that is not it.
func (a *call) fail(last, cause error) *Error {
	e := &Error{Method: shortName(a.method), Tried: a.tries.all, MayHaveHappened: a.lost, IdempotencyKey: a.key}
	return e.conclude(last, cause)
}
