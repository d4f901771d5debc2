package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// A method is the path of a call.
type method string

// The calls that workloads make.
const (
	service  = "/llm.memory.graph.v1.MemoryGraphService/"
	transfer = "/llm.memory.graph.v1.GraphTransferService/"

	methodCreateSession method = service + "CreateSession"
	methodListSessions  method = service + "ListSessions"
	methodAddPrompt     method = service + "AddPrompt"
	methodBatchCreate   method = service + "BatchCreateNodes"
	methodBatchGet      method = service + "BatchGetNodes"
	methodGetNode       method = service + "GetNode"
	methodGetEdges      method = service + "GetEdges"
	methodQuery         method = service + "Query"
	methodStreamQuery   method = service + "StreamQuery"
	methodStreamEvents  method = service + "StreamEvents"
	methodImport        method = transfer + "Import"
)

// messagePrefixBytes precede every message: whether it is compressed, and its length.
const messagePrefixBytes = 5

// CallError is a call that the server ended with another status than OK.
type CallError struct {
	Method  string
	Code    int
	Message string
}

// Error names method, code and message.
func (e *CallError) Error() string {
	return fmt.Sprintf("%s: code %d: %s", e.Method, e.Code, e.Message)
}

// errEnded is returned to who writes on when the server has answered already; the receiver hears what.
var errEnded = errors.New("the server ended the call before its request was complete")

// errEnough is what a receiver returns that has what it wanted: the call is cancelled and ends well.
var errEnough = errors.New("enough")

// codeExhausted is RESOURCE_EXHAUSTED: the server had no room and says so.
const codeExhausted = 8

// A stream is one call under way.
type stream struct {
	conn   *conn
	id     uint32
	method method
	to     receiver

	// Of the reading goroutine.
	part   []byte
	credit int

	// Guarded by conn.mu: what was not sent yet, whether it is all, and how much the server takes.
	unsent []byte
	ending bool
	window int64
}

// call begins a call with all of its request; flush sends it. The bytes are message prefix and message, and are copied. After
// an error the receiver hears nothing; without one it hears the end, whatever happens.
func (c *conn) call(m method, request []byte, to receiver) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.openLocked(m, to)
	if err != nil {
		return err
	}
	s.ending = true
	c.sendLocked(s, request)
	return nil
}

// open begins a call whose request is still to be written.
func (c *conn) open(m method, to receiver) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.openLocked(m, to)
}

func (c *conn) openLocked(m method, to receiver) (*stream, error) {
	if c.broken != nil {
		return nil, c.broken
	}
	s := &stream{conn: c, id: c.next, method: m, to: to, window: c.initial}
	c.next += 2
	c.streams[s.id] = s
	c.encoded.Reset()
	for _, f := range [...]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: string(m)},
		{Name: ":authority", Value: c.authority},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "user-agent", Value: "memory-graph-bench"},
		{Name: "te", Value: "trailers"},
	} {
		_ = c.encode.WriteField(f) // into memory
	}
	if c.local && m == methodGetNode {
		_ = c.encode.WriteField(hpack.HeaderField{Name: "memory-graph-consistency", Value: "local"})
	}
	c.out = appendFrameHeader(c.out, frameHeader{length: c.encoded.Len(), kind: frameHeaders, flags: flagEndHeaders, stream: s.id})
	c.out = append(c.out, c.encoded.Bytes()...)
	return s, nil
}

