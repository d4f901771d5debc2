package store

import (
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// Space names the keyspace of a key. It takes any bytes.
func Space(key []byte) string {
	if len(key) == 0 {
		return "unknown"
	}
	if key[0] != spaceTenant {
		return spaceName(key[0])
	}
	if len(key) < tenantPrefixBytes {
		return "unknown"
	}
	names := [...]string{
		kindNode: "node", kindNodeID: "node id", kindEdge: "edge", kindEdgeID: "edge id", kindOut: "edges out",
		kindIn: "edges in", kindTime: "time index", kindSession: "session index", kindAttribute: "attribute index",
		kindState: "session", kindCounter: "counter", kindInvocations: "invocations",
	}
	if kind := int(key[tenantPrefixBytes-1]); kind < len(names) && names[kind] != "" {
		return names[kind]
	}
	return "unknown"
}

func spaceName(space byte) string {
	switch space {
	case spaceSystem:
		return "system"
	case spaceFeed:
		return "feed"
	case spaceTenantFeed:
		return "tenant feed"
	case spaceOutcome:
		return "outcome"
	case spaceExpiry:
		return "outcome expiry"
	case spaceDoomed:
		return "doomed"
	case spaceTenant:
		return "tenant"
	default:
		return "unknown"
	}
}

// Keys of records, for findings about them.

// NodeKey is the key of a node's row.
func NodeKey(t graph.Tenant, at graph.Position) []byte { return positionKey(t, kindNode, at) }

// EdgeKey is the key of an edge's row.
func EdgeKey(t graph.Tenant, at graph.Position) []byte { return positionKey(t, kindEdge, at) }

// SessionKey is the key of the state of a session.
func SessionKey(t graph.Tenant, at graph.Position) []byte { return positionKey(t, kindState, at) }

// FeedKey is the key of an event.
func FeedKey(k EventKey) []byte { return feedKey(k) }

// TenantFeedKey is the key of an event in the feed of its tenant.
func TenantFeedKey(t graph.Tenant, k EventKey) []byte { return tenantFeedKey(t, k) }

// OutcomeKey is the key of what is remembered of a request.
func OutcomeKey(t graph.Tenant, id [16]byte) []byte { return outcomeKey(t, id) }

// InvocationsKey is the key of a response's next invocation_order.
func InvocationsKey(t graph.Tenant, at graph.Position) []byte {
	return positionKey(t, kindInvocations, at)
}

// SystemKey is the key of the system.
func SystemKey() []byte { return append([]byte(nil), systemKey...) }

// Whole reads the graph of a tenant with what is doomed still in it. Only a check needs it.
func (sn *Snapshot) Whole(t graph.Tenant) *View {
	return &View{rows: sn.reader(), tenant: t, hidden: func() (*hidden, error) { return &hidden{}, nil }}
}

// Event is one event of the feed; false when there is none.
func (sn *Snapshot) Event(k EventKey) (FeedRow, bool, error) {
	row, n, ok, err := findEvent(sn.reader(), k)
	if err != nil || !ok {
		return FeedRow{}, false, err
	}
	return FeedRow{Key: k, Tenant: row.tenant, Body: row.bodies[n]}, true, nil
}

// Invocations is the next invocation_order of a response, 0 when it has no row.
func (sn *Snapshot) Invocations(t graph.Tenant, response graph.Position) (uint64, error) {
	n, err := sn.Whole(t).counter(positionKey(t, kindInvocations, response))
	return uint64(n), err
}
