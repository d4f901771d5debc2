package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// The keyspaces: the first byte of a key. Stored: never renumber.
const (
	spaceSystem     = 0x01
	spaceFeed       = 0x02 // events of all tenants: revision, ordinal
	spaceTenantFeed = 0x03 // tenant, revision, ordinal
	spaceOutcome    = 0x04 // tenant, request id
	spaceExpiry     = 0x05 // expiry, tenant, request id
	spaceDoomed     = 0x06 // tenant, sequence
	spaceTenant     = 0x10 // tenant, kind, …
)

// The kinds of rows of a tenant: the byte after its number. Stored: never renumber.
const (
	kindNode        = 0x01 // position
	kindNodeID      = 0x02 // id
	kindEdge        = 0x03 // position
	kindEdgeID      = 0x04 // id
	kindOut         = 0x05 // node position, type, edge position
	kindIn          = 0x06 // node position, type, edge position
	kindTime        = 0x07 // type, ^time, ^position
	kindSession     = 0x08 // session position, type, ^time, ^position
	kindAttribute   = 0x09 // attribute number, value, type, ^time, ^position
	kindState       = 0x0a // session position
	kindCounter     = 0x0b // counter, …
	kindInvocations = 0x0c // response position
)

// The counters: the byte after kindCounter. Stored: never renumber.
const (
	countNodes    = 0x01 // type
	countMembers  = 0x02 // session position, type
	countEdges    = 0x03
	countTouching = 0x04 // session position: edges with an end in it
	countBetween  = 0x05 // lower session position, higher one: edges from one into the other
	countActive   = 0x06 // active sessions
	countOutcomes = 0x07
)

// Lengths of parts of keys, bytes.
const (
	tenantPrefixBytes = 6 // keyspace, tenant, kind
	placeBytes        = 16
	doomedBytes       = 13

	outcomePrefixBytes = 5 // keyspace, tenant
)

// Ways of writing an id into a key.
const (
	idUUID = 0x01 // 16 bytes
	idText = 0x02 // escaped text
)

// maxKeyText is the longest text that is written into a key as it is; of a longer one its digest is. Bytes.
const maxKeyText = 512

var systemKey = []byte{spaceSystem, 0x01}

// attributeNumbers are the numbers of indexed attributes in keys. Stored: never renumber.
func attributeNumber(key string) (byte, bool) {
	switch key {
	case "name":
		return 1, true
	case "version":
		return 2, true
	case "role":
		return 3, true
	case "tool_name":
		return 4, true
	case "finish_reason":
		return 5, true
	case "status":
		return 6, true
	case "model":
		return 7, true
	default:
		return 0, false
	}
}

func be32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func be64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// ordered maps an int64 to a number with the same order.
func ordered(v int64) uint64 { return uint64(v) ^ 1<<63 }

// tenantKey starts a key of a tenant's kind with room for more.
func tenantKey(t graph.Tenant, kind byte, room int) []byte {
	b := make([]byte, 0, tenantPrefixBytes+room)
	b = append(b, spaceTenant)
	b = be32(b, uint32(t))
	return append(b, kind)
}

// positionKey is the key of a row that is found by position alone.
func positionKey(t graph.Tenant, kind byte, at graph.Position) []byte {
	return be64(tenantKey(t, kind, 8), uint64(at))
}

func idKey(t graph.Tenant, kind byte, id string) []byte {
	return appendID(tenantKey(t, kind, len(id)+3), id)
}

func appendID(b []byte, id string) []byte {
	if u, ok := packUUID(id); ok {
		b = append(b, idUUID)
		return append(b, u[:]...)
	}
	b = append(b, idText)
	return appendText(b, id)
}

// packUUID is the 16 bytes of a UUID in its canonical form: lower case, hyphens at their places.
func packUUID(id string) (u [16]byte, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return u, false
	}
	digit := 0
	for i := range len(id) {
		c := id[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			continue
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return u, false
		}
		u[digit/2] = u[digit/2]<<4 | c
		digit++
	}
	return u, true
}

