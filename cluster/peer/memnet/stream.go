package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const bufferBytes = 256 << 10

// stream is one direction of a connection: written at one end, read at the other.
type stream struct {
	mu   sync.Mutex
	cond *sync.Cond
	data []byte
	// held: the link is cut. gone: the reader has closed. ended: the writer has.
	held, gone, ended bool
	reads, writes     limit
}

// limit is a deadline.
type limit struct {
	passed bool
	timer  *time.Timer
}

func newStream() *stream {
	s := &stream{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *stream) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.cond.Broadcast()
}

func (s *stream) setDeadline(l *limit, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.passed = false
	if at.IsZero() {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(at), func() {
		s.set(func() { l.passed = l.passed || l.timer == timer })
	})
	l.timer = timer
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.gone:
			return 0, net.ErrClosed
		case s.reads.passed:
			return 0, os.ErrDeadlineExceeded
		case !s.held && len(s.data) > 0:
			n := copy(p, s.data)
			s.data = s.data[n:]
			s.cond.Broadcast()
			return n, nil
		case !s.held && s.ended:
			return 0, io.EOF
		}
		s.cond.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	written := 0
	for {
		switch {
		case s.ended:
			return written, net.ErrClosed
		case s.gone && !s.held:
			return written, io.ErrClosedPipe
		case s.writes.passed:
			return written, os.ErrDeadlineExceeded
		case written == len(p):
			return written, nil
		case len(s.data) < bufferBytes:
			n := min(len(p)-written, bufferBytes-len(s.data))
			s.data = append(s.data, p[written:written+n]...)
			written += n
			s.cond.Broadcast()
			continue
		}
		s.cond.Wait()
	}
}

// conn is one end of a connection.
type conn struct {
	in, out       *stream
	local, remote address
	closed        func()
	once          sync.Once
}

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

func (c *conn) Close() error {
	c.once.Do(func() {
		_ = c.SetDeadline(time.Time{})
		c.in.set(func() { c.in.gone = true })
		c.out.set(func() { c.out.ended = true })
		c.closed()
	})
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.reads, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writes, t)
	return nil
}

// address is host:port.
type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }
