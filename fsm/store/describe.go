package store

import (
	"fmt"
	"strings"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Describe names keyspace, tenant and record of a key for people. It takes any bytes.
func Describe(key []byte) string {
	d := describer{parser{b: key}}
	text := d.key()
	if d.err != nil {
		return fmt.Sprintf("unknown key %x", key)
	}
	return text
}

type describer struct{ parser }

func (d *describer) key() string {
	var text string
	switch d.byte() {
	case spaceSystem:
		text = "system"
		d.byte()
	case spaceFeed:
		text = "feed, event " + d.event()
	case spaceTenantFeed:
		text = fmt.Sprintf("tenant %d, feed, event %s", d.be32(), d.event())
	case spaceOutcome:
		text = fmt.Sprintf("tenant %d, outcome %x", d.be32(), d.take(16))
	case spaceExpiry:
		at := int64(d.be64() ^ 1<<63)
		text = fmt.Sprintf("outcome expiry %d, tenant %d, outcome %x", at, d.be32(), d.take(16))
	case spaceDoomed:
		text = fmt.Sprintf("tenant %d, doomed %d", d.be32(), d.be64())
	case spaceTenant:
		text = fmt.Sprintf("tenant %d, ", d.be32()) + d.row()
	default:
		d.fail("keyspace")
	}
	d.end()
	return text
}

func (d *describer) row() string {
	switch kind := d.byte(); kind {
	case kindNode:
		return fmt.Sprintf("node at position %d", d.be64())
	case kindNodeID:
		return "node id " + d.id()
	case kindEdge:
		return fmt.Sprintf("edge at position %d", d.be64())
	case kindEdgeID:
		return "edge id " + d.id()
	case kindOut:
		return fmt.Sprintf("edge out of node %d, %s, edge %d", d.be64(), d.edgeType(), d.be64())
	case kindIn:
		return fmt.Sprintf("edge into node %d, %s, edge %d", d.be64(), d.edgeType(), d.be64())
	case kindTime:
		return "time index, " + d.entry()
	case kindSession:
		return fmt.Sprintf("index of session %d, ", d.be64()) + d.entry()
	case kindAttribute:
		return fmt.Sprintf("index of attribute %d %q, ", d.byte(), d.text()) + d.entry()
	case kindState:
		return fmt.Sprintf("state of session %d", d.be64())
	case kindCounter:
		return d.counter()
	case kindInvocations:
		return fmt.Sprintf("invocations of response %d", d.be64())
	default:
		d.fail("kind")
		return ""
	}
}

func (d *describer) counter() string {
	switch d.byte() {
	case countNodes:
		return "count of " + d.nodeType()
	case countMembers:
		return fmt.Sprintf("count in session %d of %s", d.be64(), d.nodeType())
	case countEdges:
		return "count of edges"
	case countTouching:
		return fmt.Sprintf("count of edges of session %d", d.be64())
	case countBetween:
		return fmt.Sprintf("count of edges between sessions %d and %d", d.be64(), d.be64())
	case countActive:
		return "count of active sessions"
	case countOutcomes:
		return "count of outcomes"
	default:
		d.fail("counter")
		return ""
	}
}

func (d *describer) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *describer) event() string {
	k := d.eventKey()
	return fmt.Sprintf("%d/%d", k.Revision, k.Ordinal)
}

func (d *describer) nodeType() string { return pb.NodeType(d.byte()).String() }
func (d *describer) edgeType() string { return pb.EdgeType(d.byte()).String() }

func (d *describer) entry() string {
	typ := d.nodeType()
	b := d.take(placeBytes)
	if b == nil {
		return ""
	}
	p := parsePlace(b)
	return fmt.Sprintf("%s at time %d, position %d", typ, p.Time, p.Position)
}

func (d *describer) id() string {
	switch d.byte() {
	case idUUID:
		if u := d.take(16); u != nil {
			return unpackUUID(u)
		}
	case idText:
		return fmt.Sprintf("%q", d.text())
	default:
		d.fail("id")
	}
	return ""
}

// text reads what appendText wrote.
func (d *describer) text() string {
	var out strings.Builder
	for d.err == nil {
		c := d.byte()
		if c != 0 {
			out.WriteByte(c)
			continue
		}
		switch d.byte() {
		case 0xff:
			out.WriteByte(0)
		case 0x01:
			return out.String()
		case 0x02:
			return fmt.Sprintf("sha256 %x", d.take(32))
		default:
			d.fail("text")
		}
	}
	return ""
}
