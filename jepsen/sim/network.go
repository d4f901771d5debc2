package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// Times of the network.
const (
	// A segment takes between these on a link that is well.
	fastest, slowest = 50 * time.Microsecond, 400 * time.Microsecond
	// giveUp is how long an end waits for what it has sent to be acknowledged, before it breaks the connection.
	giveUp = 15 * time.Second
	// keepAlive is how long an end that sends nothing takes to notice that the other is gone: the ports ask for that.
	keepAlive = 30 * time.Second
	// resend is how long after a link has healed the next try of what was lost comes at most.
	resend = 500 * time.Millisecond
	// backlog is how many connections a listener holds that nobody has accepted.
	backlog = 128
)

// way is from one host to another.
type way struct{ from, to string }

// network joins hosts as TCP does: nothing is lost on a connection, only late, until one end gives up. It has no bandwidth and no
// congestion. All of it is guarded by one mutex; whoever waits does so on conditions and channels, so that a bubble's time goes on.
type network struct {
	mu     sync.Mutex
	random *rand.Rand
	hosts  map[string]*host
	// cut are the ways on which nothing passes, since when.
	cut map[way]bool
	// slow is what a way takes more.
	slow map[way]time.Duration
	// changed is closed and replaced when a way or a host has changed.
	changed chan struct{}
	wires   map[*wire]struct{}
}

// host is one machine.
type host struct {
	// life counts its processes: what an earlier one does goes nowhere.
	life int
	// down: the machine has no power. paused: its process does not run.
	down, paused bool
	listeners    map[string]*listener
	ports        int
}

func newNetwork(random *rand.Rand) *network {
	return &network{random: random, hosts: map[string]*host{}, cut: map[way]bool{}, slow: map[way]time.Duration{}, changed: make(chan struct{}), wires: map[*wire]struct{}{}}
}

// A process is a process on a host, as the network knows it.
type process struct {
	network *network
	host    string
	life    int
}

// boot starts a process on a host, which then has power. One that was there before is gone.
func (n *network) boot(name string) process {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	if h == nil {
		h = &host{}
		n.hosts[name] = h
	}
	h.life++
	h.down, h.paused, h.listeners = false, false, map[string]*listener{}
	for w := range n.wires {
		if w.to == name && w.orphan && w.unread > 0 && !w.blockedLocked() {
			w.pair.breakLocked(w, syscall.ECONNRESET) // what is sent again meets a machine that knows nothing of it
		}
	}
	n.moveLocked()
	return process{n, name, h.life}
}

// kill ends the process of a host. Its system tells the others; after a loss of power nobody does.
func (n *network) kill(name string, power bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	h.life++
	h.down, h.paused = power, false
	for _, l := range h.listeners {
		l.closeLocked()
	}
	for w := range n.wires {
		if w.from == name {
			w.pair.dieLocked(w, power)
		}
	}
	n.moveLocked()
}

// pause stops and continues what a process reads and writes. Its timers go on, for goroutines cannot be stopped.
func (n *network) pause(name string, paused bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[name].paused = paused
	n.moveLocked()
}

// set cuts or heals ways.
func (n *network) set(cut bool, ways ...way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for _, w := range ways {
		if n.cut[w] == cut {
			continue
		}
		n.cut[w] = cut
		for one := range n.wires {
			if one.way == w {
				one.changedLocked(now, cut)
			}
		}
	}
	n.moveLocked()
}

// slowDown makes ways take longer by that, 0 for no longer.
func (n *network) slowDown(by time.Duration, ways ...way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range ways {
		n.slow[w] = by
	}
}

// reset breaks all connections of a host, as a firewall that restarts does.
func (n *network) reset(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.wires {
		if w.from == name {
			w.pair.breakLocked(w, syscall.ECONNRESET)
		}
	}
	n.moveLocked()
}

// moveLocked wakes whoever waits.
func (n *network) moveLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
	for w := range n.wires {
		w.cond.Broadcast()
	}
}

// openLocked reports that a segment would pass.
func (n *network) openLocked(w way) bool {
	return !n.cut[w] && !n.hosts[w.from].down && !n.hosts[w.to].down
}

