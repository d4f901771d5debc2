package importer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

func TestReaderReports(t *testing.T) {
	long := strings.Repeat("x", graph.MaxContentBytes+1)
	name := strings.Repeat("n", 257)
	nest := strings.Repeat("[", 8) + `{"role":"user","content":"deep"}` + strings.Repeat("]", 8)
	tests := []struct {
		name, file, text string
		format           Format
		want             string
	}{
		{"empty", "a.json", " \n", FormatAuto, "is empty"},
		{"no JSON", "a.json", "Dear diary", FormatAuto, "is not JSON"},
		{"ends early", "a.json", `[{"messages":[{"role":"user","content":"x"}]}`, FormatAuto, "unexpected"},
		{"ends early in an object", "a.json", `{"messages":[`, FormatAuto, "unexpected"},
		{"stray bracket", "a.json", "[]\n\n]", FormatAuto, "line 3: is not JSON"},
		{"stray bracket after a document", "a.json", "[\n]\n]", FormatAuto, "invalid character"},
		{"not UTF-8", "a.jsonl", "{\"role\":\"user\",\"content\":\"\xff\"}", FormatAuto, "is not valid UTF-8"},
		{"too deep", "a.jsonl", nest, FormatAuto, "nested more than"},
		{"content too long", "a.json", fmt.Sprintf(`[{"role":"user","content":%q}]`, long), FormatAuto, "1000001 bytes"},
		{"parameters too long", "a.json", fmt.Sprintf(`[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":%q}}]}]`, long), FormatAuto, "tool call 1: tool_invocation.parameters: is 1000001 bytes"},
		{"tool name too long", "a.json", fmt.Sprintf(`[{"role":"assistant","tool_calls":[{"function":{"name":%q}}]}]`, name), FormatAuto, "257 bytes"},
		{"broken function_call", "a.json", `[{"role":"assistant","function_call":{}}]`, FormatAuto, "tool's name is 0 bytes"},
		{"another format", "a.json", `[{"messages":[{"message":"x"}]}]`, FormatOpenAI, "is kdconv, not openai"},
		{"another format, by lines", "a.json", `[{"messages":[{"message":"x"}]}]`, FormatOpenAILines, "is kdconv, not openai"},
		{"lines by order", "a.json", "{\"role\":\"user\",\n\"content\":\"x\"}", FormatOpenAILines, "line 1: is not JSON"},
		{"long role", "a.json", fmt.Sprintf(`[{"role":%q}]`, name), FormatAuto, `nnn…" is unknown`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := story(t, textSource(tt.file, tt.text), tt.format)
			if !strings.Contains(got, "! "+tt.file) || !strings.Contains(got, tt.want) {
				t.Errorf("got\n%s\nwant a problem with %q", cutText(got, 2000), tt.want)
			}
		})
	}
}

func TestLayouts(t *testing.T) {
	one := `{"messages":[{"role":"user","content":"\"}] {\\"}]}`
	tests := []struct {
		name, file, text string
		sessions         int
		lines            bool
	}{
		{"one line", "a.json", one, 1, false},
		{"lines in a file of another name", "a.log", one + "\n" + one + "\n", 2, true},
		{"lines by name", "a.jsonl", one, 1, true},
		{"documents over several lines", "a.json", "{\n\"messages\": [{\"role\": \"user\", \"content\": \"1\"}]}\n{\"messages\": [{\"role\": \"user\", \"content\": \"2\"}]}", 2, false},
		{"arrays a line", "a.json", "[" + one + "]\n[" + one + "," + one + "]", 3, true},
		{"array", "a.json", " [\n" + one + ",\n" + one + "]\n", 2, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := inspect(textSource(tt.file, tt.text))
			if err != nil || l.lines != tt.lines {
				t.Errorf("lines %v, %v; want %v", l.lines, err, tt.lines)
			}
			got := story(t, textSource(tt.file, tt.text), FormatAuto)
			if n := strings.Count(got, "session "); n != tt.sessions || strings.Contains(got, "!") {
				t.Errorf("%d sessions, want %d, and no problem:\n%s", n, tt.sessions, got)
			}
		})
	}
}

