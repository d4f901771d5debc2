package rpc

import (
	"net"
	"sync"
)

// limitListener bounds how many of its connections are open: in all, where further ones wait in the queue of the system, and
// from one address, where further ones are closed.
type limitListener struct {
	net.Listener
	slots chan struct{}
	// share is what one address may have, 0 for all of it.
	share int
	mu    sync.Mutex
	// open are the connections by address, when they have a share.
	open map[string]int
	// count hears how many more, or less, are open; refused hears of each that was over the share of its address.
	count   func(delta int)
	refused func()
	once    sync.Once
	done    chan struct{}
}

func newLimitListener(l net.Listener, most, share int, count func(delta int), refused func()) *limitListener {
	return &limitListener{
		Listener: l, slots: make(chan struct{}, most), share: share, open: map[string]int{}, count: count, refused: refused, done: make(chan struct{}),
	}
}

// Accept waits for a slot, then for a connection from an address that has not used up its share.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.accept()
		if err != nil {
			return nil, err
		}
		if l.enter(c) {
			return c, nil
		}
		l.refused()
		_ = c.Close() // nobody has said anything on it yet
	}
}

func (l *limitListener) accept() (*limitedConn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	l.count(1)
	limited := &limitedConn{Conn: c, address: host(c.RemoteAddr())}
	limited.release = func() {
		l.leave(limited)
		l.count(-1)
		<-l.slots
	}
	return limited, nil
}

// host is an address without its port.
func host(a net.Addr) string {
	if name, _, err := net.SplitHostPort(a.String()); err == nil {
		return name
	}
	return a.String()
}

// enter counts a connection for its address, unless that has its share.
func (l *limitListener) enter(c *limitedConn) bool {
	if l.share == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[c.address] >= l.share {
		return false
	}
	l.open[c.address]++
	c.entered = true
	return true
}

func (l *limitListener) leave(c *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.entered {
		return
	}
	if l.open[c.address]--; l.open[c.address] == 0 {
		delete(l.open, c.address)
	}
}

// Close ends an Accept that waits for a slot, too.
func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	// address is where it comes from; entered says that it counts there.
	address string
	entered bool
	once    sync.Once
	release func()
}

// Close frees the slot, once.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}
