package rpc

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/importer/jsonl"
)

// TestAnyGraphExportsTheSameAfterAnImport makes graphs at random through the calls, moves each one into an empty store as
// lines of text, and compares the lines that the two stores give: ids, times, bytes, edges, properties, counts and order.
func TestAnyGraphExportsTheSameAfterAnImport(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			from, to := start(t), start(t)
			grow(from, rand.New(rand.NewPCG(seed, 3)), 60)
			want := from.lines()
			to.take(want)
			if diff := cmp.Diff(want, to.lines()); diff != "" {
				t.Errorf("lines (-from +to):\n%s", diff)
			}
			to.take(want) // changes nothing
			if diff := cmp.Diff(want, to.lines()); diff != "" {
				t.Errorf("lines after a second import (-from +to):\n%s", diff)
			}
			// What is made next is the same in both: the ends of conversations and the orders of calls have come along.
			session := firstSessionIn(want)
			if a, b := from.followedByNext(session), to.followedByNext(session); a != b || a == "" {
				t.Errorf("the next prompt follows %q and %q", a, b)
			}
		})
	}
}

// lines is an export as text.
func (r *rig) lines() []string {
	r.t.Helper()
	var lines []string
	chunks, _ := r.exportAs(&pb.ExportRequest{})
	for _, c := range chunks {
		for _, n := range c.Nodes {
			lines = append(lines, string(jsonl.AppendNode(nil, n)))
		}
		for _, e := range c.Edges {
			lines = append(lines, string(jsonl.AppendEdge(nil, e)))
		}
	}
	return lines
}

// take imports lines.
func (r *rig) take(lines []string) {
	r.t.Helper()
	chunk := &pb.ImportRequest{}
	var chunks []*pb.ImportRequest
	for _, line := range lines {
		l, err := jsonl.Decode([]byte(line))
		if err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		if full := len(chunk.Nodes)+len(chunk.Edges) >= 7; full || l.Node != nil && len(chunk.Edges) > 0 {
			chunks, chunk = append(chunks, chunk), &pb.ImportRequest{}
		}
		if l.Node != nil {
			chunk.Nodes = append(chunk.Nodes, l.Node)
		} else {
			chunk.Edges = append(chunk.Edges, l.Edge)
		}
	}
	must[*pb.ImportResponse](r.t)(r.tell(append(chunks, chunk)...))
}

func firstSessionIn(lines []string) string {
	for _, line := range lines {
		if l, err := jsonl.Decode([]byte(line)); err == nil && l.Node.GetSession().GetIsActive() {
			return l.Node.Id
		}
	}
	return ""
}

// followedByNext is what a new prompt of a session follows.
func (r *rig) followedByNext(session string) string {
	r.t.Helper()
	p := r.prompt(session, "next")
	for _, line := range r.lines() {
		if l, err := jsonl.Decode([]byte(line)); err == nil && l.Edge.GetFromNodeId() == p.Id && l.Edge.Type == pb.EdgeType_EDGE_TYPE_FOLLOWS {
			return l.Edge.ToNodeId
		}
	}
	return ""
}

// grow makes a graph by calls drawn at random.
func grow(r *rig, rnd *rand.Rand, calls int) {
	first := r.session()
	sessions, agents, templates := []*pb.Session{first}, []*pb.Node{r.agent("a")}, []*pb.TemplateNode{r.template()}
	prompts := []*pb.PromptNode{r.prompt(first.Id, "p\x00 \"\\ \u2028 😀")}
	responses := []*pb.ResponseNode{r.response(prompts[0].Id, "")}
	edge := func(t pb.EdgeType, from, to string, properties map[string]string) {
		must[*pb.Edge](r.t)(r.CreateEdge(r.ctx(), &pb.CreateEdgeRequest{Edge: &pb.Edge{FromNodeId: from, ToNodeId: to, Type: t, Properties: properties}}))
	}
	for range calls {
		text := strings.Repeat("x", rnd.IntN(2000))
		s, p, a := pick(rnd, sessions), pick(rnd, prompts), pick(rnd, responses)
		switch rnd.IntN(11) {
		case 0:
			sessions = append(sessions, r.session())
		case 1, 2:
			prompts = append(prompts, r.prompt(s.Id, "p"+text))
		case 3, 4:
			responses = append(responses, r.response(p.Id, text))
		case 5:
			must[*pb.ToolInvocationNode](r.t)(r.AddToolInvocation(r.ctx(), &pb.AddToolInvocationRequest{ToolInvocation: &pb.ToolInvocationNode{
				ResponseId: a.Id, ToolName: "t", Parameters: text, Status: "failed", Error: &text, RetryCount: 2, DurationMs: 7,
			}}))
		case 6:
			templates = append(templates, must[*pb.TemplateNode](r.t)(r.CreateTemplate(r.ctx(), &pb.CreateTemplateRequest{Template: &pb.TemplateNode{
				Name: "child", TemplateText: text + "{{name}}", Metadata: map[string]string{"parent_id": pick(rnd, templates).Id},
				Variables: []*pb.VariableSpec{{Name: "name", Required: true, TypeHint: "string"}},
			}})))
		case 7:
			prompts = append(prompts, must[*pb.PromptNode](r.t)(r.InstantiateTemplate(r.ctx(), &pb.InstantiateTemplateRequest{
				TemplateId: pick(rnd, templates).Id, SessionId: s.Id, VariableValues: map[string]string{"name": "v" + text},
			})))
		case 8:
			agents = append(agents, r.agent("b"))
			edge(pb.EdgeType_EDGE_TYPE_HANDLED_BY, a.Id, pick(rnd, agents).Id, nil)
		case 9:
			edge(pb.EdgeType_EDGE_TYPE_REFERENCES, pick(rnd, []string{a.Id, s.Id, pick(rnd, agents).Id}), pick(rnd, []string{p.Id, pick(rnd, templates).Id}),
				map[string]string{"context_type": "memory", "relevance_score": "0.5"})
		default:
			edge(pb.EdgeType_EDGE_TYPE_TRANSFERS_TO, a.Id, pick(rnd, agents).Id, map[string]string{"priority": "high"})
		}
	}
	closed := r.session()
	r.prompt(closed.Id, "last")
	must[*pb.Session](r.t)(r.CloseSession(r.ctx(), &pb.CloseSessionRequest{SessionId: closed.Id}))
}

func pick[T any](rnd *rand.Rand, all []T) T { return all[rnd.IntN(len(all))] }
