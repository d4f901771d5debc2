package store

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// rowFormat is the first byte of every value that is not empty. A new layout gets a new number behind a feature level (D1).
const rowFormat = 1

// flagAutomatic marks an edge that only its node can take away.
const flagAutomatic = 1

// parser takes a value apart. After the first fault it returns zeros and keeps the error.
type parser struct {
	b   []byte
	err error
}

func (p *parser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s: %w", what, ErrDamaged)
	}
	p.b = nil
}

// format takes the first byte and refuses any other than want.
func (p *parser) format(want byte) {
	b := p.take(1)
	if p.err != nil || b[0] == want {
		return
	}
	if b[0] > want {
		p.err, p.b = fmt.Errorf("format %d, at most %d is known: %w", b[0], want, ErrVersion), nil
		return
	}
	p.fail(fmt.Sprintf("format %d", b[0]))
}

func (p *parser) take(n int) []byte {
	if n < 0 || n > len(p.b) {
		p.fail("cut off")
		return nil
	}
	b := p.b[:n]
	p.b = p.b[n:]
	return b
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.fail("bad number")
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *parser) varint() int64 {
	v, n := binary.Varint(p.b)
	if n <= 0 {
		p.fail("bad number")
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *parser) uint32() uint32 {
	v := p.uvarint()
	if v > math.MaxUint32 {
		p.fail("number over 32 bits")
		return 0
	}
	return uint32(v)
}

func (p *parser) position() graph.Position { return graph.Position(p.uvarint()) }

func (p *parser) be64() uint64 {
	if b := p.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (p *parser) be32() uint32 {
	if b := p.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (p *parser) eventKey() EventKey {
	if b := p.take(12); b != nil {
		return parseEventKey(b)
	}
	return EventKey{}
}

func (p *parser) bytes() []byte {
	n := p.uvarint()
	if n > uint64(len(p.b)) {
		p.fail("cut off")
		return nil
	}
	return p.take(int(n))
}

func (p *parser) rest() []byte {
	b := p.b
	p.b = nil
	return b
}

func (p *parser) end() {
	if p.err == nil && len(p.b) != 0 {
		p.fail(fmt.Sprintf("%d bytes too many", len(p.b)))
	}
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// encodeNode: format, created, modified, ordinal, session, type, wire.
func encodeNode(r graph.NodeRecord, typ pb.NodeType) []byte {
	return append(appendNodeHead(make([]byte, 0, 40+len(r.Wire)), r, typ), r.Wire...)
}

// appendNodeHead is encodeNode up to the wire bytes.
func appendNodeHead(b []byte, r graph.NodeRecord, typ pb.NodeType) []byte {
	b = append(b, rowFormat)
	b = binary.AppendUvarint(b, uint64(r.Created))
	b = binary.AppendUvarint(b, uint64(r.Modified))
	b = binary.AppendUvarint(b, uint64(r.Ordinal))
	b = binary.AppendUvarint(b, uint64(r.Session))
	return append(b, byte(typ))
}

// decodeNode reads a row; Wire lies in b.
func decodeNode(b []byte, at graph.Position) (graph.NodeRecord, pb.NodeType, error) {
	p := parser{b: b}
	p.format(rowFormat)
	r := graph.NodeRecord{Position: at}
	r.Created, r.Modified = graph.Revision(p.uvarint()), graph.Revision(p.uvarint())
	r.Ordinal = p.uint32()
	r.Session = p.position()
	typ := p.take(1)
	r.Wire = p.rest()
	if p.err != nil {
		return graph.NodeRecord{}, 0, p.err
	}
	return r, pb.NodeType(typ[0]), nil
}

// encodeEdge: format, created, modified, flags, type, from, to, session of from, session of to, wire.
func encodeEdge(r graph.EdgeRecord) []byte {
	return append(appendEdgeHead(make([]byte, 0, 64+len(r.Wire)), r), r.Wire...)
}

// appendEdgeHead is encodeEdge up to the wire bytes.
func appendEdgeHead(b []byte, r graph.EdgeRecord) []byte {
	b = append(b, rowFormat)
	b = binary.AppendUvarint(b, uint64(r.Created))
	b = binary.AppendUvarint(b, uint64(r.Modified))
	var flags byte
	if r.Automatic {
		flags |= flagAutomatic
	}
	b = append(b, flags, byte(r.Type))
	for _, at := range [...]graph.Position{r.From, r.To, r.FromSession, r.ToSession} {
		b = binary.AppendUvarint(b, uint64(at))
	}
	return b
}

// decodeEdge reads a row; Wire lies in b.
func decodeEdge(b []byte, at graph.Position) (graph.EdgeRecord, error) {
	p := parser{b: b}
	p.format(rowFormat)
	r := graph.EdgeRecord{Position: at}
	r.Created, r.Modified = graph.Revision(p.uvarint()), graph.Revision(p.uvarint())
	if head := p.take(2); head != nil {
		if head[0]&^flagAutomatic != 0 {
			p.fail("unknown flags")
		}
		r.Automatic, r.Type = head[0]&flagAutomatic != 0, pb.EdgeType(head[1])
	}
	r.From, r.To, r.FromSession, r.ToSession = p.position(), p.position(), p.position(), p.position()
	r.Wire = p.rest()
	if p.err != nil {
		return graph.EdgeRecord{}, p.err
	}
	return r, nil
}

// encodeState: format, state, updated, tail.
func encodeState(r graph.SessionRecord) []byte { return appendState(make([]byte, 0, 24), r) }

func appendState(b []byte, r graph.SessionRecord) []byte {
	b = append(b, rowFormat, byte(r.State))
	b = binary.AppendVarint(b, r.Updated)
	return binary.AppendUvarint(b, uint64(r.Tail))
}

func decodeState(b []byte, at graph.Position) (graph.SessionRecord, error) {
	p := parser{b: b}
	p.format(rowFormat)
	r := graph.SessionRecord{Position: at}
	if state := p.take(1); state != nil {
		r.State = graph.SessionState(state[0])
	}
	r.Updated, r.Tail = p.varint(), p.position()
	p.end()
	if p.err != nil {
		return graph.SessionRecord{}, p.err
	}
	return r, nil
}

// encodeNumber is the value of counters and of look-ups by id: format, number.
func encodeNumber(v uint64) []byte { return appendNumber(make([]byte, 0, 11), v) }

func appendNumber(b []byte, v uint64) []byte { return binary.AppendUvarint(append(b, rowFormat), v) }

func decodeNumber(b []byte) (uint64, error) {
	p := parser{b: b}
	p.format(rowFormat)
	v := p.uvarint()
	p.end()
	return v, p.err
}

// encodeDoomed: format, 1 for a session, position, phase, time and position reached.
func encodeDoomed(d graph.Doomed) []byte {
	b := append(make([]byte, 0, 34), rowFormat, 0)
	if d.Session {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, uint64(d.Position))
	b = append(b, d.Phase)
	b = binary.AppendVarint(b, d.Reached.Time)
	return binary.AppendUvarint(b, uint64(d.Reached.Position))
}

func decodeDoomed(b []byte) (graph.Doomed, error) {
	p := parser{b: b}
	p.format(rowFormat)
	var d graph.Doomed
	if s := p.take(1); s != nil {
		if s[0] > 1 {
			p.fail("unknown flags")
		}
		d.Session = s[0] == 1
	}
	d.Position = p.position()
	if phase := p.take(1); phase != nil {
		d.Phase = phase[0]
	}
	d.Reached.Time = p.varint()
	d.Reached.Position = p.position()
	p.end()
	return d, p.err
}

// encodeEvents: format, tenant, and of each event the length of its body and the body.
func encodeEvents(t graph.Tenant, bodies ...[]byte) []byte {
	b := appendEventsHead(nil, t)
	for _, body := range bodies {
		b = appendBytes(b, body)
	}
	return b
}

func appendEventsHead(b []byte, t graph.Tenant) []byte {
	return binary.AppendUvarint(append(b, rowFormat), uint64(t))
}

// decodeEvents appends the bodies of the events to a list; they lie in b. There is one at least.
func decodeEvents(b []byte, list [][]byte) (graph.Tenant, [][]byte, error) {
	p := parser{b: b}
	p.format(rowFormat)
	t := graph.Tenant(p.uint32())
	for more := true; more; more = len(p.b) > 0 {
		list = append(list, p.bytes())
	}
	return t, list, p.err
}

// encodeEventIndex: format, and of each event type and session.
func encodeEventIndex(events ...EventRow) []byte {
	b := append(make([]byte, 0, 12), rowFormat)
	for _, e := range events {
		b = appendEventIndex(b, e.Type, e.Session)
	}
	return b
}

func appendEventIndex(b []byte, typ pb.EventType, session graph.Position) []byte {
	b = binary.AppendUvarint(b, uint64(typ))
	return binary.AppendUvarint(b, uint64(session))
}

// decodeEventIndex appends the events of a row, without bodies, to a list. There is one at least.
func decodeEventIndex(first EventKey, b []byte, list []EventRow) ([]EventRow, error) {
	p := parser{b: b}
	p.format(rowFormat)
	for n := 0; n == 0 || len(p.b) > 0; n++ {
		typ := p.uint32()
		if typ > math.MaxInt32 {
			p.fail("event type below 0")
		}
		list = append(list, EventRow{Key: first.plus(n), Type: pb.EventType(typ), Session: p.position()})
	}
	return list, p.err
}

// encodeOutcome: format, expiry, body.
func encodeOutcome(expires int64, body []byte) []byte {
	return appendOutcome(make([]byte, 0, 11+len(body)), expires, body)
}

func appendOutcome(b []byte, expires int64, body []byte) []byte {
	return append(binary.AppendVarint(append(b, rowFormat), expires), body...)
}

func decodeOutcome(b []byte) (expires int64, body []byte, err error) {
	p := parser{b: b}
	p.format(rowFormat)
	expires = p.varint()
	return expires, p.rest(), p.err
}
