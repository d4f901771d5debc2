package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph/storagetest"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// checkable holds a row of every kind that agrees with all others: two sessions, a prompt, a response with a tool call, an
// agent, edges within and between, events, outcomes, a deletion that is not swept.
func checkable(t testing.TB, s *Store) {
	t.Helper()
	commit(t, s, func(b *Batch) {
		sys := b.System()
		sys.Applied, sys.Term, sys.Instant = 9, 1, 5000
		x := b.Tx(1)
		session := func() graph.Position {
			at := x.NextPosition()
			x.PutNode(graph.NodeRecord{Created: 9, Modified: 9, Position: at, Session: at}, testSession(at))
			x.PutSession(graph.SessionRecord{Position: at, State: graph.SessionActive, Updated: 5})
			return at
		}
		node := func(in graph.Position, n *pb.Node) graph.NodeRecord {
			r := graph.NodeRecord{Created: 9, Modified: 9, Position: x.NextPosition(), Session: in}
			x.PutNode(r, n)
			return r
		}
		edge := func(id string, typ pb.EdgeType, from, to graph.NodeRecord) {
			x.PutEdge(graph.EdgeRecord{Created: 9, Modified: 9, Position: x.NextPosition(), From: from.Position, To: to.Position,
				FromSession: from.Session, ToSession: to.Session, Automatic: typ == 1}, &pb.Edge{Id: id, Type: typ})
		}
		one, two := session(), session() // 1, 2
		prompt := node(one, testPrompt(3, "text"))
		response := node(one, &pb.Node{Id: "r", Type: 3, NodeData: &pb.Node_Response{Response: &pb.ResponseNode{Id: "r"}}})
		agent := node(0, &pb.Node{Id: "a", Type: 5, NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Id: "a", Name: "name"}}})
		edge("e6", 1, prompt, graph.NodeRecord{Position: one, Session: one})
		edge("e7", 9, prompt, graph.NodeRecord{Position: two, Session: two})
		edge("e8", 5, response, agent)
		x.SetInvocations(response.Position, 3)
		x.Doom(graph.Doomed{Position: two, Session: true})
		for i := range uint32(3) {
			b.PutEvent(EventKey{9, i}, 1, one, pb.EventType_EVENT_TYPE_NODE_CREATED, []byte("event"))
		}
		b.PutEvent(EventKey{10, 0}, 2, 0, pb.EventType_EVENT_TYPE_NODE_CREATED, []byte("event"))
		b.PutOutcome(1, [16]byte{1}, 6000, []byte("outcome"))
		b.PutOutcome(2, [16]byte{2}, 6000, []byte("outcome"))
	})
}

// findings checks a store and returns what is wrong as lines.
func findings(t storagetest.T, s *Store, o CheckOptions) []string {
	t.Helper()
	sn := s.Snapshot()
	defer sn.Close()
	out := []string{}
	o.Report = func(f Finding) {
		out = append(out, fmt.Sprintf("%s: %s: %s %s", f.Fault, f.Space, f.Key, f.Problem))
	}
	done, err := sn.Check(o)
	if err != nil || done.Unnamed > 0 {
		t.Fatalf("check: %+v, %v", done, err)
	}
	slices.Sort(out)
	return out
}

func TestAWholeStoreIsClean(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		checkable(t, s)
		if got := findings(t, s, CheckOptions{}); len(got) > 0 {
			t.Errorf("findings: %q", got)
		}
	})
}

