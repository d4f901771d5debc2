package memnet

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	backlog      = 128
	packetQueue  = 1024
	firstFree    = 40000
	maxPacketLen = 64 << 10
)

// Network is a network of hosts. All of it may be called from any goroutine.
type Network struct {
	mu        sync.Mutex
	listeners map[address]*listener
	packets   map[address]*packetConn
	names     map[string]string
	cut       map[[2]string]bool
	open      map[*pair]struct{}
	free      int
}

// pair is a connection with both its directions.
type pair struct {
	from, to        string
	there, back     *stream
	closedDirection int
}

// New makes a network without hosts.
func New() *Network {
	return &Network{
		listeners: map[address]*listener{}, packets: map[address]*packetConn{}, names: map[string]string{},
		cut: map[[2]string]bool{}, open: map[*pair]struct{}{}, free: firstFree,
	}
}

// Host is one machine on a network, known by its name or IP address.
type Host struct {
	network *Network
	name    string
}

// Host returns the machine of that name. It need not be made before.
func (n *Network) Host(name string) Host { return Host{n, name} }

// SetName makes a name lead to a host, from now on, whatever it led to before.
func (n *Network) SetName(name, host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = host
}

// Cut lets nothing pass between two hosts any more.
func (n *Network) Cut(a, b string) { n.setCut(a, b, true) }

// Heal undoes Cut. What streams held back comes through.
func (n *Network) Heal(a, b string) { n.setCut(a, b, false) }

func (n *Network) setCut(a, b string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link(a, b)] = cut
	for p := range n.open {
		if link(p.from, p.to) == link(a, b) {
			p.there.set(func() { p.there.held = cut })
			p.back.set(func() { p.back.held = cut })
		}
	}
}

func link(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// find makes host:port of an address by name.
func (n *Network) find(hostPort string) (address, string, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return "", "", err
	}
	if at, ok := n.names[host]; ok {
		host = at
	}
	return address(net.JoinHostPort(host, port)), host, nil
}

func (h Host) address(port int) address {
	if port == 0 {
		h.network.free++
		port = h.network.free
	}
	return address(net.JoinHostPort(h.name, strconv.Itoa(port)))
}

// Listen takes connections at a port of the host, one that is free when it is 0.
func (h Host) Listen(port int) (net.Listener, error) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	at := h.address(port)
	if n.listeners[at] != nil {
		return nil, fmt.Errorf("listen at %s: %w", at, syscall.EADDRINUSE)
	}
	l := &listener{network: n, at: at, ready: make(chan net.Conn, backlog), done: make(chan struct{})}
	n.listeners[at] = l
	return l, nil
}

// Dial makes a connection to host:port. Nobody there is an error at once; through a cut link it hangs until ctx ends.
func (h Host) Dial(ctx context.Context, hostPort string) (net.Conn, error) {
	n := h.network
	n.mu.Lock()
	at, host, err := n.find(hostPort)
	l, cut := n.listeners[at], n.cut[link(h.name, host)]
	if err != nil || cut || l == nil {
		n.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case cut:
			<-ctx.Done()
			return nil, fmt.Errorf("dial %s: %w", hostPort, ctx.Err())
		default:
			return nil, fmt.Errorf("dial %s: %w", hostPort, syscall.ECONNREFUSED)
		}
	}
	p := &pair{from: h.name, to: host, there: newStream(), back: newStream()}
	n.open[p] = struct{}{}
	mine := &conn{in: p.back, out: p.there, local: h.address(0), remote: at, closed: func() { n.forget(p) }}
	theirs := &conn{in: p.there, out: p.back, local: at, remote: mine.local, closed: func() { n.forget(p) }}
	n.mu.Unlock()
	select {
	case l.ready <- theirs:
		return mine, nil
	case <-l.done:
		err = syscall.ECONNREFUSED
	case <-ctx.Done():
		err = ctx.Err()
	}
	_, _ = mine.Close(), theirs.Close()
	return nil, fmt.Errorf("dial %s: %w", hostPort, err)
}

// forget drops a connection that both ends have closed.
func (n *Network) forget(p *pair) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.closedDirection++; p.closedDirection == 2 {
		delete(n.open, p)
	}
}

type listener struct {
	network *Network
	at      address
	ready   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	case c := <-l.ready:
		return c, nil
	}
}

func (l *listener) Addr() net.Addr { return l.at }

func (l *listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, l.at)
		l.network.mu.Unlock()
		close(l.done)
		for {
			select {
			case c := <-l.ready:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}

// ListenPacket takes packets at a port of the host, one that is free when it is 0.
func (h Host) ListenPacket(port int) (net.PacketConn, error) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	at := h.address(port)
	if n.packets[at] != nil {
		return nil, fmt.Errorf("listen at %s: %w", at, syscall.EADDRINUSE)
	}
	c := &packetConn{host: h, at: at, queue: make(chan packet, packetQueue), done: make(chan struct{})}
	n.packets[at] = c
	return c, nil
}

type packet struct {
	data []byte
	from address
}

type packetConn struct {
	host  Host
	at    address
	queue chan packet
	done  chan struct{}
	once  sync.Once
}

func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case <-c.done:
		return 0, nil, net.ErrClosed
	case got := <-c.queue:
		return copy(p, got.data), got.from, nil
	}
}

// WriteTo never blocks and never says that a packet was lost.
func (c *packetConn) WriteTo(p []byte, to net.Addr) (int, error) {
	n := c.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	at, host, err := n.find(to.String())
	if err != nil {
		return 0, err
	}
	if len(p) > maxPacketLen {
		return 0, fmt.Errorf("send to %s: %w", to, syscall.EMSGSIZE)
	}
	if other := n.packets[at]; other != nil && !n.cut[link(c.host.name, host)] {
		select {
		case other.queue <- packet{append([]byte(nil), p...), c.at}:
		default:
		}
	}
	return len(p), nil
}

func (c *packetConn) LocalAddr() net.Addr { return c.at }

func (c *packetConn) Close() error {
	c.once.Do(func() {
		c.host.network.mu.Lock()
		delete(c.host.network.packets, c.at)
		c.host.network.mu.Unlock()
		close(c.done)
	})
	return nil
}

// SetDeadline and its kin do nothing: Close ends a ReadFrom.
func (c *packetConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *packetConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *packetConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
