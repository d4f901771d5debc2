package conformance

import (
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
)

func edgeDirections(t *testing.T, e *Env) {
	centre, rim := e.agent(t, "centre").GetId(), e.agent(t, "rim").GetId()
	template := e.create(t, templateNode("", "n", "t")).GetId()
	in1 := e.edge(t, references, rim, centre).GetId()
	out1 := e.edge(t, references, centre, rim).GetId()
	loop := e.edge(t, references, centre, centre).GetId()
	in2 := e.edge(t, references, template, centre).GetId()
	out2 := e.edge(t, references, centre, template).GetId()
	ask := func(direction *graphpb.EdgeDirection, kind *graphpb.EdgeType) []string {
		return edgeIDs(must(e.Graph.GetEdges(t.Context(), &graphpb.GetEdgesRequest{
			NodeId: centre, Direction: direction, Type: kind,
		}))(t).GetEdges())
	}
	unspecified := graphpb.EdgeDirection_EDGE_DIRECTION_UNSPECIFIED
	wantEqual(t, "no direction", []string{out1, loop, out2}, ask(nil, nil))
	wantEqual(t, "unspecified direction", []string{out1, loop, out2}, ask(&unspecified, nil))
	wantEqual(t, "outgoing", []string{out1, loop, out2}, ask(outgoing.Enum(), nil))
	wantEqual(t, "incoming", []string{in1, loop, in2}, ask(incoming.Enum(), nil))
	wantEqual(t, "both", []string{out1, loop, out2, in1, in2}, ask(both.Enum(), nil))
	wantEqual(t, "both of a type", []string{out1, loop, out2, in1, in2}, ask(both.Enum(), references.Enum()))
	wantEqual(t, "both of another type", 0, len(ask(both.Enum(), handledBy.Enum())))

	made := e.talk(t, 2)
	wantEqual(t, "types in commit order", []graphpb.EdgeType{respondsTo, belongsTo, invokes},
		inOrder(e.edges(t, made.responses[1].GetId(), outgoing, 0), respondsTo, belongsTo, invokes))
	for _, kind := range []graphpb.EdgeType{respondsTo, belongsTo, invokes} {
		found := e.onlyEdge(t, made.responses[0].GetId(), outgoing, kind)
		wantEqual(t, "type", kind, found.GetType())
	}
}

// inOrder is want when the edges have these types and the last one is where it must be; edges of one commit have no order
// that is promised.
func inOrder(edges []*graphpb.Edge, want ...graphpb.EdgeType) []graphpb.EdgeType {
	seen := make(map[graphpb.EdgeType]bool)
	for _, edge := range edges {
		seen[edge.GetType()] = true
	}
	if len(edges) == len(want) && len(seen) == len(want) && edges[len(edges)-1].GetType() == want[len(want)-1] {
		return want
	}
	var got []graphpb.EdgeType
	for _, edge := range edges {
		got = append(got, edge.GetType())
	}
	return got
}

func edgesCross(t *testing.T, e *Env) {
	one, two := e.talk(t, 1), e.talk(t, 1)
	edge := e.edge(t, references, one.prompts[0].GetId(), two.responses[0].GetId(), "chunk_id", "c")
	wantEqual(t, "edge from one side", edge, e.onlyEdge(t, one.prompts[0].GetId(), outgoing, references))
	wantEqual(t, "edge from the other side", edge, e.onlyEdge(t, two.responses[0].GetId(), incoming, references))
	e.edge(t, respondsTo, one.responses[0].GetId(), two.prompts[0].GetId())
	for _, made := range []talk{one, two} {
		wantEqual(t, "nodes of the session", int64(4), e.query(t, &graphpb.QueryRequest{SessionId: &made.session.Id}).GetTotalCount())
	}
}

