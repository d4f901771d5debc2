package graph

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// ParentKey is the metadata entry of a template that names the one it inherits from.
const ParentKey = "parent_id"

// Properties of the edges that templates make.
const (
	depthKey    = "inheritance_depth"
	bindingsKey = "variable_bindings"
)

func (c *checker) template(t *pb.TemplateNode) {
	c.name("name", t.Name, true)
	c.text("template_text", t.TemplateText, true)
	c.metadata("metadata", t.Metadata)
	if parent, ok := t.Metadata[ParentKey]; ok {
		c.id("metadata."+ParentKey, parent)
	}
	t.CreatedAt, t.UsageCount = nil, 0
	if t.Version == "" {
		t.Version = "1.0.0"
	}
	if !semver(t.Version) {
		c.fail("version", "%q is not MAJOR.MINOR.PATCH", clip(t.Version))
	}
	if len(t.Variables) > MaxTemplateVariables {
		c.fail("variables", "has %d entries, at most %d", len(t.Variables), MaxTemplateVariables)
		return
	}
	names := map[string]bool{}
	for i, v := range t.Variables {
		c.under("variables["+strconv.Itoa(i)+"]", func() { c.variable(v, names) })
	}
}

func (c *checker) variable(v *pb.VariableSpec, names map[string]bool) {
	name := v.GetName()
	c.name("name", name, true)
	if strings.ContainsAny(name, "{}") {
		c.fail("name", "must not contain braces")
	}
	if names[name] {
		c.fail("name", "%q is declared twice", clip(name))
	}
	names[name] = true
	c.name("type_hint", v.GetTypeHint(), false)
	if len(v.GetDescription()) > MaxDescriptionBytes {
		c.fail("description", "is %d bytes, at most %d", len(v.GetDescription()), MaxDescriptionBytes)
	}
	c.text("default_value", v.GetDefaultValue(), false)
	if v.GetValidationPattern() != "" {
		if err := checkPattern(v.GetValidationPattern()); err != nil {
			c.fail("validation_pattern", "%v", err)
		}
	}
}

