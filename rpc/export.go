package rpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// maxExportBytes is how large a message of an export grows before it is sent.
const maxExportBytes = 1 << 20

// Export streams sessions, nodes and edges as of one revision. It holds the index entries of one session at a time, and of
// an export of some sessions their positions.
func (t *transfer) Export(req *pb.ExportRequest, stream grpc.ServerStreamingServer[pb.ExportResponse]) error {
	ctx := stream.Context()
	ids, err := exportSessions(req.GetSessionIds())
	if err == nil {
		err = graph.CheckTime("updated_since", req.GetUpdatedSince())
	}
	if err != nil {
		return err
	}
	st, err := t.readFirst(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	ex := &export{ctx: ctx, view: st.view, revision: uint64(st.revision), closed: req.GetSelfContained()}
	ex.send = func(r *pb.ExportResponse) error {
		t.metrics.Streamed(callOf(ctx).method, len(r.Nodes))
		return stream.Send(r)
	}
	if len(ids) > 0 || req.GetUpdatedSince() != nil {
		if err := ex.choose(ids, req.GetUpdatedSince()); err != nil {
			return err
		}
	}
	return ex.run()
}

func exportSessions(given []string) ([]string, error) {
	if err := atMost("session_ids", len(given), graph.MaxExportSessions); err != nil {
		return nil, err
	}
	var ids []string
	for i, id := range given {
		id, err := graph.CheckSessionID(at("session_ids", i), id)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// An export walks one state.
type export struct {
	ctx      context.Context
	view     graph.View
	revision uint64
	send     func(*pb.ExportResponse) error
	// partial exports have the sessions chosen and the agents and templates reached by their edges, both by position.
	partial         bool
	chosen, reached []graph.Position
	// closed leaves out edges whose other end is not part of a partial export; leftOut counts them.
	closed  bool
	leftOut int64
	// crossing says that there are edges between sessions, which come last.
	crossing bool

	message pb.ExportResponse
	size    int
}

// choose finds the sessions, and what their edges reach outside of any session.
func (ex *export) choose(ids []string, since *timestamppb.Timestamp) error {
	ex.partial = true
	take := func(at graph.Position) error {
		if since == nil {
			ex.chosen = append(ex.chosen, at)
			return nil
		}
		state, ok, err := ex.view.Session(at)
		if err == nil && ok && state.Updated >= since.AsTime().UnixNano() {
			ex.chosen = append(ex.chosen, at)
		}
		return err
	}
	for _, id := range ids {
		_, rec, err := sessionOf(ex.view, id)
		if err == nil {
			err = take(rec.Position)
		}
		if err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		if err := ex.walk(graph.Walk{Type: sessionType}, take); err != nil {
			return err
		}
	}
	slices.Sort(ex.chosen)
	return ex.reach()
}

// reach finds the agents and templates that edges of the chosen sessions begin or end at, and what those inherit from.
func (ex *export) reach() error {
	reached := map[graph.Position]bool{}
	note := func(at, session graph.Position) {
		if session == 0 && !reached[at] {
			reached[at] = true
			ex.reached = append(ex.reached, at)
		}
	}
	visit := func(at graph.Position) error {
		return ex.edgesOf(at, true, func(e graph.EdgeRecord) error {
			note(e.From, e.FromSession)
			note(e.To, e.ToSession)
			return nil
		})
	}
	for _, session := range ex.chosen {
		if err := ex.members(session, visit); err != nil {
			return err
		}
	}
	for i := 0; i < len(ex.reached); i++ { // grows meanwhile
		err := ex.edgesOf(ex.reached[i], false, func(e graph.EdgeRecord) error {
			note(e.To, e.ToSession)
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.Sort(ex.reached)
	return nil
}

// run sends agents and templates, then session by session, then the edges between sessions: so an import finds both ends
// of an edge near the edge.
func (ex *export) run() error {
	if err := ex.shared(ex.node); err != nil {
		return err
	}
	if err := ex.shared(ex.sharedEdges); err != nil {
		return err
	}
	err := ex.sessions(func(session graph.Position) error {
		all, err := ex.positions(session)
		if err != nil {
			return err
		}
		if err := ex.visit(all, ex.node); err != nil {
			return err
		}
		return ex.visit(all, func(at graph.Position) error { return ex.ownEdges(session, at) })
	})
	if err == nil && ex.crossing {
		err = ex.crossingEdges()
	}
	if err != nil {
		return err
	}
	ex.message.EdgesLeftOut = ex.leftOut
	return ex.flush()
}

// shared visits the agents and templates of the export.
func (ex *export) shared(visit func(graph.Position) error) error {
	if ex.partial {
		return ex.visit(ex.reached, visit)
	}
	for _, t := range []pb.NodeType{pb.NodeType_NODE_TYPE_AGENT, pb.NodeType_NODE_TYPE_TEMPLATE} {
		if err := ex.walk(graph.Walk{Type: t, OldestFirst: true}, visit); err != nil {
			return err
		}
	}
	return nil
}

// sessions visits the sessions of the export.
func (ex *export) sessions(visit func(graph.Position) error) error {
	if ex.partial {
		return ex.visit(ex.chosen, visit)
	}
	return ex.walk(graph.Walk{Type: sessionType, OldestFirst: true}, visit)
}

// sharedEdges sends the edges between agents and templates.
func (ex *export) sharedEdges(at graph.Position) error {
	return ex.edgesOf(at, false, func(e graph.EdgeRecord) error {
		if e.ToSession != 0 {
			ex.crossing = true
			return nil
		}
		return ex.edge(e)
	})
}

// ownEdges sends the edges from a node of a session to others of it, and to agents and templates.
func (ex *export) ownEdges(session, at graph.Position) error {
	return ex.edgesOf(at, true, func(e graph.EdgeRecord) error {
		if e.FromSession != session || e.ToSession != session && e.ToSession != 0 {
			ex.crossing = true
			return nil
		}
		return ex.edge(e)
	})
}

// crossingEdges sends those edges that the others have left: between sessions, and from agents and templates into one.
func (ex *export) crossingEdges() error {
	if !ex.partial {
		err := ex.shared(func(at graph.Position) error {
			return ex.edgesOf(at, false, func(e graph.EdgeRecord) error {
				if e.ToSession == 0 {
					return nil
				}
				return ex.edge(e)
			})
		})
		if err != nil {
			return err
		}
	}
	return ex.sessions(func(session graph.Position) error {
		return ex.members(session, func(at graph.Position) error {
			return ex.edgesOf(at, true, func(e graph.EdgeRecord) error {
				switch {
				case e.FromSession == session && (e.ToSession == session || e.ToSession == 0):
					return nil
				case ex.closed && !(ex.has(e.FromSession) && ex.has(e.ToSession)):
					ex.leftOut++
					return nil
				}
				return ex.edge(e)
			})
		})
	})
}

// has says that a session is part of the export; what belongs to no session and is reached from one always is.
func (ex *export) has(session graph.Position) bool {
	if !ex.partial || session == 0 {
		return true
	}
	_, found := slices.BinarySearch(ex.chosen, session)
	return found
}

func (ex *export) walk(w graph.Walk, visit func(graph.Position) error) error {
	for e, err := range ex.view.Walk(w) {
		if err != nil {
			return err
		}
		if err := visit(e.Position); err != nil {
			return err
		}
	}
	return nil
}

// positions are those of a session and of what belongs to it in the order in which it was made: what a record refers to
// comes first.
func (ex *export) positions(session graph.Position) ([]graph.Position, error) {
	var all []graph.Position
	err := ex.walk(graph.Walk{Session: session}, func(at graph.Position) error {
		all = append(all, at)
		return nil
	})
	slices.Sort(all)
	return all, err
}

func (ex *export) members(session graph.Position, visit func(graph.Position) error) error {
	all, err := ex.positions(session)
	if err != nil {
		return err
	}
	return ex.visit(all, visit)
}

func (ex *export) visit(all []graph.Position, visit func(graph.Position) error) error {
	for _, at := range all {
		if err := ex.ctx.Err(); err != nil {
			return err
		}
		if err := visit(at); err != nil {
			return err
		}
	}
	return nil
}

// edgesOf visits the outgoing edges of a node. Of a partial export, it adds the incoming ones of what belongs to a session that
// start outside of the chosen sessions, when asked.
func (ex *export) edgesOf(at graph.Position, incoming bool, visit func(graph.EdgeRecord) error) error {
	for e, err := range ex.view.Edges(graph.EdgeWalk{Node: at}) {
		if err == nil {
			err = visit(e)
		}
		if err != nil {
			return err
		}
	}
	if !ex.partial || !incoming {
		return nil
	}
	for e, err := range ex.view.Edges(graph.EdgeWalk{Node: at, Incoming: true}) {
		if err == nil && e.FromSession != 0 && ex.has(e.FromSession) {
			continue
		}
		if err == nil {
			err = visit(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (ex *export) node(at graph.Position) error {
	rec, ok, err := ex.view.NodeAt(at)
	if err != nil || !ok {
		return err
	}
	n, err := graph.Present(ex.view, rec)
	if err != nil {
		return err
	}
	if err := ex.room(n); err != nil {
		return err
	}
	ex.message.Nodes = append(ex.message.Nodes, n)
	return nil
}

func (ex *export) edge(rec graph.EdgeRecord) error {
	e, err := rec.Edge()
	if err != nil {
		return err
	}
	if err := ex.room(e); err != nil {
		return err
	}
	ex.message.Edges = append(ex.message.Edges, e)
	return nil
}

// room sends the message when a record does not fit into it any more.
func (ex *export) room(m proto.Message) error {
	size := proto.Size(m) + entryOverhead
	if ex.size > 0 && (ex.size+size > maxExportBytes || len(ex.message.Nodes)+len(ex.message.Edges) == graph.MaxImportRecords) {
		if err := ex.flush(); err != nil {
			return err
		}
	}
	ex.size += size
	return nil
}

// flush sends what was gathered. An export of nothing is one empty message: it still tells the revision.
func (ex *export) flush() error {
	full := &pb.ExportResponse{Nodes: ex.message.Nodes, Edges: ex.message.Edges, Revision: ex.revision, EdgesLeftOut: ex.message.EdgesLeftOut}
	ex.message.Nodes, ex.message.Edges, ex.size = nil, nil, 0
	return ex.send(full)
}
