package fsm_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// command is what a verb proposes. Nodes and edges are checked as the edge of the process does it, unless raw says not to.
func (s *story) command(verb string, a args, line string) (*logpb.Command, error) {
	switch verb {
	case "create-session":
		c := createSession(a["id"])
		c.GetCreateSession().Session.Metadata = a.under("meta")
		return c, graph.CheckMetadata("metadata", a.under("meta"))
	case "close-session":
		return closeSession(a["id"]), nil
	case "delete-session":
		return deleteSession(a["id"]), nil
	case "delete-node":
		return deleteNode(uuidOf(a["id"]), a.has("cascade")), nil
	case "delete-edge":
		return deleteEdge(s.edgeID(a)), nil
	case "create-edge":
		e := edgeOf(a)
		return createEdge(e), graph.CheckEdge("edge", e)
	case "instantiate":
		return s.instantiate(a)
	case "update":
		return s.update(a)
	case "batch":
		var nodes []*pb.Node
		for _, part := range strings.Split(strings.TrimPrefix(line, "batch "), " ; ") {
			kind, a := parse(part)
			n := nodeOf(kind, a)
			if err := graph.CheckNode(fmt.Sprintf("nodes[%d]", len(nodes)), n); err != nil {
				return nil, err
			}
			nodes = append(nodes, n)
		}
		return createNodes(nodes...), nil
	case "add-many":
		return createNodes(many(a)...), nil
	case "import":
		return imported(strings.TrimPrefix(line, "import "))
	case "link-many":
		var edges []*pb.Edge
		for i := range a.number("count", 1) {
			edges = append(edges, reference(fmt.Sprint(a["id"], i), uuidOf(a["from"]), uuidOf(a["to"])))
		}
		return importing(nil, edges), nil
	case "sweep":
		return sweep(uint32(a.number("limit", graph.SweepRows))), nil
	case "trim":
		return trim(uint64(a.number("below", 0)), uint32(a.number("limit", 1000))), nil
	case "bootstrap":
		return bootstrap(), nil
	case "raise":
		return raise(uint32(a.number("level", 1))), nil
	default:
		n := nodeOf(strings.TrimPrefix(verb, "add-"), a)
		if a.has("raw") {
			return createNodes(n), nil
		}
		return createNodes(n), graph.CheckNode("node", n)
	}
}

// edgeID is the id that is given, or that of the edge between two nodes.
func (s *story) edgeID(a args) (id string) {
	if a.has("id") {
		return a["id"]
	}
	q, err := graph.NewEdgeQuery(&pb.GetEdgesRequest{NodeId: uuidOf(a["from"]), Type: edgeType(a["type"]).Enum()})
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	s.read(func(v graph.View) {
		err = q.Each(v, nil, func(_ graph.EdgePlace, rec graph.EdgeRecord) (bool, error) {
			e, err := rec.Edge()
			id = e.GetId()
			return false, err
		})
	})
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return id
}

func when(a args, key string) *timestamppb.Timestamp {
	if !a.has(key) {
		return nil
	}
	return graph.Timestamp(epoch + a.number(key, 0)*second)
}

// nodeOf makes a node of a kind: prompt, response, tool, agent, template or session.
func nodeOf(kind string, a args) *pb.Node {
	n := &pb.Node{Id: uuidOf(a["id"]), SessionId: uuidOf(a["member"]), CreatedAt: when(a, "created")}
	switch kind {
	case "prompt":
		p := &pb.PromptNode{SessionId: uuidOf(a["session"]), Content: a["content"], Timestamp: when(a, "time")}
		if a.has("model") {
			p.Metadata = &pb.PromptMetadata{Model: a["model"], Temperature: 0.7}
		}
		n.NodeData = &pb.Node_Prompt{Prompt: p}
	case "response":
		r := &pb.ResponseNode{PromptId: a["prompt"], Content: a["content"], Timestamp: when(a, "time")}
		r.TokenUsage = &pb.TokenUsage{PromptTokens: a.number("in", 15), CompletionTokens: a.number("out", 25)}
		if a.has("model") || a.has("latency") {
			r.Metadata = &pb.ResponseMetadata{Model: a["model"], LatencyMs: a.number("latency", 0)}
		}
		n.NodeData = &pb.Node_Response{Response: r}
	case "tool":
		t := &pb.ToolInvocationNode{ResponseId: a["response"], ToolName: a["name"], Parameters: a["parameters"], Status: a["status"]}
		t.DurationMs, t.RetryCount, t.Timestamp = a.number("duration", 0), int32(a.number("retries", 0)), when(a, "time")
		if a.has("result") {
			t.Result = proto.String(a["result"])
		}
		if a.has("error") {
			t.Error = proto.String(a["error"])
		}
		n.NodeData = &pb.Node_ToolInvocation{ToolInvocation: t}
	case "agent":
		n.NodeData = &pb.Node_Agent{Agent: &pb.AgentNode{Name: a["name"], Role: a["role"], Status: a["status"]}}
	case "template":
		m := &pb.TemplateNode{Name: a["name"], TemplateText: a["text"], Version: a["version"], UsageCount: a.number("used", 0)}
		m.Metadata = a.under("meta")
		n.NodeData = &pb.Node_Template{Template: m}
	case "session":
		n.NodeData = &pb.Node_Session{Session: &pb.Session{
			Metadata: a.under("meta"), IsActive: !a.has("closed"), UpdatedAt: when(a, "updated"),
		}}
	}
	return n
}

