package rpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// maxExportBytes is how large a message of an export grows before it is sent.
const maxExportBytes = 1 << 20

// Export streams sessions, nodes and edges as of one revision. It holds the index entries of one session at a time.
func (t *transfer) Export(req *pb.ExportRequest, stream grpc.ServerStreamingServer[pb.ExportResponse]) error {
	ctx := stream.Context()
	ids, err := exportSessions(req.GetSessionIds())
	if err != nil {
		return err
	}
	st, err := t.readFirst(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	ex := &export{ctx: ctx, view: st.view, revision: uint64(st.revision)}
	ex.send = func(r *pb.ExportResponse) error {
		t.metrics.Streamed(callOf(ctx).method, len(r.Nodes))
		return stream.Send(r)
	}
	if len(ids) > 0 {
		if err := ex.choose(ids); err != nil {
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
	// chosen are the sessions to export, oldest first, nil for all; reached are then the agents and templates that their
	// edges reach.
	chosen, reached []graph.Position

	message pb.ExportResponse
	size    int
}

// choose finds the sessions, and what their edges reach outside of any session.
func (ex *export) choose(ids []string) error {
	for _, id := range ids {
		_, rec, err := sessionOf(ex.view, id)
		if err != nil {
			return err
		}
		ex.chosen = append(ex.chosen, rec.Position)
	}
	slices.Sort(ex.chosen)
	reached := map[graph.Position]bool{}
	for _, session := range ex.chosen {
		err := ex.members(session, func(at graph.Position) error {
			return ex.edgesOf(at, func(e graph.EdgeRecord) error {
				if e.FromSession == 0 {
					reached[e.From] = true
				}
				if e.ToSession == 0 {
					reached[e.To] = true
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	for at := range reached {
		ex.reached = append(ex.reached, at)
	}
	slices.Sort(ex.reached)
	return nil
}

// run sends all nodes, then the edges that join them.
func (ex *export) run() error {
	if err := ex.each(ex.node); err != nil {
		return err
	}
	if err := ex.each(ex.edges); err != nil {
		return err
	}
	return ex.flush()
}

// each visits the nodes of the export: agents and templates, then session by session.
func (ex *export) each(visit func(graph.Position) error) error {
	if ex.chosen != nil {
		for _, at := range ex.reached {
			if err := visit(at); err != nil {
				return err
			}
		}
		for _, session := range ex.chosen {
			if err := ex.members(session, visit); err != nil {
				return err
			}
		}
		return nil
	}
	for _, t := range []pb.NodeType{pb.NodeType_NODE_TYPE_AGENT, pb.NodeType_NODE_TYPE_TEMPLATE} {
		if err := ex.walk(graph.Walk{Type: t, OldestFirst: true}, visit); err != nil {
			return err
		}
	}
	return ex.walk(graph.Walk{Type: sessionType, OldestFirst: true}, func(session graph.Position) error {
		return ex.members(session, visit)
	})
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

// members visits a session and what belongs to it in the order in which it was made: what a record refers to comes first.
func (ex *export) members(session graph.Position, visit func(graph.Position) error) error {
	var all []graph.Position
	err := ex.walk(graph.Walk{Session: session}, func(at graph.Position) error {
		all = append(all, at)
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(all)
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

// edgesOf visits the outgoing edges of a node, and of chosen sessions the incoming ones that start elsewhere.
func (ex *export) edgesOf(at graph.Position, visit func(graph.EdgeRecord) error) error {
	for e, err := range ex.view.Edges(graph.EdgeWalk{Node: at}) {
		if err == nil {
			err = visit(e)
		}
		if err != nil {
			return err
		}
	}
	if ex.chosen == nil {
		return nil
	}
	for e, err := range ex.view.Edges(graph.EdgeWalk{Node: at, Incoming: true}) {
		if _, mine := slices.BinarySearch(ex.chosen, e.FromSession); err == nil && mine {
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

// edges sends the edges of a node. Those of agents and templates that were only reached come with the other end.
func (ex *export) edges(at graph.Position) error {
	if _, reached := slices.BinarySearch(ex.reached, at); reached {
		return nil
	}
	return ex.edgesOf(at, func(rec graph.EdgeRecord) error {
		e, err := rec.Edge()
		if err != nil {
			return err
		}
		if err := ex.room(e); err != nil {
			return err
		}
		ex.message.Edges = append(ex.message.Edges, e)
		return nil
	})
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
	full := &pb.ExportResponse{Nodes: ex.message.Nodes, Edges: ex.message.Edges, Revision: ex.revision}
	ex.message.Nodes, ex.message.Edges, ex.size = nil, nil, 0
	return ex.send(full)
}
