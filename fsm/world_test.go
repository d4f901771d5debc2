package fsm_test

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// T is what *testing.T, *testing.B and *rapid.T have in common.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

const (
	tenant = graph.DefaultTenant
	// epoch is the instant of the first command, Unix nanoseconds: 2023-11-14T22:13:20Z.
	epoch  = int64(1_700_000_000_000_000_000)
	second = int64(1_000_000_000)

	sessionType  = pb.NodeType_NODE_TYPE_SESSION
	promptType   = pb.NodeType_NODE_TYPE_PROMPT
	responseType = pb.NodeType_NODE_TYPE_RESPONSE
	toolType     = pb.NodeType_NODE_TYPE_TOOL_INVOCATION
	agentType    = pb.NodeType_NODE_TYPE_AGENT
	templateType = pb.NodeType_NODE_TYPE_TEMPLATE
)

// world is a machine with a log that it is fed by hand.
type world struct {
	t     T
	m     *fsm.Machine
	index uint64
	stamp int64
	// fed are all entries so far.
	fed []fsm.LogEntry
}

// newWorld is a machine over an empty store in memory that was bootstrapped.
func newWorld(t T) *world { return onStore(t, store.OpenMemory()) }

func onStore(t T, s *store.Store) *world {
	t.Helper()
	w := &world{t: t, m: fsm.New(s), stamp: epoch}
	w.do(bootstrap())
	return w
}

func bootstrap() *logpb.Command {
	return &logpb.Command{Operation: &logpb.Command_Bootstrap{Bootstrap: &logpb.Bootstrap{
		ClusterId: "11111111-2222-4333-8444-555555555555", Lineage: 0xfeedbeef, Key: []byte(strings.Repeat("k", 32)), FeatureLevel: 1,
	}}}
}

// do applies commands as one entry, stamped a second apart.
func (w *world) do(commands ...*logpb.Command) []fsm.Result {
	w.t.Helper()
	return w.apply(w.entry(commands...))
}

// apply applies the next entry.
func (w *world) apply(data []byte) []fsm.Result {
	w.index++
	e := fsm.LogEntry{Index: w.index, Term: 1, Data: data}
	w.fed = append(w.fed, e)
	return w.m.Apply([]fsm.LogEntry{e})[0]
}

func (w *world) entry(commands ...*logpb.Command) []byte {
	w.t.Helper()
	var stamped []*logpb.Stamped
	for _, c := range commands {
		w.stamp += second
		stamped = append(stamped, &logpb.Stamped{Stamp: w.stamp, Command: encode(w.t, c)})
	}
	return entryOf(w.t, stamped...)
}

func entryOf(t T, stamped ...*logpb.Stamped) []byte {
	t.Helper()
	data, err := fsm.EncodeEntry(stamped)
	if err != nil {
		t.Fatalf("encode entry: %v", err)
	}
	return data
}

func encode(t T, c *logpb.Command) []byte {
	t.Helper()
	b, err := fsm.EncodeCommand(c)
	if err != nil {
		t.Fatalf("encode %v: %v", c, err)
	}
	return b
}

// must applies one command that is accepted.
func (w *world) must(c *logpb.Command) fsm.Result {
	w.t.Helper()
	r := w.do(c)[0]
	if r.Err != nil {
		w.t.Fatalf("%v: %v", c, r.Err)
	}
	return r
}

// read runs fn on the present state.
func (w *world) read(fn func(v graph.View)) {
	snap := w.m.Store().Snapshot()
	defer snap.Close()
	fn(snap.View(tenant))
}

func (w *world) system() store.System { return w.m.Store().System() }

// digest is the digest of the state, which must agree with the rows.
func (w *world) digest() [32]byte {
	w.t.Helper()
	snap := w.m.Store().Snapshot()
	defer snap.Close()
	if d, err := snap.Digest(); err != nil || d != snap.System().Digest {
		w.t.Fatalf("the digest that is kept differs from that of the rows: %v", err)
	}
	return fsm.Digest(snap.System())
}

// rows is every row of the store as text, so that stores can be compared byte by byte.
func rows(t T, s *store.Store) []string {
	t.Helper()
	snap := s.Snapshot()
	defer snap.Close()
	var out []string
	err := snap.WalkRows(func(key, value []byte) error {
		out = append(out, fmt.Sprintf("%s [%x] = %x", store.Describe(key), key, value))
		return nil
	})
	if err != nil {
		t.Fatalf("walk of rows: %v", err)
	}
	return out
}

// events decodes the feed of all tenants after a key.
func events(t T, s *store.Store, after store.EventKey) []*logpb.StoredEvent {
	t.Helper()
	snap := s.Snapshot()
	defer snap.Close()
	var out []*logpb.StoredEvent
	for row, err := range snap.Feed(after) {
		e := &logpb.StoredEvent{}
		if err == nil {
			err = proto.Unmarshal(row.Body, e)
		}
		if err != nil {
			t.Fatalf("feed: %v", err)
		}
		out = append(out, e)
	}
	return out
}

// The ids of sessions are UUIDs; tests call them s1, s2, …
func uuidOf(name string) string {
	if len(name) > 1 && name[0] == 's' && strings.Trim(name[1:], "0123456789") == "" {
		return "00000000-0000-4000-8000-" + fmt.Sprintf("%012s", name[1:])
	}
	return name
}