// TestEveryDamagedRowIsFound writes rows round the batch, so that nothing but the check can know, and wants exactly what
// follows from that.
func TestEveryDamagedRowIsFound(t *testing.T) {
	entry := func(typ byte, time int64, at graph.Position) []byte {
		return appendPlace([]byte{typ}, graph.Place{Time: time, Position: at})
	}
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	prompt := func(change func(r *graph.NodeRecord, n *pb.Node)) []byte {
		r, n := graph.NodeRecord{Created: 9, Modified: 9, Position: 3, Session: 1}, testPrompt(3, "text")
		change(&r, n)
		r.Wire = graph.Encode(n)
		return encodeNode(r, 2)
	}
	edge := func(change func(r *graph.EdgeRecord)) []byte {
		r := graph.EdgeRecord{Created: 9, Modified: 9, From: 3, To: 2, FromSession: 1, ToSession: 2, Type: 9, Wire: graph.Encode(&pb.Edge{Id: "e7", Type: 9})}
		change(&r)
		return encodeEdge(r)
	}
	const digest = "digest: system"
	for name, c := range map[string]struct {
		key, value []byte // a nil value removes
		want       []string
	}{
		"unknown keyspace":    {[]byte{0x44, 1}, []byte{1}, []string{"key: unknown: unknown key 4401 is no key"}},
		"unknown system key":  {[]byte{spaceSystem, 2}, []byte{1}, []string{"key: system"}},
		"unknown tenant kind": {tenantKey(1, 0x7f, 0), []byte{1}, []string{"key: unknown"}},
		"short tenant key":    {[]byte{spaceTenant, 0, 0}, []byte{1}, []string{"key: unknown"}},
		"long node key":       {append(NodeKey(1, 3), 0), []byte{1}, []string{"key: node"}},
		"key past 0xff":       {[]byte{0xff, 0xff}, nil2(), []string{"key: unknown"}},

		"node does not parse": {NodeKey(1, 3), []byte{1, 1}, []string{
			"count: counter: tenant 1, count in session 1 of NODE_TYPE_PROMPT is 1, counting gives 0",
			"count: counter: tenant 1, count of NODE_TYPE_PROMPT is 1, counting gives 0", digest,
			"stray: attribute index: tenant 1, index of attribute 7 \"gpt\"", `stray: node id: tenant 1, node id "p3" is there leading to position 3`,
			"stray: session index: tenant 1, index of session 1, NODE_TYPE_PROMPT", "stray: time index: tenant 1, time index, NODE_TYPE_PROMPT at time 3, position 3",
			"value: node: tenant 1, node at position 3"}},
		"node of a later format": {NodeKey(1, 5), []byte{2, 1}, []string{"count: counter", digest, "stray", "stray", "stray", "value: node: tenant 1, node at position 5 format 2"}},
		"node's message is broken": {NodeKey(1, 5), append(encodeNode(graph.NodeRecord{Created: 9, Modified: 9}, 5), 0xff), []string{
			"count: counter", digest, "stray", "stray", "stray", "value: node: tenant 1, node at position 5"}},
		"node with an unknown field": {NodeKey(1, 3), protowire.AppendVarint(protowire.AppendTag(prompt(func(*graph.NodeRecord, *pb.Node) {}), 999, 0), 1), []string{
			digest, "form: node: tenant 1, node at position 3 is not written"}},
		"node with a revision": {NodeKey(1, 3), prompt(func(_ *graph.NodeRecord, n *pb.Node) { n.Revision = 7 }), []string{digest, "form: node"}},
		"node with a number that is too long": {NodeKey(1, 3), append([]byte{1, 0x89, 0}, prompt(func(*graph.NodeRecord, *pb.Node) {})[2:]...), []string{
			"form: node"}},
		"node of another type": {NodeKey(1, 3), prompt(func(_ *graph.NodeRecord, n *pb.Node) { n.Type = 3 }), []string{
			digest, "missing: attribute index", "missing: session index: tenant 1, index of session 1, NODE_TYPE_RESPONSE", "missing: time index", "stray: attribute index",
			"stray: session index", "stray: time index", "value: node: tenant 1, node at position 3 is NODE_TYPE_RESPONSE, its row says NODE_TYPE_PROMPT"}},
		"node in another session": {NodeKey(1, 3), prompt(func(r *graph.NodeRecord, _ *pb.Node) { r.Session = 2 }), []string{
			"count: counter: tenant 1, count in session 1 of NODE_TYPE_PROMPT is 1, counting gives 0",
			"count: counter: tenant 1, count in session 2 of NODE_TYPE_PROMPT is 0, counting gives 1", digest, "missing: session index: tenant 1, index of session 2",
			"stray: session index: tenant 1, index of session 1"}},
		"node with another id": {NodeKey(1, 3), prompt(func(_ *graph.NodeRecord, n *pb.Node) { n.Id = "p4" }), []string{
			digest, `missing: node id: tenant 1, node id "p4" is not there leading to position 3`, `stray: node id: tenant 1, node id "p3"`}},
		"node with another time": {NodeKey(1, 3), prompt(func(_ *graph.NodeRecord, n *pb.Node) { n.GetPrompt().Timestamp = graph.Timestamp(4) }), []string{
			digest, "missing: attribute index", "missing: session index", "missing: time index", "stray: attribute index", "stray: session index", "stray: time index"}},
		"node with other content": {NodeKey(1, 3), prompt(func(_ *graph.NodeRecord, n *pb.Node) { n.GetPrompt().Content = "u" }), []string{digest}},
		"node is gone": {NodeKey(1, 5), nil, []string{
			"count: counter: tenant 1, count of NODE_TYPE_AGENT is 1, counting gives 0", digest, "stray: attribute index", `stray: node id: tenant 1, node id "a"`, "stray: time index"}},
		"node at no position": {NodeKey(1, 999), encodeNode(graph.NodeRecord{Wire: graph.Encode(&pb.Node{Id: "z", Type: 5})}, 5), []string{
			"count: counter", digest, "missing: node id", "missing: time index", "position: node: tenant 1, node at position 999 is at a position that was not handed out: 8 were"}},

		"node id is gone":              {idKey(1, kindNodeID, "p3"), nil, []string{`missing: node id: tenant 1, node id "p3" is not there leading to position 3, but`}},
		"node id leads astray":         {idKey(1, kindNodeID, "p3"), encodeNumber(4), []string{`missing: node id`, `stray: node id: tenant 1, node id "p3" is there leading to position 4, but`}},
		"node id of nothing":           {idKey(1, kindNodeID, "q"), []byte{1}, []string{`stray: node id: tenant 1, node id "q" is there with the value 01`}},
		"edge id is gone":              {idKey(1, kindEdgeID, "e7"), nil, []string{`missing: edge id`}},
		"edge id leads astray":         {idKey(1, kindEdgeID, "e7"), encodeNumber(6), []string{`missing: edge id`, `stray: edge id: tenant 1, edge id "e7" is there leading to position 6`}},
		"time entry is gone":           {join(timePrefix(1), entry(2, 3, 3)), nil, []string{"missing: time index: tenant 1, time index, NODE_TYPE_PROMPT at time 3, position 3 is not there"}},
		"time entry of nothing":        {join(timePrefix(1), entry(2, 3, 7)), []byte{}, []string{"stray: time index"}},
		"time entry of another tenant": {join(timePrefix(2), entry(2, 3, 3)), []byte{}, []string{"stray: time index: tenant 2, time index"}},
		"time entry with value":        {join(timePrefix(1), entry(2, 3, 3)), []byte{1}, []string{"form: time index"}},
		"bad time entry":               {append(timePrefix(1), 9), []byte{}, []string{"stray: time index"}},
		"member is gone":               {join(sessionPrefix(1, 1), entry(2, 3, 3)), nil, []string{"missing: session index"}},
		"member of nothing":            {join(sessionPrefix(1, 2), entry(2, 3, 3)), []byte{}, []string{"stray: session index: tenant 1, index of session 2"}},
		"attribute is gone":            {join(attributePrefix(1, 7, "gpt"), entry(2, 3, 3)), nil, []string{"missing: attribute index"}},
		"attribute of nothing":         {join(attributePrefix(1, 7, "gp"), entry(2, 3, 3)), []byte{}, []string{"stray: attribute index"}},

		"edge does not parse": {EdgeKey(1, 7), []byte{1}, []string{
			"count: counter: tenant 1, count of edges between sessions 1 and 2 is 1, counting gives 0", "count: counter: tenant 1, count of edges is 3, counting gives 2",
			"count: counter: tenant 1, count of edges of session 1 is 3, counting gives 2", "count: counter: tenant 1, count of edges of session 2 is 1, counting gives 0",
			digest, "stray: edge id", "stray: edges in: tenant 1, edge into node 2", "stray: edges out: tenant 1, edge out of node 3", "value: edge: tenant 1, edge at position 7"}},
		"edge's message is broken": {EdgeKey(1, 8), append(encodeEdge(graph.EdgeRecord{Type: 5}), 0xff), []string{
			"count", "count", digest, "stray: edge id", "stray: edges in", "stray: edges out", "value: edge: tenant 1, edge at position 8"}},
		"edge of another type": {EdgeKey(1, 7), edge(func(r *graph.EdgeRecord) { r.Type = 5 }), []string{
			digest, "missing: edges in", "missing: edges out", "stray: edges in", "stray: edges out", "value: edge: tenant 1, edge at position 7 is EDGE_TYPE_REFERENCES, its row says"}},
		"edge from elsewhere": {EdgeKey(1, 7), edge(func(r *graph.EdgeRecord) { r.From = 4 }), []string{
			digest, "missing: edges out: tenant 1, edge out of node 4", "stray: edges out: tenant 1, edge out of node 3"}},
		"edge into elsewhere": {EdgeKey(1, 7), edge(func(r *graph.EdgeRecord) { r.To = 1 }), []string{
			digest, "missing: edges in: tenant 1, edge into node 1", "stray: edges in: tenant 1, edge into node 2"}},
		"edge of another session": {EdgeKey(1, 7), edge(func(r *graph.EdgeRecord) { r.ToSession = 1 }), []string{
			"count: counter: tenant 1, count of edges between", "count: counter: tenant 1, count of edges of session 2", digest}},
		"edge with a revision": {EdgeKey(1, 7), edge(func(r *graph.EdgeRecord) { r.Wire = graph.Encode(&pb.Edge{Id: "e7", Type: 9, Revision: 1}) }), []string{digest, "form: edge"}},
		"edge is gone": {EdgeKey(1, 8), nil, []string{
			"count", "count", digest, `stray: edge id: tenant 1, edge id "e8"`, "stray: edges in: tenant 1, edge into node 5", "stray: edges out: tenant 1, edge out of node 4"}},
		"edge out is gone":   {adjacencyKey(1, kindOut, 3, 9, 7), nil, []string{"missing: edges out"}},
		"edge out of nobody": {adjacencyKey(1, kindOut, 3, 9, 8), []byte{}, []string{"stray: edges out"}},
		"edge in is gone":    {adjacencyKey(1, kindIn, 2, 9, 7), nil, []string{"missing: edges in"}},
		"edge in of nobody":  {adjacencyKey(1, kindIn, 2, 9, 8), []byte{}, []string{"stray: edges in"}},
		"bad adjacency":      {append(adjacencyKey(1, kindIn, 2, 9, 8), 1), []byte{}, []string{"stray: edges in"}},

		"state does not parse": {SessionKey(1, 1), []byte{1}, []string{"count: counter: tenant 1, count of active sessions is 2, counting gives 1", digest, "missing: session: tenant 1, state of session 1", "value: session"}},
		"state is gone":        {SessionKey(1, 1), nil, []string{"count: counter", digest, "missing: session: tenant 1, state of session 1 is not there"}},
		"state of no session":  {SessionKey(1, 3), encodeState(graph.SessionRecord{State: 2}), []string{digest, "stray: session: tenant 1, state of session 3 is there"}},
		"state that is active": {SessionKey(1, 1), encodeState(graph.SessionRecord{State: 2, Updated: 5}), []string{"count: counter: tenant 1, count of active sessions is 2, counting gives 1", digest}},
		"state in other words": {SessionKey(1, 1), []byte{1, 1, 0x8a, 0, 0}, []string{digest, "form: session"}},

		"counter does not parse": {nodesKey(1, 2), []byte{1}, []string{"count: counter: tenant 1, count of NODE_TYPE_PROMPT is 0, counting gives 1", digest, "value: counter"}},
		"counter of nodes":       {nodesKey(1, 2), encodeNumber(5), []string{"count: counter: tenant 1, count of NODE_TYPE_PROMPT is 5, counting gives 1", digest}},
		"counter that is gone":   {membersKey(1, 1, 2), nil, []string{"count: counter: tenant 1, count in session 1 of NODE_TYPE_PROMPT is 0, counting gives 1", digest}},
		"counter of edges":       {counterKey(1, countEdges, 0), encodeNumber(2), []string{"count: counter: tenant 1, count of edges is 2, counting gives 3", digest}},
		"counter of touching":    {touchingKey(1, 1), encodeNumber(1 << 40), []string{"count: counter: tenant 1, count of edges of session 1 is 1099511627776, counting gives 3", digest}},
		"counter of between":     {betweenKey(1, 1, 2), encodeNumber(2), []string{"count: counter: tenant 1, count of edges between sessions 1 and 2 is 2", digest}},
		"counter of active":      {counterKey(1, countActive, 0), encodeNumber(1), []string{"count: counter: tenant 1, count of active sessions is 1, counting gives 2", digest}},
		"counter of outcomes":    {counterKey(1, countOutcomes, 0), encodeNumber(7), []string{"count: counter: tenant 1, count of outcomes is 7, counting gives 1", digest}},
		"counter of a stranger":  {nodesKey(3, 2), encodeNumber(1), []string{"count: counter: tenant 3, count of NODE_TYPE_PROMPT is 1, counting gives 0", digest}},
		"counter of 0":           {nodesKey(3, 2), encodeNumber(0), []string{digest, "form: counter: tenant 3, count of NODE_TYPE_PROMPT is 0"}},
		"counter in other words": {nodesKey(1, 2), []byte{1, 0x81, 0}, []string{digest, "form: counter"}},
		"unknown counter":        {counterKey(1, 0x55, 0), encodeNumber(1), []string{"count: counter: unknown key", digest}},

		"invocations of nothing":   {InvocationsKey(1, 3), encodeNumber(1), []string{digest, "stray: invocations: tenant 1, invocations of response 3 is there, but no response is"}},
		"invocations do not parse": {InvocationsKey(1, 4), []byte{1}, []string{digest, "value: invocations"}},
		"too many invocations":     {InvocationsKey(1, 4), encodeNumber(1 << 32), []string{digest, "form: invocations"}},

		"doomed does not parse": {doomedKey(1, 1), []byte{1}, []string{digest, "value: doomed"}},
		"doomed twice":          {doomedKey(1, 2), encodeDoomed(graph.Doomed{Position: 2, Session: true}), []string{digest, "stray: doomed: tenant 1, doomed 2 is a second mark for position 2"}},
		"doomed in other words": {doomedKey(1, 1), []byte{1, 1, 0x82, 0, 0, 0, 0}, []string{digest, "form: doomed"}},
		"bad doomed key":        {append(doomedKey(1, 1), 1), []byte{1}, []string{digest, "key: doomed"}},

		"event does not parse":      {feedKey(EventKey{9, 1}), []byte{1}, []string{"stray: tenant feed: tenant 1, feed, event 9/1 is there", "value: feed: feed, event 9/1"}},
		"event in other words":      {feedKey(EventKey{9, 1}), []byte{1, 0x81, 0, 1, 'e'}, []string{"form: feed"}},
		"event of another":          {feedKey(EventKey{9, 1}), encodeEvents(2, []byte("event")), []string{"missing: tenant feed: tenant 2, feed, event 9/1", "stray: tenant feed: tenant 1, feed, event 9/1"}},
		"event is gone":             {feedKey(EventKey{9, 1}), nil, []string{"feed: feed: feed, event 9/2 comes after a gap", "feed: system: system says that 4 events are kept, there are 3", "stray: tenant feed"}},
		"first event is gone":       {feedKey(EventKey{9, 0}), nil, []string{"feed: feed: feed, event 9/1 comes after a gap", "feed: system", "stray: tenant feed"}},
		"last event is gone":        {feedKey(EventKey{10, 0}), nil, []string{"feed: system: system says that 4 events are kept", "feed: system: system says that the last event is {10 0}, it is {9 2}", "stray: tenant feed"}},
		"event of nobody":           {feedKey(EventKey{9, 3}), encodeEvents(1, nil), []string{"feed: system", "missing: tenant feed"}},
		"revision without first":    {feedKey(EventKey{8, 1}), encodeEvents(1, nil), []string{"feed: feed: feed, event 8/1 comes after a gap", "feed: system", "missing: tenant feed"}},
		"bad feed key":              {[]byte{spaceFeed, 1}, []byte{1}, []string{"key: feed"}},
		"feed entry is gone":        {tenantFeedKey(1, EventKey{9, 1}), nil, []string{"missing: tenant feed: tenant 1, feed, event 9/1 is not there"}},
		"feed entry of nothing":     {tenantFeedKey(2, EventKey{9, 1}), encodeEventIndex(EventRow{Type: 1, Session: 1}), []string{"stray: tenant feed"}},
		"feed entry is broken":      {tenantFeedKey(1, EventKey{9, 1}), []byte{1}, []string{"value: tenant feed"}},
		"feed entry in other words": {tenantFeedKey(1, EventKey{9, 1}), []byte{1, 0x81, 0, 1}, []string{"form: tenant feed"}},

		"outcome does not parse": {outcomeKey(1, [16]byte{1}), []byte{1}, []string{digest, "stray: outcome expiry: outcome expiry 6000, tenant 1", "value: outcome"}},
		"outcome in other words": {outcomeKey(1, [16]byte{1}), []byte{1, 0xe0, 0xdd, 0x80, 0, 0x6f}, []string{digest, "form: outcome"}},
		"outcome expires later":  {outcomeKey(1, [16]byte{1}), encodeOutcome(7000, []byte("outcome")), []string{digest, "missing: outcome expiry: outcome expiry 7000", "stray: outcome expiry: outcome expiry 6000"}},
		"outcome is gone":        {outcomeKey(1, [16]byte{1}), nil, []string{"count: counter: tenant 1, count of outcomes is 1, counting gives 0", digest, "stray: outcome expiry"}},
		"outcome of nobody":      {outcomeKey(1, [16]byte{3}), encodeOutcome(6000, nil), []string{"count: counter: tenant 1, count of outcomes is 1, counting gives 2", digest, "missing: outcome expiry"}},
		"bad outcome key":        {[]byte{spaceOutcome, 1}, []byte{1}, []string{"key: outcome"}},
		"expiry is gone":         {expiryKey(6000, 1, [16]byte{1}), nil, []string{"missing: outcome expiry"}},
		"expiry of nothing":      {expiryKey(6000, 1, [16]byte{3}), []byte{}, []string{"stray: outcome expiry"}},
		"expiry with a value":    {expiryKey(6000, 1, [16]byte{1}), []byte{1}, []string{"form: outcome expiry"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := closing(t, OpenMemory())
			checkable(t, s)
			write1(t, s, c.key, c.value)
			wantFindings(t, findings(t, s, CheckOptions{Room: 3}), c.want)
		})
	}
}

