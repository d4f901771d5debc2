package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

// Bounds of strangers.
const (
	// HandshakeTimeout is how long a connection may take, from its first byte to its greeting.
	HandshakeTimeout = 5 * time.Second
	// MaxHandshakes is how many connections may be in their handshake; one more ends the oldest of them, so that those who are
	// silent do not keep out who is quick.
	MaxHandshakes = 128
	// ReloadInterval is how often files of certificates are looked at.
	ReloadInterval = 10 * time.Second

	// connectTimeout is how long a name may take to be resolved and a machine to answer. What is tried again soon after finds a
	// machine that is back sooner than what waits long.
	connectTimeout = 2 * time.Second
	maxAcceptPause = time.Second
)

// Config is what a port is told.
type Config struct {
	// NodeID of this node, and its credentials.
	NodeID      string
	Credentials *Credentials
	// Listener accepts the connections, see [Listen]. The port closes it.
	Listener net.Listener
	// Advertise is where other nodes reach the port, host:port; the address of the listener when empty. A host name is resolved by
	// whoever dials, each time.
	Advertise string
	// Dial makes a connection to host:port; over TCP, and resolving names each time, when nil.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Logger hears what is refused; nothing is logged when nil.
	Logger hclog.Logger
	// Events hear what happens.
	Events Events
}

// Events are told what happens. Any may be nil; none may block.
type Events struct {
	// Refused: a connection was turned away: a stranger, or a node that dialled the wrong one ([*RefusedError]).
	Refused func(err error)
	// Reloaded: certificates were read again from their files, or could not be, and the old ones go on.
	Reloaded func(err error)
}

// keepAlive finds out within half a minute that the other end of a silent connection has vanished.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
}

// Listen opens a TCP port at host:port. Connections whose other end has vanished end after half a minute.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive()}
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for peers: %w", err)
	}
	return l, nil
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive()}
	return d.DialContext(ctx, "tcp", address)
}

// A Port is open from Open until Close. All of it may be called from any goroutine.
type Port struct {
	config  Config
	logger  *sparingLogger
	cluster atomic.Pointer[string]

	raft *streams
	grpc *incoming

	pending     *handshakes
	connections *connections
	// life ends with Close; busy counts the goroutines.
	life  context.Context
	die   context.CancelFunc
	busy  sync.WaitGroup
	close sync.Once
}

// Open starts a port. It refuses streams of Raft, and all but the open calls, until SetCluster.
func Open(config Config) (*Port, error) {
	if config.NodeID == "" || len(config.NodeID) > maxFieldBytes {
		return nil, fmt.Errorf("open peer port: node id %q: want 1 to %d bytes", config.NodeID, maxFieldBytes)
	}
	if config.Credentials == nil || config.Listener == nil {
		return nil, errors.New("open peer port: credentials and listener must be set")
	}
	if config.Advertise == "" {
		config.Advertise = config.Listener.Addr().String()
	}
	if config.Dial == nil {
		config.Dial = dialTCP
	}
	if config.Logger == nil {
		config.Logger = hclog.NewNullLogger()
	}
	p := &Port{
		config: config, logger: &sparingLogger{logger: config.Logger.Named("peer")},
		pending: newHandshakes(MaxHandshakes), connections: newConnections(),
	}
	p.life, p.die = context.WithCancel(context.Background())
	p.raft = &streams{port: p, incoming: newIncoming(p.life, advertised(config.Advertise))}
	p.grpc = newIncoming(p.life, advertised(config.Advertise))
	p.busy.Go(p.accept)
	p.busy.Go(p.watchFiles)
	return p, nil
}

// Address is where other nodes reach this port, host:port.
func (p *Port) Address() string { return p.config.Advertise }

// Streams carry Raft between members of one cluster. Dial takes `<node id>@host:port`, and says in a [*RefusedError] why the other
// end does not want it. Their Close closes them and leaves the port open.
func (p *Port) Streams() raft.StreamLayer { return p.raft }

// Listener accepts connections for a gRPC server with the port's ServerOptions.
func (p *Port) Listener() net.Listener { return p.grpc }

// SetCluster says which cluster this node is of, for good.
func (p *Port) SetCluster(clusterID string) { p.cluster.Store(&clusterID) }

func (p *Port) clusterID() string {
	if id := p.cluster.Load(); id != nil {
		return *id
	}
	return ""
}