func edgeOf(a args) *pb.Edge {
	return &pb.Edge{
		Id: a["id"], FromNodeId: uuidOf(a["from"]), ToNodeId: uuidOf(a["to"]), Type: edgeType(a["type"]),
		Properties: a.under("prop"), CreatedAt: when(a, "created"),
	}
}

// many are count nodes of a kind: prompts of a session, responses to a prompt, tools of a response.
func many(a args) (nodes []*pb.Node) {
	for i := range a.number("count", 1) {
		id := fmt.Sprint(a["id"], i)
		switch {
		case a.has("session"):
			nodes = append(nodes, aPrompt(id, a["session"]))
		case a.has("prompt"):
			nodes = append(nodes, aResponse(id, a["prompt"]))
		default:
			nodes = append(nodes, aTool(id, a["response"]))
		}
	}
	return nodes
}

// imported is `kind key=value… ; kind key=value…`, where a kind may be edge.
func imported(line string) (*logpb.Command, error) {
	var nodes []*pb.Node
	var edges []*pb.Edge
	for _, part := range strings.Split(line, " ; ") {
		kind, a := parse(part)
		var err error
		if kind == "edge" {
			edges = append(edges, edgeOf(a))
			err = graph.CheckImportEdge("edge", edges[len(edges)-1])
		} else {
			nodes = append(nodes, nodeOf(kind, a))
			err = graph.CheckImport("node", nodes[len(nodes)-1])
		}
		if err != nil {
			return nil, err
		}
	}
	return importing(nodes, edges), nil
}

// instantiate renders a template as it is, or says that it was rendered at another revision.
func (s *story) instantiate(a args) (*logpb.Command, error) {
	var t *pb.Node
	s.read(func(v graph.View) {
		rec, _, err := v.NodeByID(a["template"])
		if err == nil {
			t, err = rec.Node()
		}
		if err != nil {
			s.t.Fatalf("%v", err)
		}
	})
	text, bindings := "text", "{}"
	if m := t.GetTemplate(); m != nil {
		given, used, err := graph.Render(m, a.under("var"))
		if err != nil {
			return nil, err
		}
		b, err := json.Marshal(used)
		if err != nil {
			return nil, err
		}
		text, bindings = given, string(b)
	}
	n := nodeOf("prompt", args{"id": a["id"], "session": a["session"], "content": text})
	if err := graph.CheckNode("node", n); err != nil {
		return nil, err
	}
	return instantiate(a["template"], uint64(a.number("revision", int64(t.GetRevision()))), n, bindings), nil
}

// update takes the node as it is and changes what is given: the way of a caller that reads, changes and writes.
func (s *story) update(a args) (*logpb.Command, error) {
	id := uuidOf(a["id"])
	n := nodeOf(a["as"], a)
	if !a.has("as") {
		s.read(func(v graph.View) {
			rec, ok, err := v.NodeByID(id)
			if err == nil && ok {
				n, err = graph.Present(v, rec)
			}
			if err != nil {
				s.t.Fatalf("%v", err)
			}
		})
		change(n, a)
	}
	var expected *uint64
	if a.has("expected") {
		expected = proto.Uint64(uint64(a.number("expected", 0)))
	}
	return updateNode(n, expected), graph.CheckUpdate("node", n)
}

func change(n *pb.Node, a args) {
	for key, value := range a {
		switch {
		case key == "content" && n.GetPrompt() != nil:
			n.GetPrompt().Content = value
		case key == "session" && n.GetPrompt() != nil:
			n.GetPrompt().SessionId = uuidOf(value)
		case key == "time" && n.GetPrompt() != nil:
			n.GetPrompt().Timestamp = when(a, "time")
		case key == "content" && n.GetResponse() != nil:
			n.GetResponse().Content = value
		case key == "prompt" && n.GetResponse() != nil:
			n.GetResponse().PromptId = value
		case key == "latency" && n.GetResponse() != nil:
			n.GetResponse().Metadata.LatencyMs = a.number(key, 0)
		case key == "model" && n.GetResponse() != nil:
			n.GetResponse().Metadata.Model = value
		case key == "status" && n.GetToolInvocation() != nil:
			n.GetToolInvocation().Status = value
		case key == "response" && n.GetToolInvocation() != nil:
			n.GetToolInvocation().ResponseId = value
		case key == "result" && n.GetToolInvocation() != nil:
			n.GetToolInvocation().Result = proto.String(value)
		case key == "duration" && n.GetToolInvocation() != nil:
			n.GetToolInvocation().DurationMs = a.number(key, 0)
		case key == "text" && n.GetTemplate() != nil:
			n.GetTemplate().TemplateText = value
		case key == "parent" && n.GetTemplate() != nil:
			n.GetTemplate().Metadata = map[string]string{graph.ParentKey: value}
		case key == "status" && n.GetAgent() != nil:
			n.GetAgent().Status = value
		}
	}
}
