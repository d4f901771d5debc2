package sim

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// sampleEvery is how often the nodes are looked at.
const sampleEvery = 200 * time.Millisecond

// watch looks at the nodes from outside of the API: at most one leads in a term, none goes back, all are the same where they have applied
// the same.
type watch struct {
	run                  *run
	snapshots, installed atomic.Int64

	mu sync.Mutex
	// leaders is who led in each term.
	leaders   map[uint64]string
	elections int
	failures  int
	// states is what was seen at each index, and where.
	states map[uint64]state
}

type state struct {
	digest [32]byte
	at     string
}

func newWatch(r *run) *watch {
	return &watch{run: r, leaders: map[uint64]string{}, states: map[uint64]state{}}
}

func (w *watch) counts() (elections, failures int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.elections, w.failures
}

// leads is told who leads.
func (w *watch) leads(m *machine, leading bool, term uint64) {
	if !leading {
		return
	}
	w.mu.Lock()
	before, known := w.leaders[term]
	w.leaders[term] = m.name
	if !known {
		w.elections++
	}
	w.mu.Unlock()
	if known && before != m.name {
		w.run.anomaly("%s and %s led in term %d", before, m.name, term)
	}
	w.run.tell("%s leads in term %d", m.name, term)
}

// failed is told of a node that cannot go on. That is no anomaly: the program ends then, and is started again.
func (w *watch) failed(m *machine, err error) {
	w.mu.Lock()
	w.failures++
	w.mu.Unlock()
	w.run.tell("%s cannot go on: %v", m.name, err)
}

// sample looks at all nodes until ctx ends.
func (w *watch) sample(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, m := range w.run.list() {
			w.look(m)
		}
	}
}

// look compares one node with itself before, and with the others.
func (w *watch) look(m *machine) {
	r := m.now()
	if r == nil {
		return
	}
	sys := r.node.Machine().Store().System()
	here := state{digest: fsm.Digest(sys), at: m.name}
	w.mu.Lock()
	was := r.applied
	r.applied = max(was, sys.Applied)
	there, known := w.states[sys.Applied]
	if !known {
		w.states[sys.Applied] = here
	}
	w.mu.Unlock()
	if sys.Applied < was {
		w.run.anomaly("%s went back from entry %d to %d", m.name, was, sys.Applied)
	}
	if known && there.digest != here.digest {
		w.run.anomaly("%s and %s differ at entry %d", there.at, m.name, sys.Applied)
	}
}

// compareLogs holds the entries of all disks against each other, up to the one that all have agreed on.
func (w *watch) compareLogs(machines []*machine, committed uint64) {
	type entry struct {
		term uint64
		data []byte
		at   string
	}
	first := map[uint64]entry{}
	for _, m := range machines {
		m.disk.mu.Lock()
		entries := m.disk.content.clone().entries
		m.disk.mu.Unlock()
		for i, e := range entries {
			if i > committed {
				continue
			}
			if other, ok := first[i]; !ok {
				first[i] = entry{e.Term, e.Data, m.name}
			} else if other.term != e.Term || !bytes.Equal(other.data, e.Data) {
				w.run.anomaly("logs of %s and %s differ at entry %d, of terms %d and %d", other.at, m.name, i, other.term, e.Term)
			}
		}
	}
}

// same waits until all nodes have applied the same and are ready, and compares their states.
func (w *watch) same(ctx context.Context, machines []*machine) (committed uint64, err error) {
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	for {
		if committed, err = agree(machines); err == nil {
			return committed, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, err
		}
	}
}

// nodes are those of the machines that run.
func nodes(machines []*machine) []*cluster.Node {
	var all []*cluster.Node
	for _, m := range machines {
		if n := m.node(); n != nil {
			all = append(all, n)
		}
	}
	return all
}
