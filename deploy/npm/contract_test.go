package npm

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

var update = flag.Bool("update", false, "write memory_graph.proto anew from our contract")

// renamed are the messages whose fields the client names in camelCase.
var renamed = []string{
	"PromptNode", "ResponseNode", "ToolInvocationNode", "AgentNode", "TemplateNode", "TokenUsage", "PromptMetadata", "ResponseMetadata",
	"VariableSpec", "AddPromptRequest", "AddResponseRequest", "AddToolInvocationRequest", "CreateTemplateRequest", "InstantiateTemplateRequest",
}

// The client sends an edge in camelCase and reads one in snake_case. On the wire a message has no name, so what it sends is a
// message of its own, with the fields of Edge.
const sentEdge = "EdgeToCreate"

var (
	comment = regexp.MustCompile(`(?m)^[ \t]*//.*\n|[ \t]+//.*$`)
	message = regexp.MustCompile(`(?ms)^message (\w+) \{\n.*?^\}\n`)
	name    = regexp.MustCompile(`(?m)(\w+)( = \d+;)`)
)

// repaired is the rule: our contract without comments, with other names for fields.
func repaired(contract string) string {
	text := comment.ReplaceAllString(contract, "")
	var edge string
	text = message.ReplaceAllStringFunc(text, func(m string) string {
		switch message := message.FindStringSubmatch(m)[1]; {
		case slices.Contains(renamed, message):
			return inCamelCase(m)
		case message == "Edge":
			edge = strings.Replace(inCamelCase(m), "message Edge ", "message "+sentEdge+" ", 1)
		case message == "CreateEdgeRequest":
			return strings.Replace(m, "  Edge edge", "  "+sentEdge+" edge", 1)
		}
		return m
	})
	text = strings.Replace(text, "option go_package", "// option go_package", 1)
	text = regexp.MustCompile(`(?m)^// option go_package.*\n\n?`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`\n{3,}`).ReplaceAllString(strings.TrimSpace(text)+"\n\n"+edge, "\n\n")
	return "// The contract of LLM Memory Graph for @llm-dev-ops/llm-memory-graph-client " + Version + ": the same on the wire, with the names of fields\n" +
		"// that this client uses. Made from proto/llm/memory/graph/v1/memory_graph.proto by `go test ./deploy/npm -update`; do not edit.\n" + text
}

func inCamelCase(message string) string {
	return name.ReplaceAllStringFunc(message, func(field string) string {
		words := strings.Split(field, "_")
		for i := 1; i < len(words); i++ {
			words[i] = strings.ToUpper(words[i][:1]) + words[i][1:]
		}
		return strings.Join(words, "")
	})
}

func TestTheFileIsOurContractInTheNamesOfTheClient(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("..", "..", "proto", "llm", "memory", "graph", "v1", file))
	if err != nil {
		t.Fatal(err)
	}
	want := repaired(string(source))
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		contract = want
	}
	if diff := cmp.Diff(want, contract); diff != "" {
		t.Errorf("write it anew with: go test ./deploy/npm -update (-want +got):\n%s", diff)
	}
}

// TestTheFileIsTheSameOnTheWire reads the file apart from the rule that made it and compares it with the descriptors that the
// server is compiled with: services, calls, messages, numbers, types and cardinalities are equal, names of fields differ in
// the listed messages alone.
func TestTheFileIsTheSameOnTheWire(t *testing.T) {
	got := parse(t, contract)
	want := described(pb.File_llm_memory_graph_v1_memory_graph_proto)
	// What the client sends as an edge is an edge.
	if diff := cmp.Diff(numbers(want.messages["Edge"]), numbers(got.messages[sentEdge])); diff != "" {
		t.Errorf("%s (-Edge +got):\n%s", sentEdge, diff)
	}
	delete(got.messages, sentEdge)
	edge := got.messages["CreateEdgeRequest"][1]
	edge.typ = strings.Replace(edge.typ, sentEdge, "Edge", 1)
	got.messages["CreateEdgeRequest"][1] = edge
	for m, fields := range want.messages {
		for number, f := range fields {
			if slices.Contains(renamed, m) {
				f.name = f.json
			}
			f.json = ""
			fields[number] = f
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(file_{}, field{}, call{})); diff != "" {
		t.Errorf("the file (-descriptors +file):\n%s", diff)
	}
	if len(got.calls) < 24 {
		t.Errorf("only %d calls", len(got.calls))
	}
	for _, m := range renamed {
		if got.messages[m] == nil {
			t.Errorf("no message %s", m)
		}
	}
}

// file_ is what matters of a file: messages by name with fields by number, enums with values, calls of the one service.
type file_ struct {
	pkg, service string
	messages     map[string]map[int]field
	enums        map[string]map[string]int
	calls        map[string]call
}

type field struct{ name, json, typ, oneof string }

type call struct {
	in, out           string
	streamed, streams bool
}

func numbers(fields map[int]field) map[int]string {
	out := map[int]string{}
	for n, f := range fields {
		out[n] = f.typ
	}
	return out
}

// described reads the descriptors of a file.
func described(fd protoreflect.FileDescriptor) file_ {
	out := file_{string(fd.Package()), string(fd.Services().Get(0).Name()), map[string]map[int]field{}, map[string]map[string]int{}, map[string]call{}}
	for i := range fd.Messages().Len() {
		m := fd.Messages().Get(i)
		fields := map[int]field{}
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			d := field{name: string(f.Name()), json: f.JSONName(), typ: typeOf(f)}
			if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
				d.oneof = string(o.Name())
			}
			fields[int(f.Number())] = d
		}
		out.messages[string(m.Name())] = fields
		enums(out, m.Enums())
	}
	enums(out, fd.Enums())
	for i := range fd.Services().Get(0).Methods().Len() {
		m := fd.Services().Get(0).Methods().Get(i)
		out.calls[string(m.Name())] = call{short(m.Input()), short(m.Output()), m.IsStreamingClient(), m.IsStreamingServer()}
	}
	return out
}

