package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// claudeCode reads session logs of Claude Code: a line for each message, with uuid, parentUuid and sessionId. The lines of
// a file may belong to several sessions. One response of the model may stand on several lines, which have its id in
// common and each tell a block of it.
//
// A session whose id is a UUID is the same in every file, so that a log that has grown adds to what was read before, and
// the files of its sub-agents join it. The ids of its nodes come from all that the file says of them: a call that had no
// result yet, and a line that another file tells in another way, are other nodes.
type claudeCode struct{}

func (claudeCode) claims(h head) claim {
	return claimIf(slices.ContainsFunc(h.values, func(it *item) bool {
		f := it.fields
		switch f.firstText("type") {
		case "user", "assistant":
			return f.firstText("sessionId") != "" && f.firstText("uuid") != "" && f.present("message")
		case "summary":
			return f.firstText("summary") != "" && f.firstText("leafUuid") != ""
		case "file-history-snapshot":
			return f.object("snapshot") != nil
		}
		_, chained := f["parentUuid"]
		return chained && f.firstText("sessionId") != "" && f.firstText("uuid") != ""
	}))
}

// A claudeLine is one message of a log.
type claudeLine struct {
	where         string
	raw           json.RawMessage
	uuid, parent  string
	session, role string
	message       string // its id
	sidechain     bool
	// What follows is there while the line is open.
	time    *timestamppb.Timestamp
	fields  fields
	body    fields
	content *blocks
}

// open takes a line apart; close lets go of the parts, which are many times as large as the text.
func (c *claudeLine) open() error {
	f, err := parseFields(c.raw)
	if err != nil {
		return err
	}
	c.fields, c.time, c.body = f, f.time("timestamp"), f.object("message")
	if c.body == nil {
		return fmt.Errorf("message: %w", errNoObject)
	}
	c.content = readBlocks(c.body["content"], readAnthropicBlock)
	return nil
}

func (c *claudeLine) close() { c.time, c.fields, c.body, c.content = nil, nil, nil, nil }

// A claudeLog is a file that is being told.
type claudeLog struct {
	*scribe
	lines []*claudeLine
	// parts are the lines of each response, by session and id of the message.
	parts map[[2]string][]*claudeLine
	// results are the lines with the results of each call, by session and id, in order.
	results   map[[2]string][]*claudeLine
	summaries map[string]string // by the line that they end with
	told      map[string]bool   // summaries that have their line
	seen      map[string]bool   // digests of the lines
	sessions  map[string]*claudeSession
}

// A claudeSession is a session of a log.
type claudeSession struct {
	*session
	openCalls
	// prompts are the prompts that lines belong to; agents the agents of their chains.
	prompts map[string]*promptRef
	agents  map[string]*agentRef
	main    *promptRef // the latest of the main chain
	answer  *responseRef
	tasks   []claudeTask
}

// A claudeTask is a call that gave a task to a sub-agent.
type claudeTask struct {
	prompt, agent, summary string
	by                     *responseRef
}

func (claudeCode) read(it *item, out *scribe) error {
	log := &claudeLog{scribe: out, parts: make(map[[2]string][]*claudeLine), results: make(map[[2]string][]*claudeLine),
		summaries: make(map[string]string), told: make(map[string]bool), seen: make(map[string]bool), sessions: make(map[string]*claudeSession)}
	if err := log.load(it.next); err != nil {
		return err
	}
	for _, line := range log.lines {
		log.tell(line)
	}
	for _, leaf := range slices.Sorted(maps.Keys(log.summaries)) {
		if !log.told[leaf] {
			out.problem("", "a summary ends with line %q, which is not in this file", cutLong(leaf))
		}
	}
	return nil
}

// bookkeeping are the types of lines that Claude Code writes for itself, beside the messages: its notices, what it has
// to know to go on, and what it calls a session.
func bookkeeping() []string {
	return []string{"system", "file-history-snapshot", "progress", "queue-operation", "attachment", "last-prompt", "permission-mode",
		"mode", "custom-title", "ai-title", "agent-name", "agent-color", "agent-setting", "tag", "pr-link", "worktree-state"}
}