// nil2 is a value that is there and empty.
func nil2() []byte { return []byte{} }

// write1 writes one row round everything, and makes the store forget what it knows of its rows; a nil value removes.
func write1(t testing.TB, s *Store, key, value []byte) {
	t.Helper()
	w := &write{key: key, value: value, deleted: value == nil}
	if err := s.current.engine.apply(func(yield func(*write) bool) { yield(w) }); err != nil {
		t.Fatal(err)
	}
	s.current.warm = newWarm()
	s.mu.Lock()
	passed := s.passedLocked()
	s.mu.Unlock()
	passed.release()
}

// wantFindings compares lines with how they begin.
func wantFindings(t testing.TB, got, want []string) {
	t.Helper()
	short := slices.Clone(got)
	for i := range short {
		if i < len(want) && strings.HasPrefix(got[i], want[i]) {
			short[i] = want[i]
		}
	}
	if diff := cmp.Diff(want, short); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestADamagedSystemIsFound changes what the system says of the rows.
func TestADamagedSystemIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *System)
		want   []string
	}{
		"digest":     {func(s *System) { s.Digest[2]++ }, []string{"digest: system: system keeps the digest"}},
		"event rows": {func(s *System) { s.EventRows-- }, []string{"feed: system: system says that 3 events are kept, there are 4"}},
		"events":     {func(s *System) { s.Events-- }, []string{"feed: system: system says that 3 events were ever told and 4 of them are kept"}},
		"last event": {func(s *System) { s.LastEvent.Ordinal++ }, []string{"feed: system: system says that the last event is {10 1}, it is {10 0}"}},
		"trimmed": {func(s *System) { s.Trimmed = EventKey{9, 0} }, []string{
			"feed: feed: feed, event 9/0 comes after a gap", "feed: feed: feed, event 9/0 is there, but events up to {9 0} were trimmed"}},
		"position": {func(s *System) { s.Position = 7 }, []string{"position: edge: tenant 1, edge at position 8"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := closing(t, OpenMemory())
			checkable(t, s)
			sys := s.System()
			c.change(&sys)
			write1(t, s, systemKey, sys.encode())
			got := findings(t, s, CheckOptions{})
			if name == "trimmed" { // one row, two faults: the first is told
				c.want = c.want[1:]
			}
			wantFindings(t, got, c.want)
		})
	}
	s := closing(t, OpenMemory())
	commit(t, s, func(b *Batch) { b.System().LastEvent = EventKey{3, 1} })
	wantFindings(t, findings(t, s, CheckOptions{}), []string{"feed: system: system says that the last event is {3 1} and {0 0} the last"})
	sys := s.System()
	row := sys.encode()
	write1(t, s, systemKey, slices.Concat(row[:1], []byte{0x80, 0}, row[2:]))
	if got := findings(t, s, CheckOptions{}); len(got) != 2 || !strings.HasPrefix(got[1], "form: system") {
		t.Errorf("a system in other words: %q", got)
	}
}

