package check

import (
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// Operations on a graph of sessions.
const (
	// GraphAdd makes the record of its GraphNode: the answer's, with the id that the server made, or that of the call.
	GraphAdd = "graph-add"
	// GraphDelete deletes the record that its value names, a string; of a session everything in it.
	GraphDelete = "graph-delete"
	// GraphRead answers with a GraphAnswer, the whole graph at one revision.
	GraphRead = "graph-read"
)

// GraphNode is a record.
type GraphNode struct {
	ID string `json:"id"`
	// Type is a word: session, prompt, response, tool.
	Type string `json:"type"`
	// Session and Prompt are the ids of those that it belongs to and answers; empty for none.
	Session string `json:"session,omitempty"`
	Prompt  string `json:"prompt,omitempty"`
	// Updated is when a session says that it was changed last.
	Updated time.Time `json:"updated,omitzero"`
}

// GraphEdge is an edge, by the name of its type as the contract writes it.
type GraphEdge struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	From string `json:"from"`
	To   string `json:"to"`
}

// GraphAnswer is a graph.
type GraphAnswer struct {
	Nodes []GraphNode `json:"nodes"`
	Edges []GraphEdge `json:"edges"`
}

// Graph says whether every graph that anybody saw is whole.
func Graph(ops []history.Op) Verdict { return graphs().check(ops) }

const (
	sessionType  = "session"
	responseType = "response"
	respondsTo   = "RESPONDS_TO"
	belongsTo    = "BELONGS_TO"
)

func graphs() checker[*graphState] {
	return checker[*graphState]{
		name: "graph",
		fs:   []string{GraphAdd, GraphDelete, GraphRead},
		read: readGraphs,
		rules: []rule[*graphState]{
			{"dangling", (*graphState).dangling},
			{"responds-to", (*graphState).respondsTo},
			{"belongs-to", (*graphState).belongsTo},
			{"cascade", (*graphState).cascade},
			{"lost", (*graphState).lost},
			{"resurrected", (*graphState).resurrected},
			{"aborted", (*graphState).aborted},
			{"updated-back", (*graphState).updatedBack},
		},
	}
}

type graphState struct {
	adds map[string]graphAdd
	// added are the ids of adds, in order.
	added   []string
	deletes map[string][]history.Call
	reads   []graphRead
}

type graphAdd struct {
	history.Call
	node GraphNode
}

// graphRead is a graph that somebody saw. There are many of them, and each is large.
type graphRead struct {
	read[GraphAnswer]
	nodes map[string]GraphNode
	// links counts the edges of a type between two nodes.
	links map[GraphEdge]int
	// outgoing counts the edges of a type from a node.
	outgoing map[GraphEdge]int
}

func readGraphs(ops []history.Op) (*graphState, map[string]int, error) {
	s := &graphState{adds: map[string]graphAdd{}, deletes: map[string][]history.Call{}}
	calls := named(ops, GraphAdd, GraphDelete, GraphRead)
	counts := map[string]int{}
	for _, c := range calls {
		counts[c.Invoke.F]++
		switch c.Invoke.F {
		case GraphAdd:
			add, value := graphAdd{Call: c}, c.Invoke
			if c.Type() == history.OK {
				value = c.Return
			}
			if err := value.Decode(&add.node); err != nil {
				return nil, counts, err
			}
			s.adds[add.node.ID] = add
		case GraphDelete:
			var id string
			if err := c.Invoke.Decode(&id); err != nil {
				return nil, counts, err
			}
			s.deletes[id] = append(s.deletes[id], c)
		}
	}
	s.added = sorted(s.adds)
	answers, err := reads[GraphAnswer](calls, GraphRead)
	if err != nil {
		return nil, counts, err
	}
	for _, a := range answers {
		counts["nodes"] += len(a.answer.Nodes)
		counts["edges"] += len(a.answer.Edges)
		s.reads = append(s.reads, seen(a))
	}
	if len(s.reads) == 0 {
		return nil, counts, errNothing
	}
	return s, counts, nil
}

func seen(a read[GraphAnswer]) graphRead {
	r := graphRead{read: a, nodes: map[string]GraphNode{}, links: map[GraphEdge]int{}, outgoing: map[GraphEdge]int{}}
	for _, n := range a.answer.Nodes {
		r.nodes[n.ID] = n
	}
	for _, e := range a.answer.Edges {
		r.links[GraphEdge{Type: e.Type, From: e.From, To: e.To}]++
		r.outgoing[GraphEdge{Type: e.Type, From: e.From}]++
	}
	return r
}

// dangling: both ends of an edge are there.
func (s *graphState) dangling(f *findings) {
	for _, r := range s.reads {
		for _, e := range r.answer.Edges {
			for _, id := range []string{e.From, e.To} {
				if _, there := r.nodes[id]; !there {
					f.add("dangling", r.Proof(), "edge %s, %s from %s to %s: there is no %s", e.ID, e.Type, e.From, e.To, id)
				}
			}
		}
	}
}