func automaticEdges(t *testing.T, e *Env) {
	made := e.talk(t, 2)
	for _, id := range made.nodeIDs()[1:] {
		for _, edge := range e.edges(t, id, outgoing, 0) {
			if edge.GetType() == follows {
				continue
			}
			refusal(e.Graph.DeleteEdge(t.Context(), &graphpb.DeleteEdgeRequest{EdgeId: edge.GetId()}))(
				t, codes.FailedPrecondition)
			wantEqual(t, "edge after the refusal", edge, e.onlyEdge(t, id, outgoing, edge.GetType()))
		}
	}
	chain := e.onlyEdge(t, made.prompts[1].GetId(), outgoing, follows)
	must(e.Graph.DeleteEdge(t.Context(), &graphpb.DeleteEdgeRequest{EdgeId: chain.GetId()}))(t)
	wantEqual(t, "FOLLOWS after its deletion", 0, len(e.edges(t, made.prompts[1].GetId(), outgoing, follows)))
}

// edgePagesOf walks all pages.
func (e *Env) edgePagesOf(t *testing.T, request *graphpb.GetEdgesRequest) []*graphpb.Edge {
	t.Helper()
	var all []*graphpb.Edge
	for {
		page := must(e.Graph.GetEdges(t.Context(), request))(t)
		if len(page.GetEdges()) > int(request.GetPageSize()) {
			t.Errorf("page of %d edges, want at most %d", len(page.GetEdges()), request.GetPageSize())
		}
		all = append(all, page.GetEdges()...)
		if page.GetNextPageToken() == "" {
			return all
		}
		request = clone(request)
		request.PageToken = page.GetNextPageToken()
	}
}

func edgePages(t *testing.T, e *Env) {
	centre, rim := e.agent(t, "centre").GetId(), e.agent(t, "rim").GetId()
	for i := range 12 {
		if i%3 == 0 {
			e.edge(t, references, rim, centre)
		} else {
			e.edge(t, references, centre, rim)
		}
	}
	e.edge(t, references, centre, centre)
	for _, direction := range []graphpb.EdgeDirection{outgoing, incoming, both} {
		whole := e.edges(t, centre, direction, 0)
		for _, size := range []int32{1, 4, 13, 10_000} {
			paged := e.edgePagesOf(t, &graphpb.GetEdgesRequest{NodeId: centre, Direction: direction.Enum(), PageSize: size})
			wantEqual(t, "edges of all pages", whole, paged)
		}
	}
	page := must(e.Graph.GetEdges(t.Context(), &graphpb.GetEdgesRequest{NodeId: centre, PageSize: 2}))(t)
	e.edge(t, references, centre, rim)
	rest := e.edgePagesOf(t, &graphpb.GetEdgesRequest{NodeId: centre, PageSize: 2, PageToken: page.GetNextPageToken()})
	wantEqual(t, "edges with one made on the way", 10, len(page.GetEdges())+len(rest))
}

func edgesLarge(t *testing.T, e *Env) {
	centre := e.agent(t, "centre").GetId()
	text := strings.Repeat("y", 16_000)
	var chunks []*graphpb.ImportRequest
	for range 3 {
		chunk := &graphpb.ImportRequest{}
		for range 100 {
			chunk.Edges = append(chunk.Edges, &graphpb.Edge{
				Id: unique("edge"), Type: references, FromNodeId: centre, ToNodeId: centre,
				Properties: map[string]string{"text": text},
			})
		}
		chunks = append(chunks, chunk)
	}
	must(e.sendImport(t, chunks...))(t)
	refusal(e.Graph.GetEdges(t.Context(), &graphpb.GetEdgesRequest{NodeId: centre}))(t, codes.ResourceExhausted, "page_size")
	all := e.edgePagesOf(t, &graphpb.GetEdgesRequest{NodeId: centre, PageSize: 1000})
	wantEqual(t, "edges of all pages", 300, len(all))
	wantEqual(t, "first edge", chunks[0].GetEdges()[0].GetId(), all[0].GetId())
}
