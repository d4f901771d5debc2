package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// hiddenRows puts a session with many prompts, each with an edge to a node outside, which all are hidden but that node.
func hiddenRows(t *testing.T, s *Store, prompts int) (hub graph.Position) {
	t.Helper()
	commit(t, s, func(b *Batch) {
		x := b.Tx(1)
		hub = x.NextPosition()
		x.PutNode(graph.NodeRecord{Created: 1, Modified: 1, Position: hub}, testPrompt(hub, "hub"))
		session := x.NextPosition()
		x.PutNode(graph.NodeRecord{Created: 1, Modified: 1, Position: session, Session: session}, testSession(session))
		for range prompts {
			at := x.NextPosition()
			x.PutNode(graph.NodeRecord{Created: 1, Modified: 1, Position: at, Session: session}, testPrompt(at, "x"))
			x.PutEdge(graph.EdgeRecord{Created: 1, Modified: 1, Position: x.NextPosition(), From: at, To: hub, FromSession: session},
				&pb.Edge{Id: fmt.Sprint("e", at), Type: 1})
		}
		x.Doom(graph.Doomed{Position: session, Session: true})
		x.Doom(graph.Doomed{Position: hub})
	})
	return hub
}

// TestAWatchedViewEndsAmongHiddenRows: what is read without being yielded counts too.
func TestAWatchedViewEndsAmongHiddenRows(t *testing.T) {
	over := errors.New("the call is over")
	eachEngine(t, func(t *testing.T, s *Store) {
		hub := hiddenRows(t, s, 1000)
		sn := s.Snapshot()
		defer sn.Close()
		reads := map[string]func(v *View) error{
			"walk": func(v *View) error {
				for _, err := range v.Walk(graph.Walk{}) {
					return err
				}
				return nil
			},
			"edges": func(v *View) error {
				for _, err := range v.Edges(graph.EdgeWalk{Node: hub, Incoming: true}) {
					return err
				}
				return nil
			},
			"count of edges": func(v *View) error {
				_, err := v.countEdgesOf(&hidden{}, hub)
				return err
			},
		}
		for name, read := range reads {
			asked := 0
			v := sn.View(1)
			v.Watch(func() error {
				if asked++; asked == 2 {
					return over
				}
				return nil
			})
			if err := read(v); !errors.Is(err, over) || asked != 2 {
				t.Errorf("%s: asked %d times, ends with %v", name, asked, err)
			}
			if err := read(sn.View(1)); err != nil {
				t.Errorf("%s that nobody watches ends with %v", name, err)
			}
			v = sn.View(1)
			v.Watch(nil)
			if err := read(v); err != nil {
				t.Errorf("%s with no check ends with %v", name, err)
			}
		}
	})
}

// TestShortReadsAddUp: many short reads of one view are one long one.
func TestShortReadsAddUp(t *testing.T) {
	s := closing(t, OpenMemory())
	hub := hiddenRows(t, s, 10)
	sn := s.Snapshot()
	defer sn.Close()
	v, asked := sn.View(1), 0
	v.Watch(func() error { asked++; return nil })
	for range 3 * watchEvery / 10 {
		for _, err := range v.Edges(graph.EdgeWalk{Node: hub, Incoming: true}) {
			t.Fatal(err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}