// respondsTo: a response has one RESPONDS_TO, to its prompt, as long as that is there, and no other.
func (s *graphState) respondsTo(f *findings) {
	for _, r := range s.reads {
		for _, n := range r.answer.Nodes {
			if n.Type != responseType {
				continue
			}
			want := 0
			if _, there := r.nodes[n.Prompt]; there {
				want = 1
			}
			to, all := r.links[GraphEdge{Type: respondsTo, From: n.ID, To: n.Prompt}], r.outgoing[GraphEdge{Type: respondsTo, From: n.ID}]
			if to != want || all != want {
				f.add("responds-to", r.Proof(), "response %s has %d edges %s, %d of them to its prompt %s, want %d", n.ID, all, respondsTo, to, n.Prompt, want)
			}
		}
	}
}

// belongsTo: what is in a session has one BELONGS_TO, to it.
func (s *graphState) belongsTo(f *findings) {
	for _, r := range s.reads {
		for _, n := range r.answer.Nodes {
			if n.Session == "" || n.Type == sessionType {
				continue
			}
			if _, there := r.nodes[n.Session]; !there {
				continue // which is cascade's business
			}
			to, all := r.links[GraphEdge{Type: belongsTo, From: n.ID, To: n.Session}], r.outgoing[GraphEdge{Type: belongsTo, From: n.ID}]
			if to != 1 || all != 1 {
				f.add("belongs-to", r.Proof(), "%s %s has %d edges %s, %d of them to its session %s, want 1", n.Type, n.ID, all, belongsTo, to, n.Session)
			}
		}
	}
}

// cascade: a session that is not there has left nothing behind.
func (s *graphState) cascade(f *findings) {
	for _, r := range s.reads {
		for _, n := range r.answer.Nodes {
			if n.Session == "" || n.Type == sessionType {
				continue
			}
			if _, there := r.nodes[n.Session]; !there {
				f.add("cascade", append(r.Proof(), proof(s.deletes[n.Session]...)...), "%s %s is there, its session %s is not", n.Type, n.ID, n.Session)
			}
		}
	}
}

// lost: what was acknowledged is there, unless somebody began to delete it, or its session, and the session is gone: half of a session is never
// gone.
func (s *graphState) lost(f *findings) {
	for _, r := range s.reads {
		for _, id := range s.added {
			add := s.adds[id]
			if _, there := r.nodes[id]; there || add.Type() != history.OK || !add.Before(r.Call) || s.deleting(id, r) {
				continue
			}
			_, sessionThere := r.nodes[add.node.Session]
			if add.node.Session != "" && !sessionThere && s.deleting(add.node.Session, r) {
				continue
			}
			f.add("lost", append(proof(add.Call, r.Call), proof(s.deletes[add.node.Session]...)...), "%s %s was acknowledged and is not there, nor was it deleted", add.node.Type, id)
		}
	}
}

// deleting says whether a deletion that may have taken effect began before a read ended.
func (s *graphState) deleting(id string, r graphRead) bool {
	for _, d := range s.deletes[id] {
		if d.Type() != history.Fail && !r.Before(d) {
			return true
		}
	}
	return false
}

// resurrected: what was deleted stays away.
func (s *graphState) resurrected(f *findings) {
	for _, r := range s.reads {
		for _, id := range sorted(s.deletes) {
			for _, d := range s.deletes[id] {
				if _, there := r.nodes[id]; there && d.Type() == history.OK && d.Before(r.Call) {
					f.add("resurrected", proof(d, r.Call), "%s was deleted and is there", id)
				}
			}
		}
	}
}

// aborted: what failed is not there.
func (s *graphState) aborted(f *findings) {
	for _, r := range s.reads {
		for _, n := range r.answer.Nodes {
			if add, known := s.adds[n.ID]; known && add.Type() == history.Fail {
				f.add("aborted", proof(add.Call, r.Call), "%s %s is there, but making it failed", n.Type, n.ID)
			}
		}
	}
}

// updatedBack: the time at which a session was changed last never goes back.
func (s *graphState) updatedBack(f *findings) {
	newest := map[string]graphRead{}
	sweep(s.reads, func(before graphRead) {
		for _, n := range before.answer.Nodes {
			if n.Updated.After(newest[n.ID].nodes[n.ID].Updated) {
				newest[n.ID] = before
			}
		}
	}, func(r graphRead) {
		for _, n := range r.answer.Nodes {
			before := newest[n.ID]
			if was := before.nodes[n.ID].Updated; n.Updated.Before(was) {
				f.add("updated-back", proof(before.Call, r.Call), "session %s was changed last at %v, and before that at %v", n.ID, n.Updated, was)
			}
		}
	})
}
