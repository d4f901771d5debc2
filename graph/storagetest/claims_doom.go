package storagetest

import "github.com/globalbusinessadvisors/llm-memory-graph/graph"

func doomedSession(w *world) {
	s := family(w)
	w.edge(belongsTo, "e1", w.mustNode("p1"), w.mustNode("s1"))
	w.edge(references, "e2", w.mustNode("q1"), w.mustNode("p1"))
	w.edge(references, "e3", w.mustNode("q1"), w.mustNode("a1"))
	w.edge(references, "e4", w.mustNode("p1"), w.mustNode("a1"))
	q, a, p := w.mustNode("q1"), w.mustNode("a1"), w.mustNode("p1")
	before := ids(w.t, w.tx(), graph.Walk{})
	w.tx().Doom(graph.Doomed{Position: s, Session: true})
	w.both(func(v graph.View) {
		for _, id := range []string{"s1", "p1", "r1", "t1"} {
			_, ok := must[graph.NodeRecord](w.t)(v.NodeByID(id))
			equal(w.t, id+" by id", ok, false)
		}
		_, ok := must[graph.NodeRecord](w.t)(v.NodeAt(p.Position))
		equal(w.t, "by position", ok, false)
		_, ok = must[graph.SessionRecord](w.t)(v.Session(s))
		equal(w.t, "session", ok, false)
		for _, id := range []string{"e1", "e2", "e4"} {
			_, ok := must[graph.EdgeRecord](w.t)(v.EdgeByID(id))
			equal(w.t, id, ok, false)
		}
		equal(w.t, "walk", ids(w.t, v, graph.Walk{}), "m1 q1 s2 a1")
		equal(w.t, "by type", ids(w.t, v, graph.Walk{Type: prompt}), "q1")
		equal(w.t, "by attribute", ids(w.t, v, graph.Walk{Attribute: &graph.Attribute{Key: "model", Value: "gpt"}}), "q1")
		equal(w.t, "of the session", ids(w.t, v, graph.Walk{Session: s}), "")
		equal(w.t, "edges out", edges(w.t, v, graph.EdgeWalk{Node: q.Position}), "e3")
		equal(w.t, "edges in", edges(w.t, v, graph.EdgeWalk{Node: a.Position, Incoming: true}), "e3")
		equal(w.t, "edges of a hidden node", edges(w.t, v, graph.EdgeWalk{Node: p.Position}), "")
		equal(w.t, "counts", counts(w.t, v, s), "4 nodes, 1 prompts, session 0 and 0, 1 edges, 1 active")
	})
	tx := w.tx()
	taken, err := tx.NodeIDTaken("p1")
	equal(w.t, "its ids are taken", taken && err == nil, true)
	taken, err = tx.EdgeIDTaken("e1")
	equal(w.t, "those of its edges too", taken && err == nil, true)
	taken, err = tx.NodeIDTaken("nobody")
	equal(w.t, "others are free", !taken && err == nil, true)
	equal(w.t, "unhidden", ids(w.t, tx.Unhidden(), graph.Walk{}), before)
	tx.Spared(graph.Doomed{Position: s, Session: true})
	equal(w.t, "spared", ids(w.t, w.view(), graph.Walk{}), before)
}