// load takes the lines in. Those that are no messages are counted by their type, and told together; those of a type
// that is not known are a problem.
func (l *claudeLog) load(next func() (*item, error)) error {
	others, kinds := make(map[string]int), []string(nil)
	for {
		it, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		kind := it.fields.firstText("type")
		switch {
		case it.fields == nil:
			l.problem(it.where, "is no entry of a log: %v", errNoObject)
		case kind == "user" || kind == "assistant":
			l.line(it, kind)
		case kind == "summary" && it.fields.firstText("leafUuid") != "":
			l.summaries[it.fields.firstText("leafUuid")] = it.fields.firstText("summary")
		case kind == "":
			l.problem(it.where, "is no entry of a log: it has no type")
		default:
			if others[kind]++; others[kind] == 1 {
				kinds = append(kinds, kind)
			}
		}
	}
	for _, kind := range kinds {
		tell := l.problem
		if slices.Contains(bookkeeping(), kind) {
			tell = l.note
		}
		tell("", "%d lines of type %q hold no message", others[kind], cutLong(kind))
	}
	return nil
}

func (l *claudeLog) line(it *item, kind string) {
	f := it.fields
	line := &claudeLine{where: it.where, raw: it.raw, role: kind, uuid: f.firstText("uuid"), parent: f.firstText("parentUuid"),
		session: f.firstText("sessionId"), sidechain: string(f["isSidechain"]) == "true"}
	if err := line.open(); err != nil {
		l.problem(it.where, "%v", err)
		return
	}
	defer line.close()
	line.message = line.body.firstText("id")
	digest := sum(it.raw)
	if l.seen[digest] {
		l.problem(it.where, "is there twice")
		return
	}
	l.seen[digest] = true
	for _, fault := range line.content.faults {
		l.problem(it.where, "%s", fault)
	}
	for _, r := range line.content.results {
		key := [2]string{line.session, r.id}
		l.results[key] = append(l.results[key], line)
	}
	if key := line.answerKey(); kind == "assistant" {
		l.parts[key] = append(l.parts[key], line)
		if len(l.parts[key]) > 1 {
			return
		}
	}
	l.lines = append(l.lines, line)
}

// answerKey is what the lines of one response have in common.
func (c *claudeLine) answerKey() [2]string {
	if c.message != "" {
		return [2]string{c.session, c.message}
	}
	return [2]string{c.session, c.where}
}

func (l *claudeLog) tell(line *claudeLine) {
	if line.open() != nil {
		return // reported when it was loaded
	}
	defer line.close()
	s := l.session(line)
	if line.role == "assistant" {
		s.tellAnswer(l, line)
		return
	}
	custom := append(l.summary(line), line.custom()...)
	if len(line.content.results) > 0 {
		s.tellResults(line, custom)
	}
	if line.content.says() {
		s.tellPrompt(l, line, custom)
		return
	}
	s.prompts[line.uuid] = s.before(line)
}

// summary is the summary that ends with a line.
func (l *claudeLog) summary(line *claudeLine) []pair {
	summary, ok := l.summaries[line.uuid]
	if !ok {
		return nil
	}
	l.told[line.uuid] = true
	return []pair{entry("summary", summary)}
}

// key identifies all that the file says of a line.
func (l *claudeLog) key(line *claudeLine) string {
	return sum(line.raw, []byte(l.summaries[line.uuid]))
}

// session is that of a line. Of one that several files may tell of, the record says no more than its id.
func (l *claudeLog) session(line *claudeLine) *claudeSession {
	if s := l.sessions[line.session]; s != nil {
		return s
	}
	spec := sessionSpec{id: line.session, metadata: []pair{entry("session_id", line.session)}}
	if _, keyed := uuidText(line.session); !keyed {
		spec.created = line.time
	}
	s := &claudeSession{session: l.scribe.session(spec), prompts: make(map[string]*promptRef), agents: make(map[string]*agentRef)}
	l.sessions[line.session] = s
	return s
}

// rest is what a line says beside its message.
func (c *claudeLine) rest() []pair {
	return flatten(c.fields.without("type", "message", "toolUseResult", "timestamp", "sessionId"))
}

// custom is what a line says beside the texts, calls and results of its message.
func (c *claudeLine) custom() []pair { return append(c.content.custom(), c.rest()...) }

// before is the prompt that a line comes after: that of its parent, or the last one of its chain.
func (s *claudeSession) before(line *claudeLine) *promptRef {
	if p := s.prompts[line.parent]; p != nil && line.parent != "" {
		return p
	}
	if line.sidechain {
		return nil
	}
	return s.main
}

