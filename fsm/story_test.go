package fsm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the answers in testdata")

// TestStories runs the scripts in testdata/apply. A script is commands, a line of dashes, what they answer, an empty line.
// Lines that begin with # are comments. Every command is an entry of its own, a second after the one before.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/apply/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := tell(t, string(text))
			switch {
			case got == string(text):
			case *rewrite:
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				t.Errorf("%s\n%s", f, firstDifference(got, string(text)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i+1, strings.Join(g[min(i, len(g)):min(i+3, len(g))], "\n     "),
				strings.Join(w[min(i, len(w)):min(i+3, len(w))], "\n     "))
		}
	}
	return "equal"
}

// tell runs a script and returns it with the answers that it got.
func tell(t *testing.T, script string) string {
	s := &story{world: newWorld(t)}
	s.seen = s.system().LastEvent
	var out strings.Builder
	answering := false
	var answers strings.Builder
	for _, line := range strings.Split(strings.TrimRight(script, "\n"), "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			answering = false
			out.WriteString(line + "\n")
		case line == "----":
			answering = true
			out.WriteString(line + "\n" + answers.String())
			answers.Reset()
		case !answering:
			out.WriteString(line + "\n")
			answers.WriteString(s.answer(line))
		}
	}
	return out.String()
}

// story is a world that is told about in words.
type story struct {
	*world
	seen store.EventKey // events up to here were told
}

// args are the words of a line: a verb and key=value, where a value may be quoted.
type args map[string]string

func parse(line string) (verb string, a args) {
	a = args{}
	for i, word := range words(line) {
		key, value, ok := strings.Cut(word, "=")
		switch {
		case i == 0:
			verb = word
		case ok:
			if u, err := strconv.Unquote(value); err == nil {
				value = u
			}
			a[key] = value
		default:
			a[key] = "true"
		}
	}
	return verb, a
}

func words(line string) []string {
	quoted := false
	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
}

func (a args) has(key string) bool { _, ok := a[key]; return ok }

