package importer

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseCall(t *testing.T) {
	tests := []struct{ text, name, want string }{
		{`f()`, "f", `{}`},
		{` a.b.c ( ) `, "a.b.c", `{}`},
		{`f(x='a', y = "b",)`, "f", `{"x":"a","y":"b"}`},
		{`f('a', 2)`, "f", `{"first":"a","second":2}`},
		{`f('a', second=2)`, "f", `{"first":"a","second":2}`},
		{`f('a', first=2)`, "", ``},
		{`f(1, 2, 3)`, "f", `{"args":[1,2,3]}`},
		{`f(1, 2, 3, args=4)`, "", ``},
		{`f(x=1, 2)`, "", ``},
		{`f(a=1, a=1)`, "", ``},
		{`f(a=[1, -2.50, 1e5, 1_000, +3, .5, 1., []], b=(), c=(1,), d=(1), e={'k': {"n": None}, "z": True}, g=False)`, "f",
			`{"a":[1,-2.50,1e5,1000,3,0.5,1,[]],"b":[],"c":[1],"d":1,"e":{"k":{"n":null},"z":true},"g":false}`},
		{`f(a='it\'s', b="\"", c='\n\t\\', d='\d', e='\x41\u00e9\U0001F600', g='''x'y
z''', h='a' "b", i='<&>ü')`, "f", `{"a":"it's","b":"\"","c":"\n\t\\","d":"\\d","e":"Aé😀","g":"x'y\nz","h":"ab","i":"<&>ü"}`},
		{"f(a='\\\nb')", "f", `{"a":"b"}`},
		{`f(a='\ud83d')`, "", ``}, {`f(a='\N{DASH}')`, "", ``}, {`f(a='\01')`, "", ``}, {`f(a='\x4')`, "", ``}, {`f(a='\`, "", ``},
		{`f(a='open)`, "", ``}, {"f(a='line\nbreak')", "", ``}, {`f(a=g(1))`, "", ``}, {`f(a=b)`, "", ``}, {`f(a=1+2)`, "", ``},
		{`f(a={1: 2})`, "", ``}, {`f(a={'b'})`, "", ``}, {`f(a=0x1)`, "", ``}, {`f(a=1-2)`, "", ``}, {`f(a==1)`, "", ``}, {`f(a=[1 2])`, "", ``},
		{`f(a={'b': 1 'c': 2})`, "", ``}, {`f(a`, "", ``}, {`f(a=1) or 2`, "", ``}, {`(a)`, "", ``}, {`1f()`, "", ``}, {`f.()`, "", ``}, {``, "", ``},
		{`f(a=` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `)`, "", ``},
	}
	for _, tt := range tests {
		call, err := parseCall(tt.text)
		got, ok := "", false
		if err == nil {
			got, ok = call.arguments([]string{"first", "second"})
		}
		if ok != (tt.name != "") || ok && (call.name != tt.name || got != tt.want) {
			t.Errorf("%s: got %s %s, %v; want %s %s", tt.text, call.name, got, err, tt.name, tt.want)
		}
		if ok && !json.Valid([]byte(got)) {
			t.Errorf("%s: %s is no JSON", tt.text, got)
		}
	}
}

// bfclLine is a line as the test reads it.
type bfclLine struct {
	ID       string
	Question [][]struct{ Content string }
	Calls    [][]string `json:"ground_truth"`
}

// TestBFCLTextsAreByteIdentical compares questions and expressions, and looks for what the arguments hold in the expression.
func TestBFCLTextsAreByteIdentical(t *testing.T) {
	nodes, _ := readAll(t, "bfcl-multi-turn")
	var want, got said
	for _, line := range decodeLines[bfclLine](t, "bfcl-multi-turn", "BFCL_v4_multi_turn_base.json") {
		for _, turn := range line.Question {
			want.Prompts = append(want.Prompts, turn[0].Content)
		}
	}
	for _, line := range decodeLines[bfclLine](t, "bfcl-multi-turn", "possible_answer", "BFCL_v4_multi_turn_base.json") {
		for _, calls := range line.Calls {
			want.Calls = append(want.Calls, calls...)
		}
	}
	tools := make(map[string]bool)
	for _, n := range nodes {
		if p := n.GetPrompt(); p != nil {
			got.Prompts = append(got.Prompts, p.Content)
			if len(p.Metadata.ToolsAvailable) == 0 {
				t.Errorf("prompt %s knows no tools", n.Id)
			}
		}
		if v := n.GetToolInvocation(); v != nil {
			expression := v.Metadata["expression"]
			got.Calls = append(got.Calls, expression)
			tools[v.ToolName] = true
			var arguments map[string]any
			if err := json.Unmarshal([]byte(v.Parameters), &arguments); err != nil || !strings.HasPrefix(expression, v.ToolName+"(") {
				t.Errorf("%s: %s(%s), %v", expression, v.ToolName, v.Parameters, err)
			}
			for name, value := range arguments {
				text, isText := value.(string)
				if name == "args" || isText && !strings.Contains(expression, text) && !strings.Contains(expression, `\`) {
					t.Errorf("%s: %s is %v", expression, name, value)
				}
			}
			if v.Status != statusPending {
				t.Errorf("%s: status %s, and nothing ran", expression, v.Status)
			}
		}
	}
	want.sort()
	got.sort()
	if len(tools) != 81 {
		t.Errorf("%d tools, want 81 as the README says", len(tools))
	}
	if strings.Join(got.Prompts, "\n") != strings.Join(want.Prompts, "\n") || strings.Join(got.Calls, "\n") != strings.Join(want.Calls, "\n") {
		t.Error("questions or expressions differ from the files")
	}
}