// semver accepts three numbers without leading zeros, at most 9 digits each.
func semver(v string) bool {
	parts := strings.Split(v, ".")
	if len(parts) != 3 {
		return false
	}
	for _, p := range parts {
		if p == "" || len(p) > 9 || (len(p) > 1 && p[0] == '0') || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// Render replaces the {{name}} of declared variables in one pass: a value that contains {{x}} stays text, undeclared
// placeholders stay, undeclared values are ignored. bindings are the values that were used.
func Render(t *pb.TemplateNode, values map[string]string) (text string, bindings map[string]string, err error) {
	bindings = map[string]string{}
	work := 0
	for _, v := range t.Variables {
		value, given := values[v.Name]
		if !given {
			if v.DefaultValue == nil {
				if v.Required {
					return "", nil, variableError(v.Name, "Required variable '"+v.Name+"' is missing")
				}
				continue
			}
			bindings[v.Name] = v.GetDefaultValue()
			continue
		}
		if err := checkValue(v, value, &work); err != nil {
			return "", nil, err
		}
		bindings[v.Name] = value
	}
	text, err = replace(t.TemplateText, bindings)
	return text, bindings, err
}

func variableError(name, message string) error {
	return &Error{Kind: Invalid, Field: "variable_values[" + name + "]", Message: message}
}

// checkValue checks a given value. work is what matching has taken in this rendering so far: RE2 is linear in the value, but
// a large value and a large pattern together would hold a processor for minutes.
func checkValue(v *pb.VariableSpec, value string, work *int) error {
	if !fitsHint(v.TypeHint, value) {
		return variableError(v.Name, "Variable '"+v.Name+"' value '"+clip(value)+"' is not of type "+v.TypeHint)
	}
	if v.GetValidationPattern() == "" {
		return nil
	}
	if *work += len(value) * programSize(v.GetValidationPattern()); *work > MaxPatternWork {
		return variableError(v.Name, fmt.Sprintf("Variable '%s' value of %d bytes is too long for its pattern", v.Name, len(value)))
	}
	pattern, err := compilePattern(v.GetValidationPattern())
	if err != nil {
		return variableError(v.Name, "Variable '"+v.Name+"' has a pattern that does not compile: "+err.Error())
	}
	if !pattern.MatchString(value) {
		return variableError(v.Name, "Variable '"+v.Name+"' value '"+clip(value)+"' does not match pattern '"+v.GetValidationPattern()+"'")
	}
	return nil
}

var integer = regexp.MustCompile(`^[+-]?[0-9]+$`)

// fitsHint checks the hints that mean something; any other is only a note.
func fitsHint(hint, value string) bool {
	switch hint {
	case "integer":
		return integer.MatchString(value)
	case "number":
		f, err := strconv.ParseFloat(value, 64)
		return err == nil && !strings.ContainsAny(value, "xX_") && !math.IsNaN(f) && !math.IsInf(f, 0)
	case "boolean":
		return value == "true" || value == "false"
	case "json":
		return json.Valid([]byte(value))
	default:
		return true
	}
}

func replace(text string, bindings map[string]string) (string, error) {
	var out strings.Builder
	for out.Len() <= MaxContentBytes {
		start := strings.Index(text, "{{")
		if start < 0 {
			break
		}
		// Looking no further than the longest name keeps this linear, whatever the text is.
		window := text[start+2 : min(len(text), start+2+MaxNameBytes+2)]
		end := strings.Index(window, "}}")
		value, ok := bindings[window[:max(end, 0)]]
		if end < 0 || !ok {
			out.WriteString(text[:start+1])
			text = text[start+1:]
			continue
		}
		out.WriteString(text[:start])
		out.WriteString(value)
		text = text[start+2+end+2:]
	}
	out.WriteString(text)
	if out.Len() > MaxContentBytes {
		return "", invalid("variable_values", "make the prompt more than %d bytes", MaxContentBytes)
	}
	if out.Len() == 0 {
		return "", invalid("variable_values", "make the prompt empty")
	}
	return out.String(), nil
}

func (c *Change) createTemplate(n *pb.Node, t *pb.TemplateNode) (end, error) {
	t.CreatedAt, t.UsageCount = Timestamp(c.Instant), 0
	parentID, ok := t.Metadata[ParentKey]
	if !ok {
		return c.put(n, 0), nil
	}
	parent, err := c.parent("node.template.metadata."+ParentKey, "Template", template, parentID)
	if err != nil {
		return end{}, err
	}
	depth, err := c.depth(parent)
	if err != nil {
		return end{}, err
	}
	if depth+1 > MaxInheritanceDepth {
		return end{}, precondition("INHERITANCE_DEPTH", "template", parentID, "Template %s has %d ancestors already, at most %d are kept", parentID, depth, MaxInheritanceDepth)
	}
	made := c.put(n, 0)
	// The depth is told, not kept: the chain itself says how long it is.
	c.auto(made, parent, inherits, map[string]string{depthKey: strconv.Itoa(depth + 1)})
	return made, nil
}

// depth is how many ancestors a template has. It stops counting at the bound, so that a circle, which only an import can
// make, ends.
func (c *Change) depth(t end) (depth int, err error) {
	for at := t.rec.Position; depth <= MaxInheritanceDepth; depth++ {
		up, _, err := c.ownEdge(EdgeWalk{Node: at, Type: inherits})
		if err != nil || up.Position == 0 {
			return depth, err
		}
		at = up.To
	}
	return depth, nil
}

// Instantiate makes the prompt that was rendered from a template at a revision, with its edges, and counts the use.
func (c *Change) Instantiate(templateID string, revision uint64, p *pb.Node, bindings string) (*pb.Node, error) {
	if p.GetPrompt() == nil {
		return nil, invalid("prompt", "is required")
	}
	t, err := c.parent("template_id", "Template", template, templateID)
	if err != nil {
		return nil, err
	}
	if uint64(t.rec.Modified) != revision {
		return nil, &Error{Kind: Stale, Reason: ReasonTemplateStale, ResourceType: "template", ResourceName: templateID,
			Message: "Template " + templateID + " has changed since it was rendered"}
	}
	used, err := t.rec.Node()
	if err != nil {
		return nil, err
	}
	made, err := c.createNode(p)
	if err != nil {
		return nil, err
	}
	c.auto(made, t, instantiates, map[string]string{
		"template_version":   used.GetTemplate().GetVersion(),
		bindingsKey:          bindings,
		"instantiation_time": time.Unix(0, c.Instant).UTC().Format(time.RFC3339Nano),
	})
	if count := &used.GetTemplate().UsageCount; *count < math.MaxInt64 {
		*count++
	}
	used.Revision = 0
	// The count is not the content: the template's revision stays, so that renderings in flight stay good.
	c.Tx.ReplaceNode(t.rec, t.rec.Modified, used)
	return p, nil
}