func (a args) number(key string, otherwise int64) int64 {
	if !a.has(key) {
		return otherwise
	}
	n, err := strconv.ParseInt(a[key], 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// under are the arguments prefix.x as a map, nil for none.
func (a args) under(prefix string) map[string]string {
	var m map[string]string
	for k, v := range a {
		if name, ok := strings.CutPrefix(k, prefix+"."); ok {
			if m == nil {
				m = map[string]string{}
			}
			m[name] = v
		}
	}
	return m
}

func (s *story) answer(line string) string {
	s.t.Helper()
	verb, a := parse(line)
	if text, ok := s.look(verb, a); ok {
		return aliases(text)
	}
	c, err := s.command(verb, a, line)
	if err != nil {
		return aliases("unfit: " + err.Error() + "\n")
	}
	if a.has("tenant") {
		c.Tenant = uint32(a.number("tenant", 1))
	}
	asked := strings.Join(slices.DeleteFunc(words(line), func(w string) bool {
		return strings.HasPrefix(w, "key=") || strings.HasPrefix(w, "minted=")
	}), " ")
	switch {
	case a.has("key"):
		keyed(c, a["key"], asked)
	case a.has("minted"):
		minted(c, a["minted"], asked)
	}
	return aliases(s.told(s.do(c)[0]))
}

// told says what became of a command, with the events that it made.
func (s *story) told(r fsm.Result) string {
	var out strings.Builder
	again := ""
	if r.Replayed {
		again = "again "
	}
	var refusal *graph.Error
	switch {
	case errors.As(r.Err, &refusal):
		fmt.Fprintf(&out, "%srefused: %v: %s", again, refusal.Kind, refusal.Message)
		for _, detail := range []string{refusal.Field, refusal.Reason, refusal.ResourceType, refusal.ResourceName} {
			out.WriteString(" | " + detail)
		}
		out.WriteString("\n")
	case len(r.Nodes) > 8:
		fmt.Fprintf(&out, "%sok %d nodes\n", again, len(r.Nodes))
	default:
		out.WriteString(again + "ok")
		for _, n := range r.Nodes {
			out.WriteString(" " + n.Id)
		}
		if r.Edge != nil {
			out.WriteString(" edge " + r.Edge.Id)
		}
		if r.Imported != (graph.Imported{}) {
			fmt.Fprintf(&out, " %+v", r.Imported)
		}
		out.WriteString("\n")
	}
	out.WriteString(s.news())
	return out.String()
}

// news tells the events since the last time; very many by number, with the last ones.
func (s *story) news() string {
	all := events(s.t, s.m.Store(), s.seen)
	s.seen = s.system().LastEvent
	var lines []string
	for _, e := range all {
		lines = append(lines, eventLine(e))
	}
	if len(lines) > 12 {
		counts := map[string]int{}
		for _, e := range all {
			counts[e.Type.String()]++
		}
		j, err := json.Marshal(counts)
		if err != nil {
			s.t.Fatalf("%v", err)
		}
		lines = append([]string{fmt.Sprintf("  %d events %s, the last of them", len(all), j)}, lines[len(lines)-2:]...)
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func eventLine(e *logpb.StoredEvent) string {
	what := strings.TrimPrefix(e.Type.String(), "EVENT_TYPE_")
	switch {
	case e.EdgeId != "":
		return fmt.Sprintf("  %s %s %s → %s", what, edgeName(e.EdgeType), e.FromNodeId, e.ToNodeId)
	case e.NodeId != "":
		return fmt.Sprintf("  %s %s %s", what, nodeName(e.NodeType), e.NodeId)
	default:
		return strings.TrimRight(fmt.Sprintf("  %s %s %s", what, e.SessionId, e.Reason), " ")
	}
}

func edgeName(t pb.EdgeType) string { return strings.TrimPrefix(t.String(), "EDGE_TYPE_") }
func nodeName(t pb.NodeType) string {
	return strings.ToLower(strings.TrimPrefix(t.String(), "NODE_TYPE_"))
}

// aliases writes the ids of sessions as tests call them.
func aliases(text string) string {
	const prefix = "00000000-0000-4000-8000-"
	for {
		i := strings.Index(text, prefix)
		if i < 0 {
			return text
		}
		digits := strings.TrimLeft(text[i+len(prefix):i+len(prefix)+12], "0")
		text = text[:i] + "s" + digits + text[i+len(prefix)+12:]
	}
}

// look answers the verbs that change nothing; false for others.
func (s *story) look(verb string, a args) (text string, ok bool) {
	ok = true
	switch verb {
	case "show":
		s.read(func(v graph.View) { text = s.show(v, a["id"]) })
	case "edges":
		s.read(func(v graph.View) { text = s.edges(v, a) })
	case "list":
		s.read(func(v graph.View) { text = s.list(v, a) })
	case "counts":
		s.read(func(v graph.View) { text = s.counts(v, a) })
	case "events":
		for _, e := range events(s.t, s.m.Store(), store.EventKey{}) {
			if !a.has("id") || e.NodeId == a["id"] || e.SessionId == uuidOf(a["id"]) {
				text += "  " + strings.TrimPrefix(e.Type.String(), "EVENT_TYPE_") + " " + graph.EventPayload(e) + "\n"
			}
		}
	case "rows":
		text = s.kinds()
	case "later":
		d, err := time.ParseDuration(a["by"])
		if err != nil {
			s.t.Fatalf("%v", err)
		}
		s.stamp += int64(d) - second // the next command is a second later
		text = "ok\n"
	case "chore":
		text = s.chore(a)
	default:
		ok = false
	}
	return text, ok
}

func (s *story) show(v graph.View, id string) string {
	rec, ok, err := v.NodeByID(uuidOf(id))
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	if !ok {
		return "none\n"
	}
	n, err := graph.Present(v, rec)
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return s.json(n)
}

func (s *story) json(m proto.Message) string {
	b, err := protojson.Marshal(m)
	var out bytes.Buffer
	if err == nil {
		err = json.Compact(&out, b)
	}
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return out.String() + "\n"
}

func (s *story) edges(v graph.View, a args) string {
	req := &pb.GetEdgesRequest{NodeId: uuidOf(a["id"])}
	if d := a["direction"]; d != "" {
		req.Direction = pb.EdgeDirection(pb.EdgeDirection_value["EDGE_DIRECTION_"+strings.ToUpper(d)]).Enum()
	}
	if typ := a["type"]; typ != "" {
		req.Type = edgeType(typ).Enum()
	}
	q, err := graph.NewEdgeQuery(req)
	if err != nil {
		return "unfit: " + err.Error() + "\n"
	}
	out, number := "", 0
	err = q.Each(v, nil, func(_ graph.EdgePlace, rec graph.EdgeRecord) (bool, error) {
		e, err := rec.Edge()
		if err != nil {
			return false, err
		}
		if number++; number > 12 {
			return true, nil
		}
		props, err := json.Marshal(e.Properties)
		out += fmt.Sprintf("  %s %s → %s %s\n", edgeName(e.Type), e.FromNodeId, e.ToNodeId, props)
		return true, err
	})
	if err != nil {
		return "refused: " + err.Error() + "\n"
	}
	return fmt.Sprintf("%d edges\n", number) + out
}

func edgeType(name string) pb.EdgeType { return pb.EdgeType(pb.EdgeType_value["EDGE_TYPE_"+name]) }

func (s *story) list(v graph.View, a args) string {
	req := &pb.QueryRequest{Filters: a.under("filter")}
	if a.has("session") {
		req.SessionId = proto.String(uuidOf(a["session"]))
	}
	if a.has("type") {
		req.NodeType = pb.NodeType(pb.NodeType_value["NODE_TYPE_"+strings.ToUpper(a["type"])]).Enum()
	}
	q, err := graph.NewQuery(req)
	if err != nil {
		return "unfit: " + err.Error() + "\n"
	}
	page, err := q.Page(v, graph.Paging{Limit: int(a.number("limit", 100)), Offset: int(a.number("offset", 0))})
	if err != nil {
		return "refused: " + err.Error() + "\n"
	}
	out := fmt.Sprintf("%d of %d:", len(page.Nodes), page.Total)
	for _, n := range page.Nodes {
		out += " " + n.Id
	}
	return out + "\n"
}

func (s *story) counts(v graph.View, a args) string {
	at := graph.Position(0)
	if a.has("session") {
		rec, _, err := v.NodeByID(uuidOf(a["session"]))
		if err != nil {
			s.t.Fatalf("%v", err)
		}
		at = rec.Position
	}
	nodes, err1 := v.CountNodes(at, 0)
	edges, err2 := v.CountEdges()
	sessions, err3 := v.CountNodes(0, sessionType)
	active, err4 := v.CountActiveSessions()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		s.t.Fatalf("%v", err)
	}
	return fmt.Sprintf("%d nodes, %d edges, %d sessions, %d active\n", nodes, edges, sessions, active)
}

// kinds counts the rows of the store by the first words of their description.
func (s *story) kinds() string {
	counts := map[string]int{}
	for _, r := range rows(s.t, s.m.Store()) {
		counts[kindOfRow(r)]++
	}
	b, err := json.Marshal(counts)
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return string(b) + "\n"
}

// kindOfRow is the description of a row without numbers and ids.
func kindOfRow(row string) string {
	text, _, _ := strings.Cut(row, " [")
	if strings.HasPrefix(text, "tenant") {
		_, text, _ = strings.Cut(text, ", ")
	}
	if kind, _, ok := strings.Cut(text, " expiry"); ok {
		return kind + " expiry"
	}
	if kind, _, ok := strings.Cut(text, "outcome "); ok && kind == "" {
		return "outcome"
	}
	if i := strings.IndexAny(text, "0123456789\","); i > 0 {
		text = text[:i]
	}
	return strings.TrimSpace(text)
}

func (s *story) chore(a args) string {
	age, err := time.ParseDuration(a["age"])
	if a.has("age") && err != nil {
		s.t.Fatalf("%v", err)
	}
	b, err := s.m.Chore(fsm.Retention{Count: uint64(a.number("count", 0)), Age: age})
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	if b == nil {
		return "nothing\n"
	}
	c := &logpb.Command{}
	if err := proto.Unmarshal(b, c); err != nil {
		s.t.Fatalf("%v", err)
	}
	return s.json(c) + s.told(s.do(c)[0])
}
