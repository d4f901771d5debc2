package fsm_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const goldenDir = "testdata/golden"

// golden is a log that was written once: the entries from the first on, and the digest that they end in.
type golden struct {
	entries [][]byte
	digest  string
}

func readGolden(t testing.TB, name string) golden {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		kind, body, _ := strings.Cut(line, " ")
		b, err := hex.DecodeString(body)
		switch {
		case err != nil:
			t.Fatalf("%s:%d: %v", name, i+1, err)
		case kind == "entry":
			g.entries = append(g.entries, b)
		case kind == "digest":
			g.digest = body
		default:
			t.Fatalf("%s:%d: %s", name, i+1, kind)
		}
	}
	return g
}

func (g golden) replay(t *testing.T) *fsm.Machine {
	t.Helper()
	m := fsm.New(store.OpenMemory())
	for i, e := range g.entries {
		m.Apply([]fsm.LogEntry{{Index: uint64(i) + 1, Term: 1, Data: e}})
	}
	return m
}

// TestGoldenEntriesReplay: what was written to a log is read for ever, and means the same for ever. -rewrite makes files
// that are missing; one that is there is never to be changed.
func TestGoldenEntriesReplay(t *testing.T) {
	for name, commands := range goldenLogs() {
		file := filepath.Join(goldenDir, name+".hex")
		if _, err := os.Stat(file); *rewrite && os.IsNotExist(err) {
			writeGolden(t, file, commands)
		}
	}
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		g := readGolden(t, filepath.Base(f))
		d := fsm.Digest(g.replay(t).Store().System())
		if got := hex.EncodeToString(d[:]); got != g.digest {
			t.Errorf("%s ends in digest %s, it was %s when it was written", f, got, g.digest)
		}
	}
}

// TestEveryCommandHasAGoldenEntry names the kinds of commands by reflection, so that a new one cannot be forgotten.
func TestEveryCommandHasAGoldenEntry(t *testing.T) {
	kinds := (&logpb.Command{}).ProtoReflect().Descriptor().Oneofs().ByName("operation").Fields()
	for i := range kinds.Len() {
		name := string(kinds.Get(i).Name())
		if _, err := os.Stat(filepath.Join(goldenDir, name+".hex")); err != nil {
			t.Errorf("%v: add a log to goldenLogs and run go test ./fsm -run Golden -rewrite", err)
			continue
		}
		found := false
		for _, data := range readGolden(t, name+".hex").entries {
			stamped, err := fsm.DecodeEntry(data)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range stamped {
				c, err := fsm.DecodeCommand(s.Command)
				if err != nil {
					t.Fatal(err)
				}
				found = found || c.ProtoReflect().Has(kinds.Get(i))
			}
		}
		if !found {
			t.Errorf("%s.hex holds no command of that kind", name)
		}
	}
}