func unpackUUID(u []byte) string {
	h := hex.EncodeToString(u)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// appendText writes text so that no text is the beginning of another: NUL becomes 00 ff, the end is 00 01. A text over
// maxKeyText is 00 02 and its SHA-256.
func appendText(b []byte, text string) []byte {
	if len(text) > maxKeyText {
		sum := sha256.Sum256([]byte(text))
		return append(append(b, 0x00, 0x02), sum[:]...)
	}
	for {
		i := strings.IndexByte(text, 0)
		if i < 0 {
			break
		}
		b = append(append(b, text[:i]...), 0x00, 0xff)
		text = text[i+1:]
	}
	return append(append(b, text...), 0x00, 0x01)
}

// appendPlace writes a place so that later ones come first.
func appendPlace(b []byte, p graph.Place) []byte {
	return be64(be64(b, ^ordered(p.Time)), ^uint64(p.Position))
}

func parsePlace(b []byte) graph.Place {
	return graph.Place{
		Time:     int64(^binary.BigEndian.Uint64(b) ^ 1<<63),
		Position: graph.Position(^binary.BigEndian.Uint64(b[8:])),
	}
}

func timePrefix(t graph.Tenant) []byte { return tenantKey(t, kindTime, 1+placeBytes) }

func sessionPrefix(t graph.Tenant, session graph.Position) []byte {
	return be64(tenantKey(t, kindSession, 8+1+placeBytes), uint64(session))
}

func attributePrefix(t graph.Tenant, number byte, value string) []byte {
	b := tenantKey(t, kindAttribute, 1+len(value)+2+1+placeBytes)
	return appendText(append(b, number), value)
}

func adjacencyPrefix(t graph.Tenant, kind byte, node graph.Position) []byte {
	return be64(tenantKey(t, kind, 8+1+8), uint64(node))
}

func adjacencyKey(t graph.Tenant, kind byte, node graph.Position, typ pb.EdgeType, edge graph.Position) []byte {
	return be64(append(adjacencyPrefix(t, kind, node), byte(typ)), uint64(edge))
}

func counterKey(t graph.Tenant, counter byte, room int) []byte {
	return append(tenantKey(t, kindCounter, 1+room), counter)
}

func nodesKey(t graph.Tenant, typ pb.NodeType) []byte {
	return append(counterKey(t, countNodes, 1), byte(typ))
}

func membersPrefix(t graph.Tenant, session graph.Position) []byte {
	return be64(counterKey(t, countMembers, 9), uint64(session))
}

func membersKey(t graph.Tenant, session graph.Position, typ pb.NodeType) []byte {
	return append(membersPrefix(t, session), byte(typ))
}

func touchingKey(t graph.Tenant, session graph.Position) []byte {
	return be64(counterKey(t, countTouching, 8), uint64(session))
}

func betweenPrefix(t graph.Tenant, lower graph.Position) []byte {
	return be64(counterKey(t, countBetween, 16), uint64(lower))
}

func betweenKey(t graph.Tenant, a, b graph.Position) []byte {
	return be64(betweenPrefix(t, min(a, b)), uint64(max(a, b)))
}

func feedKey(k EventKey) []byte {
	return appendEventKey(append(make([]byte, 0, 13), spaceFeed), k)
}

func tenantFeedPrefix(t graph.Tenant) []byte {
	return be32(append(make([]byte, 0, 17), spaceTenantFeed), uint32(t))
}

func tenantFeedKey(t graph.Tenant, k EventKey) []byte {
	return appendEventKey(tenantFeedPrefix(t), k)
}

func appendEventKey(b []byte, k EventKey) []byte {
	return be32(be64(b, uint64(k.Revision)), k.Ordinal)
}

// parseEventKey reads the 12 bytes at the end of a feed key.
func parseEventKey(b []byte) EventKey {
	b = b[len(b)-12:]
	return EventKey{graph.Revision(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:])}
}

func outcomeKey(t graph.Tenant, id [16]byte) []byte {
	return append(be32(append(make([]byte, 0, 21), spaceOutcome), uint32(t)), id[:]...)
}

func expiryKey(expires int64, t graph.Tenant, id [16]byte) []byte {
	b := be64(append(make([]byte, 0, 29), spaceExpiry), ordered(expires))
	return append(be32(b, uint32(t)), id[:]...)
}

func doomedPrefix(t graph.Tenant) []byte {
	return be32(append(make([]byte, 0, doomedBytes), spaceDoomed), uint32(t))
}

func doomedKey(t graph.Tenant, sequence uint64) []byte { return be64(doomedPrefix(t), sequence) }

// prefixRange is all keys that begin with prefix.
func prefixRange(prefix []byte) keyRange {
	return keyRange{prefix, successor(prefix)}
}

// successor is the first key after all that begin with prefix, nil when there is none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			up := append([]byte(nil), prefix[:i+1]...)
			up[i]++
			return up
		}
	}
	return nil
}

// extend is prefix with more bytes, in memory of its own.
func extend(prefix []byte, more ...byte) []byte {
	b := make([]byte, 0, len(prefix)+len(more)+placeBytes)
	return append(append(b, prefix...), more...)
}
