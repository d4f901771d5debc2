package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// promptSource reads promptsource's files: YAML with dataset, subset and, under templates, Jinja texts of the form
// "input ||| target". The text is kept as it is; its variables are the names that it takes from outside. Templates of one
// file that differ in nothing but the wording of the input inherit from the first of them.
type promptSource struct{}

// maxTemplateFileBytes bounds a YAML file. Its nodes take up to a hundred times as much in memory.
const maxTemplateFileBytes = 1 << 20

func (promptSource) claims(h head) claim {
	text := append([]byte("\n"), h.text...)
	return claimIf(bytes.Contains(text, []byte("\ndataset:")) && bytes.Contains(text, []byte("\ntemplates:")))
}

func (promptSource) read(it *item, out *scribe) error {
	text, err := io.ReadAll(io.LimitReader(it.text, maxTemplateFileBytes+1))
	if err != nil {
		return err
	}
	if len(text) > maxTemplateFileBytes {
		out.problem("", "is larger than %d bytes, too large for a file of templates", maxTemplateFileBytes)
		return nil
	}
	for documents := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var document yaml.Node
		err := documents.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			out.problem("", "%s; nothing after it can be read", cutText(err.Error(), 200))
			return nil
		}
		if len(document.Content) == 0 {
			continue
		}
		if err := readTemplateGroup(document.Content[0], out); err != nil {
			return err
		}
	}
}

// A templateGroup is a file that is being read.
type templateGroup struct {
	*scribe
	// aliased is how many bytes may still be taken through aliases: they may stand for far more than the file holds.
	aliased  int
	metadata []pair
	// families are the first templates of each family.
	families map[string]*templateRef
}

func readTemplateGroup(root *yaml.Node, out *scribe) error {
	g := &templateGroup{scribe: out, aliased: maxTemplateFileBytes, families: make(map[string]*templateRef)}
	f := g.members(root)
	templates := f.get("templates")
	if templates == nil || templates.Kind != yaml.MappingNode {
		out.problem(lineOf(root), "has no templates")
		return nil
	}
	for _, member := range f {
		if member.key != "templates" {
			g.metadata = append(g.metadata, g.flatten(member.key, member.value)...)
		}
	}
	for _, member := range g.members(templates) {
		g.add(member.key, member.value)
		if err := out.release(); err != nil {
			return err
		}
	}
	return nil
}

func lineOf(n *yaml.Node) string { return fmt.Sprintf("line %d", n.Line) }

// yamlFields are the members of a mapping, in order.
type yamlFields []yamlField

type yamlField struct {
	key   string
	value *yaml.Node
}

func (g *templateGroup) members(n *yaml.Node) yamlFields {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	var all yamlFields
	for i := 0; i+1 < len(n.Content); i += 2 {
		all = append(all, yamlField{g.follow(n.Content[i]).Value, g.follow(n.Content[i+1])})
	}
	return all
}

// follow returns what an alias stands for, an empty node when that is too much.
func (g *templateGroup) follow(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.AliasNode {
		return n
	}
	if g.aliased -= weight(n.Alias, g.aliased); g.aliased < 0 {
		g.problem(lineOf(n), "the aliases of the file stand for more than %d bytes; this one is left out", maxTemplateFileBytes)
		return &yaml.Node{Line: n.Line}
	}
	return n.Alias
}

// weight is about how many bytes a node holds; it stops counting beyond most.
func weight(n *yaml.Node, most int) int {
	sum := len(n.Value) + 1
	for _, one := range n.Content {
		if sum > most {
			break
		}
		sum += weight(one, most-sum)
	}
	return sum
}

func (f yamlFields) get(key string) *yaml.Node {
	for _, one := range f {
		if one.key == key {
			return one.value
		}
	}
	return nil
}

// text is a member that is a scalar, as YAML reads it; numbers and the like keep their spelling.
func (f yamlFields) text(key string) (string, bool) { return scalar(f.get(key)) }

func scalar(n *yaml.Node) (string, bool) {
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return "", false
	}
	return n.Value, true
}

func (g *templateGroup) add(key string, n *yaml.Node) {
	where := lineOf(n)
	f := g.members(n)
	text, ok := f.text("jinja")
	if !ok {
		g.problem(where, "template %s has no jinja text", cutLong(key))
		return
	}
	spec := templateSpec{where: where, id: key, name: key, text: text, metadata: slices.Clone(g.metadata)}
	if id, ok := f.text("id"); ok {
		spec.id = id
	}
	_, kept := uuidText(spec.id)
	if name, ok := f.text("name"); ok && name != "" {
		spec.name = name
	}
	for _, member := range f {
		if member.key != "jinja" && member.key != "name" && !(member.key == "id" && kept) {
			spec.metadata = append(spec.metadata, g.flatten(member.key, member.value)...)
		}
	}
	choices, given := f.text("answer_choices")
	for _, name := range freeNames(text) {
		v := &pb.VariableSpec{Name: name, Required: true}
		if name == "answer_choices" && given {
			v.DefaultValue, v.Required = proto.String(choices), false
		}
		spec.variables = append(spec.variables, v)
	}
	spec.variables = g.variables(where, spec.variables)
	family := familyOf(spec, choices)
	spec.parent = g.families[family]
	if told := g.template(spec); told.ok && family != "" && spec.parent == nil {
		g.families[family] = &templateRef{ref: told.ref}
	}
}

// familyOf names what templates that differ in wording alone have in common: target, choices and variables. A template
// without a target is of no family.
func familyOf(spec templateSpec, choices string) string {
	i := strings.LastIndex(spec.text, "|||")
	if i < 0 {
		return ""
	}
	names := make(map[string]bool)
	for _, v := range spec.variables {
		names[v.Name] = true
	}
	key, err := json.Marshal([]any{strings.TrimSpace(spec.text[i+3:]), choices, names})
	if err != nil {
		panic(err) // texts and names always marshal
	}
	return string(key)
}

// flatten is what a member says as pairs. The members of a mapping get dotted keys, lists are kept as JSON; what is deeper
// is reported.
func (g *templateGroup) flatten(key string, n *yaml.Node) []pair {
	if n.Kind != yaml.MappingNode {
		return g.leaf(key, n)
	}
	var pairs []pair
	for _, one := range g.members(n) {
		pairs = append(pairs, g.leaf(key+"."+one.key, one.value)...)
	}
	return pairs
}

func (g *templateGroup) leaf(key string, n *yaml.Node) []pair {
	switch n.Kind {
	case yaml.ScalarNode:
		if text, ok := scalar(n); ok && text != "" {
			return []pair{entry(key, text)}
		}
	case yaml.SequenceNode:
		return g.list(key, n)
	default:
		g.problem(lineOf(n), "%s is nested too deep to keep", cutLong(key))
	}
	return nil
}

// list is a list of texts as JSON.
func (g *templateGroup) list(key string, n *yaml.Node) []pair {
	list := []string{}
	for _, one := range n.Content {
		if text, ok := scalar(g.follow(one)); ok {
			list = append(list, text)
		}
	}
	if left := len(n.Content) - len(list); left > 0 {
		g.problem(lineOf(n), "%d elements of %s are no texts and are left out", left, cutLong(key))
	}
	value, err := json.Marshal(list)
	if err != nil {
		panic(err) // texts always marshal
	}
	return []pair{entry(key, string(value))}
}
