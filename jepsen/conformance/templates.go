package conformance

import (
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

func templateCases() []Case {
	return []Case{
		{Name: "placeholders_are_exact_and_replaced_in_one_pass", Section: "6", Run: placeholders,
			Calls: []string{createTemplate, instantiate}},
		{Name: "required_variables_and_defaults", Section: "6", Run: requiredVariables, Calls: []string{createTemplate, instantiate}},
		{Name: "patterns_are_unanchored_re2_with_unicode_classes", Section: "6", Run: patterns,
			Calls: []string{createTemplate, instantiate}},
		{Name: "type_hints_are_checked_when_known", Section: "6", Run: typeHints, Calls: []string{createTemplate, instantiate}},
		{Name: "template_versions_are_major_minor_patch", Section: "6", Run: versions,
			Calls: []string{createTemplate, createNode}},
		{Name: "malformed_templates_are_refused", Section: "6", Run: malformedTemplates, Calls: []string{createTemplate, createNode}},
		{Name: "a_rendered_prompt_is_checked_like_any", Section: "6", Run: renderedPrompt,
			Calls: []string{createTemplate, instantiate, getNode, query}},
		{Name: "usage_count_rises_with_each_instance", Section: "6", Run: usageCount,
			Calls: []string{instantiate, getNode, getEdges}},
	}
}

// render makes a template of a text and instantiates it.
func (e *Env) render(
	t *testing.T, text string, variables []*graphpb.VariableSpec, values map[string]string,
) (*graphpb.PromptNode, error) {
	t.Helper()
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: text, Variables: variables})
	return e.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
		TemplateId: template.GetId(), SessionId: e.session(t).GetId(), VariableValues: values,
	})
}

func declare(names ...string) []*graphpb.VariableSpec {
	var all []*graphpb.VariableSpec
	for _, name := range names {
		all = append(all, &graphpb.VariableSpec{Name: name})
	}
	return all
}

func placeholders(t *testing.T, e *Env) {
	for _, c := range []struct {
		claim, text string
		declared    []string
		values      map[string]string
		want        string
	}{
		{"a value takes the place", "Hey {{name}}!", []string{"name"}, map[string]string{"name": "Alice"}, "Hey Alice!"},
		{"every place", "{{a}}{{a}}-{{a}}", []string{"a"}, map[string]string{"a": "x"}, "xx-x"},
		{"no spaces inside", "{{ a }} {{a }} {{a}}", []string{"a"}, map[string]string{"a": "x"}, "{{ a }} {{a }} x"},
		{"undeclared places stay", "{{a}} {{b}}", []string{"a"}, map[string]string{"a": "x", "b": "y"}, "x {{b}}"},
		{"a place without a value stays", "{{a}} {{b}}", []string{"a", "b"}, map[string]string{"a": "x"}, "x {{b}}"},
		{"one pass", "{{a}} {{b}}", []string{"a", "b"}, map[string]string{"a": "{{b}}", "b": "{{a}}"}, "{{b}} {{a}}"},
		{"values that build a place", "{{a}}{{b}}", []string{"a", "b", "c"},
			map[string]string{"a": "{{", "b": "c}}", "c": "no"}, "{{c}}"},
		{"braces around", "{{{a}}} {{{{a}}}}", []string{"a"}, map[string]string{"a": "x"}, "{x} {{x}}"},
		{"single braces", "{a} }}{{ {{a", []string{"a"}, map[string]string{"a": "x"}, "{a} }}{{ {{a"},
		{"case counts", "{{Name}} {{name}}", []string{"name"}, map[string]string{"name": "x", "Name": "y"}, "{{Name}} x"},
		{"any characters in names", "{{user name}} {{名前}} {{a.b-c}}", []string{"user name", "名前", "a.b-c"},
			map[string]string{"user name": "1", "名前": "2", "a.b-c": "3"}, "1 2 3"},
		{"values byte for byte", "[{{a}}]", []string{"a"}, map[string]string{"a": "$1 \\1 \x00\u202e\n"}, "[$1 \\1 \x00\u202e\n]"},
		{"an empty value", "[{{a}}]", []string{"a"}, map[string]string{"a": ""}, "[]"},
	} {
		prompt, err := e.render(t, c.text, declare(c.declared...), c.values)
		if err != nil || prompt.GetContent() != c.want {
			t.Errorf("%s: %q became %q, %v; want %q", c.claim, c.text, prompt.GetContent(), err, c.want)
		}
	}
}

