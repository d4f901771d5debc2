package load

import (
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A chunk is an ImportRequest in the making: records as an export has them, with ids, times and edges.
type chunk struct {
	size int
	out  []byte
	part []byte
	time []byte
}

// reset begins a new one, of prompts with contents of so many bytes.
func (c *chunk) reset(size int) {
	c.size = size
	c.out = append(c.out[:0], 0, 0, 0, 0, 0)
}

// message is the chunk with its prefix.
func (c *chunk) message() []byte {
	binary.BigEndian.PutUint32(c.out[1:], uint32(len(c.out)-messagePrefixBytes))
	return c.out
}

func (c *chunk) at(t time.Time) []byte {
	c.time = appendVarintField(c.time[:0], 1, uint64(t.Unix()))
	c.time = appendVarintField(c.time, 2, uint64(t.Nanosecond()))
	return c.time
}

// session appends a session as a node.
func (c *chunk) session(u id, at time.Time) {
	s := appendBytesField(appendIDField(c.part[:0], 1, u), 2, c.at(at))
	s = appendVarintField(s, 5, 1) // active
	c.node(s, u, u, 100, pb.NodeType_NODE_TYPE_SESSION)
}

// prompt appends a prompt.
func (c *chunk) prompt(u, session id, seed uint64, at time.Time) {
	p := appendPrompt(appendIDField(c.part[:0], 1, u), session, seed, c.size)
	p = appendBytesField(p, 4, c.at(at))
	c.node(p, u, session, 10, pb.NodeType_NODE_TYPE_PROMPT)
}

// node appends a node with its data, which lies at the beginning of c.part, and the time that was last asked for.
func (c *chunk) node(data []byte, u, session id, field protowire.Number, t pb.NodeType) {
	n := len(data)
	b := appendIDField(data, 1, u)
	b = appendVarintField(b, 2, uint64(t))
	b = appendBytesField(b, 3, c.time)
	b = appendBytesField(b, field, b[:n])
	b = appendIDField(b, 102, session)
	c.out = appendBytesField(c.out, 1, b[n:])
	c.part = b
}

// edge appends an edge.
func (c *chunk) edge(u, from, to id, t pb.EdgeType, at time.Time) {
	e := appendIDField(c.part[:0], 1, u)
	e = appendIDField(e, 2, from)
	e = appendIDField(e, 3, to)
	e = appendVarintField(e, 4, uint64(t))
	e = appendBytesField(e, 5, c.at(at))
	c.out = appendBytesField(c.out, 2, e)
	c.part = e
}
