package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A pyCall is a call as a Python expression says it, "mv(source='a', destination='b')", with its arguments as JSON.
type pyCall struct {
	name       string
	positional []json.RawMessage
	names      []string // of the arguments after these
	values     []json.RawMessage
}

var errNoLiteral = errors.New("is no call with literal arguments")

// parseCall reads a call whose arguments are literals: texts, numbers, True, False, None, lists, tuples and dictionaries of them.
func parseCall(text string) (pyCall, error) {
	p := &python{text: text}
	call := pyCall{name: p.dottedName()}
	if call.name == "" || !p.take('(') {
		return pyCall{}, errNoLiteral
	}
	for !p.take(')') {
		if name, ok := p.argumentName(); ok {
			call.names = append(call.names, name)
		} else if len(call.names) > 0 {
			return pyCall{}, errNoLiteral
		}
		value, err := p.value(0)
		if err != nil {
			return pyCall{}, err
		}
		if len(call.names) > len(call.values) {
			call.values = append(call.values, value)
		} else {
			call.positional = append(call.positional, value)
		}
		if !p.take(',') && p.next() != ')' {
			return pyCall{}, errNoLiteral
		}
	}
	if p.next() != 0 {
		return pyCall{}, errNoLiteral
	}
	return call, nil
}

// arguments are the arguments as a JSON object. Those without a name get that of the parameter in their place; where there
// are not so many parameters, they are a list under args. It says false when two arguments would have one name.
func (c pyCall) arguments(parameters []string) (string, bool) {
	names, values := c.names, c.values
	switch n := len(c.positional); {
	case n > 0 && n <= len(parameters):
		names = append(append([]string{}, parameters[:n]...), names...)
		values = append(append([]json.RawMessage{}, c.positional...), values...)
	case n > 0:
		names = append([]string{"args"}, names...)
		values = append([]json.RawMessage{listOf(c.positional)}, values...)
	}
	var b bytes.Buffer
	seen := make(map[string]bool)
	b.WriteByte('{')
	for i, name := range names {
		if seen[name] {
			return "", false
		}
		seen[name] = true
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(textJSON(name))
		b.WriteByte(':')
		b.Write(values[i])
	}
	b.WriteByte('}')
	return b.String(), true
}

func listOf(values []json.RawMessage) json.RawMessage {
	return append(append([]byte{'['}, bytes.Join(asBytes(values), []byte{','})...), ']')
}

func asBytes(values []json.RawMessage) [][]byte {
	all := make([][]byte, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}

// textJSON is a text as JSON, with no character escaped that need not be.
func textJSON(text string) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		panic(err) // texts always marshal
	}
	return bytes.TrimSpace(b.Bytes())
}

// python is what is left of an expression.
type python struct{ text string }

// next is the next character that is no white space, 0 at the end.
func (p *python) next() byte {
	p.text = strings.TrimLeft(p.text, " \t\r\n")
	if p.text == "" {
		return 0
	}
	return p.text[0]
}

func (p *python) take(b byte) bool {
	if p.next() != b {
		return false
	}
	p.text = p.text[1:]
	return true
}

// word takes an identifier.
func (p *python) word() string {
	p.next()
	end := 0
	for end < len(p.text) && isWordByte(p.text[end]) && (end > 0 || p.text[0] < '0' || p.text[0] > '9') {
		end++
	}
	word := p.text[:end]
	p.text = p.text[end:]
	return word
}

func (p *python) dottedName() string {
	name := p.word()
	for name != "" && p.take('.') {
		part := p.word()
		if part == "" {
			return ""
		}
		name += "." + part
	}
	return name
}

// argumentName takes "name =".
func (p *python) argumentName() (string, bool) {
	before := p.text
	if name := p.word(); name != "" && p.take('=') && p.next() != '=' {
		return name, true
	}
	p.text = before
	return "", false
}

// maxLiteralDepth bounds how deep lists and dictionaries stand inside each other.
const maxLiteralDepth = 100

