package storagetest

import (
	"bytes"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func recordsAreFound(w *world) {
	s := w.session("s", 1)
	p := w.node(prompt, "p", s, 2)
	a := w.node(agent, "a", 0, 3)
	e := w.edge(references, "e", p, a)
	w.both(func(v graph.View) {
		byID, ok := must[graph.NodeRecord](w.t)(v.NodeByID("p"))
		equal(w.t, "found by id", ok, true)
		at, ok := must[graph.NodeRecord](w.t)(v.NodeAt(p.Position))
		equal(w.t, "found by position", ok, true)
		want := graph.NodeRecord{
			Created: 7, Modified: 9, Position: p.Position, Session: s, Ordinal: 3,
			Wire: graph.Encode(makeNode(prompt, "p", 2)),
		}
		equal(w.t, "node by id", byID, want)
		equal(w.t, "node by position", at, want)

		wantEdge := graph.EdgeRecord{
			Created: 8, Modified: 8, Position: e.Position, From: p.Position, To: a.Position, FromSession: s,
			Type: references, Wire: graph.Encode(&pb.Edge{Id: "e", Type: references, FromNodeId: "from", ToNodeId: "to"}),
		}
		edge, ok := must[graph.EdgeRecord](w.t)(v.EdgeByID("e"))
		equal(w.t, "edge found by id", ok, true)
		equal(w.t, "edge by id", edge, wantEdge)
		edge, _ = must[graph.EdgeRecord](w.t)(v.EdgeAt(e.Position))
		equal(w.t, "edge by position", edge, wantEdge)

		state, ok := must[graph.SessionRecord](w.t)(v.Session(s))
		equal(w.t, "session found", ok, true)
		equal(w.t, "session", state, graph.SessionRecord{Position: s, State: graph.SessionActive, Updated: 1})
	})
}

func idsAreToldApart(w *world) {
	const uuid = "0190f3c2-7e1a-7c3b-9d4e-5f6071829304"
	names := []string{
		"a", "a\x00", "a\x00b", "a\x01", "ab", "\xff\xff", strings.Repeat("x", graph.MaxIDBytes),
		strings.Repeat("x", graph.MaxIDBytes-1), strings.Repeat("y", 600), strings.Repeat("y", 601),
		uuid, strings.ToUpper(uuid), strings.ReplaceAll(uuid, "-", ""), uuid[:35], "{" + uuid + "}",
		strings.Replace(uuid, "-", "_", 1),
	}
	at := map[string]graph.Position{}
	for _, id := range names {
		n := makeNode(agent, "x", 1)
		n.Id = strings.ToValidUTF8(id, "?")
		if n.Id != id {
			continue
		}
		at[id] = w.put(0, n).Position
	}
	w.both(func(v graph.View) {
		for id, pos := range at {
			rec, ok := must[graph.NodeRecord](w.t)(v.NodeByID(id))
			if !ok || rec.Position != pos {
				w.t.Errorf("node %q is at %d, %v; want %d", id, rec.Position, ok, pos)
			}
			if _, ok := must[graph.EdgeRecord](w.t)(v.EdgeByID(id)); ok {
				w.t.Errorf("an edge has the id of node %q", id)
			}
		}
	})
}

func absenceIsNoError(w *world) {
	w.both(func(v graph.View) {
		_, ok := must[graph.NodeRecord](w.t)(v.NodeByID("x"))
		equal(w.t, "node by id", ok, false)
		_, ok = must[graph.NodeRecord](w.t)(v.NodeAt(1))
		equal(w.t, "node by position", ok, false)
		_, ok = must[graph.EdgeRecord](w.t)(v.EdgeByID(""))
		equal(w.t, "edge by id", ok, false)
		_, ok = must[graph.EdgeRecord](w.t)(v.EdgeAt(math.MaxUint64))
		equal(w.t, "edge by position", ok, false)
		_, ok = must[graph.SessionRecord](w.t)(v.Session(1))
		equal(w.t, "session", ok, false)
		equal(w.t, "walk", ids(w.t, v, graph.Walk{}), "")
		equal(w.t, "edges", edges(w.t, v, graph.EdgeWalk{Node: 1}), "")
		n, err := v.CountNodes(0, 0)
		equal(w.t, "nodes", count(w.t, n, err), int64(0))
		n, err = v.CountEdges()
		equal(w.t, "edges", count(w.t, n, err), int64(0))
		n, err = v.CountActiveSessions()
		equal(w.t, "active sessions", count(w.t, n, err), int64(0))
	})
}

func revisionsAreOfTheRecord(w *world) {
	n := makeNode(agent, "a", 1)
	bare := graph.Encode(n)
	n.Revision = 99
	rec := w.put(0, n)
	if !bytes.Equal(rec.Wire, bare) {
		w.t.Errorf("wire %x, want %x", rec.Wire, bare)
	}
	equal(w.t, "revision that the caller's node still has", n.Revision, uint64(99))
	w.tx().ReplaceNode(rec, 12, n)
	got := w.mustNode("a")
	want := rec
	want.Modified = 12
	equal(w.t, "replaced record", got, want)
	tx := w.tx()
	at := tx.NextPosition()
	tx.PutEdge(graph.EdgeRecord{Position: at, From: rec.Position, To: rec.Position}, &pb.Edge{Id: "e", Type: references, Revision: 99})
	e, _ := must[graph.EdgeRecord](w.t)(tx.EdgeAt(at))
	edge := &pb.Edge{}
	if err := proto.Unmarshal(e.Wire, edge); err != nil || edge.Revision != 0 {
		w.t.Errorf("edge %v, %v", edge, err)
	}
}

// family puts a session with members of every type that has one, and one node of each other type.
func family(w *world) graph.Position {
	w.node(agent, "a1", 0, 10)
	s := w.session("s1", 20)
	w.node(prompt, "p1", s, 40)
	w.node(response, "r1", s, 60)
	w.node(prompt, "p2", s, 50)
	w.node(tool, "t1", s, 30)
	other := w.session("s2", 15)
	w.node(prompt, "q1", other, 45)
	w.node(template, "m1", 0, 70)
	return s
}

func walksAreOrdered(w *world) {
	family(w)
	w.both(func(v graph.View) {
		equal(w.t, "newest first", ids(w.t, v, graph.Walk{}), "m1 r1 p2 q1 p1 t1 s1 s2 a1")
		equal(w.t, "oldest first", ids(w.t, v, graph.Walk{OldestFirst: true}), "a1 s2 s1 t1 p1 q1 p2 r1 m1")
	})
}

func tiesGoByPosition(w *world) {
	s := w.session("s", 5)
	for _, id := range []string{"p1", "r1", "p2", "r2"} {
		w.node(map[byte]pb.NodeType{'p': prompt, 'r': response}[id[0]], id, s, 5)
	}
	w.both(func(v graph.View) {
		equal(w.t, "newest first", ids(w.t, v, graph.Walk{}), "r2 p2 r1 p1 s")
		equal(w.t, "of a session", ids(w.t, v, graph.Walk{Session: s}), "r2 p2 r1 p1 s")
		equal(w.t, "oldest first", ids(w.t, v, graph.Walk{OldestFirst: true, Type: prompt}), "p1 p2")
	})
}

func walksKeepToTheirSubject(w *world) {
	s := family(w)
	gpt := &graph.Attribute{Key: "model", Value: "gpt"}
	w.both(func(v graph.View) {
		equal(w.t, "session", ids(w.t, v, graph.Walk{Session: s}), "r1 p2 p1 t1 s1")
		equal(w.t, "type", ids(w.t, v, graph.Walk{Type: prompt}), "p2 q1 p1")
		equal(w.t, "session and type", ids(w.t, v, graph.Walk{Session: s, Type: prompt}), "p2 p1")
		equal(w.t, "attribute", ids(w.t, v, graph.Walk{Attribute: gpt}), "r1 p2 q1 p1")
		equal(w.t, "attribute and type", ids(w.t, v, graph.Walk{Attribute: gpt, Type: response}), "r1")
		equal(w.t, "attribute, oldest first", ids(w.t, v, graph.Walk{Attribute: gpt, OldestFirst: true}), "p1 q1 p2 r1")
		equal(w.t, "no such session", ids(w.t, v, graph.Walk{Session: s + 1}), "")
		equal(w.t, "no such type", ids(w.t, v, graph.Walk{Session: s, Type: agent}), "")
	})
}

func walksKeepToTimes(w *world) {
	s := family(w)
	between := func(after, before int64) graph.Walk { return graph.Walk{After: &after, Before: &before} }
	w.both(func(v graph.View) {
		equal(w.t, "from 30 to 50", ids(w.t, v, between(30, 50)), "p2 q1 p1 t1")
		equal(w.t, "from 31 to 49", ids(w.t, v, between(31, 49)), "q1 p1")
		equal(w.t, "one instant", ids(w.t, v, between(40, 40)), "p1")
		equal(w.t, "nothing", ids(w.t, v, between(51, 59)), "")
		equal(w.t, "the wrong way round", ids(w.t, v, between(60, 30)), "")
		walk := between(30, 50)
		walk.OldestFirst = true
		equal(w.t, "oldest first", ids(w.t, v, walk), "t1 p1 q1 p2")
		walk.Session, walk.Type = s, prompt
		equal(w.t, "of a session and type", ids(w.t, v, walk), "p1 p2")
		least, most := int64(math.MinInt64), int64(math.MaxInt64)
		equal(w.t, "all of time", ids(w.t, v, graph.Walk{After: &least, Before: &most, Session: s}), "r1 p2 p1 t1 s1")
	})
}

func walksResume(w *world) {
	s := family(w)
	w.both(func(v graph.View) {
		after := int64(16)
		for name, walk := range map[string]graph.Walk{
			"all": {}, "oldest first": {OldestFirst: true}, "session": {Session: s}, "type": {Type: prompt},
			"attribute": {Attribute: &graph.Attribute{Key: "model", Value: "gpt"}, OldestFirst: true},
			"after":     {After: &after}, "before, oldest first": {Before: &after, OldestFirst: true},
		} {
			whole := all(w.t, v.Walk(walk))
			for i, e := range whole {
				walk.From = &e.Place
				equal(w.t, name+" resumed", all(w.t, v.Walk(walk)), append([]graph.Entry{}, whole[i+1:]...))
			}
		}
		nowhere := graph.Walk{From: &graph.Place{Time: 40, Position: math.MaxUint64}}
		equal(w.t, "from a place that no node has", ids(w.t, v, nowhere), "p1 t1 s1 s2 a1")
	})
}

func extremeTimes(w *world) {
	const most = math.MaxInt64/int64(1e9) - 1
	for id, at := range map[string]int64{"low": -most * 1e9, "before": -1, "zero": 0, "after": 1, "high": most * 1e9} {
		w.node(prompt, id, 0, at)
	}
	w.both(func(v graph.View) {
		equal(w.t, "newest first", ids(w.t, v, graph.Walk{}), "high after zero before low")
		zero := int64(0)
		equal(w.t, "before", ids(w.t, v, graph.Walk{Before: &zero}), "zero before low")
		equal(w.t, "after", ids(w.t, v, graph.Walk{After: &zero}), "high after zero")
	})
}

func attributesAreExact(w *world) {
	values := []string{"a", "a\x00", "a\x00\x01", "a\x00\xff", "ab", "", "A", strings.Repeat("x", 600), strings.Repeat("x", 601)}
	for i, value := range values {
		n := makeNode(agent, "agent", int64(i))
		n.Id = "n" + strings.Repeat("+", i)
		n.GetAgent().Role = strings.ToValidUTF8(value, "?")
		w.put(0, n)
	}
	w.both(func(v graph.View) {
		for i, value := range values {
			want := "n" + strings.Repeat("+", i)
			if value == "" {
				want = "" // an empty value is no attribute
			}
			if value == "a\x00\xff" {
				continue
			}
			equal(w.t, "role "+value, ids(w.t, v, graph.Walk{Attribute: &graph.Attribute{Key: "role", Value: value}}), want)
		}
		equal(w.t, "name", len(all(w.t, v.Walk(graph.Walk{Attribute: &graph.Attribute{Key: "name", Value: "agent"}}))), len(values))
		equal(w.t, "another key", ids(w.t, v, graph.Walk{Attribute: &graph.Attribute{Key: "model", Value: "a"}}), "")
		for _, err := range v.Walk(graph.Walk{Attribute: &graph.Attribute{Key: "colour", Value: "red"}}) {
			equal(w.t, "an attribute without an index is refused", err != nil, true)
		}
	})
}