func writeGolden(t *testing.T, file string, commands []*logpb.Command) {
	t.Helper()
	w := &world{t: t, m: fsm.New(store.OpenMemory()), stamp: epoch}
	var out strings.Builder
	for _, c := range commands {
		data := w.entry(c)
		w.index++
		for _, r := range w.m.Apply([]fsm.LogEntry{{Index: w.index, Term: 1, Data: data}})[0] {
			if r.Err != nil {
				t.Fatalf("%v: %v", c, r.Err)
			}
		}
		fmt.Fprintf(&out, "entry %x\n", data)
	}
	fmt.Fprintf(&out, "digest %x\n", w.digest())
	if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// goldenLogs has for each kind of command a log that ends in it, with every field of it set.
func goldenLogs() map[string][]*logpb.Command {
	session := createSession("s1")
	session.GetCreateSession().Session.Metadata = map[string]string{"team": "blue", "b": "", "ü": "\u2028"}
	keyed(session, "key", "create s1")
	p1, p2, r1, t1 := fullPrompt(), aPrompt("p2", "s1"), fullResponse(), fullTool()
	base := []*logpb.Command{bootstrap(), session, keyed(createNodes(p1, p2, r1, t1, fullAgent(), fullTemplate()), "nodes", "x")}
	with := func(more ...*logpb.Command) []*logpb.Command {
		var log []*logpb.Command
		for _, c := range append(base, more...) {
			log = append(log, proto.CloneOf(c))
		}
		return log
	}
	updated := aPrompt("p2", "s1")
	updated.GetPrompt().Content = "changed"
	edge := reference("e1", "p1", "a1")
	edge.Properties = map[string]string{"relevance_score": "0.5", "context_type": "memory", "": "free"}
	rendered := aPrompt("p3", "s1")
	rendered.GetPrompt().Content = "Hey Ada"
	large := []*logpb.Command{}
	for i := range 10 {
		var nodes []*pb.Node
		for j := range 100 {
			nodes = append(nodes, aPrompt(fmt.Sprint("x", i, "-", j), "s1"))
		}
		large = append(large, createNodes(nodes...))
	}
	return map[string][]*logpb.Command{
		"bootstrap":           {bootstrap()},
		"create_session":      {bootstrap(), session},
		"create_nodes":        with(),
		"close_session":       with(minted(closeSession("s1"), "c", "close")),
		"delete_session":      with(deleteSession("s1")),
		"update_node":         with(updateNode(updated, proto.Uint64(3))),
		"delete_node":         with(deleteNode("p1", true), deleteNode("p2", false)),
		"create_edge":         with(createEdge(edge)),
		"delete_edge":         with(createEdge(edge), deleteEdge("e1")),
		"instantiate":         with(instantiate("m1", 3, rendered, `{"name":"Ada"}`)),
		"import":              with(importing(importedNodes(), importedEdges())),
		"sweep":               with(append(large, deleteSession("s1"), sweep(1000))...),
		"trim_events":         with(trim(3, 1)),
		"raise_feature_level": with(raise(1)),
	}
}

func fullPrompt() *pb.Node {
	n := aPrompt("p1", "s1")
	p := n.GetPrompt()
	p.Timestamp = graph.Timestamp(epoch - 5)
	p.Metadata = &pb.PromptMetadata{Model: "gpt-4", Temperature: 0.3, MaxTokens: proto.Int32(0), ToolsAvailable: []string{"search", ""}, Custom: map[string]string{"z": "1", "a": "2"}}
	return n
}

func fullResponse() *pb.Node {
	n := aResponse("r1", "p1")
	n.GetResponse().Timestamp = graph.Timestamp(epoch - 4)
	n.GetResponse().Metadata = &pb.ResponseMetadata{Model: "gpt-4", FinishReason: "tool_calls", LatencyMs: 120, Custom: map[string]string{"k": "v"}}
	return n
}

func fullTool() *pb.Node {
	n := aTool("t1", "r1")
	t := n.GetToolInvocation()
	t.Status, t.Result, t.DurationMs, t.RetryCount, t.Metadata = "success", proto.String(""), 450, 2, map[string]string{"k": "v"}
	return n
}

func fullAgent() *pb.Node {
	n := anAgent("a1")
	a := n.GetAgent()
	a.Role, a.Capabilities, a.Metadata = "writer", []string{"x", "y"}, map[string]string{"k": "v"}
	return n
}

func fullTemplate() *pb.Node {
	n := aTemplate("m1")
	m := n.GetTemplate()
	m.Version, m.Metadata = "1.2.3", map[string]string{"k": "v"}
	m.Variables = []*pb.VariableSpec{{
		Name: "name", TypeHint: "string", Required: true, DefaultValue: proto.String("you"), ValidationPattern: proto.String(`\w+`), Description: "who",
	}}
	return n
}

func importedNodes() []*pb.Node {
	s := &pb.Node{Id: uuidOf("s2"), NodeData: &pb.Node_Session{Session: &pb.Session{
		Id: uuidOf("s2"), CreatedAt: graph.Timestamp(epoch - 9), UpdatedAt: graph.Timestamp(epoch - 1), IsActive: true,
	}}}
	p := aPrompt("i1", "s2")
	p.SessionId, p.CreatedAt, p.GetPrompt().Timestamp = uuidOf("s2"), graph.Timestamp(epoch-8), graph.Timestamp(epoch-8)
	r := aResponse("i2", "i1")
	m := aTemplate("i3")
	m.GetTemplate().UsageCount, m.GetTemplate().CreatedAt = 12, graph.Timestamp(epoch-7)
	for _, n := range []*pb.Node{s, p, r, m} {
		if err := graph.CheckImport("node", n); err != nil {
			panic(err)
		}
	}
	return []*pb.Node{s, p, r, m}
}

func importedEdges() []*pb.Edge {
	return []*pb.Edge{
		{Id: "f1", FromNodeId: "i1", ToNodeId: uuidOf("s2"), Type: pb.EdgeType_EDGE_TYPE_BELONGS_TO, CreatedAt: graph.Timestamp(epoch - 6)},
		{Id: "f2", FromNodeId: "i2", ToNodeId: "i1", Type: pb.EdgeType_EDGE_TYPE_RESPONDS_TO, Properties: map[string]string{"model": "x"}},
	}
}
