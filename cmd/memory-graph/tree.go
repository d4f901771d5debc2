package main

import (
	"fmt"
	"strings"
	"time"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// treeOptions say how a story is drawn.
type treeOptions struct {
	// full shows texts whole instead of one line.
	full bool
	ids  bool
	// width is the columns of a line.
	width int
}

// minText is how many columns a text keeps when prefix and notes leave less.
const minText = 20

// A leaf is one node of the tree with those below it.
type leaf struct {
	node     *pb.Node
	children []*leaf
}

// A treeDrawer collects the lines of a tree.
type treeDrawer struct {
	treeOptions
	story *story
	lines []string
}

// drawStory draws a session: a heading, the tree, and totals.
func drawStory(s *story, o treeOptions) string {
	d := &treeDrawer{treeOptions: o, story: s}
	d.lines = append(d.lines, fmt.Sprintf("session %s  %s  %s", printable(s.session.GetId()), activity(s.session), instant(s.session.GetCreatedAt())))
	if m := s.session.GetMetadata(); len(m) > 0 {
		d.lines = append(d.lines, cut(oneLine(ownFirst(m)), d.width))
	}
	roots := grow(s.nodes)
	for i, r := range roots {
		d.draw(r, "", i == len(roots)-1)
	}
	if len(roots) == 0 {
		d.lines = append(d.lines, "└─ nothing yet")
	}
	d.lines = append(d.lines, s.totals().String())
	return strings.Join(d.lines, "\n")
}

// ownFirst writes metadata with what an import added, which says the least, behind the rest.
func ownFirst(m map[string]string) string {
	own, added := make(map[string]string), make(map[string]string)
	for k, v := range m {
		if strings.HasPrefix(k, "import_") {
			added[k] = v
		} else {
			own[k] = v
		}
	}
	return strings.TrimSpace(pairsText(own) + "  " + pairsText(added))
}

// String is the totals as one line.
func (t totals) String() string {
	tools := count(t.ToolInvocations, "tool call")
	if t.FailedTools > 0 {
		tools += fmt.Sprintf(" (%d failed)", t.FailedTools)
	}
	line := fmt.Sprintf("%s, %s, %s", count(t.Prompts, "prompt"), count(t.Responses, "response"), tools)
	if used := tokens(&pb.TokenUsage{PromptTokens: t.PromptTokens, CompletionTokens: t.CompletionTokens, TotalTokens: t.TotalTokens}); used != "" {
		line += ", " + strings.Replace(used, " (", " tokens (", 1)
	}
	if t.DurationMs > 0 {
		line += ", " + millis(t.DurationMs)
	}
	return line
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// grow puts each node under the one that its record names; one whose parent is not there, because it was deleted,
// stands at the root.
func grow(nodes []*pb.Node) []*leaf {
	leaves := make(map[string]*leaf, len(nodes))
	for _, n := range nodes {
		leaves[n.GetId()] = &leaf{node: n}
	}
	var roots []*leaf
	for _, n := range nodes {
		l := leaves[n.GetId()]
		parent := leaves[n.GetResponse().GetPromptId()+n.GetToolInvocation().GetResponseId()]
		if parent == nil || parent == l {
			roots = append(roots, l)
			continue
		}
		parent.children = append(parent.children, l)
	}
	return roots
}

func (d *treeDrawer) draw(l *leaf, indent string, last bool) {
	branch, below := "├─ ", indent+"│  "
	if last {
		branch, below = "└─ ", indent+"   "
	}
	trunk := below
	if len(l.children) > 0 {
		trunk += "│  "
	} else {
		trunk += "   "
	}
	switch l.node.GetType() {
	case pb.NodeType_NODE_TYPE_TOOL_INVOCATION:
		d.tool(l.node, indent+branch, trunk)
	default:
		d.message(l.node, indent+branch, trunk)
	}
	for i, c := range l.children {
		d.draw(c, below, i == len(l.children)-1)
	}
}

// message draws a prompt or a response: what it is, when, its text, and notes in brackets.
func (d *treeDrawer) message(n *pb.Node, branch, trunk string) {
	text, name := n.GetPrompt().GetContent(), "prompt"
	if n.GetType() == pb.NodeType_NODE_TYPE_RESPONSE {
		text, name = n.GetResponse().GetContent(), "response"
	}
	if text == "" {
		text = noText
	}
	notes := d.notes(n)
	head := branch + name + clock(n) + "  "
	if !d.full {
		d.lines = append(d.lines, d.line(head, oneLine(text), notes))
		return
	}
	d.lines = append(d.lines, strings.TrimRight(head+notes, " "))
	d.block(trunk, "", text)
}

// tool draws a tool call: name, parameters, and what came of it.
func (d *treeDrawer) tool(n *pb.Node, branch, trunk string) {
	v := n.GetToolInvocation()
	outcome := printable(v.GetStatus())
	if v.GetDurationMs() > 0 {
		outcome += " in " + millis(v.GetDurationMs())
	}
	if v.GetRetryCount() > 0 {
		outcome += fmt.Sprintf(" after %d retries", v.GetRetryCount())
	}
	head := branch + "tool " + oneLine(v.GetToolName()) + "  "
	id := ""
	if d.ids {
		id = "[" + printable(n.GetId()) + "]"
	}
	answer := v.GetResult() + v.GetError()
	if !d.full {
		text := oneLine(v.GetParameters())
		room := max(minText, (d.width-columns(head)-columns(outcome)-columns(id)-6)/2)
		if text != "" {
			text = cut(text, room) + "  "
		}
		text += "→ " + outcome
		if answer != "" {
			text += ": " + oneLine(answer)
		}
		d.lines = append(d.lines, d.line(head, text, id))
		return
	}
	d.lines = append(d.lines, strings.TrimRight(head+"→ "+outcome+"  "+id, " "))
	d.block(trunk, "in:  ", v.GetParameters())
	d.block(trunk, "out: ", answer)
}

// line joins head, text and notes; the text gives way when the line is too long.
func (d *treeDrawer) line(head, text, notes string) string {
	if notes != "" {
		notes = "  " + notes
	}
	room := max(minText, d.width-columns(head)-columns(notes))
	return head + cut(text, room) + notes
}

// block draws a text whole, each of its lines behind the trunk.
func (d *treeDrawer) block(trunk, label, text string) {
	if text == "" {
		return
	}
	for i, l := range printableLines(text) {
		if i > 0 {
			label = strings.Repeat(" ", len(label))
		}
		d.lines = append(d.lines, strings.TrimRight(trunk+label+l, " "))
	}
}

func clock(n *pb.Node) string {
	if when(n) == nil {
		return ""
	}
	return "  " + when(n).AsTime().Format(time.TimeOnly)
}

// notes are what stands in brackets behind a message.
func (d *treeDrawer) notes(n *pb.Node) string {
	var notes []string
	add := func(s string) {
		if s != "" {
			notes = append(notes, oneLine(s))
		}
	}
	if d.ids {
		add(n.GetId())
	}
	if r := n.GetResponse(); r != nil {
		add(known(r.GetMetadata().GetModel()))
		add(millis(r.GetMetadata().GetLatencyMs()))
		if used := r.GetTokenUsage(); used.GetTotalTokens() > 0 {
			add(fmt.Sprintf("%d+%d tokens", used.GetPromptTokens(), used.GetCompletionTokens()))
		}
		if reason := r.GetMetadata().GetFinishReason(); reason != "stop" {
			add(reason)
		}
	}
	for _, e := range d.story.edges[n.GetId()] {
		if !d.inherited(n, e) {
			add(d.relation(e))
		}
	}
	if len(notes) == 0 {
		return ""
	}
	return "[" + strings.Join(notes, " · ") + "]"
}

// inherited says that the agent of a response is the only one of its prompt, where the tree has just named it.
func (d *treeDrawer) inherited(n *pb.Node, e *pb.Edge) bool {
	agents, same := 0, false
	for _, p := range d.story.edges[n.GetResponse().GetPromptId()] {
		if p.GetType() == pb.EdgeType_EDGE_TYPE_HANDLED_BY {
			agents++
			same = same || p.GetToNodeId() == e.GetToNodeId()
		}
	}
	return e.GetType() == pb.EdgeType_EDGE_TYPE_HANDLED_BY && same && agents == 1
}

func known(model string) string {
	if model == "unknown" {
		return ""
	}
	return model
}

// relation says where an edge leads.
func (d *treeDrawer) relation(e *pb.Edge) string {
	to := e.GetToNodeId()
	switch n := d.story.related[to].GetNodeData().(type) {
	case *pb.Node_Agent:
		to = n.Agent.GetName()
	case *pb.Node_Template:
		to = n.Template.GetName()
	}
	to = cut(oneLine(to), maxCell)
	switch e.GetType() {
	case pb.EdgeType_EDGE_TYPE_HANDLED_BY:
		return "agent " + to
	case pb.EdgeType_EDGE_TYPE_INSTANTIATES:
		return "template " + to
	case pb.EdgeType_EDGE_TYPE_TRANSFERS_TO:
		return "handed to " + to
	default:
		return "see " + to
	}
}
