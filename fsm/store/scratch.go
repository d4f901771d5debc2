package store

import (
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// scratch is memory in which the writer makes keys and values, one of each at a time: the overlay copies both. What it makes
// is what the functions of keys.go and rows.go make; TestScratchKeysAreKeys holds them equal.
type scratch struct {
	key   [64]byte
	value []byte
}

// tenant starts a key of a tenant's kind.
func (s *scratch) tenant(t graph.Tenant, kind byte) []byte {
	return append(be32(append(s.key[:0], spaceTenant), uint32(t)), kind)
}

func (s *scratch) position(t graph.Tenant, kind byte, at graph.Position) []byte {
	return be64(s.tenant(t, kind), uint64(at))
}

func (s *scratch) id(t graph.Tenant, kind byte, id string) []byte {
	return appendID(s.tenant(t, kind), id)
}

func (s *scratch) adjacency(t graph.Tenant, kind byte, node graph.Position, typ pb.EdgeType, edge graph.Position) []byte {
	return be64(append(s.position(t, kind, node), byte(typ)), uint64(edge))
}

func (s *scratch) nodes(t graph.Tenant, typ pb.NodeType) []byte {
	return append(s.tenant(t, kindCounter), countNodes, byte(typ))
}

func (s *scratch) members(t graph.Tenant, session graph.Position, typ pb.NodeType) []byte {
	return append(be64(append(s.tenant(t, kindCounter), countMembers), uint64(session)), byte(typ))
}

func (s *scratch) edges(t graph.Tenant) []byte { return append(s.tenant(t, kindCounter), countEdges) }

func (s *scratch) touching(t graph.Tenant, session graph.Position) []byte {
	return be64(append(s.tenant(t, kindCounter), countTouching), uint64(session))
}

func (s *scratch) time(t graph.Tenant, typ byte, p graph.Place) []byte {
	return appendPlace(append(s.tenant(t, kindTime), typ), p)
}

func (s *scratch) session(t graph.Tenant, session graph.Position, typ byte, p graph.Place) []byte {
	return appendPlace(append(s.position(t, kindSession, session), typ), p)
}

func (s *scratch) attribute(t graph.Tenant, number byte, value string, typ byte, p graph.Place) []byte {
	return appendPlace(append(appendText(append(s.tenant(t, kindAttribute), number), value), typ), p)
}

func (s *scratch) feed(k EventKey) []byte { return appendEventKey(append(s.key[:0], spaceFeed), k) }

func (s *scratch) tenantFeed(t graph.Tenant, k EventKey) []byte {
	return appendEventKey(be32(append(s.key[:0], spaceTenantFeed), uint32(t)), k)
}

func (s *scratch) outcome(t graph.Tenant, id [16]byte) []byte {
	return append(be32(append(s.key[:0], spaceOutcome), uint32(t)), id[:]...)
}

func (s *scratch) expiry(expires int64, t graph.Tenant, id [16]byte) []byte {
	return append(be32(be64(append(s.key[:0], spaceExpiry), ordered(expires)), uint32(t)), id[:]...)
}

// keeps remembers a value that outgrew the memory for the next one.
func (s *scratch) keeps(value []byte) []byte {
	if cap(value) <= maxScratch {
		s.value = value[:0]
	}
	return value
}

// maxScratch is the largest value whose memory is kept, bytes.
const maxScratch = 64 << 10
