//go:build !wasip1

package store

import (
	"bytes"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// TestSpansCoverAllKeys: each span begins where the last one ended, and only the nodes of the default tenant and other tenants are
// compressed thoroughly.
func TestSpansCoverAllKeys(t *testing.T) {
	const first, second = graph.DefaultTenant, graph.DefaultTenant + 1
	for _, span := range []struct {
		start []byte
		fast  bool
		end   []byte
	}{
		{systemKey, true, tenantKey(first, kindNode, 0)},
		{[]byte{spaceFeed}, true, tenantKey(first, kindNode, 0)},
		{tenantKey(first, kindNode, 0), false, tenantKey(first, kindNodeID, 0)},
		{positionKey(first, kindNode, 1<<63), false, tenantKey(first, kindNodeID, 0)},
		{tenantKey(first, kindNodeID, 0), true, tenantKey(second, 0, 0)[:tenantPrefixBytes-1]},
		{positionKey(first, kindInvocations, 7), true, tenantKey(second, 0, 0)[:tenantPrefixBytes-1]},
		{tenantKey(second, kindEdge, 0), false, nil},
	} {
		policy, end, err := spanPolicy(span.start)
		if err != nil || policy.PreferFastCompression != span.fast || !bytes.Equal(end, span.end) {
			t.Errorf("span of %x: fast %v, until %x, %v; want %v, %x", span.start, policy.PreferFastCompression, end, err, span.fast, span.end)
		}
		if end != nil && bytes.Compare(end, span.start) <= 0 {
			t.Errorf("span of %x ends at %x, before it begins", span.start, end)
		}
	}
}