// SetSecrets puts other secrets in the place of those there are: the first signs, all are accepted. Connections that were
// authenticated by one that is not among them are closed. To rotate, add the new secret behind the old one on every node, then
// put it first on every node, then take the old one away. It is an error with credentials from files.
func (p *Port) SetSecrets(secrets []secret.Secret) error {
	if err := p.config.Credentials.setSecrets(secrets); err != nil {
		return err
	}
	p.sweep()
	return nil
}

func (p *Port) sweep() {
	if n := p.connections.sweep(p.config.Credentials.get()); n > 0 {
		p.logger.info("closed connections whose credentials are no longer accepted", "connections", n)
	}
}

// Close ends everything that came through the port, and returns when the last goroutine is gone.
func (p *Port) Close() error {
	var err error
	p.close.Do(func() {
		p.die()
		err = p.config.Listener.Close()
		p.pending.closeAll()
		p.connections.closeAll()
		p.busy.Wait()
	})
	return err
}

// accept takes connections until the listener is closed. What it fails of is taken up again, for a process may have used up
// its files for a while.
func (p *Port) accept() {
	var pause time.Duration
	for {
		raw, err := p.config.Listener.Accept()
		switch {
		case p.life.Err() != nil:
			if err == nil {
				_ = raw.Close()
			}
			return
		case errors.Is(err, net.ErrClosed):
			p.logger.error("the peer port has been closed under this node", "error", err)
			return
		case err != nil:
			pause = min(max(2*pause, 5*time.Millisecond), maxAcceptPause)
			p.logger.refused("accept", err)
			if !wait(p.life, pause) {
				return
			}
			continue
		}
		pause = 0
		p.pending.add(raw)
		p.busy.Go(func() {
			defer p.pending.remove(raw)
			if err := p.admit(raw); err != nil {
				_ = raw.Close()
				p.turnedAway(raw, err)
			}
		})
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// admit makes a connection one of Raft or of gRPC, or says why not.
func (p *Port) admit(raw net.Conn) error {
	ctx, cancel := context.WithTimeout(p.life, HandshakeTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	if err := raw.SetDeadline(deadline); err != nil {
		return err
	}
	m := p.config.Credentials.get()
	secured := tls.Server(raw, m.accepting())
	if err := secured.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	c, err := p.connections.add(secured, false, m, p.config.Credentials.get)
	if err != nil {
		return err
	}
	to := p.grpc
	if secured.ConnectionState().NegotiatedProtocol == raftProtocol {
		to = p.raft.incoming
		if err := p.welcome(c); err != nil {
			return errors.Join(err, c.Close())
		}
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return errors.Join(err, c.Close())
	}
	if err := to.offer(ctx, c); err != nil {
		return errors.Join(err, c.Close())
	}
	return nil
}

func (p *Port) turnedAway(raw net.Conn, err error) {
	if p.life.Err() != nil {
		return
	}
	err = fmt.Errorf("peer %s: %w", raw.RemoteAddr(), err)
	p.logger.refused("turned away", err)
	if p.config.Events.Refused != nil {
		p.config.Events.Refused(err)
	}
}

// watchFiles reads certificates again when their files have changed, and tells when the own one nears its end.
func (p *Port) watchFiles() {
	c := p.config.Credentials
	if c.files == nil {
		return
	}
	var failed string
	for {
		p.logger.expiry(c.Expires())
		if !wait(p.life, ReloadInterval) {
			return
		}
		changed, err := c.reload()
		if err != nil && err.Error() == failed {
			continue
		}
		failed = ""
		if err != nil {
			failed = err.Error()
			p.logger.error("certificates are not read again, the old ones go on", "error", err)
		}
		if changed {
			p.logger.info("certificates read again")
			p.sweep()
		}
		if (changed || err != nil) && p.config.Events.Reloaded != nil {
			p.config.Events.Reloaded(err)
		}
	}
}

// dial makes a connection for a protocol, authenticated and known to the port.
func (p *Port) dial(ctx context.Context, address, protocol string) (*connection, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	raw, err := p.reach(ctx, address)
	if err != nil {
		return nil, err
	}
	m := p.config.Credentials.get()
	secured := tls.Client(raw, m.dialling(protocol))
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("handshake with %s: %w", address, err), raw.Close())
	}
	return p.connections.add(secured, true, m, p.config.Credentials.get)
}

func (p *Port) reach(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return p.config.Dial(ctx, address)
}
