package importer

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

func TestCSVRecords(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"plain", "a,b\nc,d", `1["a" "b"] 2["c" "d"]`},
		{"line breaks stay as they are", "\"a\r\nb\nc\rd\",\"e\r\"\r\nf,g\r\n", `1["a\r\nb\nc\rd" "e\r"] 4["f" "g"]`},
		{"quotes", `"a""b","""",a"b` + "\n" + `"",`, `1["a\"b" "\"" "a\"b"] 2["" ""]`},
		{"empty lines", "\n\r\na\n\n", `3["a"]`},
		{"empty file", "", ``},
		{"ends in a comma", "a,", `1["a" ""]`},
		{"return without line feed", "a\rb,c\r", `1["a\rb" "c\r"]`},
		{"text behind quotes", "\"a\"b,c\nd,e", `1!text follows a quoted field 2["d" "e"]`},
		{"open quotes", "a,\"b\nc,d", `1!a quoted field does not end`},
		{"a long field", "a,\"" + strings.Repeat("\n", maxRecordBytes+1) + "\"\nb,c", fmt.Sprintf(`1!the record is longer than 8388608 bytes %d["b" "c"]`, maxRecordBytes+3)},
		{"many fields", strings.Repeat(",", maxRecordBytes/fieldBytes+1) + "\nb,c", `1!the record is longer than 8388608 bytes 2["b" "c"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := &csvReader{in: bufio.NewReader(strings.NewReader(tt.text))}
			var got []string
			for {
				record, line, err := in.next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					got = append(got, fmt.Sprintf("%d!%v", line, err))
					continue
				}
				got = append(got, fmt.Sprintf("%d%q", line, record))
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
	if _, _, err := (&csvReader{in: bufio.NewReader(brokenReader{})}).next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a disk that fails: %v", err)
	}
}

// TestPromptTableAsTheStandardReaderReadsIt compares with encoding/csv, and counts the variables as the README does.
func TestPromptTableAsTheStandardReaderReadsIt(t *testing.T) {
	nodes, _ := readAll(t, "awesome-chatgpt-prompts")
	f, err := os.Open(filepath.Join(dataRoot(t), "awesome-chatgpt-prompts", "prompts.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want, got := rows[1:], [][]string(nil)
	variables, withDefault := 0, regexp.MustCompile(`\$\{[^}:]+:[^}]*\}`)
	for _, n := range nodes {
		m := n.GetTemplate()
		got = append(got, []string{m.Name, m.TemplateText, m.Metadata["for_devs"], m.Metadata["type"], m.Metadata["contributor"]})
		variables += len(m.Variables)
		for _, v := range m.Variables {
			whole := "${" + v.Name + ":" + v.GetDefaultValue() + "}"
			if v.Required != (v.DefaultValue == nil) || !v.Required && (!withDefault.MatchString(whole) || !strings.Contains(m.TemplateText, whole)) {
				t.Errorf("template %s: variable %v", m.Name, v)
			}
		}
		if text, _, err := graph.Render(m, map[string]string{}); len(m.Variables) == 0 && (err != nil || text != m.TemplateText) {
			t.Errorf("template %s: without variables it must render to its text: %v", m.Name, err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-file +records):\n%s", diff)
	}
	if variables != 28 {
		t.Errorf("%d variables, want 28 as the README says", variables)
	}
}

// TestTooManyVariables keeps the template.
func TestTooManyVariables(t *testing.T) {
	var text strings.Builder
	for i := range graph.MaxTemplateVariables + 1 {
		fmt.Fprintf(&text, "${v%d}", i)
	}
	got := story(t, textSource("a.csv", "act,prompt\nx,"+text.String()+"\n"), FormatAuto)
	if !strings.Contains(got, "has 65 variables; those after the first 64") || strings.Count(got, "var=") != graph.MaxTemplateVariables {
		t.Errorf("got\n%s", got)
	}
}
