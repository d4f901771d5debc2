package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// A section is one history of a script in testdata.
type section struct {
	// rule is the one that must find something; or valid, or unknown.
	rule, title string
	line        int
	ops         []history.Op
}

// sections reads a script. Each line of a history is `PROCESS TYPE F VALUE name=value…`; a call that ends without having begun began just
// before, with the same value. Names are node, rev, req, err and t, the time since the beginning.
func sections(t *testing.T, name string) []section {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []section
	var w *scriptWriter
	for n, line := range strings.Split(string(text), "\n") {
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "-- "):
			rule, title, _ := strings.Cut(line[3:], ": ")
			all = append(all, section{rule: rule, title: title, line: n + 1})
			w = &scriptWriter{open: map[history.Process]bool{}}
		default:
			if err := w.line(line); err != nil {
				t.Fatalf("%s:%d: %v", name, n+1, err)
			}
			all[len(all)-1].ops = w.ops
		}
	}
	for i, s := range all {
		var file bytes.Buffer
		if err := history.Write(&file, s.ops); err != nil {
			t.Fatal(err)
		}
		if all[i].ops, err = history.Read(&file, fmt.Sprintf("%s:%d", name, s.line)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

type scriptWriter struct {
	ops  []history.Op
	open map[history.Process]bool
}

func (w *scriptWriter) line(line string) error {
	parts := strings.SplitN(line, " ", 4)
	if len(parts) != 4 {
		return fmt.Errorf("%q has no four parts", line)
	}
	o := history.Op{Type: history.Type(parts[1]), F: parts[2]}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(parts[0], "nemesis", `"nemesis"`)), &o.Process); err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(parts[3]))
	if err := d.Decode(&o.Value); err != nil {
		return err
	}
	if err := settings(parts[3][d.InputOffset():], &o); err != nil {
		return err
	}
	if o.Type != history.Invoke && !w.open[o.Process] && o.Process != history.Nemesis {
		begin := o
		begin.Type, begin.Error, begin.Revision = history.Invoke, "", 0
		w.add(begin)
	}
	w.add(o)
	w.open[o.Process] = o.Type == history.Invoke
	return nil
}

func (w *scriptWriter) add(o history.Op) {
	o.Index = len(w.ops)
	if o.Time == 0 && len(w.ops) > 0 {
		o.Time = w.ops[len(w.ops)-1].Time
	}
	w.ops = append(w.ops, o)
}

// settings reads `name=value` words; a value may be a JSON string.
func settings(text string, o *history.Op) error {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		name, rest, _ := strings.Cut(text, "=")
		value, rest, _ := cutValue(rest)
		text = rest
		var err error
		switch name {
		case "node":
			o.Node = value
		case "req":
			o.Request = value
		case "err":
			o.Error = value
		case "rev":
			_, err = fmt.Sscan(value, &o.Revision)
		case "t":
			o.Time, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("no setting %q", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func cutValue(text string) (value, rest string, found bool) {
	if strings.HasPrefix(text, `"`) {
		return strings.Cut(text[1:], `"`)
	}
	return strings.Cut(text, " ")
}
