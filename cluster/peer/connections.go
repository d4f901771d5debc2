package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"sync"
)

// connection is one that has been authenticated. It is known to its port until it is closed.
type connection struct {
	*tls.Conn
	all *connections
	// own is what this node showed, theirs what the other end did; dialled says who was the client.
	own     []*x509.Certificate
	theirs  []*x509.Certificate
	dialled bool
}

// Close tells the other end, and gives the connection up.
func (c *connection) Close() error {
	c.all.remove(c)
	return c.Conn.Close()
}

// kill ends the connection at once, whatever is going on with it.
func (c *connection) kill() {
	c.all.remove(c)
	_ = c.NetConn().Close()
}

// accepted tells whether both ends would still be let in.
func (c *connection) accepted(m *material) bool {
	client, server := c.theirs, c.own
	if c.dialled {
		client, server = c.own, c.theirs
	}
	return m.verify(client, x509.ExtKeyUsageClientAuth) == nil && m.verify(server, x509.ExtKeyUsageServerAuth) == nil
}

// connections are those of a port that are open.
type connections struct {
	mu     sync.Mutex
	open   map[*connection]struct{}
	closed bool
}

func newConnections() *connections { return &connections{open: map[*connection]struct{}{}} }

var (
	errClosed    = errors.New("the peer port is closed")
	errWithdrawn = errors.New("the credentials were withdrawn during the handshake")
)

// add takes in a connection that was authenticated with m. It is looked at again with what is valid now, which may have
// changed meanwhile: whoever changes it looks at what is here already.
func (cs *connections) add(conn *tls.Conn, dialled bool, m *material, current func() *material) (*connection, error) {
	c := &connection{Conn: conn, all: cs, own: m.chain, theirs: conn.ConnectionState().PeerCertificates, dialled: dialled}
	cs.mu.Lock()
	closed := cs.closed
	if !closed {
		cs.open[c] = struct{}{}
	}
	cs.mu.Unlock()
	if closed {
		c.kill()
		return nil, errClosed
	}
	if now := current(); now != m && !c.accepted(now) {
		c.kill()
		return nil, errWithdrawn
	}
	return c, nil
}

func (cs *connections) remove(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
}

func (cs *connections) list() []*connection {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := make([]*connection, 0, len(cs.open))
	for c := range cs.open {
		all = append(all, c)
	}
	return all
}

// sweep closes those that would no longer be let in, and counts them.
func (cs *connections) sweep(m *material) int {
	n := 0
	for _, c := range cs.list() {
		if !c.accepted(m) {
			c.kill()
			n++
		}
	}
	return n
}

// closeRaft closes the streams of Raft.
func (cs *connections) closeRaft() {
	for _, c := range cs.list() {
		if c.ConnectionState().NegotiatedProtocol == raftProtocol {
			c.kill()
		}
	}
}

// closeAll closes all there are and all that come.
func (cs *connections) closeAll() {
	cs.mu.Lock()
	cs.closed = true
	cs.mu.Unlock()
	for _, c := range cs.list() {
		c.kill()
	}
}

// handshakes are the connections of which nothing is known yet. They have a bound; beyond it the oldest goes.
type handshakes struct {
	mu   sync.Mutex
	max  int
	open []net.Conn
}

func newHandshakes(limit int) *handshakes { return &handshakes{max: limit} }

func (h *handshakes) add(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.open) == h.max {
		_ = h.open[0].Close()
		h.open = slices.Delete(h.open, 0, 1)
	}
	h.open = append(h.open, c)
}

func (h *handshakes) remove(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.open, c); i >= 0 {
		h.open = slices.Delete(h.open, i, i+1)
	}
}

func (h *handshakes) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.open {
		_ = c.Close()
	}
}

// incoming is a listener of connections that have been admitted.
type incoming struct {
	ready   chan *connection
	life    context.Context
	stop    context.CancelFunc
	address net.Addr
}

func newIncoming(life context.Context, address net.Addr) *incoming {
	in := &incoming{ready: make(chan *connection), address: address}
	in.life, in.stop = context.WithCancel(life)
	return in
}

var errNobody = errors.New("nobody takes connections of this kind now")

// offer waits until somebody accepts the connection.
func (in *incoming) offer(ctx context.Context, c *connection) error {
	select {
	case in.ready <- c:
		return nil
	case <-in.life.Done():
		return errNobody
	case <-ctx.Done():
		return errNobody
	}
}

// Accept waits for the next connection; after Close the error is [net.ErrClosed].
func (in *incoming) Accept() (net.Conn, error) {
	select {
	case c := <-in.ready:
		return c, nil
	case <-in.life.Done():
		return nil, net.ErrClosed
	}
}

// Close ends the listening.
func (in *incoming) Close() error {
	in.stop()
	return nil
}

// Addr is the address at which others reach the port.
func (in *incoming) Addr() net.Addr { return in.address }

// advertised is an address as others dial it, with a host name, may be.
type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }
