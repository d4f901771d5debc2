package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

// errClosed ends what was under way when this side closed the connection.
var errClosed = errors.New("connection closed")

// A receiver hears what the server answers to one call, on the goroutine that reads its connection. It must not block.
type receiver interface {
	// message is one message of the answer; its bytes are the receiver's only during the call.
	message(p []byte) error
	// end says that the call is over: nil, an error of kind *CallError, or why the connection is gone.
	end(err error)
}

// A beginner is a receiver that wants to hear that the server has begun to answer.
type beginner interface{ begun(h header) }

// A conn is one connection. Calls may be begun by any goroutine.
type conn struct {
	net       net.Conn
	in        *bufio.Reader
	authority string
	// ready is closed when the server has said how many streams it takes.
	ready      chan struct{}
	maxStreams uint32
	done       chan struct{}

	// Of the reading goroutine alone.
	decode    *hpack.Decoder
	fields    header
	block     []byte
	blockOf   frameHeader
	credit    int
	scratch   []byte
	greeted   bool
	readBytes int64

	mu sync.Mutex // guards what follows: the sending side and the table of streams
	// room wakes writers that wait for the server to take more.
	room    *sync.Cond
	out     []byte
	encode  *hpack.Encoder
	encoded bytes.Buffer
	next    uint32
	streams map[uint32]*stream
	blocked []*stream
	window  int64
	initial int64
	broken  error
	// local makes GetNode read what the node has.
	local bool
}

// header is what this client looks at in an answer's headers and trailers.
type header struct{ status, grpcStatus, grpcMessage, lastEvent string }

// connect opens a connection and waits for the server's settings. readBuffer is how much it reads at once, bytes.
func connect(ctx context.Context, address string, readBuffer int) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &conn{
		net: nc, in: bufio.NewReaderSize(nc, readBuffer), authority: address, ready: make(chan struct{}), done: make(chan struct{}),
		maxStreams: 1<<32 - 1, next: 1, streams: map[uint32]*stream{}, window: defaultWindow, initial: defaultWindow,
	}
	c.room = sync.NewCond(&c.mu)
	c.encode = hpack.NewEncoder(&c.encoded)
	c.decode = hpack.NewDecoder(4096, c.field)
	c.out = append(c.out, preface...)
	c.out = appendFrameHeader(c.out, frameHeader{length: 6, kind: frameSettings})
	c.out = appendSetting(c.out, settingInitialWindow, streamWindow)
	c.out = appendWindowUpdate(c.out, 0, connectionWindow)
	go c.run()
	select {
	case <-c.ready:
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("%s: %w", address, c.broken)
	case <-ctx.Done():
		c.close()
		return nil, fmt.Errorf("%s: no answer to the HTTP/2 settings: %w", address, ctx.Err())
	}
}

// close ends the connection and waits until its goroutine is gone. Not for receivers.
func (c *conn) close() {
	c.fail(errClosed)
	<-c.done
}

// fail makes every later call, and the reading goroutine, end with the error. The first one counts.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.broken == nil {
		c.broken = err
	}
	c.room.Broadcast()
	c.mu.Unlock()
	_ = c.net.Close() // whatever was on the way is lost either way
}

// run reads until the connection ends, then ends every call that is left.
func (c *conn) run() {
	err := c.readFrames()
	if errors.Is(err, io.EOF) {
		err = errors.New("the server closed the connection")
	}
	c.fail(err)
	c.mu.Lock()
	left, err := c.streams, c.broken
	c.streams = map[uint32]*stream{}
	c.mu.Unlock()
	for _, s := range left {
		s.to.end(err)
	}
	close(c.done)
}

