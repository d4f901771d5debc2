package importer

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestShapes reads each sample in testdata/shapes, a file or a folder of files that need each other, and compares all
// records and problems with the golden file beside it.
func TestShapes(t *testing.T) {
	samples, err := filepath.Glob(filepath.Join("testdata", "shapes", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range samples {
		if filepath.Ext(path) == ".golden" {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			sources, _, err := Sources([]string{path}, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			for _, s := range sources {
				s.Name = filepath.Base(s.Name)
				got += story(t, s, FormatAuto)
			}
			golden := path + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("run with -update to accept (-want +got):\n%s", diff)
			}
		})
	}
}

func textSource(name, text string) Source {
	open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	return Source{Name: name, Open: open, Size: int64(len(text))}
}

// story tells what a source turns into, one record a line, with short names in place of ids.
func story(t *testing.T, s Source, f Format) string {
	t.Helper()
	var b strings.Builder
	problem := func(where, format string, args ...any) {
		fmt.Fprintf(&b, "! %s\n", Problem{s.Name, where, fmt.Sprintf(format, args...)})
	}
	note := func(where, format string, args ...any) {
		fmt.Fprintf(&b, "~ %s\n", Note{s.Name, where, fmt.Sprintf(format, args...)})
	}
	r := &reader{source: s, format: f, problem: problem, note: note}
	err := r.each(t.Context(), func(g Graph) error {
		tell(&b, g)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func tell(b *strings.Builder, g Graph) {
	names := make(map[string]string)
	counts := make(map[string]int)
	name := func(n *pb.Node) string {
		kind := strings.ToLower(strings.TrimPrefix(n.Type.String(), "NODE_TYPE_"))[:1]
		if names[n.Id] == "" {
			counts[kind]++
			names[n.Id] = fmt.Sprintf("%s%d", kind, counts[kind])
		}
		return names[n.Id]
	}
	for _, n := range g.Shared {
		if names[n.Id] != "" {
			continue
		}
		if n.Type == pb.NodeType_NODE_TYPE_AGENT {
			names[n.Id] = "agent:" + n.GetAgent().Name
			continue
		}
		names[n.Id] = n.GetTemplate().Name
		fmt.Fprintf(b, "template %s %q%s\n", n.GetTemplate().Name, n.GetTemplate().TemplateText, specifics(n.GetTemplate()))
	}
	for _, n := range g.Nodes {
		id := name(n)
		switch d := n.NodeData.(type) {
		case *pb.Node_Session:
			fmt.Fprintf(b, "session %s%s %s\n", id, at(d.Session.CreatedAt), attributes(d.Session.Metadata))
		case *pb.Node_Prompt:
			m := d.Prompt.Metadata
			fmt.Fprintf(b, "  prompt %s%s %q model=%s temperature=%g tools=%v %s\n", id, at(d.Prompt.Timestamp), d.Prompt.Content, m.Model, m.Temperature, m.ToolsAvailable, attributes(m.Custom))
		case *pb.Node_Response:
			m, u := d.Response.Metadata, d.Response.TokenUsage
			fmt.Fprintf(b, "  response %s%s to %s %q model=%s finish=%s latency=%d tokens=%d+%d=%d %s\n", id, at(d.Response.Timestamp), names[d.Response.PromptId],
				d.Response.Content, m.Model, m.FinishReason, m.LatencyMs, u.PromptTokens, u.CompletionTokens, u.TotalTokens, attributes(m.Custom))
		case *pb.Node_ToolInvocation:
			v := d.ToolInvocation
			fmt.Fprintf(b, "  tool %s%s of %s %s(%s) %s result=%q error=%q %dms %s\n", id, at(v.Timestamp), names[v.ResponseId], v.ToolName, v.Parameters, v.Status, v.GetResult(), v.GetError(), v.DurationMs, attributes(v.Metadata))
		}
	}
	for _, e := range g.Edges {
		fmt.Fprintf(b, "  %s %s -> %s %s\n", strings.TrimPrefix(e.Type.String(), "EDGE_TYPE_"), names[e.FromNodeId], names[e.ToNodeId], attributes(e.Properties))
	}
}

// specifics are what a template says besides its name and text, when it says something.
func specifics(t *pb.TemplateNode) string {
	var b strings.Builder
	for _, v := range t.Variables {
		fmt.Fprintf(&b, " var=%q required=%t", v.Name, v.Required)
		if v.DefaultValue != nil {
			fmt.Fprintf(&b, " default=%q", *v.DefaultValue)
		}
	}
	if len(t.Metadata) > 0 {
		b.WriteString(" " + attributes(t.Metadata))
	}
	return b.String()
}

func at(ts interface {
	GetSeconds() int64
	GetNanos() int32
}) string {
	if ts.GetSeconds() == 0 {
		return ""
	}
	return fmt.Sprintf("@%d.%09d", ts.GetSeconds(), ts.GetNanos())
}

func attributes(m map[string]string) string {
	var all []string
	for k, v := range m {
		if k != "import_source" {
			all = append(all, fmt.Sprintf("%s=%q", k, v))
		}
	}
	sort.Strings(all)
	return "{" + strings.Join(all, " ") + "}"
}