// TestRandomHistoriesAreClean plays games on both engines and looks at the rows after each commit, with deletions that are
// not swept among them.
func TestRandomHistoriesAreClean(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := OpenMemory()
		if rapid.Bool().Draw(r, "on disk") {
			var err error
			if s, err = openPebble(vfs.NewMem(), "store", testOptions(t)); err != nil {
				r.Fatalf("open: %v", err)
			}
		}
		defer func() {
			if err := s.Close(); err != nil {
				r.Errorf("close: %v", err)
			}
		}()
		var views []func()
		defer func() {
			for _, end := range views {
				end()
			}
		}()
		draw := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(r, label) }
		storage := checkedStorage{subject{r, s, func(end func()) { views = append(views, end) }}}
		storagetest.Play(r, storage, draw, rapid.IntRange(1, 120).Draw(r, "changes"))
	})
}

// checkedStorage is a storage that is checked after each commit.
type checkedStorage struct{ subject }

func (s checkedStorage) Begin() storagetest.Batch {
	return checkedBatch{subjectBatch{s.t, s.s.Begin()}, s.s}
}

type checkedBatch struct {
	subjectBatch
	s *Store
}

func (b checkedBatch) Commit() {
	b.subjectBatch.Commit()
	if got := findings(b.t, b.s, CheckOptions{}); len(got) > 0 {
		b.t.Fatalf("findings: %q", got)
	}
}