// readFrames sends what has gathered whenever it has read all that there is, so that answers which arrive together send their
// calls together.
func (c *conn) readFrames() error {
	for {
		if c.in.Buffered() < frameHeaderBytes {
			if err := c.flush(); err != nil {
				return err
			}
		}
		b, err := c.in.Peek(frameHeaderBytes)
		if err != nil {
			return err
		}
		h := parseFrameHeader(b)
		if _, err := c.in.Discard(frameHeaderBytes); err != nil {
			return err
		}
		if h.length > maxFrameBytes {
			return fmt.Errorf("frame of %d bytes, at most %d were allowed", h.length, maxFrameBytes)
		}
		if c.in.Buffered() < h.length {
			if err := c.flush(); err != nil {
				return err
			}
		}
		if err := c.readPayload(h); err != nil {
			return err
		}
	}
}

func (c *conn) readPayload(h frameHeader) error {
	c.readBytes += int64(h.length)
	if h.length <= c.in.Size() {
		p, err := c.in.Peek(h.length)
		if err != nil {
			return err
		}
		if err := c.handle(h, p); err != nil {
			return err
		}
		_, err = c.in.Discard(h.length)
		return err
	}
	if c.scratch == nil {
		c.scratch = make([]byte, maxFrameBytes)
	}
	if _, err := io.ReadFull(c.in, c.scratch[:h.length]); err != nil {
		return err
	}
	return c.handle(h, c.scratch[:h.length])
}

func (c *conn) handle(h frameHeader, p []byte) error {
	switch h.kind {
	case frameData:
		return c.data(h, p)
	case frameHeaders:
		p, ok := unpad(h, p)
		if !ok {
			return errors.New("headers with wrong padding")
		}
		c.block, c.blockOf = append(c.block[:0], p...), h
		return c.headers(h)
	case frameContinuation:
		c.block = append(c.block, p...)
		return c.headers(h)
	case frameReset:
		if len(p) == 4 {
			c.finish(h.stream, fmt.Errorf("the server reset the call: HTTP/2 error %d", binary.BigEndian.Uint32(p)))
		}
	case frameSettings:
		return c.settings(h, p)
	case framePing:
		if h.flags&flagAck == 0 {
			c.control(func(b []byte) []byte {
				return append(appendFrameHeader(b, frameHeader{length: len(p), kind: framePing, flags: flagAck}), p...)
			})
		}
	case frameGoAway:
		if len(p) >= 8 {
			return fmt.Errorf("the server goes away: HTTP/2 error %d %q", binary.BigEndian.Uint32(p[4:]), p[8:])
		}
	case frameWindowUpdate:
		return c.windowUpdate(h, p)
	}
	return nil
}

// control gathers a frame that belongs to no call.
func (c *conn) control(add func([]byte) []byte) {
	c.mu.Lock()
	c.out = add(c.out)
	c.mu.Unlock()
}

func (c *conn) settings(h frameHeader, p []byte) error {
	if h.flags&flagAck != 0 {
		return nil
	}
	if len(p)%6 != 0 {
		return fmt.Errorf("settings of %d bytes", len(p))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(p) > 0; p = p[6:] {
		value := binary.BigEndian.Uint32(p[2:])
		switch binary.BigEndian.Uint16(p) {
		case settingMaxStreams:
			c.maxStreams = value
		case settingInitialWindow:
			for _, s := range c.streams {
				s.window += int64(value) - c.initial
			}
			c.initial = int64(value)
			c.resumeLocked()
		}
	}
	c.out = appendFrameHeader(c.out, frameHeader{kind: frameSettings, flags: flagAck})
	if !c.greeted {
		c.greeted = true
		close(c.ready)
	}
	return nil
}

// flush sends what has gathered. After an error the connection is over, and so are its calls.
func (c *conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return c.broken
	}
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.net.Write(c.out)
	c.out = c.out[:0]
	if err != nil {
		c.broken = err
		c.room.Broadcast()
		_ = c.net.Close() // so that the reading goroutine ends what is under way
	}
	return err
}

// closeAll closes connections, all at once.
func closeAll(conns []*conn) {
	for _, c := range conns {
		c.fail(errClosed)
	}
	for _, c := range conns {
		<-c.done
	}
}

// connectTimeout is how long a server may take to accept a connection.
const connectTimeout = 30 * time.Second