func (s *claudeSession) tellPrompt(l *claudeLog, line *claudeLine, custom []pair) {
	before := s.before(line)
	spec := promptSpec{where: line.where, text: line.content.text(), time: line.time, custom: custom, root: before == nil}
	spec.key = []string{l.key(line), before.identity()}
	if before != nil {
		spec.follows = []*promptRef{before}
	}
	p := s.prompt(spec)
	s.prompts[line.uuid] = p
	if !line.sidechain {
		s.main = p
		return
	}
	agent := s.agents[line.parent]
	if agent == nil {
		agent = s.transfer(line)
	}
	s.agents[line.uuid] = agent
	s.handledBy(p.ref, agent)
}

// identity is the id of a prompt, for keys.
func (p *promptRef) identity() string {
	if p == nil {
		return ""
	}
	return p.id
}

// transfer is the sub-agent that a side chain begins with: that of the call that gave it its task.
func (s *claudeSession) transfer(line *claudeLine) *agentRef {
	task := claudeTask{agent: line.agent(), by: s.answer}
	for _, t := range slices.Backward(s.tasks) {
		if t.prompt == line.content.text() {
			task = t
			if task.agent == "" {
				task.agent = line.agent()
			}
			break
		}
	}
	agent := s.agent(agentSpec{name: task.agent})
	if task.by != nil {
		s.transfersTo(task.by, agent, handoff{reason: "sidechain", summary: task.summary})
	}
	return agent
}

func (s *claudeSession) tellResults(line *claudeLine, custom []pair) {
	used := line.fields.object("toolUseResult")
	results := slices.Clone(line.content.results)
	for i := range results {
		results[i].metadata = append(results[i].metadata, flatten(used)...)
		if !line.content.says() {
			results[i].metadata = append(results[i].metadata, custom...)
		}
	}
	s.settle(s.session, line.where, results, line.time)
}

// tellAnswer tells a response, whose blocks stand on one line or several.
func (s *claudeSession) tellAnswer(l *claudeLog, line *claudeLine) {
	lines := l.parts[line.answerKey()]
	before := s.before(line)
	if before == nil {
		before = s.lastOrOpening()
	}
	whole, key, custom := &blocks{}, []string{before.identity()}, []pair(nil)
	end := line.body
	for _, part := range lines {
		if part != line && part.open() == nil {
			end = part.body
			defer part.close()
		}
		whole.add(part.content)
		key = append(key, l.key(part))
		custom = append(custom, l.summary(part)...)
		s.prompts[part.uuid] = before
	}
	custom = append(custom, line.rest()...)
	spec := anthropicResponse(line.where, end, whole, responseSpec{time: line.time, custom: custom})
	spec.key = key
	r := s.response(before, spec)
	s.tellTools(l, line, r, whole)
	if !line.sidechain {
		s.answer = r
		return
	}
	agent := s.agents[line.parent]
	if agent == nil {
		agent = s.agent(agentSpec{name: line.agent()})
	}
	for _, part := range lines {
		s.agents[part.uuid] = agent
	}
	s.handledBy(r.ref, agent)
}

func (b *blocks) add(more *blocks) {
	b.texts, b.thoughts, b.other = append(b.texts, more.texts...), append(b.thoughts, more.thoughts...), append(b.other, more.other...)
	b.calls, b.results = append(b.calls, more.calls...), append(b.results, more.results...)
}

// tellTools tells the calls of a response. What its result will say is part of the id of a call.
func (s *claudeSession) tellTools(l *claudeLog, line *claudeLine, r *responseRef, b *blocks) {
	for i, c := range b.calls {
		key := [2]string{line.session, c.id}
		if waiting := l.results[key]; len(waiting) > 0 {
			b.calls[i].result, l.results[key] = l.key(waiting[0]), waiting[1:]
		}
		if f, err := parseFields(json.RawMessage(c.parameters)); err == nil && f.firstText("prompt") != "" {
			s.tasks = append(s.tasks, claudeTask{prompt: f.firstText("prompt"), agent: f.firstText("subagent_type"), summary: f.firstText("description"), by: r})
		}
	}
	s.tellCalls(s.session, r, b.calls, callSpec{where: line.where, time: line.time, key: []string{r.id}})
	s.settle(s.session, line.where, b.results, line.time)
}

// agent is what the agent of a side chain is called that has no other name.
func (c *claudeLine) agent() string {
	if name := c.fields.firstText("agentId"); name != "" {
		return name
	}
	return "sidechain"
}
