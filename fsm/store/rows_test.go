package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph/samples"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files: never for bytes that a release has written")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: what is stored is read for ever (-want +got):\n%s", path, diff)
	}
}

// goldenStore holds a row of every kind.
func goldenStore(t testing.TB, s *Store) {
	t.Helper()
	commit(t, s, func(b *Batch) {
		sys := fullSystem()
		sys.Events, sys.EventRows, sys.Digest = 0, 0, [4]uint64{}
		*b.System() = sys
		x := b.Tx(1)
		const uuid = "0190f3c2-7e1a-7c3b-9d4e-5f6071829304"
		x.PutNode(graph.NodeRecord{Created: 300, Modified: 301, Position: 1, Session: 1, Ordinal: 2}, &pb.Node{
			Id: uuid, Type: 1, CreatedAt: graph.Timestamp(1_700_000_000_000_000_001), NodeData: &pb.Node_Session{Session: &pb.Session{Id: uuid}},
		})
		x.PutSession(graph.SessionRecord{Position: 1, State: graph.SessionActive, Updated: 1_700_000_000_000_000_001, Tail: 2})
		p := testPrompt(2, "text")
		p.Id = "prompt\x00one"
		x.PutNode(graph.NodeRecord{Created: 300, Modified: 300, Position: 2, Session: 1}, p)
		x.PutNode(graph.NodeRecord{Created: 300, Modified: 300, Position: 4, Session: 4}, testSession(4))
		x.PutNode(graph.NodeRecord{Created: 300, Modified: 300, Position: 5}, &pb.Node{Id: "agent", Type: 5, NodeData: &pb.Node_Agent{
			Agent: &pb.AgentNode{Id: "agent", Name: strings.Repeat("n", maxKeyText+1), Role: "writer", Status: "idle"},
		}})
		x.PutEdge(graph.EdgeRecord{Created: 300, Modified: 300, Position: 3, From: 2, To: 4, FromSession: 1, ToSession: 4,
			Automatic: true}, &pb.Edge{Id: "edge", Type: 9, FromNodeId: "a", ToNodeId: "b"})
		x.SetInvocations(2, 6)
		x.Doom(graph.Doomed{Position: 4, Session: true, Phase: 2, Reached: graph.Place{Time: -7, Position: 8}})
		b.PutEvent(EventKey{300, 1}, 1, 1, pb.EventType_EVENT_TYPE_SESSION_CREATED, []byte("event"))
		b.PutEvent(EventKey{300, 2}, 1, 4, pb.EventType_EVENT_TYPE_EDGE_CREATED, []byte("of an edge"))
		b.PutOutcome(1, [16]byte{1, 15: 2}, 1_700_000_000_000_000_002, []byte("outcome"))
	})
}

func TestRowsAreAsTheyEverWere(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		goldenStore(t, s)
		sn := s.Snapshot()
		defer sn.Close()
		var text strings.Builder
		if err := sn.WalkRows(func(key, value []byte) error {
			fmt.Fprintf(&text, "%s\n\t%x\n\t%x\n", Describe(key), key, value)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		golden(t, "rows.golden", text.String())
	})
}

