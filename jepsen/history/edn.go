package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Transaction is the F of operations whose value is a list of micro-operations, `[["append", 5, 17], ["r", 5, null]]`.
const Transaction = "txn"

// ErrEDN is returned for an operation that cannot be said in EDN.
var ErrEDN = errors.New("cannot be written as EDN")

// WriteEDN writes a history as Jepsen and Elle read it: one map a line, types and names as keywords, those of the micro-operations too.
func WriteEDN(out io.Writer, ops []Op) error {
	w := &ednWriter{word: regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)}
	buffered := bufio.NewWriter(out)
	for _, o := range ops {
		if err := w.op(o); err != nil {
			return fmt.Errorf("operation %d: %w", o.Index, err)
		}
		if _, err := buffered.Write(w.line.Bytes()); err != nil {
			return fmt.Errorf("write EDN: %w", err)
		}
		w.line.Reset()
	}
	return buffered.Flush()
}

type ednWriter struct {
	line bytes.Buffer
	// word is what may be a keyword.
	word *regexp.Regexp
}

func (w *ednWriter) op(o Op) error {
	if !w.word.MatchString(o.F) {
		return fmt.Errorf("%w: f is %q, which is no keyword", ErrEDN, o.F)
	}
	process := strconv.Itoa(int(o.Process))
	if o.Process == Nemesis {
		process = ":nemesis"
	}
	fmt.Fprintf(&w.line, "{:index %d, :type :%s, :process %s, :time %d, :f :%s, :value ", o.Index, o.Type, process, o.Time, o.F)
	d := json.NewDecoder(bytes.NewReader(o.Value))
	d.UseNumber()
	depth := 0
	if o.F == Transaction {
		depth = 2 // the first thing two lists down is a keyword
	}
	if err := w.value(d, depth); err != nil {
		return fmt.Errorf("value: %w", err)
	}
	for _, field := range []struct{ name, text string }{{"node", o.Node}, {"error", o.Error}, {"rpc", o.RPC}, {"req", o.Request}} {
		if field.text != "" {
			w.line.WriteString(", :" + field.name + " ")
			w.text(field.text)
		}
	}
	if o.Revision != 0 {
		w.line.WriteString(", :revision ")
		w.number(json.Number(strconv.FormatUint(o.Revision, 10)))
	}
	w.line.WriteString("}\n")
	return nil
}

// value writes the next value of the decoder. keyword is how many lists down the first element is a keyword; 0 for nowhere.
func (w *ednWriter) value(d *json.Decoder, keyword int) error {
	token, err := d.Token()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEDN, err)
	}
	switch v := token.(type) {
	case nil:
		w.line.WriteString("nil")
	case bool:
		w.line.WriteString(strconv.FormatBool(v))
	case json.Number:
		w.number(v)
	case string:
		w.text(v)
	case json.Delim:
		if v == '[' {
			return w.list(d, keyword)
		}
		return w.object(d)
	}
	return nil
}

func (w *ednWriter) list(d *json.Decoder, keyword int) error {
	w.line.WriteByte('[')
	for n := 0; d.More(); n++ {
		if n > 0 {
			w.line.WriteByte(' ')
		}
		if keyword == 1 && n == 0 {
			name, err := d.Token()
			if text, ok := name.(string); err != nil || !ok || !w.word.MatchString(text) {
				return fmt.Errorf("%w: micro-operation begins with %v, want a name", ErrEDN, name)
			}
			fmt.Fprintf(&w.line, ":%s", name)
			continue
		}
		if err := w.value(d, max(keyword-1, 0)); err != nil {
			return err
		}
	}
	w.line.WriteByte(']')
	return w.end(d)
}

func (w *ednWriter) object(d *json.Decoder) error {
	w.line.WriteByte('{')
	for n := 0; d.More(); n++ {
		if n > 0 {
			w.line.WriteString(", ")
		}
		key, err := d.Token()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrEDN, err)
		}
		if name, ok := key.(string); ok && w.word.MatchString(name) {
			w.line.WriteString(":" + name)
		} else {
			w.text(fmt.Sprint(key))
		}
		w.line.WriteByte(' ')
		if err := w.value(d, 0); err != nil {
			return err
		}
	}
	w.line.WriteByte('}')
	return w.end(d)
}

// end takes the closing bracket.
func (w *ednWriter) end(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("%w: %w", ErrEDN, err)
	}
	return nil
}

// number writes an integer that needs more than 64 bits as EDN's arbitrary one.
func (w *ednWriter) number(n json.Number) {
	w.line.WriteString(n.String())
	if _, err := n.Int64(); err != nil && !strings.ContainsAny(n.String(), ".eE") {
		w.line.WriteByte('N')
	}
}

func (w *ednWriter) text(s string) {
	w.line.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.line.WriteByte('\\')
			w.line.WriteRune(r)
		case r == '\n':
			w.line.WriteString(`\n`)
		case r == '\t':
			w.line.WriteString(`\t`)
		case r == '\r':
			w.line.WriteString(`\r`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&w.line, `\u%04x`, r)
		default:
			w.line.WriteRune(r)
		}
	}
	w.line.WriteByte('"')
}