func (n *network) delayLocked(w way) time.Duration {
	d := fastest + time.Duration(n.random.Int64N(int64(slowest-fastest)))
	if by := n.slow[w]; by > 0 {
		d += by/2 + time.Duration(n.random.Int64N(int64(by)))
	}
	return d
}

// alive is the host of a process that still runs.
func (p process) aliveLocked() (*host, error) {
	h := p.network.hosts[p.host]
	if h.life != p.life {
		return nil, fmt.Errorf("process on %s: %w", p.host, syscall.ENETDOWN)
	}
	return h, nil
}

// listen takes connections at a port of the host.
func (p process) listen(port string) (net.Listener, error) {
	p.network.mu.Lock()
	defer p.network.mu.Unlock()
	h, err := p.aliveLocked()
	if err != nil {
		return nil, err
	}
	at := net.JoinHostPort(p.host, port)
	if h.listeners[at] != nil {
		return nil, fmt.Errorf("listen at %s: %w", at, syscall.EADDRINUSE)
	}
	l := &listener{process: p, at: address(at), ready: make(chan net.Conn, backlog), done: make(chan struct{})}
	h.listeners[at] = l
	return l, nil
}

// dial makes a connection to host:port. It takes a round trip; through a way that is cut, or to a machine without power, it takes until
// that is over or ctx ends.
func (p process) dial(ctx context.Context, to string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	there, back := way{p.host, name}, way{name, p.host}
	retried := false
	for {
		took, changed, err := p.tryDial(there, back, retried)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", to, err)
		}
		if took == 0 {
			select {
			case <-changed:
				retried = true
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
			}
		}
		timer := time.NewTimer(took)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
		}
		if conn, err := p.connect(to, there, back); conn != nil || err != nil {
			return conn, err
		}
	}
}

// tryDial says how long a round trip takes, 0 when it does not come back before something changes.
func (p process) tryDial(there, back way, retried bool) (time.Duration, <-chan struct{}, error) {
	n := p.network
	n.mu.Lock()
	defer n.mu.Unlock()
	h, err := p.aliveLocked()
	if err != nil {
		return 0, nil, err
	}
	if n.hosts[there.to] == nil {
		return 0, nil, syscall.EHOSTUNREACH
	}
	if h.paused || !n.openLocked(there) || !n.openLocked(back) {
		return 0, n.changed, nil
	}
	took := n.delayLocked(there) + n.delayLocked(back)
	if retried {
		took += time.Duration(n.random.Int64N(int64(resend)))
	}
	return took, n.changed, nil
}

// connect makes the connection when the way is still open; nil and no error when it is not.
func (p process) connect(to string, there, back way) (net.Conn, error) {
	n := p.network
	n.mu.Lock()
	defer n.mu.Unlock()
	h, err := p.aliveLocked()
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	if !n.openLocked(there) || !n.openLocked(back) {
		return nil, nil
	}
	l := n.hosts[there.to].listeners[to]
	if l == nil || len(l.ready) == cap(l.ready) {
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	h.ports++
	here := address(net.JoinHostPort(p.host, fmt.Sprint(40000+h.ports)))
	mine, theirs := n.joinLocked(there, back, here, l.at)
	l.ready <- theirs
	return mine, nil
}

type listener struct {
	process process
	at      address
	ready   chan net.Conn
	done    chan struct{}
	closed  bool
}

// Accept waits for a connection.
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
	n := l.process.network
	n.mu.Lock()
	defer n.mu.Unlock()
	l.closeLocked()
	if h := n.hosts[l.process.host]; h.listeners[string(l.at)] == l {
		delete(h.listeners, string(l.at))
	}
	n.moveLocked()
	return nil
}

func (l *listener) closeLocked() {
	if l.closed {
		return
	}
	l.closed = true
	close(l.done)
	for {
		select {
		case c := <-l.ready:
			end := c.(*end)
			end.out.pair.breakLocked(end.out, syscall.ECONNRESET)
		default:
			return
		}
	}
}

// address is host:port.
type address string

func (address) Network() string  { return "sim" }
func (a address) String() string { return string(a) }
