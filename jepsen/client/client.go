// Package client calls a cluster as a patient program does: any node, another one when that does not answer, until a deadline.
//
// It holds the rules by which a call may be sent again, and tells how each call went: how many attempts, which node answered, what the
// others said. It promises that an answer which decides something is handed on as it came. It refuses to know what a call means.
package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrGaveUp is returned for a call that was not decided before its deadline.
var ErrGaveUp = errors.New("not decided before the deadline")

const (
	// A connection that broke is tried again this soon at first, and this late at most.
	reconnectFirst, reconnectLast = 20 * time.Millisecond, 300 * time.Millisecond
	// Between two attempts of a call.
	pauseFirst, pauseLast = 5 * time.Millisecond, 200 * time.Millisecond
	// What is kept of the errors of a call.
	maxErrors = 8
)

// Config says how to call.
type Config struct {
	// Addresses are those of all nodes now; they may change from call to call.
	Addresses func() []string
	// Dial makes a connection without any retry of its own.
	Dial func(address string, options ...grpc.DialOption) (*grpc.ClientConn, error)
	// Attempt bounds one try, Deadline a call with all its tries.
	Attempt, Deadline time.Duration
	// Shun is how long a node that did not answer in time is left alone while there are others; 0 for not at all.
	Shun time.Duration
}

// Client may be used by many at once.
type Client struct {
	config Config

	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
	// shunned are nodes that did not answer in time, until when they are left alone.
	shunned map[string]time.Time
}

// Outcome is how a call went.
type Outcome struct {
	// Address is the node that decided it.
	Address string
	// Began is when the first attempt was sent, Sent when the deciding one was, Ended when it was answered.
	Began, Sent, Ended time.Time
	// Errors are what the attempts before it ended with, the first few of them.
	Errors []error
	// Attempts counts all of them.
	Attempts int
}

// New connects to nothing yet.
func New(config Config) *Client {
	return &Client{config: config, conns: make(map[string]*grpc.ClientConn), shunned: make(map[string]time.Time)}
}

// Close closes all connections.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for address, conn := range c.conns {
		errs = append(errs, conn.Close())
		delete(c.conns, address)
	}
	return errors.Join(errs...)
}

// To is the service at one node.
func (c *Client) To(address string) (graphgrpc.MemoryGraphServiceClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn, known := c.conns[address]
	if !known {
		var err error
		conn, err = c.config.Dial(address, grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectLast},
			MinConnectTimeout: time.Second,
		}))
		if err != nil {
			return nil, err
		}
		c.conns[address] = conn
	}
	return graphgrpc.NewMemoryGraphServiceClient(conn), nil
}

// Call makes a call at a random node, and at the others until one decides it. What it sends must be safe to send again: a read,
// or a write with an idempotency key. The error is the decision of a node, or ErrGaveUp with what the last attempt ended with.
func (c *Client) Call(
	ctx context.Context, call func(context.Context, graphgrpc.MemoryGraphServiceClient) error,
) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Deadline)
	defer cancel()
	o := Outcome{Began: time.Now()}
	at, pause := rand.IntN(1<<20), pauseFirst
	for {
		addresses := c.trusted(c.config.Addresses())
		o.Address = addresses[at%len(addresses)]
		o.Attempts++
		o.Sent = time.Now()
		err := c.attempt(ctx, o.Address, call)
		o.Ended = time.Now()
		if !again(err) {
			return o, err
		}
		if status.Code(err) == codes.DeadlineExceeded {
			c.shun(o.Address)
		}
		if len(o.Errors) < maxErrors {
			o.Errors = append(o.Errors, fmt.Errorf("%s: %w", o.Address, err))
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return o, fmt.Errorf("%w after %d attempts in %v: %w", ErrGaveUp, o.Attempts, o.Ended.Sub(o.Began), errors.Join(o.Errors...))
		}
		at++
		if at%len(addresses) == 0 {
			pause = min(2*pause, pauseLast)
		}
	}
}

// trusted are the nodes that are not shunned now, or all when every one is.
func (c *Client) trusted(addresses []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	good := slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { return c.shunned[a].After(now) })
	if len(good) == 0 {
		return addresses
	}
	return good
}

func (c *Client) shun(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shunned[address] = time.Now().Add(c.config.Shun)
}

func (c *Client) attempt(
	ctx context.Context, address string, call func(context.Context, graphgrpc.MemoryGraphServiceClient) error,
) error {
	graph, err := c.To(address)
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Attempt)
	defer cancel()
	return call(ctx, graph)
}

// again says whether an answer decides nothing: the node could not, or did not in time.
func again(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	case codes.ResourceExhausted: // with advice when to come again it is about now, without about the request
		for _, d := range status.Convert(err).Details() {
			if _, ok := d.(*errdetails.RetryInfo); ok {
				return true
			}
		}
	}
	return false
}