func doomedNode(w *world) {
	s := family(w)
	p, r := w.mustNode("p1"), w.mustNode("r1")
	w.edge(respondsTo, "e1", r, p)
	w.edge(follows, "e2", w.mustNode("p2"), p)
	w.edge(references, "e3", r, w.mustNode("m1"))
	e4 := w.edge(references, "e4", p, p)
	w.tx().Doom(graph.Doomed{Position: p.Position})
	w.tx().Doom(graph.Doomed{Position: p.Position})
	w.both(func(v graph.View) {
		equal(w.t, "walk", ids(w.t, v, graph.Walk{}), "m1 r1 p2 q1 t1 s1 s2 a1")
		equal(w.t, "of the session", ids(w.t, v, graph.Walk{Session: s}), "r1 p2 t1 s1")
		equal(w.t, "edges", edges(w.t, v, graph.EdgeWalk{Node: r.Position}), "e3")
		equal(w.t, "counts", counts(w.t, v, s), "8 nodes, 2 prompts, session 4 and 1, 1 edges, 2 active")
		_, ok := must[graph.EdgeRecord](w.t)(v.EdgeAt(e4.Position))
		equal(w.t, "edge by position", ok, false)
	})
	// A sweep takes the rows away one after another; what is seen never changes.
	tx := w.tx()
	for _, e := range all(w.t, tx.Unhidden().Edges(graph.EdgeWalk{Node: p.Position, Incoming: true})) {
		tx.RemoveEdge(e)
		equal(w.t, "counts", counts(w.t, tx, s), "8 nodes, 2 prompts, session 4 and 1, 1 edges, 2 active")
	}
	tx.RemoveNode(p)
	equal(w.t, "counts", counts(w.t, tx, s), "8 nodes, 2 prompts, session 4 and 1, 1 edges, 2 active")
	tx.Spared(graph.Doomed{Position: p.Position})
	equal(w.t, "counts", counts(w.t, tx, s), "8 nodes, 2 prompts, session 4 and 1, 1 edges, 2 active")
	_, ok := must[graph.Doomed](w.t)(tx.NextDoomed())
	equal(w.t, "more to sweep", ok, false)
}

func hiddenEdgesOnce(w *world) {
	sessions := []graph.Position{w.session("s0", 1), w.session("s1", 2), w.session("s2", 3)}
	var members []graph.NodeRecord
	for i, s := range sessions {
		members = append(members, w.node(prompt, string(rune('a'+i)), s, 4), w.node(response, string(rune('x'+i)), s, 5))
	}
	members = append(members, w.node(agent, "agent", 0, 6), w.node(agent, "other", 0, 7))
	n := 0
	for _, from := range members {
		for _, to := range members {
			w.edge(references, string(rune('A'+n/26))+string(rune('a'+n%26)), from, to)
			n++
		}
	}
	// visible counts pairs of nodes that are not hidden.
	check := func(what string, visible int64) {
		w.t.Helper()
		w.both(func(v graph.View) {
			w.t.Helper()
			n, err := v.CountEdges()
			equal(w.t, what, count(w.t, n, err), visible*visible)
		})
	}
	check("nothing hidden", 8)
	w.tx().Doom(graph.Doomed{Position: sessions[0], Session: true})
	check("a session", 6)
	w.tx().Doom(graph.Doomed{Position: sessions[2], Session: true})
	check("two sessions", 4)
	w.tx().Doom(graph.Doomed{Position: members[2].Position})
	check("and a node of the third", 3)
	w.tx().Doom(graph.Doomed{Position: members[6].Position})
	check("and an agent", 2)
	w.tx().Doom(graph.Doomed{Position: members[0].Position})
	check("and a node that is hidden already", 2)
	w.tx().Doom(graph.Doomed{Position: sessions[1], Session: true})
	check("and the third session", 1)
}

func doomedInOrder(w *world) {
	_, ok := must[graph.Doomed](w.t)(w.tx().NextDoomed())
	equal(w.t, "nothing to sweep", ok, false)
	late, early := w.session("late", 1), w.node(agent, "early", 0, 2)
	want := []graph.Doomed{{Position: early.Position}, {Position: late, Session: true}, {Position: late}}
	for _, d := range want {
		w.tx().Doom(d)
		w.commit()
	}
	want[0].Phase, want[0].Reached = 3, graph.Place{Time: -4, Position: 5}
	w.tx().Doom(want[0]) // how far its sweep has come
	w.commit()
	for _, d := range want {
		got, ok := must[graph.Doomed](w.t)(w.tx().NextDoomed())
		equal(w.t, "there is one", ok, true)
		equal(w.t, "next", got, d)
		w.tx().Spared(graph.Doomed{Position: d.Position, Session: d.Session})
	}
	_, ok = must[graph.Doomed](w.t)(w.tx().NextDoomed())
	equal(w.t, "nothing left", ok, false)
}
