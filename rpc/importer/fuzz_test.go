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

// FuzzRead feeds any bytes to the reader. Whatever comes out must be records that the graph accepts: ids used once, but for
// sessions that are known by a key, which may be told again as long as they are the same; each record after those it refers to, texts valid and within their limits; and the same bytes give the same records.
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
	for _, folder := range []string{"arena", "mtbench", "vicuna"} {
		f.Add(folder+".jsonl", wholeFolder(f, filepath.Join("testdata", "shapes", folder)))
	}
	f.Fuzz(func(t *testing.T, name string, raw []byte) {
		first := checkedRead(t, besideItself(name, string(raw)))
		second := checkedRead(t, besideItself("again/"+name, string(raw)))
		if diff := cmp.Diff(first, second, protocmp.Transform()); diff != "" {
			t.Errorf("two reads differ:\n%s", diff)
		}
	})
}

// wholeFolder is the text of all samples in a folder.
func wholeFolder(f *testing.F, path string) []byte {
	f.Helper()
	var all []byte
	samples, _, err := Sources([]string{path}, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range samples {
		raw, err := os.ReadFile(s.Name)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, raw...)
	}
	return all
}

// besideItself is a source whose text stands in every file beside it, too, for formats whose files need each other.
func besideItself(name, text string) Source {
	s := textSource(name, text)
	s.Beside = func(string) (Source, error) { return textSource(name, text), nil }
	return s
}

func checkedRead(t *testing.T, s Source) []proto.Message {
	t.Helper()
	var all []proto.Message
	seen, keyed := make(map[string]bool), make(map[string]proto.Message)
	again := func(id string, told proto.Message, g Graph) bool {
		old, twice := keyed[id]
		if twice && !proto.Equal(old, told) {
			t.Errorf("two records have one id:\n%s", cmp.Diff(old, told, protocmp.Transform()))
		}
		if g.Keyed {
			keyed[id] = told
		}
		return twice
	}
	ignore := func(string, string, ...any) {}
	r := &reader{source: s, problem: ignore}
	err := r.each(t.Context(), func(g Graph) error {
		if len(g.Lines) > 0 {
			all = append(all, checkVerbatim(t, g)...)
			return nil
		}
		for _, n := range g.Shared {
			seen[n.Id] = true
			all = append(all, n)
		}
		for _, n := range g.Nodes {
			if again(n.Id, n, g) {
				continue
			}
			if seen[n.Id] || n.SessionId != "" && !seen[n.SessionId] {
				t.Errorf("node %v comes twice or before its session", n)
			}
			seen[n.Id] = true
			checkNode(t, n)
			all = append(all, n)
		}
		for _, e := range g.Edges {
			if again(e.Id, e, g) {
				continue
			}
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

// checkVerbatim asks the graph's own rules for what is to be written as it stands: order and ids are those of the file.
func checkVerbatim(t *testing.T, g Graph) (all []proto.Message) {
	t.Helper()
	for _, n := range g.Nodes {
		was := proto.CloneOf(n)
		if err := graph.CheckImport("node", n); err != nil || !proto.Equal(was, n) {
			t.Errorf("the graph refuses or changes %v: %v", was, err)
		}
		all = append(all, n)
	}
	for _, e := range g.Edges {
		if err := graph.CheckImportEdge("edge", e); err != nil {
			t.Errorf("the graph refuses %v: %v", e, err)
		}
		all = append(all, e)
	}
	if len(all) != len(g.Lines) {
		t.Errorf("%d records of %d lines", len(all), len(g.Lines))
	}
	for _, m := range all {
		if _, err := proto.Marshal(m); err != nil {
			t.Error(err)
		}
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
