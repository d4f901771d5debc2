package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// A network joins ports in memory. As with TCP nothing is lost on a link that is cut, only late, until one end gives up. It does not
// authenticate anybody; it refuses what is for another node or cluster, as the real port does.
type network struct {
	mu    sync.Mutex
	ports map[string]*memoryPort
	// cut are links, from one address to another, over which nothing goes; changed is closed and replaced when that changes.
	cut     map[[2]string]bool
	changed chan struct{}
	links   map[*link]struct{}
}

func newNetwork() *network {
	return &network{ports: map[string]*memoryPort{}, cut: map[[2]string]bool{}, changed: make(chan struct{}), links: map[*link]struct{}{}}
}

const pipeBytes = 1 << 20

// open makes the port of a node at an address.
func (w *network) open(nodeID, address string) (Port, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ports[address] != nil {
		return nil, fmt.Errorf("listen on %s: address in use", address)
	}
	p := &memoryPort{network: w, nodeID: nodeID, address: address, streams: bufconn.Listen(pipeBytes), calls: bufconn.Listen(pipeBytes)}
	w.ports[address] = p
	return p, nil
}

// cutOff cuts every link of an address, in both directions, or heals them.
func (w *network) cutOff(address string, off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for other := range w.ports {
		w.cut[[2]string{address, other}] = off
		w.cut[[2]string{other, address}] = off
	}
	w.changedLocked()
}

// cutLink cuts the way from one address to another, or heals it.
func (w *network) cutLink(from, to string, off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]string{from, to}] = off
	w.changedLocked()
}

func (w *network) changedLocked() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// crash ends every link of an address and frees it, as the death of a process does.
func (w *network) crash(address string) {
	w.mu.Lock()
	delete(w.ports, address)
	w.mu.Unlock()
	w.crashLinks(address)
}

// crashLinks ends every link of an address.
func (w *network) crashLinks(address string) {
	w.mu.Lock()
	var ended []*link
	for l := range w.links {
		if l.from == address || l.to == address {
			ended = append(ended, l)
		}
	}
	w.mu.Unlock()
	for _, l := range ended {
		l.Close()
	}
}

func (w *network) isCut(from, to string) (bool, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[[2]string{from, to}], w.changed
}

// dial makes a connection to one of the listeners at an address.
func (w *network) dial(ctx context.Context, from, to string, listener func(*memoryPort) (*bufconn.Listener, error)) (net.Conn, error) {
	for {
		cut, changed := w.isCut(from, to)
		back, _ := w.isCut(to, from)
		if !cut && !back {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	w.mu.Lock()
	p := w.ports[to]
	w.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	l, err := listener(p)
	if err != nil {
		return nil, err
	}
	c, err := l.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	return w.link(c, from, to), nil
}

func (w *network) link(c net.Conn, from, to string) *link {
	l := &link{Conn: c, network: w, from: from, to: to, closed: make(chan struct{})}
	w.mu.Lock()
	w.links[l] = struct{}{}
	w.mu.Unlock()
	return l
}

// A link is the dialling end of a connection: it holds up both directions while they are cut.
type link struct {
	net.Conn
	network  *network
	from, to string
	once     sync.Once
	closed   chan struct{}
}

func (l *link) pass(from, to string) error {
	for {
		cut, changed := l.network.isCut(from, to)
		if !cut {
			return nil
		}
		select {
		case <-changed:
		case <-l.closed:
			return net.ErrClosed
		}
	}
}

func (l *link) Write(p []byte) (int, error) {
	if err := l.pass(l.from, l.to); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}

func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if cut := l.pass(l.to, l.from); cut != nil {
		return 0, cut
	}
	return n, err
}

func (l *link) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.network.mu.Lock()
		delete(l.network.links, l)
		l.network.mu.Unlock()
	})
	return l.Conn.Close()
}

var _ Port = (*memoryPort)(nil)

// A memoryPort is one node's port in a network.
type memoryPort struct {
	network         *network
	nodeID, address string
	streams, calls  *bufconn.Listener

	mu      sync.Mutex
	cluster string
}

func (p *memoryPort) Address() string { return p.address }

func (p *memoryPort) Streams() raft.StreamLayer { return memoryStreams{Listener: p.streams, port: p} }

func (p *memoryPort) Listener() net.Listener { return p.calls }

func (p *memoryPort) ServerOptions() []grpc.ServerOption { return nil }

func (p *memoryPort) SetCluster(clusterID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cluster = clusterID
}

func (p *memoryPort) clusterID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cluster
}

func (p *memoryPort) Close() error {
	p.network.mu.Lock()
	if p.network.ports[p.address] == p {
		delete(p.network.ports, p.address)
	}
	p.network.mu.Unlock()
	return errors.Join(p.streams.Close(), p.calls.Close())
}

func (p *memoryPort) Connect(nodeID, address string) (*grpc.ClientConn, error) {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return p.network.dial(ctx, p.address, address, func(to *memoryPort) (*bufconn.Listener, error) {
			if nodeID != "" && to.nodeID != nodeID {
				return nil, fmt.Errorf("%s is %s, not %s", address, to.nodeID, nodeID)
			}
			return to.calls, nil
		})
	}
	soon := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.6, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second}
	return grpc.NewClient("passthrough:///"+address, grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(soon))
}

type memoryStreams struct {
	*bufconn.Listener
	port *memoryPort
}

func (s memoryStreams) Addr() net.Addr { return memoryAddr(s.port.address) }

func (s memoryStreams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	nodeID, to, err := SplitPeerAddress(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.port.network.dial(ctx, s.port.address, to, func(p *memoryPort) (*bufconn.Listener, error) {
		if p.nodeID != nodeID || p.clusterID() == "" || p.clusterID() != s.port.clusterID() {
			return nil, fmt.Errorf("%s refuses: it is %s of cluster %q", to, p.nodeID, p.clusterID())
		}
		return p.streams, nil
	})
}

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }
