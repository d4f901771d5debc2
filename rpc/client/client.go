package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// A Client sends each call to a node that can serve it. It is safe for concurrent use. Close it.
type Client struct {
	cfg    Config
	pool   *pool
	budget *budget
	stop   context.CancelFunc
	all    sync.WaitGroup
}

var _ grpc.ClientConnInterface = (*Client)(nil)

// Dial makes a client of the nodes at these addresses with the default [Config].
func Dial(addresses ...string) (*Client, error) { return Config{}.Dial(addresses...) }

// Dial makes a client of the nodes at these addresses: host:port, where a host name may have several addresses and is looked up
// again from time to time; [::1]:port; unix:/path. One text may have several, separated by commas; a missing port is 50051. It
// does not wait for a connection: [Client.Ready] does. The error is that of a wrong configuration.
func (c Config) Dial(addresses ...string) (*Client, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	r := &resolver{cfg: c}
	var wrong error
	for _, text := range addresses {
		list, err := ParseAddresses(text)
		wrong = errors.Join(wrong, err)
		for _, a := range list {
			p, err := parsePlace(a)
			wrong = errors.Join(wrong, err)
			r.places = append(r.places, p)
		}
	}
	if wrong == nil && len(r.places) == 0 {
		wrong = errors.New("client: no address was given")
	}
	if wrong != nil {
		return nil, wrong
	}
	r.last = make([][]endpoint, len(r.places))
	ctx, stop := context.WithCancel(context.Background())
	client := &Client{cfg: c, pool: newPool(c, c.dialOptions()), budget: newBudget(), stop: stop}
	r.pool = client.pool
	if r.names() {
		client.all.Go(func() { r.run(ctx) })
	} else {
		r.resolve(ctx)
	}
	return client, nil
}

// Close ends what is under way, closes all connections and waits until nothing of the client runs any more. Its error is nil.
func (c *Client) Close() error {
	c.stop()
	c.pool.close()
	c.all.Wait()
	return nil
}

// Graph is the stub of MemoryGraphService.
func (c *Client) Graph() graphgrpc.MemoryGraphServiceClient {
	return graphgrpc.NewMemoryGraphServiceClient(c)
}

// Transfer is the stub of GraphTransferService.
func (c *Client) Transfer() graphgrpc.GraphTransferServiceClient {
	return graphgrpc.NewGraphTransferServiceClient(c)
}

// Ready waits until a node says that it serves. The error is an [*Error] that tells what each address has said.
func (c *Client) Ready(ctx context.Context) error {
	tried := &tries{}
	for {
		c.pool.mu.Lock()
		now, changed, closed := time.Now(), c.pool.changed, c.pool.closed
		ready := slices.ContainsFunc(c.pool.nodes, func(n *node) bool { return n.good(reads, now) })
		hopeless := c.cfg.FailFast && c.pool.hopelessLocked()
		why := c.pool.whyLocked(tried)
		c.pool.mu.Unlock()
		switch {
		case ready:
			return nil
		case closed:
			return (&Error{Method: "Ready"}).conclude(nil, ErrClosed)
		case hopeless:
			return (&Error{Method: "Ready", Tried: tried.all}).conclude(nil, why)
		}
		// An ejection ends without a sign, so it is looked for.
		if err := await(ctx, changed, firstEjection); err != nil {
			return (&Error{Method: "Ready", Tried: tried.all}).conclude(nil, err)
		}
	}
}

// NodeStatus is what a client knows of a node.
type NodeStatus struct {
	// Address is what is connected to, Host the name in the address that led there.
	Address, Host string
	// Connected: the transport stands. Serving: the node says that it serves. Preferred: it gets calls now.
	Connected, Serving, Preferred bool
	// UnderWay are the calls and streams on it.
	UnderWay int
	// Err is why it cannot be reached; nil when it can.
	Err error
}

// Nodes tells what the client knows of each node, in the order of their addresses.
func (c *Client) Nodes() []NodeStatus {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	now := time.Now()
	var all []NodeStatus
	for _, n := range c.pool.nodes {
		err := n.failure
		if n.silent {
			err = errSilent
		}
		all = append(all, NodeStatus{
			Address: n.dial, Host: n.host, Connected: n.connected, Serving: n.serving, Preferred: n.good(writes, now), UnderWay: n.underway, Err: err,
		})
	}
	return all
}

// Invoke makes one unary call. Generated stubs call it.
func (c *Client) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	return c.invoke(ctx, method, args, reply, options, nil)
}

// NewStream begins a stream. Generated stubs call it.
func (c *Client) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.newStream(ctx, desc, method, options, nil)
}
