package fsm_test

import (
	"fmt"

	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// generated are lists of commands over few ids, so that they meet: accepted ones, refused ones, retries. What they do
// does not depend on revisions but for the template m0, which is at the revision given when it is there at all.
func generated(templateRevision uint64) *rapid.Generator[[]*logpb.Command] {
	return rapid.Custom(func(t *rapid.T) []*logpb.Command {
		g := generator{t, templateRevision}
		commands := []*logpb.Command{createSession("s1"), createNodes(aTemplate("m0"))}
		for range rapid.IntRange(0, 60).Draw(t, "commands") {
			commands = append(commands, g.command())
		}
		return commands
	})
}

type generator struct {
	t        *rapid.T
	template uint64
}

func (g generator) pick(label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(g.t, label)
}

func (g generator) session() string { return g.pick("session", "s1", "s1", "s2", "s3") }
func (g generator) id() string {
	return g.pick("id", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9")
}
func (g generator) edge() string { return g.pick("edge", "e1", "e2", "e3", "e4") }

func (g generator) node() *pb.Node {
	id := g.id()
	switch rapid.IntRange(0, 9).Draw(g.t, "kind") {
	case 0, 1, 2, 3:
		n := aPrompt(id, g.session())
		if rapid.Bool().Draw(g.t, "timed") {
			n.GetPrompt().Timestamp = graph.Timestamp(epoch + rapid.Int64Range(-100, 100).Draw(g.t, "time")*second)
		}
		return n
	case 4, 5, 6:
		n := aResponse(id, g.id())
		n.GetResponse().Metadata.Model = g.pick("model", "a", "b")
		return n
	case 7, 8:
		n := aTool(id, g.id())
		n.GetToolInvocation().Status = g.pick("status", "pending", "failed")
		return n
	default:
		return anAgent(id)
	}
}

func (g generator) command() *logpb.Command {
	c := g.operation()
	switch rapid.IntRange(0, 5).Draw(g.t, "request id") {
	case 0:
		return keyed(c, g.pick("key", "k1", "k2", "k3"), fmt.Sprint(c.ProtoReflect().WhichOneof(operations()).Name()))
	case 1:
		return minted(c, fmt.Sprint(rapid.IntRange(0, 20).Draw(g.t, "minted")), "same")
	}
	return c
}

func (g generator) operation() *logpb.Command {
	switch rapid.IntRange(0, 19).Draw(g.t, "operation") {
	case 0:
		return createSession(g.session())
	case 1:
		return closeSession(g.pick("session", "s2", "s3"))
	case 2:
		return deleteSession(g.session())
	case 3, 4:
		return deleteNode(g.pick("id", "n1", "n2", "n3", "n4", "n5"), rapid.Bool().Draw(g.t, "cascade"))
	case 5, 6:
		return createEdge(reference(g.edge(), g.id(), g.id()))
	case 7:
		return deleteEdge(g.edge())
	case 8:
		return updateNode(g.node(), nil)
	case 9:
		n := aPrompt(g.id(), g.session())
		return instantiate("m0", g.template, n, "{}")
	case 10:
		n := g.node()
		if n.GetPrompt() != nil {
			n.SessionId = n.GetPrompt().SessionId
		}
		return importing([]*pb.Node{n}, []*pb.Edge{reference(g.edge(), n.Id, g.id())})
	case 11:
		return sweep(uint32(rapid.IntRange(0, 100).Draw(g.t, "limit")))
	case 12:
		var nodes []*pb.Node
		for range rapid.IntRange(0, 4).Draw(g.t, "nodes") {
			nodes = append(nodes, g.node())
		}
		return createNodes(nodes...)
	case 13:
		return trim(3, uint32(rapid.IntRange(0, 3).Draw(g.t, "limit")))
	default:
		return createNodes(g.node())
	}
}