func requiredVariables(t *testing.T, e *Env) {
	required := []*graphpb.VariableSpec{{Name: "name", Required: true}}
	invalid(e.render(t, "{{name}}", required, nil))(t, "name", "Required variable 'name' is missing")
	invalid(e.render(t, "no place at all", required, map[string]string{"other": "x"}))(t, "name", "Required variable 'name' is missing")
	withDefault := []*graphpb.VariableSpec{
		{Name: "name", Required: true, DefaultValue: proto.String("you")},
		{Name: "mood", DefaultValue: proto.String("")},
	}
	wantEqual(t, "default", "Hey you, ", must(e.render(t, "Hey {{name}}, {{mood}}", withDefault, nil))(t).GetContent())
	wantEqual(t, "given", "Hey Al, ok",
		must(e.render(t, "Hey {{name}}, {{mood}}", withDefault, map[string]string{"name": "Al", "mood": "ok"}))(t).GetContent())
	wantEqual(t, "undeclared value", "x", must(e.render(t, "x", nil, map[string]string{"y": "z"}))(t).GetContent())
}

func patterns(t *testing.T, e *Env) {
	for _, c := range []struct {
		pattern, value string
		fits           bool
	}{
		{`^[^@\s]+@[^@\s]+\.[a-z]+$`, "alice@example.com", true},
		{`^[^@\s]+@[^@\s]+\.[a-z]+$`, "not-an-e-mail", false},
		{`b+`, "abbc", true},
		{`^\w+$`, "héllo_名前", true},
		{`^\w+$`, "a b", false},
		{`^\d+$`, "٣٤५", true},
		{`^\d+$`, "3x", false},
		{`^a\sb$`, "a\u00a0b", true},
		{`^[\w-]+$`, "é-é", true},
		{`^\W$`, "é", false},
		{`^\D$`, "٣", false},
		{`^.$`, "名", true},
		{`^$`, "", true},
	} {
		variable := []*graphpb.VariableSpec{{Name: "v", ValidationPattern: &c.pattern}}
		prompt, err := e.render(t, "[{{v}}]", variable, map[string]string{"v": c.value})
		switch {
		case c.fits && (err != nil || prompt.GetContent() != "["+c.value+"]"):
			t.Errorf("pattern %s refuses %q: %v", c.pattern, c.value, err)
		case !c.fits:
			invalid(prompt, err)(t, "v", "Variable 'v' value '"+c.value+"' does not match pattern '"+c.pattern+"'")
		}
	}
}

func typeHints(t *testing.T, e *Env) {
	for _, c := range []struct {
		hint, value string
		fits        bool
	}{
		{"string", "anything", true},
		{"integer", "42", true},
		{"integer", "-7", true},
		{"integer", "4.2", false},
		{"integer", "many", false},
		{"integer", "", false},
		{"number", "4.2", true},
		{"number", "-1e3", true},
		{"number", "abc", false},
		{"boolean", "true", true},
		{"boolean", "false", true},
		{"boolean", "maybe", false},
		{"json", `{"a":[1,2,null]}`, true},
		{"json", `"text"`, true},
		{"json", `{"a":`, false},
		{"customer-name", "Müller", true},
		{"", "x", true},
	} {
		variable := []*graphpb.VariableSpec{{Name: "v", TypeHint: c.hint}}
		prompt, err := e.render(t, "[{{v}}]", variable, map[string]string{"v": c.value})
		if c.fits && err != nil {
			t.Errorf("hint %q refuses %q: %v", c.hint, c.value, err)
		} else if !c.fits {
			invalid(prompt, err)(t, "v")
		}
	}
}

