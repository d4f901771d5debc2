package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// outputFormat is how results are printed.
type outputFormat string

const (
	formatTable outputFormat = "table"
	formatJSON  outputFormat = "json"
	formatYAML  outputFormat = "yaml"
)

// defaultWidth is how many columns a line has where there is no terminal to ask.
const defaultWidth = 100

func parseOutput(s string) (outputFormat, error) {
	switch f := outputFormat(s); f {
	case formatTable, formatJSON, formatYAML:
		return f, nil
	}
	return "", usagef("--output %q is unknown; use table, json or yaml", s)
}

// An output prints results in the format asked for. JSON has the names of the contract's fields, defaults included.
type output struct {
	w      io.Writer
	format outputFormat
	width  int
}

// show prints one result as one document: as a table, drawn by the function, or as JSON or YAML of the message.
func (o *output) show(m proto.Message, draw func() string) error {
	if o.format == formatTable {
		return o.text(draw())
	}
	raw, err := marshal(m)
	if err != nil {
		return err
	}
	return o.document(raw)
}

// showValue is show for what is no message of the contract.
func (o *output) showValue(v any, draw func() string) error {
	if o.format == formatTable {
		return o.text(draw())
	}
	raw, err := marshalValue(v)
	if err != nil {
		return err
	}
	return o.document(raw)
}

// item prints one result of a stream: a line of text, a line of JSON, or a document of YAML.
func (o *output) item(raw func() ([]byte, error), line func() string) error {
	if o.format == formatTable {
		return o.text(line())
	}
	b, err := raw()
	if err != nil {
		return err
	}
	if o.format == formatJSON {
		return o.text(string(b))
	}
	if err := o.text("---"); err != nil {
		return err
	}
	return o.document(b)
}

func (o *output) document(raw []byte) error {
	if o.format == formatYAML {
		text, err := toYAML(raw)
		if err != nil {
			return err
		}
		return o.text(text)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	return o.text(b.String())
}

func (o *output) text(s string) error {
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	_, err := io.WriteString(o.w, s)
	return err
}

// marshal returns a message as one line of JSON, always the same for the same message.
func marshal(m proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	// protojson varies its white space on purpose.
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, err
	}
	return escapeUnsafe(b.Bytes()), nil
}

func marshalValue(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return escapeUnsafe(bytes.TrimSpace(b.Bytes())), nil
}

// marshalList returns messages as an array.
func marshalList[M proto.Message](list []M) (json.RawMessage, error) {
	all := make([]json.RawMessage, 0, len(list))
	for _, m := range list {
		raw, err := marshal(m)
		if err != nil {
			return nil, err
		}
		all = append(all, raw)
	}
	return marshalValue(all)
}

// toYAML turns JSON into YAML with the keys in the same order.
func toYAML(raw []byte) (string, error) {
	in := json.NewDecoder(bytes.NewReader(raw))
	in.UseNumber()
	node, err := yamlNode(in)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(node); err != nil {
		return "", err
	}
	return string(escapeUnsafeYAML(b.Bytes())), e.Close()
}

// yamlNode reads the next JSON value as a YAML node. Unsafe text is quoted, so that escapes inside it mean characters.
func yamlNode(in *json.Decoder) (*yaml.Node, error) {
	token, err := in.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v == '{' {
			n.Kind = yaml.MappingNode
		}
		for in.More() {
			child, err := yamlNode(in)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := in.Token()
		return n, err
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
		if strings.ContainsFunc(v, func(r rune) bool { return unsafe(r) && r != '\n' }) || oldBoolean(v) {
			n.Style = yaml.DoubleQuotedStyle
		}
		return n, nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: v.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}, nil
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	}
}

// oldBoolean says that readers of YAML 1.1 take the word for a truth value unless it is quoted.
func oldBoolean(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}

// maxCell is how many columns one cell of a table may take.
const maxCell = 60

// grid draws a table with a heading. Cells are made printable and cut.
func grid(heading []string, rows [][]string) string { return gridOf(heading, rows, maxCell) }

// gridOf draws a table whose cells are cut at so many columns.
func gridOf(heading []string, rows [][]string, most int) string {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatUpper
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.AppendHeader(tableRow(heading, most))
	for _, r := range rows {
		t.AppendRow(tableRow(r, most))
	}
	lines := strings.Split(t.Render(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

func tableRow(cells []string, most int) table.Row {
	row := make(table.Row, len(cells))
	for i, c := range cells {
		row[i] = cut(oneLine(c), most)
	}
	return row
}

// facts draws names and values below each other, values of several lines as such; empty ones are left out.
func facts(pairs ...string) string {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, columns(pairs[i]))
		}
	}
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		name := pairs[i]
		for _, line := range printableLines(pairs[i+1]) {
			b.WriteString(strings.TrimRight(fmt.Sprintf("%-*s  %s", width, name, line), " ") + "\n")
			name = ""
		}
	}
	return b.String()
}
