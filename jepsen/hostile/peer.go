package hostile

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
)

// Kinds and flags of frames of HTTP/2 (RFC 9113, section 6).
const (
	Data, Headers, Reset, Settings, Ping, GoAway, WindowUpdate, Continuation byte = 0, 1, 3, 4, 6, 7, 8, 9

	EndStream, EndHeaders byte = 1, 4
)

// Preface begins a connection.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// A Peer speaks HTTP/2 by the frame, as nobody means well. What comes is read, and counted.
type Peer struct {
	net.Conn
	done chan struct{}

	mu      sync.Mutex
	changed *sync.Cond
	frames  map[byte]int
	// windows are what may be sent, of streams (those that were opened) and, as 0, of the connection.
	windows map[uint32]int64
	// ended are streams that the server has ended.
	ended map[uint32]bool
	over  bool
}

// Connect opens a connection, says its preface and settings, which may be none, and reads from then on.
func Connect(ctx context.Context, address string, settings []byte) (*Peer, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	p := &Peer{
		Conn: conn, done: make(chan struct{}), frames: map[byte]int{}, windows: map[uint32]int64{0: firstWindow}, ended: map[uint32]bool{},
	}
	p.changed = sync.NewCond(&p.mu)
	if _, err := io.WriteString(conn, Preface); err != nil {
		return nil, fmt.Errorf("preface to %s: %w", address, err)
	}
	if err := p.Send(Settings, 0, 0, settings); err != nil {
		return nil, err
	}
	go p.read()
	return p, nil
}

// firstWindow is what may be sent before the first window update.
const firstWindow = 65_535

// Frame is a frame as bytes.
func Frame(kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// Send sends a frame. Its error is that of the connection.
func (p *Peer) Send(kind, flags byte, stream uint32, payload []byte) error {
	if kind == Headers {
		p.mu.Lock()
		p.windows[stream] = firstWindow
		p.mu.Unlock()
	}
	if _, err := p.Write(Frame(kind, flags, stream, payload)); err != nil {
		return fmt.Errorf("send a frame: %w", err)
	}
	return nil
}

// SendData sends data as the windows allow, and waits for them; it ends early when the stream or the connection has ended.
func (p *Peer) SendData(stream uint32, data []byte) error {
	const mostInFrame = 16 << 10
	for len(data) > 0 {
		n := p.take(stream, min(len(data), mostInFrame))
		if n == 0 {
			return nil
		}
		if err := p.Send(Data, 0, stream, data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// take waits until something may be sent, and returns how much; 0 when nothing ever will.
func (p *Peer) take(stream uint32, most int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		n := min(int64(most), p.windows[0], p.windows[stream])
		if p.over || p.ended[stream] {
			return 0
		}
		if n > 0 {
			p.windows[0] -= n
			p.windows[stream] -= n
			return int(n)
		}
		p.changed.Wait()
	}
}

// Gone is closed when the server has closed the connection.
func (p *Peer) Gone() <-chan struct{} { return p.done }

// Frames is how many frames of a kind have come.
func (p *Peer) Frames(kind byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frames[kind]
}

// Ended is how many streams the server has ended.
func (p *Peer) Ended() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ended)
}

// read reads until the connection ends.
func (p *Peer) read() {
	defer close(p.done)
	in := bufio.NewReader(p.Conn)
	for {
		var header [9]byte
		if _, err := io.ReadFull(in, header[:]); err != nil {
			break
		}
		payload := make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
		if _, err := io.ReadFull(in, payload); err != nil {
			break
		}
		p.heard(header[3], header[4], binary.BigEndian.Uint32(header[5:]), payload)
	}
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.changed.Broadcast()
}

func (p *Peer) heard(kind, flags byte, stream uint32, payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frames[kind]++
	if kind == WindowUpdate && len(payload) == 4 {
		p.windows[stream] += int64(binary.BigEndian.Uint32(payload))
	}
	if kind == Reset || (kind == Headers || kind == Data) && flags&EndStream != 0 {
		p.ended[stream] = true
	}
	p.changed.Broadcast()
}

// Call is the header block of a gRPC call, each field a literal that is not indexed (RFC 7541, section 6.2.2).
func Call(path string, more ...string) []byte {
	fields := append([]string{
		":method", "POST", ":scheme", "http", ":path", path, ":authority", "x", "content-type", "application/grpc", "te", "trailers",
	}, more...)
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		b = append(b, 0)
		b = appendText(appendText(b, fields[i]), fields[i+1])
	}
	return b
}

// appendText appends a text of HPACK, not Huffman coded.
func appendText(b []byte, s string) []byte {
	const most = 127 // what seven bits of a prefix hold
	n := len(s)
	if n < most {
		return append(append(b, byte(n)), s...)
	}
	b = append(b, most)
	for n -= most; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(append(b, byte(n)), s...)
}

// Message is a gRPC message of some length with its prefix, with as much of it as is given.
func Message(length int, given []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(length)), given...)
}
