package conformance

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// unique makes an id that no other case uses.
func unique(prefix string) string {
	return prefix + "-" + uuid.NewString()
}

// usage is a token usage of 15 and 25, total 40.
func usage() *graphpb.TokenUsage {
	return &graphpb.TokenUsage{PromptTokens: 15, CompletionTokens: 25, TotalTokens: 40}
}

// session makes one; pairs are its metadata.
func (e *Env) session(t *testing.T, pairs ...string) *graphpb.Session {
	t.Helper()
	return must(e.Graph.CreateSession(t.Context(), &graphpb.CreateSessionRequest{Metadata: entries(pairs)}))(t)
}

func entries(pairs []string) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func (e *Env) prompt(t *testing.T, session, content string) *graphpb.PromptNode {
	t.Helper()
	return must(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{SessionId: session, Content: content}))(t)
}

func (e *Env) response(t *testing.T, prompt, content string) *graphpb.ResponseNode {
	t.Helper()
	return must(e.Graph.AddResponse(t.Context(), &graphpb.AddResponseRequest{
		PromptId: prompt, Content: content, TokenUsage: usage(),
	}))(t)
}

func (e *Env) tool(t *testing.T, response, name string) *graphpb.ToolInvocationNode {
	t.Helper()
	return must(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
		ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: response, ToolName: name, Parameters: `{}`},
	}))(t)
}

func (e *Env) agent(t *testing.T, name string) *graphpb.Node {
	t.Helper()
	return e.create(t, agentNode("", name))
}

func (e *Env) template(t *testing.T, template *graphpb.TemplateNode) *graphpb.TemplateNode {
	t.Helper()
	return must(e.Graph.CreateTemplate(t.Context(), &graphpb.CreateTemplateRequest{Template: template}))(t)
}

func (e *Env) edge(t *testing.T, kind graphpb.EdgeType, from, to string, properties ...string) *graphpb.Edge {
	t.Helper()
	return must(e.Graph.CreateEdge(t.Context(), &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Type: kind, FromNodeId: from, ToNodeId: to, Properties: entries(properties),
	}}))(t)
}

func (e *Env) create(t *testing.T, node *graphpb.Node) *graphpb.Node {
	t.Helper()
	return must(e.Graph.CreateNode(t.Context(), &graphpb.CreateNodeRequest{Node: node}))(t)
}

func (e *Env) update(t *testing.T, node *graphpb.Node) *graphpb.Node {
	t.Helper()
	return must(e.Graph.UpdateNode(t.Context(), &graphpb.UpdateNodeRequest{Node: node}))(t)
}

func (e *Env) deleteNode(t *testing.T, id string) {
	t.Helper()
	must(e.Graph.DeleteNode(t.Context(), &graphpb.DeleteNodeRequest{NodeId: id}))(t)
}

func (e *Env) deleteSession(t *testing.T, id string) {
	t.Helper()
	must(e.Graph.DeleteSession(t.Context(), &graphpb.DeleteSessionRequest{SessionId: id}))(t)
}

func (e *Env) closeSession(t *testing.T, id string) *graphpb.Session {
	t.Helper()
	return must(e.Graph.CloseSession(t.Context(), &graphpb.CloseSessionRequest{SessionId: id}))(t)
}

func (e *Env) getSession(t *testing.T, id string) *graphpb.Session {
	t.Helper()
	return must(e.Graph.GetSession(t.Context(), &graphpb.GetSessionRequest{SessionId: id}))(t)
}

func (e *Env) node(t *testing.T, id string) *graphpb.Node {
	t.Helper()
	return must(e.Graph.GetNode(t.Context(), &graphpb.GetNodeRequest{NodeId: id}))(t)
}

func (e *Env) batch(t *testing.T, nodes ...*graphpb.Node) []*graphpb.Node {
	t.Helper()
	return must(e.Graph.BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: nodes}))(t).GetNodes()
}

// edges asks for the edges of a node; kind UNSPECIFIED means all.
func (e *Env) edges(t *testing.T, id string, direction graphpb.EdgeDirection, kind graphpb.EdgeType) []*graphpb.Edge {
	t.Helper()
	return must(e.Graph.GetEdges(t.Context(), &graphpb.GetEdgesRequest{
		NodeId: id, Direction: direction.Enum(), Type: kind.Enum(),
	}))(t).GetEdges()
}

