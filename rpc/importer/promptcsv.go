package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// promptCSV reads tables of prompt templates: CSV with the columns act (or title) and prompt. Each row is a template; what
// its text has as ${name} or ${name:default} are its variables.
type promptCSV struct{}

func (promptCSV) claims(h head) claim {
	text := h.text
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[:i+1]
	}
	record, _, err := (&csvReader{in: bufio.NewReader(bytes.NewReader(text))}).next()
	if err != nil {
		return claimNone
	}
	_, ok := promptColumns(record)
	return claimIf(ok)
}

// promptColumns are the names of the columns, and whether those of a table of templates are among them.
func promptColumns(record []string) (names []string, ok bool) {
	for _, name := range record {
		names = append(names, strings.ToLower(strings.TrimSpace(name)))
	}
	return names, slices.Contains(names, "prompt") && (slices.Contains(names, "act") || slices.Contains(names, "title"))
}

func (promptCSV) read(it *item, out *scribe) error {
	in := &csvReader{in: bufio.NewReader(it.text)}
	var columns []string
	for {
		record, line, err := in.next()
		where := fmt.Sprintf("line %d", line)
		var fault csvFault
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &fault):
			out.problem(where, "%v", fault)
			continue
		case err != nil:
			return err
		case columns == nil:
			var ok bool
			if columns, ok = promptColumns(record); !ok {
				out.problem(where, "has no columns act and prompt")
				return nil
			}
			continue
		case len(record) != len(columns):
			out.problem(where, "has %d fields, and the table %d columns", len(record), len(columns))
			continue
		}
		readPromptRow(where, columns, record, out)
		if err := out.release(); err != nil {
			return err
		}
	}
}

func readPromptRow(where string, columns, record []string, out *scribe) {
	spec := templateSpec{where: where}
	for i, name := range columns {
		switch value := record[i]; {
		case name == "prompt" && spec.text == "":
			spec.text = value
		case (name == "act" || name == "title") && spec.name == "":
			spec.name = value
		case value != "":
			spec.metadata = append(spec.metadata, entry(name, value))
		}
	}
	spec.variables = out.variables(where, placeholders(spec.text))
	out.template(spec)
}

// variables are those that a template may have. The others are reported.
func (s *scribe) variables(where string, all []*pb.VariableSpec) []*pb.VariableSpec {
	if len(all) > graph.MaxTemplateVariables {
		s.problem(where, "has %d variables; those after the first %d are not declared", len(all), graph.MaxTemplateVariables)
		all = all[:graph.MaxTemplateVariables]
	}
	return all
}

// placeholders are the variables that a text has as ${name} or ${name:default}, each once, in their order. One that has
// a default anywhere is not required.
func placeholders(text string) []*pb.VariableSpec {
	var all []*pb.VariableSpec
	known := make(map[string]*pb.VariableSpec)
	for {
		var found bool
		if _, text, found = strings.Cut(text, "${"); !found {
			return all
		}
		end := strings.IndexAny(text[:min(len(text), graph.MaxNameBytes+1)], "{}:$\n")
		if end < 1 || text[end] != ':' && text[end] != '}' {
			continue
		}
		name, standard := text[:end], (*string)(nil)
		if text[end] == ':' {
			value, _, closed := strings.Cut(text[end+1:], "}")
			if !closed {
				return all
			}
			standard, end = &value, end+1+len(value)
		}
		text = text[end+1:]
		v := known[name]
		if v == nil {
			v = &pb.VariableSpec{Name: name, Required: true}
			known[name], all = v, append(all, v)
		}
		if v.DefaultValue == nil && standard != nil {
			v.DefaultValue, v.Required = standard, false
		}
	}
}