func TestCheckpointIsAsItEverWas(t *testing.T) {
	s := closing(t, OpenMemory())
	goldenStore(t, s)
	stream := streamOf(t, s)
	golden(t, "checkpoint.golden", fmt.Sprintf("%x\n", stream))
	// The one in the file is taken too.
	text, err := os.ReadFile(filepath.Join("testdata", "checkpoint.golden"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	target := closing(t, OpenMemory())
	st, err := target.Stage(bytes.NewReader(old))
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Install(st, s.System().Applied, s.System().Term); err != nil {
		t.Fatal(err)
	}
	wantRows(t, "rows of the checkpoint in the file", rowsOf(t, target), rowsOf(t, s))
}

func TestSystemRoundTrip(t *testing.T) {
	want := fullSystem()
	got, err := decodeSystem(want.encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// damage replaces the row that a text describes, or the first whose description begins with it; nil removes it.
func damage(t testing.TB, s *Store, name string, value []byte) {
	t.Helper()
	var key []byte
	sn := s.Snapshot()
	defer sn.Close()
	if err := sn.WalkRows(func(k, _ []byte) error {
		if d := Describe(k); d == name || key == nil && strings.HasPrefix(d, name) {
			key = bytes.Clone(k)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if key == nil {
		t.Fatalf("no row %s", name)
	}
	write1(t, s, key, value)
}

func TestDamagedRowsAreNamed(t *testing.T) {
	nodeByID := func(sn *Snapshot) error { _, _, err := sn.View(1).NodeByID("prompt\x00one"); return err }
	nodeAt := func(sn *Snapshot) error { _, _, err := sn.View(1).NodeAt(2); return err }
	edgeByID := func(sn *Snapshot) error { _, _, err := sn.View(1).EdgeByID("edge"); return err }
	edges := func(sn *Snapshot) error {
		for _, err := range sn.View(1).Edges(graph.EdgeWalk{Node: 2}) {
			return err
		}
		return nil
	}
	walk := func(sn *Snapshot) error {
		for _, err := range sn.View(1).Walk(graph.Walk{Type: pb.NodeType_NODE_TYPE_PROMPT}) {
			return err
		}
		return nil
	}
	events := func(sn *Snapshot) error {
		for _, err := range sn.Events(1, EventKey{}, 0) {
			return err
		}
		return nil
	}
	wholeFeed := func(sn *Snapshot) error {
		for _, err := range sn.Feed(EventKey{}) {
			return err
		}
		return nil
	}
	digest := func(sn *Snapshot) error { _, err := sn.Digest(); return err }
	for _, c := range []struct {
		row   string
		value []byte // nil: it is missing
		read  func(sn *Snapshot) error
		want  error
		says  string
	}{
		{"tenant 1, node at position 2", nil, nodeByID, ErrDamaged, "node at position 2: missing"},
		{"tenant 1, node at position 2", nil, walk, ErrDamaged, "node at position 2: missing"},
		{"tenant 1, node at position 2", []byte{}, nodeAt, ErrDamaged, "node at position 2"},
		{"tenant 1, node at position 2", []byte{1, 0x80}, nodeAt, ErrDamaged, "node at position 2"},
		{"tenant 1, node at position 2", []byte{2}, nodeAt, ErrVersion, "node at position 2: format 2"},
		{"tenant 1, node at position 2", []byte{0}, digest, ErrDamaged, "node at position 2"},
		{`tenant 1, node id "prompt`, []byte{1}, nodeByID, ErrDamaged, `node id "prompt\x00one"`},
		{"tenant 1, edge at position 3", nil, edgeByID, ErrDamaged, "edge at position 3: missing"},
		{"tenant 1, edge at position 3", nil, edges, ErrDamaged, "edge at position 3: missing"},
		{"tenant 1, edge at position 3", []byte{1, 1, 1, 0xf0, 1}, edgeByID, ErrDamaged, "edge at position 3"},
		{"tenant 1, edge at position 3", []byte{1, 1, 1, 0}, edges, ErrDamaged, "edge at position 3"},
		{`tenant 1, edge id "edge"`, []byte{1, 1, 1}, edgeByID, ErrDamaged, "1 bytes too many"},
		{"tenant 1, feed, event 300/1", []byte{1}, events, ErrDamaged, "tenant 1, feed, event 300/1"},
		{"feed, event 300/1", nil, events, ErrDamaged, "feed, event 300/1: missing"},
		{"feed, event 300/1", []byte{1, 2, 0}, events, ErrDamaged, "of tenant 2"},
		{"feed, event 300/1", []byte{9}, events, ErrVersion, "feed, event 300/1"},
		{"feed, event 300/1", []byte{1}, wholeFeed, ErrDamaged, "feed, event 300/1"},
		{"tenant 1, doomed 1", []byte{1, 7}, nodeAt, ErrDamaged, "tenant 1, doomed 1"},
		{"tenant 1, count of NODE_TYPE_PROMPT", []byte{1}, func(sn *Snapshot) error {
			_, err := sn.View(1).CountNodes(0, 0)
			return err
		}, ErrDamaged, "tenant 1, count of NODE_TYPE_PROMPT"},
		{"tenant 1, count of edges", []byte{1}, func(sn *Snapshot) error {
			_, err := sn.View(1).CountEdges()
			return err
		}, ErrDamaged, "tenant 1, count of edges"},
		{"tenant 1, count of active sessions", []byte{1}, func(sn *Snapshot) error {
			_, err := sn.View(1).CountActiveSessions()
			return err
		}, ErrDamaged, "tenant 1, count of active sessions"},
		{"tenant 1, count of edges of session 4", []byte{1}, func(sn *Snapshot) error {
			_, err := sn.View(1).CountEdges()
			return err
		}, ErrDamaged, "count of edges of session 4"},
		{"tenant 1, state of session 1", []byte{1, 1}, func(sn *Snapshot) error {
			_, _, err := sn.View(1).Session(1)
			return err
		}, ErrDamaged, "state of session 1"},
		{"tenant 1, outcome", []byte{1}, func(sn *Snapshot) error {
			_, _, err := sn.Outcome(1, [16]byte{1, 15: 2})
			return err
		}, ErrDamaged, "tenant 1, outcome 01"},
		{"system", []byte{1, 1}, func(sn *Snapshot) error { return sn.Err() }, ErrDamaged, "system"},
		{"system", []byte{7}, nodeAt, ErrVersion, "system: format 7"},
	} {
		t.Run(fmt.Sprintf("%s %x", c.row, c.value), func(t *testing.T) {
			s := closing(t, OpenMemory())
			goldenStore(t, s)
			damage(t, s, c.row, c.value)
			sn := s.Snapshot()
			defer sn.Close()
			if err := c.read(sn); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
}

func TestWritesOfWhatIsNotThereAreBugs(t *testing.T) {
	s := closing(t, OpenMemory())
	goldenStore(t, s)
	b := s.Begin()
	defer b.Discard()
	x := b.Tx(1)
	rec, _, _ := x.NodeAt(2)
	edge, _, _ := x.Unhidden().EdgeAt(3)
	x.RemoveNode(rec)
	mustPanic(t, "node at position 2", func() { x.RemoveNode(rec) })
	mustPanic(t, "node at position 2", func() { x.ReplaceNode(rec, 1, testPrompt(2, "x")) })
	mustPanic(t, "edge at position", func() { b.Tx(2).RemoveEdge(edge) })
	rec.Wire = []byte{0xff}
	mustPanic(t, "node at position 2", func() { x.RemoveNode(rec) })
	edge.Wire = []byte{0xff}
	mustPanic(t, "edge at position 3", func() { x.RemoveEdge(edge) })
	mustPanic(t, "count of edges", func() { b.change(counterKey(1, countEdges, 0), -5) })
}

func TestWritesOverDamagePanic(t *testing.T) {
	for row, change := range map[string]func(b *Batch){
		"tenant 1, count of edges":     func(b *Batch) { b.change(counterKey(1, countEdges, 0), 1) },
		"tenant 1, state of session 1": func(b *Batch) { b.Tx(1).RemoveSession(1) },
		"tenant 1, outcome":            func(b *Batch) { b.PutOutcome(1, [16]byte{1, 15: 2}, 1, nil) },
		"feed, event 300/1":            func(b *Batch) { b.SetEvent(EventKey{300, 1}, nil) },
		"tenant 1, doomed 1":           func(b *Batch) { b.Tx(1).Spared(graph.Doomed{Position: 1}) },
	} {
		s := closing(t, OpenMemory())
		goldenStore(t, s)
		damage(t, s, row, []byte{1})
		b := s.Begin()
		mustPanic(t, row, func() { change(b) })
		b.Discard()
	}
	s := closing(t, OpenMemory())
	goldenStore(t, s)
	damage(t, s, "tenant 1, node at position 2", []byte{})
	b := s.Begin()
	x := b.Tx(1)
	x.RemoveNode(graph.NodeRecord{Position: 2, Session: 1, Wire: graph.Encode(testPrompt(2, "x"))})
	if err := b.Commit(); !errors.Is(err, ErrDamaged) {
		t.Errorf("commit over a damaged row: %v", err)
	}
	damage(t, s, "feed, event 300/1", []byte{1})
	b = s.Begin()
	defer b.Discard()
	b.System().Trimmed = EventKey{}
	if _, err := b.TrimEvents(1000, 1); !errors.Is(err, ErrDamaged) {
		t.Errorf("trim of a damaged event: %v", err)
	}
}

func TestAttributesHaveNumbers(t *testing.T) {
	seen := map[byte]string{}
	for _, n := range []*pb.Node{
		{NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: "x", Role: "x", Status: "x"}}},
		{NodeData: &pb.Node_Template{Template: &pb.TemplateNode{Name: "x", Version: "x"}}},
		{NodeData: &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{ToolName: "x", Status: "x"}}},
		{NodeData: &pb.Node_Response{Response: &pb.ResponseNode{Metadata: &pb.ResponseMetadata{FinishReason: "x", Model: "x"}}}},
	} {
		for _, a := range graph.Attributes(n) {
			number, ok := attributeNumber(a.Key)
			if !ok || seen[number] != "" && seen[number] != a.Key {
				t.Errorf("attribute %s has number %d, %v, as has %s", a.Key, number, ok, seen[number])
			}
			seen[number] = a.Key
		}
	}
	if len(seen) != 7 {
		t.Errorf("attributes %v, want 7", seen)
	}
}

func TestEveryKeyIsDescribed(t *testing.T) {
	for _, key := range [][]byte{nil, {}, {0}, {0x10}, {0x10, 0, 0, 0, 1}, {0x10, 0, 0, 0, 1, 0x7f}, {0x10, 0, 0, 0, 1, kindCounter, 0x77},
		{0x10, 0, 0, 0, 1, kindNodeID, 9}, {0x10, 0, 0, 0, 1, kindNodeID, idText, 'a'}, {0x10, 0, 0, 0, 1, kindNodeID, idText, 'a', 0, 7},
		append(nodesKey(1, 1), 0)} {
		if got := Describe(key); !strings.HasPrefix(got, "unknown key") {
			t.Errorf("%x is %s", key, got)
		}
	}
	if got := Describe(idKey(1, kindEdgeID, strings.Repeat("x", 600))); !strings.Contains(got, "sha256") {
		t.Error(got)
	}
}

func FuzzDescribe(f *testing.F) {
	s := OpenMemory()
	goldenStore(f, s)
	for _, row := range s.current.engine.(*memoryEngine).tree.Items() {
		f.Add(row.key)
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		if Describe(key) == "" {
			t.Error("no description")
		}
	})
}

// FuzzRows: no value makes a decoder panic, and what it takes it writes as it was read, minimal numbers apart.
func FuzzRows(f *testing.F) {
	s := OpenMemory()
	goldenStore(f, s)
	for _, row := range s.current.engine.(*memoryEngine).tree.Items() {
		f.Add(row.value)
	}
	for i, text := range samples.Texts(f, 400) {
		p := testPrompt(graph.Position(i+1), string(text))
		f.Add(encodeNode(graph.NodeRecord{Created: 1, Modified: 2, Session: 1, Wire: graph.Encode(p)}, p.Type))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again := func(what string, err error, encode func() []byte, decode func([]byte) (any, error), want any) {
			if err != nil {
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
					t.Errorf("%s: error %v", what, err)
				}
				return
			}
			got, err := decode(encode())
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: %v, %s", what, err, diff)
			}
		}
		sys, err := decodeSystem(b)
		again("system", err, sys.encode, func(b []byte) (any, error) { return decodeSystem(b) }, sys)
		node, typ, err := decodeNode(b, 1)
		again("node", err, func() []byte { return encodeNode(node, typ) }, func(b []byte) (any, error) {
			r, _, err := decodeNode(b, 1)
			return r, err
		}, node)
		edge, err := decodeEdge(b, 1)
		again("edge", err, func() []byte { return encodeEdge(edge) }, func(b []byte) (any, error) { return decodeEdge(b, 1) }, edge)
		state, err := decodeState(b, 1)
		again("state", err, func() []byte { return encodeState(state) }, func(b []byte) (any, error) { return decodeState(b, 1) }, state)
		n, err := decodeNumber(b)
		again("number", err, func() []byte { return encodeNumber(n) }, func(b []byte) (any, error) { return decodeNumber(b) }, n)
		d, err := decodeDoomed(b)
		again("doomed", err, func() []byte { return encodeDoomed(d) }, func(b []byte) (any, error) { return decodeDoomed(b) }, d)
		index, err := decodeEventIndex(EventKey{1, 2}, b, nil)
		again("event index", err, func() []byte { return encodeEventIndex(index...) }, func(b []byte) (any, error) {
			return decodeEventIndex(EventKey{1, 2}, b, nil)
		}, index)
		expires, body, err := decodeOutcome(b)
		again("outcome", err, func() []byte { return encodeOutcome(expires, body) }, func(b []byte) (any, error) {
			_, body, err := decodeOutcome(b)
			return body, err
		}, body)
		tenant, bodies, err := decodeEvents(b, nil)
		again("events", err, func() []byte { return encodeEvents(tenant, bodies...) }, func(b []byte) (any, error) {
			_, bodies, err := decodeEvents(b, nil)
			return bodies, err
		}, bodies)
	})
}

func TestWireIsKept(t *testing.T) {
	s := closing(t, OpenMemory())
	n := testPrompt(1, "text")
	commit(t, s, func(b *Batch) { b.Tx(1).PutNode(graph.NodeRecord{Position: 1, Modified: 5}, n) })
	sn := s.Snapshot()
	defer sn.Close()
	rec, _, err := sn.View(1).NodeAt(1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := rec.Node()
	want := proto.CloneOf(n)
	want.Revision = 5
	if err != nil || !proto.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}
