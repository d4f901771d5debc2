package storagetest

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func edgesInCommitOrder(w *world) {
	s := w.session("s", 1)
	hub, a, b := w.node(prompt, "hub", s, 2), w.node(prompt, "a", s, 3), w.node(response, "b", s, 4)
	w.edge(references, "e1", hub, a)
	third := w.edge(follows, "e2", hub, a)
	w.edge(belongsTo, "e3", hub, b)
	w.edge(references, "e4", hub, b)
	w.edge(respondsTo, "e5", b, hub)
	w.edge(follows, "e6", a, hub)
	w.both(func(v graph.View) {
		at := hub.Position
		equal(w.t, "out", edges(w.t, v, graph.EdgeWalk{Node: at}), "e1 e2 e3 e4")
		equal(w.t, "in", edges(w.t, v, graph.EdgeWalk{Node: at, Incoming: true}), "e5 e6")
		equal(w.t, "of a type", edges(w.t, v, graph.EdgeWalk{Node: at, Type: references}), "e1 e4")
		equal(w.t, "after e2", edges(w.t, v, graph.EdgeWalk{Node: at, From: third.Position}), "e3 e4")
		equal(w.t, "of a type after e2", edges(w.t, v, graph.EdgeWalk{Node: at, Type: references, From: third.Position}), "e4")
		equal(w.t, "of a type it has none of", edges(w.t, v, graph.EdgeWalk{Node: at, Type: respondsTo}), "")
		for e := range v.Edges(graph.EdgeWalk{Node: at}) {
			equal(w.t, "the first, then no more", e.Type, references)
			break
		}
	})
}

func loops(w *world) {
	a := w.node(agent, "a", 0, 1)
	e := w.edge(references, "loop", a, a)
	w.both(func(v graph.View) {
		equal(w.t, "out", edges(w.t, v, graph.EdgeWalk{Node: a.Position}), "loop")
		equal(w.t, "in", edges(w.t, v, graph.EdgeWalk{Node: a.Position, Incoming: true}), "loop")
		n, err := v.CountEdges()
		equal(w.t, "edges", count(w.t, n, err), int64(1))
	})
	w.tx().RemoveEdge(e)
	w.tx().RemoveNode(a)
	w.commit()
	equal(w.t, "rows", w.s.Rows(), []string{})
}

// counts are a few counts as one text.
func counts(t T, v graph.View, sessions ...graph.Position) string {
	t.Helper()
	n, err := v.CountNodes(0, 0)
	text := fmt.Sprintf("%d nodes", count(t, n, err))
	n, err = v.CountNodes(0, prompt)
	text += fmt.Sprintf(", %d prompts", count(t, n, err))
	for _, s := range sessions {
		n, err = v.CountNodes(s, 0)
		members := count(t, n, err)
		n, err = v.CountNodes(s, prompt)
		text += fmt.Sprintf(", session %d and %d", members, count(t, n, err))
	}
	n, err = v.CountEdges()
	text += fmt.Sprintf(", %d edges", count(t, n, err))
	n, err = v.CountActiveSessions()
	return text + fmt.Sprintf(", %d active", count(t, n, err))
}

func countersCount(w *world) {
	s := family(w)
	w.edge(follows, "e1", w.mustNode("p2"), w.mustNode("p1"))
	across := w.edge(references, "e2", w.mustNode("p2"), w.mustNode("q1"))
	w.edge(references, "e3", w.mustNode("q1"), w.mustNode("a1"))
	w.both(func(v graph.View) {
		equal(w.t, "counts", counts(w.t, v, s), "9 nodes, 3 prompts, session 5 and 2, 3 edges, 2 active")
	})
	touching := func() int64 {
		n, err := w.tx().CountSessionEdges(s)
		return count(w.t, n, err)
	}
	equal(w.t, "edges of a session, each once", touching(), int64(2))
	w.tx().RemoveEdge(across)
	equal(w.t, "edges of a session", touching(), int64(1))
	w.tx().RemoveNode(w.mustNode("t1"))
	w.both(func(v graph.View) {
		equal(w.t, "counts", counts(w.t, v, s), "8 nodes, 3 prompts, session 4 and 2, 2 edges, 2 active")
	})
}

func activeSessions(w *world) {
	active := func() int64 {
		n, err := w.tx().CountActiveSessions()
		return count(w.t, n, err)
	}
	s, _ := w.session("s1", 1), w.session("s2", 2)
	equal(w.t, "both", active(), int64(2))
	w.tx().PutSession(graph.SessionRecord{Position: s, State: graph.SessionActive, Updated: 5, Tail: 77})
	equal(w.t, "one was written again", active(), int64(2))
	w.tx().PutSession(graph.SessionRecord{Position: s, State: graph.SessionClosed, Updated: -6, Tail: 78})
	equal(w.t, "one was closed", active(), int64(1))
	rec, _ := must[graph.SessionRecord](w.t)(w.view().Session(s))
	equal(w.t, "closed session", rec, graph.SessionRecord{Position: s, State: graph.SessionClosed, Updated: -6, Tail: 78})
	w.tx().PutSession(graph.SessionRecord{Position: s, State: graph.SessionActive})
	equal(w.t, "it was opened again", active(), int64(2))
	w.tx().RemoveSession(s)
	w.tx().RemoveSession(s)
	equal(w.t, "it was removed, twice", active(), int64(1))
	_, ok := must[graph.SessionRecord](w.t)(w.view().Session(s))
	equal(w.t, "it is there", ok, false)
}

