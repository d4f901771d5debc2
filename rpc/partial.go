package rpc

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// partials bound the bytes of requests that have begun to come and are not complete, of all connections together. gRPC keeps
// them in memory without a bound of its own: each of the calls of each connection may hold all but one byte of the largest
// request. Where they exceed the limit, the connections that hold most for longest are closed.
type partials struct {
	limit int64
	bytes atomic.Int64
	// closed hears of each connection that was.
	closed func(peer net.Addr, bytes int64)
	// untaken hears of each that was because its peer takes no replies.
	untaken func(peer net.Addr)

	mu    sync.Mutex
	conns map[*partialConn]struct{}
}

func newPartials(limit int64, closed func(net.Addr, int64)) *partials {
	return &partials{limit: limit, closed: closed, conns: map[*partialConn]struct{}{}}
}

// wrap watches a connection that speaks HTTP/2 in the clear.
func (p *partials) wrap(c net.Conn) net.Conn {
	w := &partialConn{Conn: c, all: p, open: map[uint32]struct{}{}, streams: map[uint32]*partial{}, unsent: map[*account]struct{}{}}
	w.in.skip = len(http2Preface)
	p.mu.Lock()
	p.conns[w] = struct{}{}
	p.mu.Unlock()
	return w
}

// watchedListener watches the connections that it accepts.
type watchedListener struct {
	net.Listener
	partials *partials
}

// Accept waits for a connection.
func (l watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.partials.wrap(c), nil
}

// enough closes connections until an eighth of the limit is free.
func (p *partials) enough(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	type holder struct {
		conn   *partialConn
		weight float64
	}
	var holders []holder
	for c := range p.conns {
		if weight := c.weight(now); weight > 0 {
			holders = append(holders, holder{c, weight})
		}
	}
	slices.SortFunc(holders, func(a, b holder) int {
		switch {
		case a.weight > b.weight:
			return -1
		case a.weight < b.weight:
			return 1
		default:
			return 0
		}
	})
	for _, h := range holders {
		if p.bytes.Load() <= p.limit-p.limit/8 {
			return
		}
		p.closed(h.conn.RemoteAddr(), h.conn.letGo())
		_ = h.conn.Conn.Close() // gRPC hears of it as of any connection that breaks
	}
}

// partialConn follows the frames of one connection.
type partialConn struct {
	net.Conn
	all     *partials
	in, out frames

	mu sync.Mutex
	// open are the streams that have begun and that neither side has ended: what comes for others is thrown away by gRPC.
	open map[uint32]struct{}
	// streams are those of which a message has begun to come; held is what of it has.
	streams map[uint32]*partial
	held    int64
	over    bool
	// unsent are large messages that are on their way to the peer.
	unsent map[*account]struct{}
	// some is the length of open, to be read without the lock.
	some atomic.Int32
}

// partial is a message that is not complete.
type partial struct {
	since time.Time
	// prefix is what has come of the five bytes before a message: whether it is compressed, and its length.
	prefix [5]byte
	have   int
	// left of the message is to come.
	left, held int64
}

// Read watches what comes.
func (c *partialConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.each(b[:n], c.came)
	if c.all.bytes.Load() > c.all.limit {
		c.all.enough(time.Now())
	}
	return n, err
}

// Write watches what goes: the server ends streams, too.
func (c *partialConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.each(b[:n], func(f *frame, data []byte, last bool) {
		if f.ends(last) && c.some.Load() > 0 {
			c.mu.Lock()
			c.endLocked(f.stream)
			c.mu.Unlock()
		}
	})
	return n, err
}

// Close closes the connection, which then holds nothing.
func (c *partialConn) Close() error {
	err := c.Conn.Close()
	c.letGo()
	c.all.mu.Lock()
	delete(c.all.conns, c)
	c.all.mu.Unlock()
	return err
}

func (c *partialConn) letGo() (held int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held = c.held
	c.holdLocked(-held)
	c.open, c.streams, c.over = map[uint32]struct{}{}, map[uint32]*partial{}, true
	c.some.Store(0)
	return held
}

// weight is how much a connection holds, times how long the oldest of it has been held.
func (c *partialConn) weight(now time.Time) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	oldest := now
	for _, p := range c.streams {
		if p.since.Before(oldest) {
			oldest = p.since
		}
	}
	return float64(c.held) * (now.Sub(oldest) + time.Millisecond).Seconds()
}

func (c *partialConn) holdLocked(bytes int64) {
	if bytes != 0 && !c.over {
		c.held += bytes
		c.all.bytes.Add(bytes)
	}
}

// partialCost is what a message that has begun takes beside its bytes.
const partialCost = 256

func (c *partialConn) endLocked(stream uint32) {
	c.completeLocked(stream)
	delete(c.open, stream)
	c.some.Store(int32(len(c.open)))
}

// completeLocked says that no message of a stream is begun any more.
func (c *partialConn) completeLocked(stream uint32) {
	if p := c.streams[stream]; p != nil {
		c.holdLocked(-p.held)
		delete(c.streams, stream)
	}
}

// came follows the messages of a stream.
func (c *partialConn) came(f *frame, data []byte, last bool) {
	if len(data) == 0 && !last {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.kind == frameHeaders && last && !c.over {
		c.open[f.stream] = struct{}{}
		c.some.Store(int32(len(c.open)))
	}
	if _, open := c.open[f.stream]; !open {
		data = nil
	}
	for len(data) > 0 && !c.over {
		p := c.streams[f.stream]
		if p == nil {
			p = &partial{since: time.Now(), held: partialCost}
			c.streams[f.stream] = p
			c.holdLocked(partialCost)
		}
		took, complete := p.take(data)
		data = data[took:]
		p.held += int64(took)
		c.holdLocked(int64(took))
		if complete {
			c.completeLocked(f.stream)
		}
	}
	if f.ends(last) {
		c.endLocked(f.stream)
	}
}

// take takes what belongs to the message from the beginning of data.
func (p *partial) take(data []byte) (took int, complete bool) {
	if p.have < len(p.prefix) {
		took = copy(p.prefix[p.have:], data)
		if p.have += took; p.have < len(p.prefix) {
			return took, false
		}
		p.left = int64(binary.BigEndian.Uint32(p.prefix[1:]))
	}
	n := min(int64(len(data)-took), p.left)
	p.left -= n
	return took + int(n), p.left == 0
}