// TestMemoryIsBounded reads a line, an array element and a conversation of loose messages that are too large. They are
// reported, and what stands behind a line is read.
func TestMemoryIsBounded(t *testing.T) {
	const limit = 1 << 20
	huge := strings.Repeat(" ", 2*limit)
	good := `{"messages":[{"role":"user","content":"good"}]}`
	loose := fmt.Sprintf(`{"role":"user","content":%q}`, strings.Repeat("x", limit/2))
	tests := []struct{ name, file, text, want string }{
		{"line", "a.jsonl", `{"a":"` + huge + "\"}\n" + good, "line 1: is longer than 1048576 bytes"},
		{"element", "a.json", "[" + good + `,{"a":"` + huge + `"}]`, "too large"},
		{"object", "a.json", `{"messages":[],"a":"` + huge + `"}`, "too large"},
		{"loose messages", "a.jsonl", good + "\n" + loose + "\n" + loose + "\n" + loose, "line 3: the conversation is larger than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var problems, texts []string
			r := &reader{source: textSource(tt.file, tt.text), limit: limit, problem: func(where, format string, args ...any) {
				problems = append(problems, where+": "+fmt.Sprintf(format, args...))
			}}
			err := r.each(t.Context(), func(g Graph) error {
				texts = append(texts, g.Nodes[1].GetPrompt().GetContent())
				return nil
			})
			if err != nil || len(problems) == 0 || !strings.Contains(problems[0], tt.want) {
				t.Errorf("%v: problems %q, want %q", err, problems, tt.want)
			}
			if strings.Contains(tt.text, good) && (len(texts) == 0 || !strings.Contains(texts[0], "good")) {
				t.Errorf("the other conversation was not read")
			}
		})
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(string(f)); got != f || err != nil {
			t.Errorf("%s: got %s, %v", f, got, err)
		}
	}
	if got, err := ParseFormat(""); got != FormatAuto || err != nil {
		t.Errorf("empty: got %s, %v", got, err)
	}
	if _, err := ParseFormat("csv"); err == nil || !strings.Contains(err.Error(), "kdconv") {
		t.Errorf("csv: got %v, want an error that lists the formats", err)
	}
}

func TestProblemString(t *testing.T) {
	if got := (Problem{"f", "", "is empty"}).String(); got != "f: is empty" {
		t.Errorf("got %q", got)
	}
}

// TestNamedFormatForces reads an item with the format that is named although another one would read it, too.
func TestNamedFormatForces(t *testing.T) {
	text := `{"history":[{"role":"user","content":"x","action":"y"}]}`
	for want, f := range map[string]Format{"swe-agent": FormatAuto, "openai": FormatOpenAI} {
		if got := story(t, textSource("a.json", text), f); !strings.Contains(got, `import_format="`+want+`"`) {
			t.Errorf("%s: got\n%s", f, got)
		}
	}
}

func TestTimes(t *testing.T) {
	tests := []struct{ text, want string }{
		{`"2026-03-01T09:00:00.5Z"`, "@1772355600.500000000"},
		{`"2026-03-01 09:00:00+02:00"`, "@1772348400.000000000"},
		{`1772355600`, "@1772355600.000000000"},
		{`1772355600.25`, "@1772355600.250000000"},
		{`1772355600250`, "@1772355600.250000000"},
		{`0`, ""}, {`-5`, ""}, {`1e30`, ""}, {`"yesterday"`, ""}, {`"9999-01-01T00:00:00Z"`, ""}, {`null`, ""}, {`[]`, ""},
	}
	for _, tt := range tests {
		if got := at((fields{"timestamp": []byte(tt.text)}).time("timestamp")); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.text, got, tt.want)
		}
	}
	if got := at((fields{"created": []byte("1772355600"), "timestamp": []byte(`"?"`)}).time(timeKeys()...)); got != "@1772355600.000000000" {
		t.Errorf("the second key: got %q", got)
	}
}

func TestMetadataKeepsItsLimits(t *testing.T) {
	f := fields{"long": []byte(`"` + strings.Repeat("é", maxValueBytes) + `"`), strings.Repeat("k", 300): []byte("1"), "null": []byte("null")}
	for i := range 100 {
		f[fmt.Sprintf("k%03d", i)] = []byte(fmt.Sprintf("%q", strings.Repeat("v", i*8)))
	}
	m := map[string]string{"k001": "mine"}
	addMetadata(m, flatten(f))
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
	}
	if len(m) > graph.MaxMetadataEntries || size > graph.MaxMetadataBytes || m["k001"] != "mine" {
		t.Errorf("%d entries, %d bytes, k001 %q", len(m), size, m["k001"])
	}
	if m[truncatedKey] != "0 cut, 40 left out" {
		t.Errorf("note %q", m[truncatedKey])
	}
	m = map[string]string{}
	addMetadata(m, flatten(fields{"long": f["long"]}))
	if len(m["long"]) != maxValueBytes || m[truncatedKey] != "1 cut, 0 left out" {
		t.Errorf("%d bytes, note %q", len(m["long"]), m[truncatedKey])
	}
}
