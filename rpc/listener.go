package rpc

import (
	"net"
	"sync"
)

// limitListener bounds how many of its connections are open. Further ones wait in the queue of the system.
type limitListener struct {
	net.Listener
	slots chan struct{}
	// count hears how many more, or less, are open.
	count func(delta int)
	once  sync.Once
	done  chan struct{}
}

func newLimitListener(l net.Listener, most int, count func(delta int)) *limitListener {
	return &limitListener{Listener: l, slots: make(chan struct{}, most), count: count, done: make(chan struct{})}
}

// Accept waits for a slot, then for a connection.
func (l *limitListener) Accept() (net.Conn, error) {
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
	return &limitedConn{Conn: c, release: func() {
		l.count(-1)
		<-l.slots
	}}, nil
}

// Close ends an Accept that waits for a slot, too.
func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	once    sync.Once
	release func()
}

// Close frees the slot, once.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}
