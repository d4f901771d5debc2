package rpc

import (
	"context"
	"net"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	protobuf "google.golang.org/protobuf/proto"
)

// An outgoing is a large message on its way to a peer, with what it takes of the budget until it is written or dropped. gRPC
// calls a call done when its reply is queued, and keeps the queue of a peer that takes nothing for as long as its connection.
type outgoing struct {
	message any
	pool    *settling
}

// newOutgoing sends a message for which so many bytes are taken.
func newOutgoing(ctx context.Context, b *requestBudget, message any, bytes int64) *outgoing {
	a := newAccount(ctx, b, bytes)
	o := &outgoing{message: message, pool: &settling{account: a}}
	runtime.AddCleanup(o.pool, (*account).settle, a) // what gRPC drops it does not free
	return o
}

// An account is what one message takes, and of which connection.
type account struct {
	budget *requestBudget
	bytes  int64
	since  time.Time
	conn   *partialConn // nil where nobody watches connections
	once   sync.Once
}

func newAccount(ctx context.Context, b *requestBudget, bytes int64) *account {
	a := &account{budget: b, bytes: bytes, since: time.Now()}
	if p, ok := peer.FromContext(ctx); ok {
		if addr, ok := p.Addr.(connAddr); ok {
			a.conn = addr.conn
			a.conn.owes(a)
		}
	}
	return a
}

// settle gives back, once.
func (a *account) settle() {
	a.once.Do(func() {
		a.budget.release(a.bytes)
		if a.conn != nil {
			a.conn.paid(a)
		}
	})
}

// connAddr is the address of a peer that knows its connection: gRPC tells handlers nothing else of it.
type connAddr struct {
	net.Addr
	conn *partialConn
}

// RemoteAddr is the address of the peer.
func (c *partialConn) RemoteAddr() net.Addr { return connAddr{c.Conn.RemoteAddr(), c} }

func (c *partialConn) owes(a *account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsent[a] = struct{}{}
}

func (c *partialConn) paid(a *account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.unsent, a)
}

// stale reports that a message has waited for the peer since before a moment.
func (c *partialConn) stale(before time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a := range c.unsent {
		if a.since.Before(before) {
			return true
		}
	}
	return false
}

// dropStale closes the connections whose peers have left a large message untaken since before a moment.
func (p *partials) dropStale(before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if c.stale(before) {
			p.untaken(c.RemoteAddr())
			_ = c.Conn.Close() // gRPC hears of it as of any connection that breaks
		}
	}
}

// send encodes an outgoing message into a buffer that settles its account when gRPC frees it, or the collector does.
func (c codec) send(o *outgoing) (mem.BufferSlice, error) {
	var buf *[]byte
	switch m := o.message.(type) {
	case encoded:
		buf = (*[]byte)(&m)
	case protobuf.Message:
		size := protobuf.Size(m)
		buf = mem.DefaultBufferPool().Get(size)
		o.pool.back = mem.DefaultBufferPool()
		if _, err := (protobuf.MarshalOptions{UseCachedSize: true}).MarshalAppend((*buf)[:0], m); err != nil {
			o.pool.Put(buf)
			return nil, err
		}
	}
	return mem.BufferSlice{mem.NewBuffer(buf, o.pool)}, nil
}

// settling is the pool of one buffer.
type settling struct {
	account *account
	back    mem.BufferPool // where the buffer goes, nil for nowhere
}

// Get is not called: the buffer is made before.
func (s *settling) Get(n int) *[]byte { return mem.DefaultBufferPool().Get(n) }

// Put settles.
func (s *settling) Put(b *[]byte) {
	s.account.settle()
	if s.back != nil {
		s.back.Put(b)
	}
}