// keyed puts a request id that comes from an idempotency key on a command, and a fingerprint of what was asked.
func keyed(c *logpb.Command, key, asked string) *logpb.Command {
	minted(c, key, asked)
	c.Keyed = true
	return c
}

func minted(c *logpb.Command, key, asked string) *logpb.Command {
	id, print := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(asked))
	c.RequestId, c.Fingerprint = id[:16], print[:16]
	return c
}

func command(op func(c *logpb.Command)) *logpb.Command {
	c := &logpb.Command{Tenant: uint32(tenant)}
	op(c)
	return c
}

func createSession(name string) *logpb.Command {
	return command(func(c *logpb.Command) {
		c.Operation = &logpb.Command_CreateSession{CreateSession: &logpb.CreateSession{Session: &pb.Session{Id: uuidOf(name)}}}
	})
}

func deleteSession(name string) *logpb.Command {
	return command(func(c *logpb.Command) {
		c.Operation = &logpb.Command_DeleteSession{DeleteSession: &logpb.DeleteSession{SessionId: uuidOf(name)}}
	})
}

func closeSession(name string) *logpb.Command {
	return command(func(c *logpb.Command) {
		c.Operation = &logpb.Command_CloseSession{CloseSession: &logpb.CloseSession{SessionId: uuidOf(name)}}
	})
}

func createNodes(nodes ...*pb.Node) *logpb.Command {
	return command(func(c *logpb.Command) {
		c.Operation = &logpb.Command_CreateNodes{CreateNodes: &logpb.CreateNodes{Nodes: nodes}}
	})
}

func updateNode(n *pb.Node, expected *uint64) *logpb.Command {
	return command(func(c *logpb.Command) {
		c.Operation = &logpb.Command_UpdateNode{UpdateNode: &logpb.UpdateNode{Node: n, ExpectedRevision: expected}}
	})
}

func deleteNode(id string, cascade bool) *logpb.Command {
	return command(func(c *logpb.Command) {
		c.Operation = &logpb.Command_DeleteNode{DeleteNode: &logpb.DeleteNode{NodeId: id, Cascade: cascade}}
	})
}

func createEdge(e *pb.Edge) *logpb.Command {
	return command(func(c *logpb.Command) {
		c.Operation = &logpb.Command_CreateEdge{CreateEdge: &logpb.CreateEdge{Edge: e}}
	})
}

func deleteEdge(id string) *logpb.Command {
	return command(func(c *logpb.Command) {
		c.Operation = &logpb.Command_DeleteEdge{DeleteEdge: &logpb.DeleteEdge{EdgeId: id}}
	})
}

func instantiate(template string, revision uint64, prompt *pb.Node, bindings string) *logpb.Command {
	return command(func(c *logpb.Command) {
		c.Operation = &logpb.Command_Instantiate{Instantiate: &logpb.Instantiate{
			TemplateId: template, TemplateRevision: revision, Prompt: prompt, VariableBindings: bindings,
		}}
	})
}

func importing(nodes []*pb.Node, edges []*pb.Edge) *logpb.Command {
	return command(func(c *logpb.Command) {
		c.Operation = &logpb.Command_Import{Import: &logpb.Import{Nodes: nodes, Edges: edges}}
	})
}

func sweep(limit uint32) *logpb.Command {
	return command(func(c *logpb.Command) { c.Operation = &logpb.Command_Sweep{Sweep: &logpb.Sweep{Limit: limit}} })
}

func trim(below uint64, limit uint32) *logpb.Command {
	return &logpb.Command{Operation: &logpb.Command_TrimEvents{TrimEvents: &logpb.TrimEvents{BelowRevision: below, Limit: limit}}}
}

func raise(level uint32) *logpb.Command {
	return &logpb.Command{Operation: &logpb.Command_RaiseFeatureLevel{RaiseFeatureLevel: &logpb.RaiseFeatureLevel{Level: level}}}
}

func aPrompt(id, session string) *pb.Node {
	return checked(&pb.Node{Id: id, NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: uuidOf(session), Content: "content of " + id}}})
}

func aResponse(id, prompt string) *pb.Node {
	return checked(&pb.Node{Id: id, NodeData: &pb.Node_Response{Response: &pb.ResponseNode{
		PromptId: prompt, Content: "content of " + id, TokenUsage: &pb.TokenUsage{PromptTokens: 15, CompletionTokens: 25},
	}}})
}

func aTool(id, response string) *pb.Node {
	return checked(&pb.Node{Id: id, NodeData: &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{
		ResponseId: response, ToolName: "search", Parameters: `{"q":1}`,
	}}})
}

func anAgent(id string) *pb.Node {
	return checked(&pb.Node{Id: id, NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: "agent " + id}}})
}

func aTemplate(id string) *pb.Node {
	return checked(&pb.Node{Id: id, NodeData: &pb.Node_Template{Template: &pb.TemplateNode{
		Name: "template " + id, TemplateText: "Hey {{name}}", Variables: []*pb.VariableSpec{{Name: "name"}},
	}}})
}

func reference(id, from, to string) *pb.Edge {
	return &pb.Edge{Id: id, FromNodeId: from, ToNodeId: to, Type: pb.EdgeType_EDGE_TYPE_REFERENCES}
}

func checked(n *pb.Node) *pb.Node {
	if err := graph.CheckNode("node", n); err != nil {
		panic(err)
	}
	return n
}