func enums(out file_, all protoreflect.EnumDescriptors) {
	for i := range all.Len() {
		e := all.Get(i)
		values := map[string]int{}
		for j := range e.Values().Len() {
			values[string(e.Values().Get(j).Name())] = int(e.Values().Get(j).Number())
		}
		out.enums[string(e.Name())] = values
	}
}

// short is a name as our contract writes it; what is declared within a message is named there only.
func short(d protoreflect.Descriptor) string {
	if d.ParentFile().Package() == "llm.memory.graph.v1" {
		return string(d.Name())
	}
	return string(d.FullName())
}

func typeOf(f protoreflect.FieldDescriptor) string {
	one := func(f protoreflect.FieldDescriptor) string {
		switch {
		case f.Message() != nil:
			return short(f.Message())
		case f.Enum() != nil:
			return short(f.Enum())
		default:
			return f.Kind().String()
		}
	}
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s, %s>", one(f.MapKey()), one(f.MapValue()))
	case f.IsList():
		return "repeated " + one(f)
	case f.HasOptionalKeyword():
		return "optional " + one(f)
	default:
		return one(f)
	}
}

var (
	statement = regexp.MustCompile(`^(?:(repeated|optional) )?([\w.]+|map<[\w., ]+>) (\w+) = (\d+);$`)
	enumValue = regexp.MustCompile(`^(\w+) = (\d+);$`)
	rpc       = regexp.MustCompile(`^rpc (\w+)\((stream )?([\w.]+)\) returns \((stream )?([\w.]+)\);$`)
	block     = regexp.MustCompile(`^(message|enum|service|oneof) (\w+) \{$`)
)

// parse reads the few forms that our contract is written in; any other line fails.
func parse(t *testing.T, text string) file_ {
	t.Helper()
	out := file_{messages: map[string]map[int]field{}, enums: map[string]map[string]int{}, calls: map[string]call{}}
	kind, in, oneof, outer := "", "", "", ""
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "syntax ") || strings.HasPrefix(line, "import "):
		case strings.HasPrefix(line, "package "):
			out.pkg = strings.TrimSuffix(strings.TrimPrefix(line, "package "), ";")
		case line == "}" && oneof != "":
			oneof = ""
		case line == "}" && outer != "":
			kind, in, outer = "message", outer, ""
		case line == "}":
			kind, in = "", ""
		case block.MatchString(line):
			m := block.FindStringSubmatch(line)
			switch m[1] {
			case "oneof":
				oneof = m[2]
				continue
			case "message":
				out.messages[m[2]] = map[int]field{}
			case "enum":
				out.enums[m[2]], outer = map[string]int{}, in
			case "service":
				out.service = m[2]
			}
			kind, in = m[1], m[2]
		case kind == "message" && statement.MatchString(line):
			m := statement.FindStringSubmatch(line)
			out.messages[in][number(t, m[4])] = field{name: m[3], typ: strings.TrimSpace(m[1] + " " + m[2]), oneof: oneof}
		case kind == "enum" && enumValue.MatchString(line):
			m := enumValue.FindStringSubmatch(line)
			out.enums[in][m[1]] = number(t, m[2])
		case kind == "service" && rpc.MatchString(line):
			m := rpc.FindStringSubmatch(line)
			out.calls[m[1]] = call{m[3], m[5], m[2] != "", m[4] != ""}
		default:
			t.Fatalf("line %d: %q is in no form that is known", n+1, line)
		}
	}
	return out
}

func number(t *testing.T, digits string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(digits, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// installed is a project with a client of a version, as npm lays it out.
func installed(t *testing.T, version string) string {
	t.Helper()
	project := t.TempDir()
	client := filepath.Join(project, "node_modules", filepath.FromSlash(Client))
	if err := os.MkdirAll(client, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(client, "package.json"), []byte(`{"version": "`+version+`"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	return project
}

func TestRepairPutsTheFileWhereTheClientLooks(t *testing.T) {
	project := installed(t, Version)
	below := filepath.Join(project, "src", "deep")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	want := Repaired{Path: filepath.Join(project, "node_modules", "@llm-dev-ops", "proto", file), Version: Version, Known: true, Changed: true}
	for range 2 {
		got, err := Repair(below)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if text, err := os.ReadFile(got.Path); err != nil || string(text) != Contract() {
			t.Errorf("%v, %.80s", err, text)
		}
		want.Changed = false
	}
	if got, err := Repair(installed(t, "9.0.0")); err != nil || got.Known || got.Version != "9.0.0" {
		t.Errorf("another version: %+v, %v", got, err)
	}
}

func TestRepairNeedsTheClient(t *testing.T) {
	empty := t.TempDir()
	if _, err := Repair(empty); err == nil || !strings.Contains(err.Error(), "npm install "+Client+"@"+Version) {
		t.Errorf("no client: %v", err)
	}
	broken := installed(t, `"`)
	if _, err := Repair(broken); err == nil {
		t.Error("a package.json that is none")
	}
	if left := slices.Sorted(maps.Keys(files(t, empty))); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func files(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, f := range all {
		out[f.Name()] = true
	}
	return out
}
