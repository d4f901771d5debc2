package importer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func TestFreeNames(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no Jinja", "a {b} ${c} }} %}", ""},
		{"once each", "{{a}}{{ b }}{{- a -}}", "a b"},
		{"members", "{{a.b.c}} {{ d[e] }} {{ f | g(h) | i }} {{ j is k }} {{ l is not m }} {{ n(o=p) }} {{ q == r }}", "a d e f h j l n p q r"},
		{"words of the language", "{{ a and not b or c in d if true else none }}", "a b c d"},
		{"strings", `{{ "a }} b" ~ 'c\'d' }}{{ e }}`, "e"},
		{"brackets", "{{ {'a': {'b': c}} }}{{ d }}", "c d"},
		{"loop", "{% for a, b in c %}{{ a }}{{ b }}{{ loop.index }}{{ d }}{% else %}{{ a }}{% endfor %}{{ b }}", "c d a b"},
		{"loop with a condition", "{%- for a in b if a.c == d -%}{{ a }}{%- endfor -%}{{ a }}", "b d a"},
		{"set", "{{ a }}{% set a = b %}{{ a }}{% set c.d = e %}{{ c }}", "a b e"},
		{"set for good", "{% if a %}{% set b = 1 %}{% elif c %}{% endif %}{{ b }}", "a c"},
		{"with", "{% with a = b, c = (d, e) %}{{ a }}{{ c }}{% endwith %}{{ a }}", "b d e a"},
		{"macro", "{% macro m(a, b=1) %}{{ a }}{{ c }}{% endmacro %}{{ m(1) }}{{ a }}", "c a"},
		{"comment and raw", "{# {{a}} #}{% raw %}{{b}}{% endraw %}{%- raw -%}{{c}}{%- endraw -%}{{d}}", "d"},
		{"not closed", "{{ a }}{{ b {% if c %}", "a"},
		{"closed too often", "{% endfor %}{% endif %}{{ a }}{% endwith %}", "a"},
		{"other letters", "{{ größe }}", "größe"},
		{"at the end", "{", ""},
	}
	for _, tt := range tests {
		if got := strings.Join(freeNames(tt.text), " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestFreeNamesAreFoundInOnePass looks through long texts that tempt to begin again at each mark.
func TestFreeNamesAreFoundInOnePass(t *testing.T) {
	for _, part := range []string{"{{", "{%", "{#", "{{ a ", "{{ '", "{% raw %}", "{% for a in b %}", "{{ a }}", "{{(((", "{% with a = b, "} {
		freeNames(strings.Repeat(part, 250_000/len(part)))
	}
}

// TestPromptSourceTextsAreByteIdentical decodes the files into structs and looks each template up by its id.
func TestPromptSourceTextsAreByteIdentical(t *testing.T) {
	nodes, edges := readAll(t, "promptsource")
	byID := make(map[string]*pb.TemplateNode)
	variables := 0
	for _, n := range nodes {
		byID[n.Id] = n.GetTemplate()
		variables += len(n.GetTemplate().Variables)
	}
	paths := 0
	sources, _, err := Sources([]string{filepath.Join(dataRoot(t), "promptsource")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		var file struct {
			Dataset, Subset string
			Templates       map[string]struct {
				Name, Jinja, Reference string
				Choices                *string `yaml:"answer_choices"`
			}
		}
		r, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.NewDecoder(r).Decode(&file); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for id, want := range file.Templates {
			paths++
			got := byID[id]
			choices := ""
			if want.Choices != nil {
				choices = *want.Choices
			}
			if diff := cmp.Diff([]string{want.Name, want.Jinja, want.Reference, choices, file.Dataset, file.Subset},
				[]string{got.GetName(), got.GetTemplateText(), got.GetMetadata()["reference"], got.GetMetadata()["answer_choices"], got.GetMetadata()["dataset"], got.GetMetadata()["subset"]}); diff != "" {
				t.Errorf("template %s of %s (-file +record):\n%s", id, s.Name, diff)
			}
		}
	}
	if paths != 678 || len(nodes) != 678 {
		t.Errorf("%d templates in the files, %d records; want 678", paths, len(nodes))
	}
	// jinja2.meta.find_undeclared_variables finds as many. The README counts 1808: the names right behind each "{{", which
	// leaves out those in {% %} and in brackets, and takes in those of loops.
	if variables != 2211 {
		t.Errorf("%d variables, want 2211", variables)
	}
	if got := countEdges(edges, pb.EdgeType_EDGE_TYPE_INHERITS); got == 0 {
		t.Error("no template inherits")
	}
}

// TestAliasesAreBounded reads files that stand for far more than they hold.
func TestAliasesAreBounded(t *testing.T) {
	var many strings.Builder
	fmt.Fprintf(&many, "dataset: d\ntemplates:\n  first: {jinja: &long %q, name: first}\n", strings.Repeat("x", 100_000))
	for i := range 1000 {
		fmt.Fprintf(&many, "  t%d: {jinja: *long, name: n%d}\n", i, i)
	}
	tests := []struct{ name, text, want string }{
		{"many", many.String(), "aliases of the file stand for more than"},
		{"in a circle", "dataset: d\ntemplates: &a\n  b: *a\n", "template b has no jinja text"},
		{"of itself", "dataset: d\ntemplates:\n  b: &a [*a, *a]\n", "template b has no jinja text"},
		{"too large", "dataset: d\ntemplates:\n" + strings.Repeat("#", maxTemplateFileBytes), "too large"},
		{"deep", "dataset: d\ntemplates:\n  a: " + strings.Repeat("[", 100_000), "yaml:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := story(t, textSource("a.yaml", tt.text), FormatAuto)
			if !strings.Contains(got, tt.want) || strings.Count(got, "template n") > 20 {
				t.Errorf("got %d bytes:\n%.1000s\nwant %q", len(got), got, tt.want)
			}
		})
	}
}
