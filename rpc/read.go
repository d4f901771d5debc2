package rpc

import (
	"context"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const sessionType = pb.NodeType_NODE_TYPE_SESSION

// A state is what a call reads: one snapshot, seen by the call's tenant. Long reads end with the call. Close it.
type state struct {
	*store.Snapshot
	view     graph.View
	revision graph.Revision
}

// read opens a state that is as fresh as the call asks for.
func (s *Server) read(ctx context.Context) (*state, error) {
	if err := s.fresh(ctx); err != nil {
		return nil, err
	}
	return s.open(ctx)
}

// open opens the present state of this node, and makes it the one that the reply is of.
func (s *Server) open(ctx context.Context) (*state, error) {
	snap := s.machine.Store().Snapshot()
	if err := snap.Err(); err != nil {
		snap.Close()
		return nil, err
	}
	view := snap.View(tenantOf(ctx))
	view.Watch(ctx.Err)
	st := &state{Snapshot: snap, view: view, revision: fsm.Revision(snap.System())}
	callOf(ctx).at(st.revision)
	return st, nil
}

// fresh waits until the state of this node is what the call asks for.
func (s *Server) fresh(ctx context.Context) error {
	c := callOf(ctx)
	if err := s.bootstrapped(ctx); err != nil {
		return err
	}
	if c.consistency != local {
		staleness := c.staleness
		if c.consistency == linearizable {
			staleness = 0
		}
		err := s.insist(ctx, func(ctx context.Context) error { return s.log.Barrier(ctx, staleness) })
		if err != nil {
			return err
		}
	}
	return s.caughtUp(ctx)
}

// caughtUp waits for the revision that the caller has seen.
func (s *Server) caughtUp(ctx context.Context) error {
	if r := callOf(ctx).minRevision; r != 0 {
		return s.machine.WaitRevision(ctx, r)
	}
	return nil
}

// nodeOf reads a node by id.
func nodeOf(v graph.View, resource, label, id string) (*pb.Node, graph.NodeRecord, error) {
	rec, ok, err := v.NodeByID(id)
	if err != nil {
		return nil, rec, err
	}
	if !ok {
		return nil, rec, notFound(resource, label, id)
	}
	n, err := graph.Present(v, rec)
	return n, rec, err
}

// sessionOf reads a session by id.
func sessionOf(v graph.View, id string) (*pb.Session, graph.NodeRecord, error) {
	n, rec, err := nodeOf(v, "session", "Session", id)
	if err == nil && n.GetSession() == nil {
		err = notFound("session", "Session", id)
	}
	return n.GetSession(), rec, err
}
