package importer

import (
	"fmt"
	"slices"
)

// toolBench reads ToolBench's answers: the search tree of a model over tools. Its nodes are thoughts, which are responses
// to the query; actions, which name a tool; and below each of them the action's input, with what came of it. A call
// belongs to the nearest thought above it, and calls above any thought to a response that stands in none's place. What
// branched where is kept in tree_path; a thought references the call whose outcome it looks at.
type toolBench struct{}

func (toolBench) claims(h head) claim {
	f := h.first().fields
	return claimIf(f["answer_generation"] != nil && f.object("tree").object("tree") != nil)
}

func (toolBench) read(it *item, out *scribe) error {
	answer, tree := it.fields.object("answer_generation"), it.fields.object("tree")
	metadata := append(flatten(it.fields.without("tree", "answer_generation")), flatten(tree.without("tree"))...)
	metadata = append(metadata, flatten(answer.without("query"))...)
	s := &toolSearch{file: it.where, session: out.session(sessionSpec{metadata: metadata, tools: toolsIn(answer["function"])})}
	query, _ := answer.text("query")
	s.query = s.prompt(promptSpec{text: query})
	root, err := readTree(tree["tree"], "children", s.report)
	if err != nil {
		s.report("0", "%v", err)
		return nil
	}
	s.step(root, nil, 0, place{})
	if s.latest != nil {
		s.latest.node.TokenUsage = usage{total: answer.whole("total_tokens")}.record()
	}
	return nil
}

// A toolSearch is a search tree that is being read.
type toolSearch struct {
	*session
	file   string // for reports
	query  *promptRef
	before *responseRef // the response for calls above any thought
	latest *responseRef
}

func (s *toolSearch) report(where, format string, args ...any) {
	s.problem(s.at(where), format, args...)
}

func (s *toolSearch) at(where string) string { return fmt.Sprintf("%s, node %s", s.file, where) }

// A place is where in the tree a node hangs.
type place struct {
	thought *responseRef // the nearest thought above
	call    *callRef     // the nearest call above
	retry   int          // how many siblings came before what this node belongs to
}

// step tells a node and those below it. action is the node above when that is an action, nth its place among its siblings.
func (s *toolSearch) step(b, action *branch, nth int, at place) {
	at.retry += nth
	switch kind := b.fields.firstText("node_type"); kind {
	case "Thought":
		s.think(b, &at)
		action = nil
	case "Action":
		if !slices.ContainsFunc(b.below, func(one *branch) bool { return one.fields.firstText("node_type") == "Action Input" }) {
			s.run(b, &branch{where: b.where}, &at) // it was never given an input
		}
		action = b
	case "Action Input":
		switch {
		case action != nil:
			s.run(action, b, &at)
		case b.where != "0":
			s.report(b.where, "is the input of no action")
		}
		action, at.retry = nil, 0
	default:
		s.report(b.where, "node_type %q is unknown; it is left out with the %d nodes below it", cutLong(kind), b.size()-1)
		return
	}
	for i, one := range b.below {
		s.step(one, action, i, at)
	}
}

func (s *toolSearch) think(b *branch, at *place) {
	text, ok := b.fields.textOrRaw("description")
	if !ok {
		s.report(b.where, "has no description")
	}
	at.thought = s.response(s.query, responseSpec{where: s.at(b.where), key: []string{b.where}, text: text, custom: treeCustom(b)})
	s.latest = at.thought
	if at.call != nil {
		s.references(at.thought.ref, at.call.ref, reference{kind: "memory"})
	}
}

// run tells the call that an action and its input are.
func (s *toolSearch) run(action, input *branch, at *place) {
	if at.thought == nil {
		if s.before == nil {
			s.before = s.response(s.query, responseSpec{key: []string{"before"}, finishReason: "tool_calls", custom: []pair{entry("synthetic", "true")}})
			s.latest = s.before
		}
		at.thought = s.before
	}
	parameters, _ := input.fields.textOrRaw("description")
	c := s.call(at.thought, callSpec{where: s.at(input.where), key: []string{input.where}, name: action.fields.firstText("description"),
		parameters: parameters, retry: at.retry, metadata: treeCustom(input)})
	if observation, ok := input.fields.textOrRaw("observation"); ok && c.ok {
		failed := input.fields.present("observation_code") && string(input.fields["observation_code"]) != "0"
		s.result(c, resultSpec{where: s.at(input.where), text: observation, failed: failed})
	}
	at.call = c
}

// treeCustom is what a node of the tree says besides, its place in the tree first.
func treeCustom(b *branch) []pair {
	return append([]pair{entry("tree_path", b.where)}, flatten(b.fields.without("description", "observation", "node_type", "io_state"))...)
}
