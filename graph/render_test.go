package graph_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func aTemplateOf(text string, variables ...*pb.VariableSpec) *pb.TemplateNode {
	return &pb.TemplateNode{Name: "t", TemplateText: text, Variables: variables}
}

func required(name string) *pb.VariableSpec { return &pb.VariableSpec{Name: name, Required: true} }
func optional(name string) *pb.VariableSpec { return &pb.VariableSpec{Name: name} }

func withDefault(name, value string) *pb.VariableSpec {
	return &pb.VariableSpec{Name: name, Required: true, DefaultValue: proto.String(value)}
}

func withPattern(name, pattern string) *pb.VariableSpec {
	return &pb.VariableSpec{Name: name, ValidationPattern: proto.String(pattern)}
}

func hinted(name, hint string) *pb.VariableSpec { return &pb.VariableSpec{Name: name, TypeHint: hint} }

func TestRender(t *testing.T) {
	email := withPattern("email", `^[\w.]+@\w+\.\w+$`)
	long := strings.Repeat("n", 256)
	for _, c := range []struct {
		name     string
		template *pb.TemplateNode
		values   map[string]string
		want     string // or the message of the refusal
		refused  string // its field
	}{
		{"a value", aTemplateOf("Hey {{name}}, hi {{name}}!", required("name")), map[string]string{"name": "Alice"}, "Hey Alice, hi Alice!", ""},
		{"exact names only", aTemplateOf("{{ name }} {{name }} {{Name}} {name} {{}}", required("name")), map[string]string{"name": "A"}, "{{ name }} {{name }} {{Name}} {name} {{}}", ""},
		{"one pass", aTemplateOf("{{a}}{{b}}", required("a"), required("b")), map[string]string{"a": "{{b}}", "b": "{{a}}"}, "{{b}}{{a}}", ""},
		{"no joining with what follows", aTemplateOf("{{a}}b}}", required("a"), optional("b")), map[string]string{"a": "{{", "b": "x"}, "{{b}}", ""},
		{"undeclared placeholders stay", aTemplateOf("{{x}} {{name}}", required("name")), map[string]string{"name": "A", "x": "y"}, "{{x}} A", ""},
		{"a default", aTemplateOf("{{tone}}", withDefault("tone", "kind")), nil, "kind", ""},
		{"an empty default", aTemplateOf("[{{tone}}]", withDefault("tone", "")), nil, "[]", ""},
		{"a default is not checked", aTemplateOf("{{n}}", &pb.VariableSpec{Name: "n", TypeHint: "integer", DefaultValue: proto.String("many")}), nil, "many", ""},
		{"a value over a default", aTemplateOf("{{tone}}", withDefault("tone", "kind")), map[string]string{"tone": ""}, "make the prompt empty", "variable_values"},
		{"optional and absent", aTemplateOf("{{tone}}", optional("tone")), nil, "{{tone}}", ""},
		{"required and absent", aTemplateOf("{{name}}", required("name")), nil, "Required variable 'name' is missing", "variable_values[name]"},
		{"required and empty", aTemplateOf("<{{name}}>", required("name")), map[string]string{"name": ""}, "<>", ""},
		{"a pattern accepts", aTemplateOf("{{email}}", email), map[string]string{"email": "jö@x.org"}, "jö@x.org", ""},
		{"a pattern refuses", aTemplateOf("{{email}}", email), map[string]string{"email": "nobody"}, `Variable 'email' value 'nobody' does not match pattern '^[\w.]+@\w+\.\w+$'`, "variable_values[email]"},
		{"a pattern is not anchored", aTemplateOf("{{a}}", withPattern("a", "b")), map[string]string{"a": "abc"}, "abc", ""},
		{"a pattern of old that does not compile", aTemplateOf("{{a}}", withPattern("a", "(")), map[string]string{"a": "abc"}, "does not compile", "variable_values[a]"},
		{"three braces", aTemplateOf("{{{a}}}", required("a")), map[string]string{"a": "x"}, "{x}", ""},
		{"an opening that does not close", aTemplateOf("{{b {{a}}", required("a")), map[string]string{"a": "x"}, "{{b x", ""},
		{"the longest name", aTemplateOf("{{"+long+"}}", required(long)), map[string]string{long: "x"}, "x", ""},
		{"a name that is too long to be one", aTemplateOf("{{n"+long+"}}", required(long)), map[string]string{long: "x"}, "{{n" + long + "}}", ""},
		{"umlauts", aTemplateOf("{{größe}}ß", required("größe")), map[string]string{"größe": "ü"}, "üß", ""},
		{"1,000,000 bytes", aTemplateOf("{{a}}{{a}}", required("a")), map[string]string{"a": text(500_000)}, text(1_000_000), ""},
		{"1,000,001 bytes", aTemplateOf("{{a}}{{a}}.", required("a")), map[string]string{"a": text(500_000)}, "more than 1000000 bytes", "variable_values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, bindings, err := graph.Render(c.template, c.values)
			wantField(t, err, c.refused)
			if c.refused != "" {
				if err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %q, want %q", err, c.want)
				}
				if got != "" {
					t.Errorf("a refusal with text %q", got)
				}
				return
			}
			if got != c.want {
				t.Errorf("got %.100q, want %.100q", got, c.want)
			}
			for _, v := range c.template.Variables {
				_, bound := bindings[v.Name]
				_, given := c.values[v.Name]
				if bound != (given || v.DefaultValue != nil) {
					t.Errorf("bindings %v", bindings)
				}
			}
		})
	}
}