func (p *python) value(depth int) (json.RawMessage, error) {
	if depth > maxLiteralDepth {
		return nil, errNoLiteral
	}
	switch b := p.next(); {
	case b == '[':
		list, _, err := p.list('[', ']', depth)
		return listOf(list), err
	case b == '(':
		list, comma, err := p.list('(', ')', depth)
		if err == nil && len(list) == 1 && !comma {
			return list[0], nil
		}
		return listOf(list), err
	case b == '{':
		return p.dictionary(depth)
	case b == '"' || b == '\'':
		return p.texts()
	case b == '-' || b == '+' || b == '.' || b >= '0' && b <= '9':
		return p.number()
	}
	switch p.word() {
	case "True":
		return json.RawMessage("true"), nil
	case "False":
		return json.RawMessage("false"), nil
	case "None":
		return json.RawMessage("null"), nil
	}
	return nil, errNoLiteral
}

// list takes the elements between brackets. comma says that one stood after the last.
func (p *python) list(opening, closing byte, depth int) (list []json.RawMessage, comma bool, err error) {
	p.take(opening)
	for !p.take(closing) {
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, false, err
		}
		list = append(list, value)
		if comma = p.take(','); !comma && p.next() != closing {
			return nil, false, errNoLiteral
		}
	}
	return list, comma, nil
}

// dictionary takes a dictionary whose keys are texts.
func (p *python) dictionary(depth int) (json.RawMessage, error) {
	p.take('{')
	out := []byte{'{'}
	for !p.take('}') {
		if b := p.next(); b != '"' && b != '\'' {
			return nil, errNoLiteral
		}
		key, err := p.texts()
		if err != nil || !p.take(':') {
			return nil, errNoLiteral
		}
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), value...)
		if !p.take(',') && p.next() != '}' {
			return nil, errNoLiteral
		}
	}
	return append(out, '}'), nil
}

// number takes a number. Its spelling stays where JSON knows it.
func (p *python) number() (json.RawMessage, error) {
	end := strings.IndexFunc(p.text, func(r rune) bool {
		return !strings.ContainsRune("+-.0123456789_eE", r)
	})
	if end < 0 {
		end = len(p.text)
	}
	spelling := p.text[:end]
	p.text = p.text[end:]
	if json.Valid([]byte(spelling)) {
		return json.RawMessage(spelling), nil
	}
	plain := strings.TrimPrefix(strings.ReplaceAll(spelling, "_", ""), "+")
	n, err := strconv.ParseFloat(plain, 64)
	if err != nil {
		return nil, errNoLiteral
	}
	if json.Valid([]byte(plain)) {
		return json.RawMessage(plain), nil
	}
	return json.Marshal(n)
}

// texts takes a text, or several that stand side by side, which are one.
func (p *python) texts() (json.RawMessage, error) {
	var all strings.Builder
	for b := p.next(); b == '"' || b == '\''; b = p.next() {
		if err := p.quoted(&all); err != nil {
			return nil, err
		}
	}
	return textJSON(all.String()), nil
}

func (p *python) quoted(into *strings.Builder) error {
	mark := p.text[:1]
	if three := strings.Repeat(mark, 3); strings.HasPrefix(p.text, three) {
		mark = three
	}
	p.text = p.text[len(mark):]
	for !strings.HasPrefix(p.text, mark) {
		switch {
		case p.text == "" || p.text[0] == '\n' && len(mark) == 1:
			return errNoLiteral
		case p.text[0] == '\\':
			if err := p.escape(into); err != nil {
				return err
			}
		default:
			into.WriteByte(p.text[0])
			p.text = p.text[1:]
		}
	}
	p.text = p.text[len(mark):]
	return nil
}

// escape takes a backslash and what belongs to it. What Python does not know it leaves as it is, and so do we.
func (p *python) escape(into *strings.Builder) error {
	if len(p.text) < 2 {
		return errNoLiteral
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[p.text[1]]
	switch b := p.text[1]; {
	case digits > 0:
		if len(p.text) < 2+digits {
			return errNoLiteral
		}
		code, err := strconv.ParseUint(p.text[2:2+digits], 16, 32)
		if err != nil || !utf8.ValidRune(rune(code)) {
			return errNoLiteral
		}
		into.WriteRune(rune(code))
		p.text = p.text[2+digits:]
		return nil
	case b >= '0' && b <= '7' || b == 'N':
		return errNoLiteral
	case b == '\n':
	case strings.IndexByte(`\'"abfnrtv`, b) >= 0:
		into.WriteByte("\\'\"\a\b\f\n\r\t\v"[strings.IndexByte(`\'"abfnrtv`, b)])
	default:
		into.WriteString(p.text[:2])
	}
	p.text = p.text[2:]
	return nil
}
