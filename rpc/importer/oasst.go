package importer

import "fmt"

// oasst reads trees of OpenAssistant messages: {"message_tree_id": …, "prompt": {"message_id": …, "text": …, "role":
// "prompter", "replies": […]}}, one a line. A prompter's message is a prompt, an assistant's a response to the prompt
// above it. A prompt follows the one that the message above it answers, and references that message, so that branches
// stay apart.
type oasst struct{}

func (oasst) claims(h head) claim {
	f := h.first().fields
	return claimIf(f["message_tree_id"] != nil && len(f["prompt"]) > 0 && f["prompt"][0] == '{')
}

func (oasst) read(it *item, out *scribe) error {
	id, _ := it.fields.text("message_tree_id")
	spec := sessionSpec{id: id, metadata: flatten(it.fields.without("prompt"))}
	if lower, ok := uuidText(id); ok && out.given[lower] {
		spec.id = "" // the tree stands in the file once more: another session
	}
	t := &oasstTree{session: out.session(spec), tree: it.where}
	root, err := readTree(it.fields["prompt"], "replies", t.report)
	if err != nil {
		t.report("0", "%v", err)
		return nil
	}
	t.message(root, nil, nil)
	return nil
}

// An oasstTree is a tree that is being read.
type oasstTree struct {
	*session
	tree string // for reports
}

func (t *oasstTree) at(where string) string { return fmt.Sprintf("%s, message %s", t.tree, where) }

func (t *oasstTree) report(where, format string, args ...any) {
	t.problem(t.at(where), format, args...)
}

// message tells a message and those below it. asked is the prompt of the branch so far, answered the message right above
// when it is an assistant's.
func (t *oasstTree) message(b *branch, asked *promptRef, answered *responseRef) {
	switch role := b.fields.firstText("role"); role {
	case "prompter":
		asked, answered = t.prompter(b, asked, answered), nil
	case "assistant":
		if asked == nil {
			asked = t.opening()
		}
		answered = t.assistant(b, asked)
	default:
		t.report(b.where, "role %q is unknown; it is left out with the %d messages below it", cutLong(role), b.size()-1)
		return
	}
	for _, one := range b.below {
		t.message(one, asked, answered)
	}
}

func (t *oasstTree) prompter(b *branch, asked *promptRef, answered *responseRef) *promptRef {
	spec := promptSpec{where: t.at(b.where), id: b.fields.firstText("message_id"), key: []string{b.where}, text: t.text(b),
		time: b.fields.time("created_date"), model: b.fields.firstText("model_name"), custom: oasstCustom(b.fields), root: asked == nil}
	if asked != nil {
		spec.follows = []*promptRef{asked}
	}
	p := t.prompt(spec)
	if p.id != spec.id {
		addMetadata(p.node.Metadata.Custom, flatten(fields{"message_id": b.fields["message_id"]}))
	}
	if answered != nil {
		t.references(p.ref, answered.ref, reference{kind: "memory"})
	}
	return p
}

func (t *oasstTree) assistant(b *branch, asked *promptRef) *responseRef {
	spec := responseSpec{where: t.at(b.where), id: b.fields.firstText("message_id"), key: []string{b.where}, text: t.text(b),
		time: b.fields.time("created_date"), model: b.fields.firstText("model_name"), custom: oasstCustom(b.fields)}
	r := t.response(asked, spec)
	if r.ok && r.id != spec.id {
		addMetadata(r.node.Metadata.Custom, flatten(fields{"message_id": b.fields["message_id"]}))
	}
	return r
}

// text is what a message says. One without text is told, since others may hang below it.
func (t *oasstTree) text(b *branch) string {
	text, ok := b.fields.text("text")
	if !ok {
		t.report(b.where, "has no text")
	}
	return text
}

// oasstCustom is what a message says besides. Its mark of messages that a model wrote gets another name, since synthetic
// is ours for texts that stand in none's place.
func oasstCustom(f fields) []pair {
	pairs := flatten(f.without("message_id", "text", "role", "model_name", "created_date"))
	for i := range pairs {
		if pairs[i].key == "synthetic" {
			pairs[i].key = "model_written"
		}
	}
	return pairs
}