// write adds to the request of an opened call, and waits while the server has more than ahead bytes to take.
func (s *stream) write(p []byte, ahead int) error {
	c := s.conn
	c.mu.Lock()
	c.sendLocked(s, p)
	c.mu.Unlock()
	if err := c.flush(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(s.unsent) > ahead && c.broken == nil && c.streams[s.id] == s {
		c.room.Wait()
	}
	if c.broken == nil && c.streams[s.id] != s {
		return errEnded
	}
	return c.broken
}

// closeSend says that the request is complete.
func (s *stream) closeSend() error {
	s.conn.mu.Lock()
	s.ending = true
	s.conn.sendLocked(s, nil)
	s.conn.mu.Unlock()
	return s.conn.flush()
}

// sendLocked sends of a request what the server takes now, and keeps the rest for later.
func (c *conn) sendLocked(s *stream, p []byte) {
	waits := len(s.unsent) > 0
	if !waits {
		n := c.framesLocked(s, p)
		p = p[n:]
	}
	if len(p) > 0 {
		s.unsent = append(s.unsent, p...)
		if !waits {
			c.blocked = append(c.blocked, s)
		}
	}
}

// framesLocked writes as much of p as the windows allow, and the end of the request when that is all.
func (c *conn) framesLocked(s *stream, p []byte) (sent int) {
	for {
		n := min(len(p)-sent, maxFrameBytes, int(max(0, min(c.window, s.window))))
		last := sent+n == len(p) && s.ending
		if n == 0 && !last {
			return sent
		}
		h := frameHeader{length: n, kind: frameData, stream: s.id}
		if last {
			h.flags = flagEndStream
		}
		c.out = append(appendFrameHeader(c.out, h), p[sent:sent+n]...)
		c.window -= int64(n)
		s.window -= int64(n)
		sent += n
		if last || sent == len(p) {
			return sent
		}
	}
}

// resumeLocked sends what the server did not take before.
func (c *conn) resumeLocked() {
	waiting := c.blocked[:0]
	for _, s := range c.blocked {
		if c.streams[s.id] != s {
			continue
		}
		n := c.framesLocked(s, s.unsent)
		s.unsent = append(s.unsent[:0], s.unsent[n:]...)
		if len(s.unsent) > 0 {
			waiting = append(waiting, s)
		}
	}
	clear(c.blocked[len(waiting):])
	c.blocked = waiting
	c.room.Broadcast()
}

func (c *conn) windowUpdate(h frameHeader, p []byte) error {
	if len(p) != 4 {
		return fmt.Errorf("window update of %d bytes", len(p))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	bytes := int64(binary.BigEndian.Uint32(p) & (1<<31 - 1))
	if h.stream == 0 {
		c.window += bytes
	} else if s := c.streams[h.stream]; s != nil {
		s.window += bytes
	}
	if len(c.blocked) > 0 {
		c.resumeLocked()
	}
	return nil
}

// data takes a part of an answer, hands on the messages that are complete, and lets the server send more.
func (c *conn) data(h frameHeader, p []byte) error {
	c.credit += len(p)
	if c.credit >= connectionWindow/2 {
		c.control(func(b []byte) []byte { return appendWindowUpdate(b, 0, c.credit) })
		c.credit = 0
	}
	s := c.find(h.stream)
	if s == nil {
		return nil
	}
	if s.credit += len(p); s.credit >= streamWindow/2 {
		c.control(func(b []byte) []byte { return appendWindowUpdate(b, s.id, s.credit) })
		s.credit = 0
	}
	p, ok := unpad(h, p)
	if !ok {
		return fmt.Errorf("data with wrong padding")
	}
	switch err := s.take(p); {
	case errors.Is(err, errEnough):
		c.cancel(h.stream)
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", s.method, err)
	}
	if h.flags&flagEndStream != 0 {
		c.finish(h.stream, fmt.Errorf("%s: the answer ended without a status", s.method))
	}
	return nil
}

// take splits what arrived into messages. What is incomplete waits for the rest.
func (s *stream) take(p []byte) error {
	if len(s.part) > 0 {
		s.part = append(s.part, p...)
		p = s.part
	}
	for len(p) >= messagePrefixBytes {
		n := messagePrefixBytes + int(binary.BigEndian.Uint32(p[1:]))
		if len(p) < n {
			break
		}
		if p[0] != 0 {
			return fmt.Errorf("a compressed message, though none was asked for")
		}
		if err := s.to.message(p[messagePrefixBytes:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	s.part = append(s.part[:0], p...)
	return nil
}

func (c *conn) find(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

// field hears every header field while a block is decoded.
func (c *conn) field(f hpack.HeaderField) {
	switch f.Name {
	case ":status":
		c.fields.status = f.Value
	case "grpc-status":
		c.fields.grpcStatus = f.Value
	case "grpc-message":
		c.fields.grpcMessage = f.Value
	case "memory-graph-last-event":
		c.fields.lastEvent = f.Value
	}
}

// headers takes a block of headers once it is complete.
func (c *conn) headers(h frameHeader) error {
	if h.flags&flagEndHeaders == 0 {
		return nil
	}
	c.fields = header{}
	if _, err := c.decode.Write(c.block); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	if err := c.decode.Close(); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	s := c.find(c.blockOf.stream)
	if c.blockOf.flags&flagEndStream != 0 {
		c.finish(c.blockOf.stream, c.status(s))
	} else if s != nil {
		if r, ok := s.to.(beginner); ok {
			r.begun(c.fields)
		}
	}
	return nil
}

// status is what the trailers say of a call.
func (c *conn) status(s *stream) error {
	if s == nil || c.fields.grpcStatus == "0" {
		return nil
	}
	code, err := strconv.Atoi(c.fields.grpcStatus)
	if err != nil {
		return fmt.Errorf("%s: no gRPC status; HTTP status %q", s.method, c.fields.status)
	}
	text, err := url.PathUnescape(c.fields.grpcMessage)
	if err != nil {
		text = c.fields.grpcMessage
	}
	return &CallError{Method: string(s.method), Code: code, Message: text}
}

// cancel ends a call from this side.
func (c *conn) cancel(id uint32) {
	c.control(func(b []byte) []byte {
		b = appendFrameHeader(b, frameHeader{length: 4, kind: frameReset, stream: id})
		return binary.BigEndian.AppendUint32(b, errorCancel)
	})
	c.finish(id, nil)
}

func (c *conn) finish(id uint32, err error) {
	c.mu.Lock()
	s := c.streams[id]
	delete(c.streams, id)
	if s != nil && len(s.unsent) > 0 {
		c.room.Broadcast()
	}
	c.mu.Unlock()
	if s != nil {
		s.to.end(err)
	}
}