func TestProgressEndsACheck(t *testing.T) {
	s := closing(t, OpenMemory())
	for n := uint64(1); n < 600; n++ {
		work(t, s, n)
	}
	sn := s.Snapshot()
	defer sn.Close()
	stop := errors.New("stop")
	var seen []uint64
	_, err := sn.Check(CheckOptions{Progress: func(rows uint64) error {
		if seen = append(seen, rows); len(seen) == 2 {
			return stop
		}
		return nil
	}})
	if !errors.Is(err, stop) || !slices.Equal(seen, []uint64{progressEvery, 2 * progressEvery}) {
		t.Errorf("error %v after progress %v", err, seen)
	}
}

// TestVeryMuchDamageIsNotNamedWhole: the passes are bounded, and what they did not look at is said.
func TestVeryMuchDamageIsNotNamedWhole(t *testing.T) {
	s := closing(t, OpenMemory())
	checkable(t, s)
	for i := range graph.Position(100) {
		write1(t, s, adjacencyKey(1, kindOut, 3, 9, 100+i), []byte{})
	}
	sn := s.Snapshot()
	defer sn.Close()
	named := 0
	done, err := sn.Check(CheckOptions{Room: 7, Report: func(Finding) { named++ }})
	if err != nil || named < 7*(passes-1) || done.Unnamed == 0 || named+done.Unnamed > 100 {
		t.Errorf("%d named, %+v, %v", named, done, err)
	}
}
