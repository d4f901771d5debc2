package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
)

// A writer adds prompts, one a call, and remembers what was acknowledged.
type writer struct {
	ledger *ledger
	seed   uint64
	turn   int
	asked  acknowledged
	// heard is told of every acknowledged prompt; nil for nobody.
	heard func(id)
}

func (w *writer) choose() acknowledged {
	w.seed++
	w.turn++
	return acknowledged{session: int32(w.turn % len(w.ledger.sessions)), seed: w.seed}
}

func (w *writer) next(b []byte) (method, []byte) {
	w.asked = w.choose()
	return methodAddPrompt, appendAddPrompt(b, w.ledger.sessions[w.asked.session], w.asked.seed, w.ledger.size)
}

func (w *writer) took(reply []byte) (err error) {
	if w.asked.id, err = idField(reply); err != nil {
		return err
	}
	w.ledger.written = append(w.ledger.written, w.asked)
	if w.heard != nil {
		w.heard(w.asked.id)
	}
	return nil
}

func (w *writer) operations() int64 { return 1 }

// A batcher creates prompts, many a call.
type batcher struct {
	writer
	each  int
	batch []acknowledged
	// left is how many to create, -1 for no end.
	left int
}

func (w *batcher) next(b []byte) (method, []byte) {
	n := w.each
	if w.left >= 0 {
		n = min(n, w.left)
	}
	w.batch = w.batch[:0]
	for range n {
		a := w.choose()
		w.batch = append(w.batch, a)
		b = appendNode(b, 1, w.ledger.sessions[a.session], a.seed, w.ledger.size)
	}
	return methodBatchCreate, b
}

func (w *batcher) took(reply []byte) error {
	n := 0
	err := eachField(reply, func(field protowire.Number, v []byte) (err error) {
		if field != 1 {
			return nil
		}
		if n >= len(w.batch) {
			return fmt.Errorf("more nodes than the %d that were sent: %w", len(w.batch), errMalformed)
		}
		w.batch[n].id, err = idField(v)
		n++
		return err
	})
	if err != nil {
		return err
	}
	if n != len(w.batch) {
		return fmt.Errorf("%d nodes of %d that were sent: %w", n, len(w.batch), errMalformed)
	}
	w.ledger.written = append(w.ledger.written, w.batch...)
	if w.left >= 0 {
		w.left -= n
	}
	if w.heard != nil {
		for _, a := range w.batch {
			w.heard(a.id)
		}
	}
	return nil
}

func (w *batcher) operations() int64 { return int64(len(w.batch)) }

func (w *batcher) more() bool { return w.left != 0 }

// A getter reads prompts by id and compares their contents.
type getter struct {
	pick   func() acknowledged
	size   int
	asked  acknowledged
	buffer []byte
}

func (g *getter) next(b []byte) (method, []byte) {
	g.asked = g.pick()
	return methodGetNode, appendIDField(b, 1, g.asked.id)
}

func (g *getter) took(reply []byte) error {
	got, err := idField(reply)
	if err != nil {
		return err
	}
	content, err := promptOf(reply)
	if err != nil {
		return err
	}
	g.buffer = appendText(g.buffer[:0], g.asked.seed, g.size)
	if got != g.asked.id || !bytes.Equal(content, g.buffer) {
		return fmt.Errorf("node %s is not what was written", g.asked.id)
	}
	return nil
}

func (g *getter) operations() int64 { return 1 }

// An edger reads the edges of prompts: each has at least the one to its session.
type edger struct {
	pick  func() acknowledged
	asked acknowledged
}

func (e *edger) next(b []byte) (method, []byte) {
	e.asked = e.pick()
	return methodGetEdges, appendIDField(b, 1, e.asked.id)
}

func (e *edger) took(reply []byte) error {
	if len(reply) == 0 {
		return fmt.Errorf("prompt %s has no edge", e.asked.id)
	}
	return nil
}

func (e *edger) operations() int64 { return 1 }

// A pager reads the first page of a query of prompts: of a session at random, or of the whole graph.
type pager struct {
	random   *rand.Rand
	sessions []id // none: the whole graph
	limit    int
	seen     int
}

func (p *pager) next(b []byte) (method, []byte) {
	if len(p.sessions) > 0 {
		b = appendIDField(b, 1, p.sessions[p.random.IntN(len(p.sessions))])
	}
	b = appendVarintField(b, 2, 2) // prompts
	return methodQuery, appendVarintField(b, 5, uint64(p.limit))
}

func (p *pager) took(reply []byte) error {
	p.seen = 0
	err := eachField(reply, func(field protowire.Number, _ []byte) error {
		if field == 1 {
			p.seen++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if p.seen == 0 || p.seen > p.limit {
		return fmt.Errorf("a page of %d prompts, at most %d were asked for: %w", p.seen, p.limit, errMalformed)
	}
	return nil
}

func (p *pager) operations() int64 { return 1 }

// A lister reads the first page of the sessions.
type lister struct{ limit int }

func (l *lister) next(b []byte) (method, []byte) {
	return methodListSessions, appendVarintField(b, 1, uint64(l.limit))
}

func (l *lister) took(reply []byte) error {
	if len(reply) == 0 {
		return fmt.Errorf("no session is listed: %w", errMalformed)
	}
	return nil
}

func (l *lister) operations() int64 { return 1 }

// A mixer makes calls of several scripts in a fixed proportion.
type mixer struct {
	random *rand.Rand
	parts  []portion
	now    script
}

// A portion is a script and its share of the calls, percent.
type portion struct {
	percent int
	script  script
}

func (m *mixer) next(b []byte) (method, []byte) {
	at := m.random.IntN(100)
	for _, p := range m.parts {
		m.now = p.script
		if at -= p.percent; at < 0 {
			break
		}
	}
	return m.now.next(b)
}

func (m *mixer) took(reply []byte) error { return m.now.took(reply) }

func (m *mixer) operations() int64 { return m.now.operations() }

// A founder opens a session.
type founder struct {
	id    id
	begun bool
}

func (f *founder) next(b []byte) (method, []byte) {
	f.begun = true
	return methodCreateSession, b
}

func (f *founder) took(reply []byte) (err error) {
	f.id, err = idField(reply)
	return err
}

func (f *founder) operations() int64 { return 1 }

func (f *founder) more() bool { return !f.begun }