func invocations(w *world) {
	s := w.session("s", 1)
	r := w.node(response, "r", s, 2)
	next := func() uint32 {
		n, err := w.tx().Invocations(r.Position)
		if err != nil {
			w.t.Fatal(err)
		}
		return n
	}
	equal(w.t, "at first", next(), uint32(0))
	w.tx().SetInvocations(r.Position, 3)
	equal(w.t, "set", next(), uint32(3))
	w.commit()
	equal(w.t, "committed", next(), uint32(3))
	w.tx().RemoveNode(r)
	equal(w.t, "gone with the response", next(), uint32(0))
}

func tenantsAreApart(w *world) {
	var positions []graph.Position
	for tenant := graph.Tenant(1); tenant <= 3; tenant++ {
		w.tenant = tenant
		s := w.session("same", int64(tenant))
		p := w.node(prompt, "p", s, 10)
		w.edge(follows, "e", p, p)
		positions = append(positions, p.Position)
	}
	w.tenant = 2
	w.tx().Doom(graph.Doomed{Position: w.mustNode("same").Position, Session: true})
	w.commit()
	for i, tenant := range []graph.Tenant{1, 2, 3} {
		w.tenant = tenant
		v := w.view()
		rec, ok := must[graph.NodeRecord](w.t)(v.NodeByID("p"))
		if tenant == 2 {
			equal(w.t, "doomed in this tenant", ok, false)
			equal(w.t, "counts", counts(w.t, v), "0 nodes, 0 prompts, 0 edges, 0 active")
			continue
		}
		equal(w.t, "position", rec.Position, positions[i])
		equal(w.t, "walk", ids(w.t, v, graph.Walk{}), "p same")
		equal(w.t, "counts", counts(w.t, v), "2 nodes, 1 prompts, 1 edges, 1 active")
		for _, other := range positions {
			_, ok := must[graph.NodeRecord](w.t)(v.NodeAt(other))
			equal(w.t, "a position of another tenant", ok, other == positions[i])
		}
	}
	w.tenant = 4
	equal(w.t, "a tenant without anything", ids(w.t, w.view(), graph.Walk{}), "")
}

func replacing(w *world) {
	s := w.session("s", 1)
	old := w.node(tool, "t", s, 2)
	changed := makeNode(tool, "t", 2)
	changed.GetToolInvocation().Status = "success"
	changed.GetToolInvocation().ToolName = "calculator"
	by := func(key, value string) graph.Walk {
		return graph.Walk{Attribute: &graph.Attribute{Key: key, Value: value}}
	}
	w.tx().ReplaceNode(old, 21, changed)
	w.both(func(v graph.View) {
		rec, _ := must[graph.NodeRecord](w.t)(v.NodeByID("t"))
		want := old
		want.Modified, want.Wire = 21, graph.Encode(changed)
		equal(w.t, "record", rec, want)
		equal(w.t, "old status", ids(w.t, v, by("status", "pending")), "")
		equal(w.t, "new status", ids(w.t, v, by("status", "success")), "t")
		equal(w.t, "old name", ids(w.t, v, by("tool_name", "search")), "")
		equal(w.t, "new name", ids(w.t, v, by("tool_name", "calculator")), "t")
		equal(w.t, "walk", ids(w.t, v, graph.Walk{Session: s}), "t s")
	})
	bare := proto.CloneOf(changed)
	bare.GetToolInvocation().Status = ""
	bare.GetToolInvocation().Timestamp = graph.Timestamp(0)
	w.tx().ReplaceNode(w.mustNode("t"), 22, bare)
	w.both(func(v graph.View) {
		equal(w.t, "no status", ids(w.t, v, by("status", "success")), "")
		equal(w.t, "an earlier time", ids(w.t, v, graph.Walk{Session: s}), "s t")
		equal(w.t, "counts", counts(w.t, v, s), "2 nodes, 0 prompts, session 2 and 0, 0 edges, 1 active")
	})
}

