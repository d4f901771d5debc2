package store

import (
	"bytes"
	"strings"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// TestScratchKeysAreKeys: the keys of the writer are those that readers look for.
func TestScratchKeysAreKeys(t *testing.T) {
	const tenant, at, other = 0xfffffff1, graph.Position(1 << 40), graph.Position(7)
	s := &scratch{}
	place := graph.Place{Time: -5, Position: at}
	event := EventKey{Revision: 300, Ordinal: 9}
	id := [16]byte{1, 15: 2}
	same := func(name string, got, want []byte) {
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", name, got, want)
		}
	}
	same("position", s.position(tenant, kindNode, at), positionKey(tenant, kindNode, at))
	for _, text := range []string{"01890000-0000-7000-8000-00000000000a", "text\x00", strings.Repeat("long", 100), ""} {
		same("id "+text, s.id(tenant, kindEdgeID, text), idKey(tenant, kindEdgeID, text))
		same("attribute "+text, s.attribute(tenant, 3, text, 2, place), appendPlace(append(attributePrefix(tenant, 3, text), 2), place))
	}
	same("adjacency", s.adjacency(tenant, kindIn, at, 3, other), adjacencyKey(tenant, kindIn, at, 3, other))
	same("nodes", s.nodes(tenant, 2), nodesKey(tenant, 2))
	same("members", s.members(tenant, at, 2), membersKey(tenant, at, 2))
	same("edges", s.edges(tenant), counterKey(tenant, countEdges, 0))
	same("touching", s.touching(tenant, at), touchingKey(tenant, at))
	same("time", s.time(tenant, 2, place), appendPlace(append(timePrefix(tenant), 2), place))
	same("session", s.session(tenant, other, 2, place), appendPlace(append(sessionPrefix(tenant, other), 2), place))
	same("feed", s.feed(event), feedKey(event))
	same("tenant feed", s.tenantFeed(tenant, event), tenantFeedKey(tenant, event))
	same("outcome", s.outcome(tenant, id), outcomeKey(tenant, id))
	same("expiry", s.expiry(-9, tenant, id), expiryKey(-9, tenant, id))
	if got := testing.AllocsPerRun(10, func() { s.adjacency(tenant, kindIn, at, 3, other) }); got != 0 {
		t.Errorf("a key takes %v allocations", got)
	}
}