func versions(t *testing.T, e *Env) {
	wantEqual(t, "version by default", "1.0.0", e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t"}).GetVersion())
	for _, version := range []string{"0.0.1", "10.20.30"} {
		made := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t", Version: version})
		wantEqual(t, "version", version, made.GetVersion())
	}
	for _, bad := range []string{"1", "1.0", "v1.0.0", "1.0.0.0", "1.0.x", "latest", "1.0.0-beta", "-1.0.0", "1..0", " 1.0.0"} {
		invalid(e.Graph.CreateTemplate(t.Context(), &graphpb.CreateTemplateRequest{
			Template: &graphpb.TemplateNode{Name: "n", TemplateText: "t", Version: bad},
		}))(t, "version")
	}
	node := templateNode("", "n", "t")
	wantEqual(t, "version by default through CreateNode", "1.0.0", e.create(t, node).GetTemplate().GetVersion())
	node.GetTemplate().Version = "one"
	invalid(e.Graph.CreateNode(t.Context(), &graphpb.CreateNodeRequest{Node: node}))(t, "version")
}

func malformedTemplates(t *testing.T, e *Env) {
	many := make([]*graphpb.VariableSpec, 65)
	for i := range many {
		many[i] = &graphpb.VariableSpec{Name: strings.Repeat("v", i+1)}
	}
	for field, variables := range map[string][]*graphpb.VariableSpec{
		"validation_pattern": {{Name: "x", ValidationPattern: proto.String("([a-z")}},
		"name":               {{Name: "x"}, {Name: "x"}},
		"variables":          many,
		"description":        {{Name: "x", Description: strings.Repeat("d", 4097)}},
	} {
		template := &graphpb.TemplateNode{Name: "n", TemplateText: "t", Variables: variables}
		invalid(e.Graph.CreateTemplate(t.Context(), &graphpb.CreateTemplateRequest{Template: template}))(t, field)
		invalid(e.Graph.CreateNode(t.Context(), &graphpb.CreateNodeRequest{
			Node: &graphpb.Node{NodeData: &graphpb.Node_Template{Template: template}},
		}))(t, field)
	}
	for _, name := range []string{"", "a{b", "a}}", strings.Repeat("n", 257)} {
		invalid(e.Graph.CreateTemplate(t.Context(), &graphpb.CreateTemplateRequest{
			Template: &graphpb.TemplateNode{Name: "n", TemplateText: "t", Variables: declare(name)},
		}))(t, "name")
	}
	for _, pattern := range []string{"(?=lookahead)", `(a)\1`, strings.Repeat("a", 1025), "a{5,2}", "[[:nope:]]"} {
		invalid(e.Graph.CreateTemplate(t.Context(), &graphpb.CreateTemplateRequest{Template: &graphpb.TemplateNode{
			Name: "n", TemplateText: "t", Variables: []*graphpb.VariableSpec{{Name: "x", ValidationPattern: &pattern}},
		}}))(t, "validation_pattern")
	}
}

func renderedPrompt(t *testing.T, e *Env) {
	refusal(e.render(t, "{{a}}", declare("a"), map[string]string{"a": ""}))(t, codes.InvalidArgument)
	long := strings.Repeat("x", 600_000)
	refusal(e.render(t, "{{a}}{{a}}", declare("a"), map[string]string{"a": long}))(t, codes.InvalidArgument)
	prompt := must(e.render(t, "{{a}}", declare("a"), map[string]string{"a": long}))(t)
	wantEqual(t, "length", len(long), len(prompt.GetContent()))
	wantEqual(t, "model", "unknown", prompt.GetMetadata().GetModel())
	wantEqual(t, "temperature", 0.7, prompt.GetMetadata().GetTemperature())
	wantRecent(t, "timestamp", prompt.GetTimestamp())
	wantEqual(t, "prompt as read", prompt, e.node(t, prompt.GetId()).GetPrompt())
	found := e.query(t, &graphpb.QueryRequest{SessionId: &prompt.SessionId, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum()})
	wantEqual(t, "prompts of the session", []string{prompt.GetId()}, nodeIDs(found.GetNodes()))
}

func usageCount(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	template := e.template(t, &graphpb.TemplateNode{
		Name: "n", TemplateText: "Hey {{name}}", Variables: []*graphpb.VariableSpec{{Name: "name", Required: true}},
	})
	wantEqual(t, "at first", int64(0), template.GetUsageCount())
	inParallel(t, 20, func(int) error {
		_, err := e.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
			TemplateId: template.GetId(), SessionId: session, VariableValues: map[string]string{"name": "Alice"},
		})
		return err
	})
	invalid(e.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
		TemplateId: template.GetId(), SessionId: session,
	}))(t, "name")
	wantEqual(t, "after 20 and a refusal", int64(20), e.node(t, template.GetId()).GetTemplate().GetUsageCount())
	wantEqual(t, "INSTANTIATES edges", 20, len(e.edges(t, template.GetId(), incoming, instantiates)))
}