// onlyEdge wants exactly one edge of a kind in a direction.
func (e *Env) onlyEdge(t *testing.T, id string, direction graphpb.EdgeDirection, kind graphpb.EdgeType) *graphpb.Edge {
	t.Helper()
	found := e.edges(t, id, direction, kind)
	if len(found) != 1 {
		t.Fatalf("node %s has %d %v edges %v, want 1", id, len(found), kind, direction)
	}
	return found[0]
}

func (e *Env) query(t *testing.T, request *graphpb.QueryRequest) *graphpb.QueryResponse {
	t.Helper()
	return must(e.Graph.Query(t.Context(), request))(t)
}

// streamQuery reads the whole stream.
func (e *Env) streamQuery(t *testing.T, request *graphpb.QueryRequest) []*graphpb.Node {
	t.Helper()
	stream := must(e.Graph.StreamQuery(open(t), request))(t)
	return must(drain(stream))(t)
}

// drain reads a stream to its end.
func drain[T any](stream grpc.ServerStreamingClient[T]) ([]*T, error) {
	var all []*T
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

// refusedStream starts a stream that has to be refused and returns the refusal.
func refusedStream[T any](stream grpc.ServerStreamingClient[T], err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return stream.Recv()
}

func (e *Env) metrics(t *testing.T) *graphpb.MetricsResponse {
	t.Helper()
	return must(e.Graph.GetMetrics(t.Context(), &emptypb.Empty{}))(t)
}

// The nodes below are as small as the contract allows.

func promptNode(id, session, content string) *graphpb.Node {
	return &graphpb.Node{Id: id, NodeData: &graphpb.Node_Prompt{Prompt: &graphpb.PromptNode{
		SessionId: session, Content: content,
	}}}
}

func promptAt(session, content string, at time.Time) *graphpb.Node {
	node := promptNode("", session, content)
	node.GetPrompt().Timestamp = timestamppb.New(at)
	return node
}

func responseNode(id, prompt, content string) *graphpb.Node {
	return &graphpb.Node{Id: id, NodeData: &graphpb.Node_Response{Response: &graphpb.ResponseNode{
		PromptId: prompt, Content: content, TokenUsage: usage(),
	}}}
}

func toolNode(id, response, name string) *graphpb.Node {
	return &graphpb.Node{Id: id, NodeData: &graphpb.Node_ToolInvocation{ToolInvocation: &graphpb.ToolInvocationNode{
		ResponseId: response, ToolName: name, Parameters: `{"q":1}`,
	}}}
}

func agentNode(id, name string) *graphpb.Node {
	return &graphpb.Node{Id: id, NodeData: &graphpb.Node_Agent{Agent: &graphpb.AgentNode{Name: name, Role: "helper"}}}
}

func templateNode(id, name, text string) *graphpb.Node {
	return &graphpb.Node{Id: id, NodeData: &graphpb.Node_Template{Template: &graphpb.TemplateNode{
		Name: name, TemplateText: text,
	}}}
}

// talk is a small conversation.
type talk struct {
	session   *graphpb.Session
	prompts   []*graphpb.PromptNode
	responses []*graphpb.ResponseNode
	tools     []*graphpb.ToolInvocationNode
}

// talk makes a session of n turns: a prompt, its response, and one tool call of the response.
func (e *Env) talk(t *testing.T, turns int) talk {
	t.Helper()
	made := talk{session: e.session(t)}
	for i := range turns {
		prompt := e.prompt(t, made.session.GetId(), fmt.Sprintf("question %d", i))
		response := e.response(t, prompt.GetId(), fmt.Sprintf("answer %d", i))
		made.prompts = append(made.prompts, prompt)
		made.responses = append(made.responses, response)
		made.tools = append(made.tools, e.tool(t, response.GetId(), fmt.Sprintf("tool-%d", i)))
	}
	return made
}

// nodeIDs are the ids of the conversation in the order in which they were made, the session first.
func (k talk) nodeIDs() []string {
	ids := []string{k.session.GetId()}
	for i := range k.prompts {
		ids = append(ids, k.prompts[i].GetId(), k.responses[i].GetId(), k.tools[i].GetId())
	}
	return ids
}

func clone[M proto.Message](m M) M {
	return proto.CloneOf(m)
}

// moment is an instant in the past that the wire keeps exactly; cases count their record times from it.
func moment() time.Time {
	return time.Now().Add(-24 * time.Hour).Truncate(time.Second).UTC()
}
