//go:build !wasip1

package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Bounds of strangers: a stream is read before anybody knows whether it is of a node.
const (
	maxStreams     = 64
	maxStreamBytes = 1 << 20
	maxPacketBytes = 64 << 10
	acceptPause    = 50 * time.Millisecond
)

// transport is memberlist's, over what a node was given. Shutdown ends all of it, and whoever waits in it.
type transport struct {
	config    *Config
	advertise netip.AddrPort
	packets   chan *memberlist.Packet
	streams   chan net.Conn

	life context.Context
	die  context.CancelFunc
	busy sync.WaitGroup

	mu   sync.Mutex
	open map[*stream]struct{}
	// accepted counts those of open that others have made.
	accepted int
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(config *Config, advertise netip.AddrPort) *transport {
	t := &transport{
		config: config, advertise: advertise,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), open: map[*stream]struct{}{},
	}
	t.life, t.die = context.WithCancel(context.Background())
	t.busy.Go(t.receive)
	t.busy.Go(t.accept)
	return t
}

func (t *transport) receive() {
	buffer := make([]byte, maxPacketBytes)
	for {
		n, from, err := t.config.Packets.ReadFrom(buffer)
		if t.life.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n == 0 {
			if !t.pause() {
				return
			}
			continue
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buffer[:n]...), From: from, Timestamp: time.Now()}
		select {
		case t.packets <- p:
		case <-t.life.Done():
			return
		}
	}
}

func (t *transport) accept() {
	for {
		c, err := t.config.Streams.Accept()
		if err == nil && t.life.Err() != nil {
			_ = c.Close()
		}
		if t.life.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if !t.pause() {
				return
			}
			continue
		}
		s := t.track(c, true)
		if s == nil {
			continue
		}
		select {
		case t.streams <- s:
		case <-t.life.Done():
			_ = s.Close()
			return
		}
	}
}

func (t *transport) pause() bool { return wait(t.life, acceptPause, nil) }

// track makes a connection one that ends with the transport; nil when there are too many, or when it has ended.
func (t *transport) track(c net.Conn, accepted bool) *stream {
	s := &stream{Conn: c, transport: t, left: maxStreamBytes, accepted: accepted}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life.Err() != nil || accepted && t.accepted >= maxStreams {
		_ = c.Close()
		return nil
	}
	t.open[s] = struct{}{}
	if accepted {
		t.accepted++
	}
	return s
}

func (t *transport) forget(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.open[s]; ok && s.accepted {
		t.accepted--
	}
	delete(t.open, s)
}

// stream is a connection with a bound on what is read of it.
type stream struct {
	net.Conn
	transport *transport
	left      int
	accepted  bool
}

var errTooLong = fmt.Errorf("gossip: the other end sends more than %d bytes", maxStreamBytes)

func (s *stream) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, errTooLong
	}
	n, err := s.Conn.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

func (s *stream) Close() error {
	s.transport.forget(s)
	return s.Conn.Close()
}

func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

func (t *transport) WriteTo(b []byte, address string) (time.Time, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.config.Packets.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.life, timeout)
	defer cancel()
	c, err := t.config.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	s := t.track(c, false)
	if s == nil {
		return nil, net.ErrClosed
	}
	// memberlist writes its label before it sets a deadline.
	if err := s.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

// Shutdown closes the listeners and every connection, and waits for what reads them.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	t.die()
	open := make([]*stream, 0, len(t.open))
	for s := range t.open {
		open = append(open, s)
	}
	t.mu.Unlock()
	err := errors.Join(t.config.Packets.Close(), t.config.Streams.Close())
	for _, s := range open {
		_ = s.Close()
	}
	t.busy.Wait()
	return err
}

// wait waits for a time, or until it is woken; false when the context ends before.
func wait(ctx context.Context, d time.Duration, woken <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-woken:
		return true
	case <-ctx.Done():
		return false
	}
}
