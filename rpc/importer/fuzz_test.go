package importer

import (
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// FuzzRead feeds any bytes to the reader. Whatever comes out must be records that the graph accepts: ids used once, each
// record after those it refers to, texts valid and within their limits; and the same bytes give the same records.
func FuzzRead(f *testing.F) {
	samples, _, err := Sources([]string{filepath.Join("testdata", "shapes")}, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range samples {
		raw, err := os.ReadFile(s.Name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Base(s.Name), raw)
	}
	f.Fuzz(func(t *testing.T, name string, raw []byte) {
		first := checkedRead(t, textSource(name, string(raw)))
		second := checkedRead(t, textSource("again/"+name, string(raw)))
		if diff := cmp.Diff(first, second, protocmp.Transform()); diff != "" {
			t.Errorf("two reads differ:\n%s", diff)
		}
	})
}

func checkedRead(t *testing.T, s Source) []proto.Message {
	t.Helper()
	var all []proto.Message
	seen := make(map[string]bool)
	ignore := func(string, string, ...any) {}
	r := &reader{source: s, problem: ignore}
	err := r.each(t.Context(), func(g Graph) error {
		for _, n := range g.Shared {
			seen[n.Id] = true
			all = append(all, n)
		}
		for _, n := range g.Nodes {
			if seen[n.Id] || n.SessionId != "" && !seen[n.SessionId] {
				t.Errorf("node %v comes twice or before its session", n)
			}
			seen[n.Id] = true
			checkNode(t, n)
			all = append(all, n)
		}
		for _, e := range g.Edges {
			if seen[e.Id] || !seen[e.FromNodeId] || !seen[e.ToNodeId] {
				t.Errorf("edge %v comes twice or before its ends", e)
			}
			seen[e.Id] = true
			all = append(all, e)
		}
		return nil
	})
	if err != nil {
		t.Logf("read: %v", err)
	}
	return all
}

// checkNode asks the graph's own rules; sessions come by no call that checks a node.
func checkNode(t *testing.T, n *pb.Node) {
	t.Helper()
	raw, err := proto.Marshal(n)
	if err != nil || !utf8.ValidString(n.Id) {
		t.Errorf("node %v: %v", n, err)
	}
	if n.Type == pb.NodeType_NODE_TYPE_SESSION {
		if m := n.GetSession().Metadata; len(m) > graph.MaxMetadataEntries {
			t.Errorf("session has %d entries of metadata", len(m))
		}
		return
	}
	if err := graph.CheckNode("node", n); err != nil {
		t.Errorf("the graph refuses %v: %v", n, err)
	}
	var before pb.Node
	if err := proto.Unmarshal(raw, &before); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&before, n, protocmp.Transform()); diff != "" {
		t.Errorf("the graph fills in what the import should have said (-import +graph):\n%s", diff)
	}
}
