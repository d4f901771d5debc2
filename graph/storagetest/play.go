package storagetest

import (
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Draw makes a choice: a number from 0 up to but not including n. The label tells what for.
type Draw func(label string, n int) int

// playTenants is how many tenants a game has.
const playTenants = 2

// Play makes a number of changes as draw decides, in both tenants, and after each commit compares every answer of the
// storage with that of the model. Storages that were given the same choices hold the same rows.
func Play(t T, s Storage, draw Draw, changes int) {
	p := &player{t: t, s: s, draw: draw}
	for i := range p.models {
		p.models[i] = newModel()
	}
	p.keep()
	for range changes {
		p.tenant = p.draw("tenant", playTenants)
		p.turn()
	}
	p.commit()
	p.compareAll()
}

// player keeps a model beside the storage.
type player struct {
	t      T
	s      Storage
	draw   Draw
	batch  Batch
	tenant int
	models [playTenants]*model
	marked [playTenants]*model // the models at the last mark
	made   int                 // ids given out
}

func (p *player) id() graph.Tenant { return graph.Tenant(p.tenant + 1) }
func (p *player) model() *model    { return p.models[p.tenant] }

func (p *player) tx() graph.Tx {
	if p.batch == nil {
		p.batch = p.s.Begin()
		p.keep()
	}
	return p.batch.Tx(p.id())
}

// keep notes the models, to go back to.
func (p *player) keep() {
	for i, m := range p.models {
		p.marked[i] = m.clone()
	}
}

func (p *player) commit() {
	if p.batch != nil {
		p.batch.Commit()
		p.batch = nil
	}
}

func (p *player) turn() {
	moves := []func(){
		p.addSession, p.addNode, p.addNode, p.addNode, p.addNode, p.addEdge, p.addEdge, p.addEdge, p.replaceNode, p.replaceNode,
		p.removeNode, p.removeEdge, p.writeSession, p.setInvocations, p.doom, p.sweep, p.sweep, p.markPoint, p.revert,
		p.commitAndCompare, p.ask, p.ask,
	}
	moves[p.draw("move", len(moves))]()
}

// pick chooses one of the positions, 0 of none.
func (p *player) pick(label string, from []graph.Position) graph.Position {
	if len(from) == 0 {
		return 0
	}
	return from[p.draw(label, len(from))]
}

func (p *player) name() string {
	p.made++
	if p.draw("form of the id", 2) == 0 {
		return fmt.Sprintf("00000000-0000-4000-8000-%012x", p.made)
	}
	return fmt.Sprint("n", p.made)
}

// time is one of a few, so that there are ties.
func (p *player) time() int64 { return int64(p.draw("time", 6)) - 2 }

func (p *player) addSession() {
	tx := p.tx()
	at := tx.NextPosition()
	n := makeNode(session, p.name(), p.time())
	p.putNode(graph.NodeRecord{Created: 1, Modified: 1, Position: at, Session: at}, n)
	p.putSession(graph.SessionRecord{Position: at, State: graph.SessionActive, Updated: p.time()})
}

func (p *player) putNode(rec graph.NodeRecord, n *pb.Node) {
	p.tx().PutNode(rec, n)
	p.model().nodes[rec.Position] = modelNode{rec, n}
}

func (p *player) putSession(rec graph.SessionRecord) {
	p.tx().PutSession(rec)
	p.model().sessions[rec.Position] = rec
}

func (p *player) addNode() {
	types := []pb.NodeType{prompt, response, tool, agent, template}
	typ := types[p.draw("type", len(types))]
	n := makeNode(typ, p.name(), p.time())
	p.vary(n)
	in := graph.Position(0)
	if typ != agent && typ != template {
		in = p.pick("session", keys(p.model().sessions))
	}
	rec := graph.NodeRecord{Created: 2, Modified: 2, Position: p.tx().NextPosition(), Session: in, Ordinal: uint32(p.made)}
	p.putNode(rec, n)
}

// vary gives a node one of a few attributes.
func (p *player) vary(n *pb.Node) {
	values := []string{"", "a", "b"}
	value := values[p.draw("attribute", len(values))]
	switch n.Type {
	case prompt:
		n.GetPrompt().Metadata.Model = value
	case response:
		n.GetResponse().Metadata.FinishReason = value
	case tool:
		n.GetToolInvocation().Status = value
	case agent:
		n.GetAgent().Role, n.GetAgent().Status = value, value
	case template:
		n.GetTemplate().Version = value
	}
}

func (p *player) addEdge() {
	m := p.model()
	from, to := p.pick("from", keys(m.nodes)), p.pick("to", keys(m.nodes))
	if from == 0 {
		return
	}
	rec := graph.EdgeRecord{
		Created: 3, Modified: 3, Position: p.tx().NextPosition(), From: from, To: to, FromSession: m.nodes[from].rec.Session,
		ToSession: m.nodes[to].rec.Session, Automatic: p.draw("automatic", 2) == 1, Type: pb.EdgeType(1 + p.draw("edge type", 9)),
	}
	e := &pb.Edge{Id: p.name(), Type: rec.Type}
	p.tx().PutEdge(rec, e)
	m.edges[rec.Position] = modelEdge{rec, e}
}

func (p *player) replaceNode() {
	m := p.model()
	at := p.pick("node", keys(m.nodes))
	if at == 0 {
		return
	}
	old := m.nodes[at]
	n := cloneNode(old.node)
	p.vary(n)
	modified := graph.Revision(10 + p.draw("revision", 5))
	rec := old.rec
	rec.Wire = graph.Encode(old.node)
	p.tx().ReplaceNode(rec, modified, n)
	old.rec.Modified, old.node = modified, n
	m.nodes[at] = old
}

func (p *player) removeEdge() {
	if at := p.pick("edge", keys(p.model().edges)); at != 0 {
		p.dropEdge(at)
	}
}

func (p *player) dropEdge(at graph.Position) {
	e := p.model().edges[at]
	e.rec.Wire = graph.Encode(e.edge)
	p.tx().RemoveEdge(e.rec)
	delete(p.model().edges, at)
}

func (p *player) removeNode() {
	if at := p.pick("node", keys(p.model().nodes)); at != 0 {
		p.dropNode(at)
	}
}

// dropNode removes a node, its edges before it. A session goes with its state; its members stay.
func (p *player) dropNode(at graph.Position) {
	m := p.model()
	for _, edge := range keys(m.edges) {
		if e := m.edges[edge].rec; e.From == at || e.To == at {
			p.dropEdge(edge)
		}
	}
	n := m.nodes[at]
	n.rec.Wire = graph.Encode(n.node)
	p.tx().RemoveNode(n.rec)
	m.removeNode(at)
	if n.node.Type == session {
		p.tx().RemoveSession(at)
		delete(m.sessions, at)
	}
}

func (p *player) writeSession() {
	at := p.pick("session", keys(p.model().sessions))
	if at == 0 {
		return
	}
	state := graph.SessionState(1 + p.draw("state", 2))
	p.putSession(graph.SessionRecord{Position: at, State: state, Updated: p.time(), Tail: graph.Position(p.draw("tail", 3))})
}

func (p *player) setInvocations() {
	at := p.pick("node", keys(p.model().nodes))
	if at == 0 || p.model().nodes[at].node.Type != response {
		return
	}
	next := uint32(1 + p.draw("invocations", 3))
	p.tx().SetInvocations(at, next)
	p.model().invocations[at] = next
}

func (p *player) doom() {
	m := p.model()
	d := graph.Doomed{Position: p.pick("node", keys(m.nodes))}
	if p.draw("whole session", 2) == 1 {
		d = graph.Doomed{Position: p.pick("session", keys(m.sessions)), Session: true}
	}
	if d.Position == 0 || m.isDoomed(d.Position, d.Session) {
		return
	}
	p.tx().Doom(d)
	m.doomed = append(m.doomed, d)
}

// sweep removes a node of the oldest deletion, or takes its mark away when none is left.
func (p *player) sweep() {
	m := p.model()
	d, ok := must[graph.Doomed](p.t)(p.tx().NextDoomed())
	if ok != (len(m.doomed) > 0) || ok && d != m.doomed[0] {
		p.t.Fatalf("next to sweep: %+v, %v; want the first of %+v", d, ok, m.doomed)
	}
	if !ok {
		return
	}
	for _, at := range keys(m.nodes) {
		if at == d.Position || d.Session && m.nodes[at].rec.Session == d.Position {
			p.dropNode(at)
			return
		}
	}
	p.tx().Spared(d)
	m.doomed = m.doomed[1:]
}

func (p *player) markPoint() {
	p.tx()
	p.batch.Mark()
	p.keep()
}

func (p *player) revert() {
	p.tx()
	p.batch.Revert()
	p.models = p.marked
	p.keep()
}

func (p *player) commitAndCompare() {
	p.commit()
	p.compareAll()
}