func TestTypeHints(t *testing.T) {
	for _, c := range []struct {
		hint    string
		yes, no []string
	}{
		{"string", []string{"", "x"}, nil},
		{"date", []string{"never checked"}, nil},
		{"integer", []string{"0", "-12", "+7", strings.Repeat("9", 100)}, []string{"", "1.0", "1e3", " 1", "٣", "0x1"}},
		{"number", []string{"1", "-1.5", "1e3", ".5"}, []string{"", "NaN", "Inf", "1e999", "one"}},
		{"boolean", []string{"true", "false"}, []string{"", "True", "1", "yes"}},
		{"json", []string{"{}", `"x"`, "1", "null", "[1,2]"}, []string{"", "{", "x", "{}{}"}},
	} {
		for _, v := range c.yes {
			if _, _, err := graph.Render(aTemplateOf("x{{v}}", hinted("v", c.hint)), map[string]string{"v": v}); err != nil {
				t.Errorf("%s %q: %v", c.hint, v, err)
			}
		}
		for _, v := range c.no {
			_, _, err := graph.Render(aTemplateOf("x{{v}}", hinted("v", c.hint)), map[string]string{"v": v})
			var refusal *graph.Error
			if !errors.As(err, &refusal) || refusal.Field != "variable_values[v]" || !strings.Contains(refusal.Message, "not of type "+c.hint) {
				t.Errorf("%s %q: got %v", c.hint, v, err)
			}
		}
	}
}

// TestRenderIsOnePass compares with a rendering that knows where its placeholders are.
func TestRenderIsOnePass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "long name", "ü"}
		values := map[string]string{}
		var specs []*pb.VariableSpec
		for _, n := range names {
			values[n] = rapid.StringMatching(`[{}ab ]{0,6}`).Draw(t, "value")
			specs = append(specs, required(n))
		}
		var text, want strings.Builder
		for range rapid.IntRange(1, 20).Draw(t, "parts") {
			if rapid.Bool().Draw(t, "placeholder") {
				n := rapid.SampledFrom(names).Draw(t, "name")
				text.WriteString("{{" + n + "}}")
				want.WriteString(values[n])
			} else {
				s := rapid.StringMatching(`[ab }]{0,4}[ab ]`).Draw(t, "text")
				text.WriteString(s)
				want.WriteString(s)
			}
		}
		got, bindings, err := graph.Render(aTemplateOf(text.String(), specs...), values)
		if want.Len() == 0 {
			if err == nil {
				t.Fatal("an empty prompt")
			}
			return
		}
		if err != nil || got != want.String() {
			t.Fatalf("%q with %q: got %q, %v; want %q", text.String(), values, got, err, want.String())
		}
		if diff := cmp.Diff(values, bindings); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestRenderIsLinear: a quadratic rendering of these would take minutes.
func TestRenderIsLinear(t *testing.T) {
	var names []*pb.VariableSpec
	values := map[string]string{}
	for i := range 64 {
		n := strings.Repeat("a", 200) + string(rune('A'+i))
		names = append(names, required(n))
		values[n] = ""
	}
	for name, unit := range map[string]string{
		"openings": "{{", "braces": "{", "almost": "{{aaaa", "closings": "}}", "names": "{{" + strings.Repeat("a", 200) + "A", "pairs": "{{}}",
	} {
		start := time.Now()
		tmpl := aTemplateOf(strings.Repeat(unit, graph.MaxContentBytes/len(unit)), names...)
		if _, _, err := graph.Render(tmpl, values); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(start); d > time.Minute {
			t.Errorf("%s: %v", name, d)
		}
	}
	// A value that is put in at every place: it stops at the bound and does not build the whole.
	tmpl := aTemplateOf(strings.Repeat("{{a}}", 200_000), required("a"))
	if _, _, err := graph.Render(tmpl, map[string]string{"a": text(1_000_000)}); err == nil {
		t.Error("200 GB were rendered")
	}
}