func removingLeavesNothing(w *world) {
	s := w.session("s", 1)
	p, r := w.node(prompt, "p", s, 2), w.node(response, "r", s, 3)
	a, m := w.node(agent, "a", 0, 4), w.node(template, "m", 0, 5)
	tl := w.node(tool, "t", s, 6)
	made := []graph.EdgeRecord{
		w.edge(belongsTo, "e1", p, w.mustNode("s")), w.edge(respondsTo, "e2", r, p), w.edge(references, "e3", a, m),
	}
	w.tx().SetInvocations(r.Position, 1)
	w.tx().Doom(graph.Doomed{Position: a.Position})
	w.commit()
	equal(w.t, "rows are there", len(w.s.Rows()) > 30, true)
	tx := w.tx()
	root, _ := must[graph.NodeRecord](w.t)(tx.NodeByID("s"))
	for _, e := range made {
		tx.RemoveEdge(e)
	}
	for _, n := range []graph.NodeRecord{p, r, a, m, tl, root} {
		tx.RemoveNode(n)
	}
	tx.RemoveSession(s)
	tx.Spared(graph.Doomed{Position: a.Position})
	w.commit()
	equal(w.t, "rows", w.s.Rows(), []string{})
	equal(w.t, "counts", counts(w.t, w.view()), "0 nodes, 0 prompts, 0 edges, 0 active")
}

func revertLeavesNoTrace(w *world) {
	s := family(w)
	w.edge(follows, "e", w.mustNode("p2"), w.mustNode("p1"))
	w.tx().Doom(graph.Doomed{Position: w.mustNode("a1").Position})
	w.commit()
	rows := w.s.Rows()
	tx := w.tx()
	w.batch.Mark()
	before := tx.NextPosition()
	w.batch.Revert()
	w.batch.Mark()
	w.node(prompt, "new", s, 99)
	tx.ReplaceNode(w.mustNode("t1"), 50, makeNode(tool, "t1", 1))
	e, _ := must[graph.EdgeRecord](w.t)(tx.EdgeByID("e"))
	tx.RemoveEdge(e)
	tx.RemoveNode(w.mustNode("r1"))
	tx.PutSession(graph.SessionRecord{Position: s, State: graph.SessionClosed})
	tx.Doom(graph.Doomed{Position: s, Session: true})
	tx.Spared(graph.Doomed{Position: 1})
	tx.SetInvocations(1, 2)
	w.batch.Revert()
	check := func(v graph.View) {
		equal(w.t, "walk", ids(w.t, v, graph.Walk{}), "m1 r1 p2 q1 p1 t1 s1 s2")
		equal(w.t, "counts", counts(w.t, v, s), "8 nodes, 3 prompts, session 5 and 2, 1 edges, 2 active")
	}
	check(tx)
	equal(w.t, "next position", tx.NextPosition(), before)
	w.batch.Revert()
	w.commit()
	check(w.view())
	equal(w.t, "rows", w.s.Rows(), rows)
}

func revertToTheLastMark(w *world) {
	w.node(agent, "kept", 0, 1)
	w.batch.Mark()
	w.node(agent, "dropped", 0, 2)
	w.batch.Revert()
	w.node(agent, "kept too", 0, 3)
	w.batch.Mark()
	w.tx().ReplaceNode(w.mustNode("kept too"), 4, makeNode(agent, "kept too", 9))
	w.batch.Revert()
	w.both(func(v graph.View) {
		equal(w.t, "walk", ids(w.t, v, graph.Walk{}), "kept too kept")
		rec, _ := must[graph.NodeRecord](w.t)(v.NodeByID("kept too"))
		equal(w.t, "revision", rec.Modified, graph.Revision(9))
	})
}

func viewsDoNotChange(w *world) {
	s := w.session("s", 1)
	p := w.node(prompt, "p", s, 2)
	early := w.view()
	w.tx().RemoveNode(p)
	w.node(prompt, "q", s, 3)
	equal(w.t, "before the commit", ids(w.t, w.s.View(1), graph.Walk{}), "p s")
	late := w.view()
	w.tx().Doom(graph.Doomed{Position: s, Session: true})
	w.commit()
	equal(w.t, "the early view", ids(w.t, early, graph.Walk{}), "p s")
	equal(w.t, "its counts", counts(w.t, early, s), "2 nodes, 1 prompts, session 2 and 1, 0 edges, 1 active")
	equal(w.t, "the late view", ids(w.t, late, graph.Walk{}), "q s")
}

func writingWhileWalking(w *world) {
	s := w.session("s", 0)
	for i := range 20 {
		w.node([]pb.NodeType{prompt, response}[i%2], fmt.Sprint("n", i), s, int64(i+1))
		if i == 10 {
			w.commit()
		}
	}
	for _, oldest := range []bool{false, true} {
		tx := w.tx()
		w.batch.Mark()
		seen := 0
		for e, err := range tx.Walk(graph.Walk{Session: s, OldestFirst: oldest}) {
			if err != nil {
				w.t.Fatal(err)
			}
			rec, ok := must[graph.NodeRecord](w.t)(tx.NodeAt(e.Position))
			equal(w.t, "the node of an entry is there", ok, true)
			tx.RemoveNode(rec)
			seen++
		}
		equal(w.t, "nodes seen and removed", seen, 21)
		equal(w.t, "what is left", ids(w.t, tx, graph.Walk{Session: s}), "")
		w.batch.Revert()
		equal(w.t, "what is back", len(all(w.t, tx.Walk(graph.Walk{Session: s}))), 21)
	}
}
