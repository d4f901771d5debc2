package store

import (
	"fmt"
	"sync"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// A state is what the snapshots share that were taken between two commits: making one costs more than reading a row. The
// store keeps the latest while it is asked for, and no longer: it would keep files that compactions have replaced.
type state struct {
	store  *Store
	gen    *generation
	rows   snapshot
	system System
	users  int // guarded by Store.mu

	mu     sync.Mutex
	hidden map[graph.Tenant]*hidden // guarded by mu: what was asked for
}

// share returns the state after the last commit, for one more user.
func (s *Store) share() (*state, error) {
	if st := s.shared(); st != nil {
		return st, nil
	}
	s.making.Lock()
	defer s.making.Unlock()
	if st := s.shared(); st != nil {
		return st, nil
	}
	s.mu.Lock()
	version := s.version
	s.mu.Unlock()
	st, err := s.makeState()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == version && s.current == st.gen {
		st.users++
		s.latest, s.asked = st, true
	}
	return st, nil
}

func (s *Store) shared() *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil {
		return nil
	}
	s.latest.users++
	s.asked = true
	return s.latest
}

func (s *Store) makeState() (*state, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	st := &state{store: s, gen: g, users: 1}
	if st.rows, err = g.engine.snapshot(); err == nil {
		if st.system, err = readSystem(st.rows); err != nil {
			s.o.report(closed(st.rows))
		}
	}
	if err != nil {
		s.release(g)
		return nil, err
	}
	return st, nil
}

// passedLocked says that the state has moved: whoever comes next gets a new one. The caller releases what it returns, when
// it has unlocked.
func (s *Store) passedLocked() *state {
	st := s.latest
	s.version++
	s.latest = nil
	return st
}

// Rest lets go of the state that the store keeps for the next snapshot, unless one was taken since the last call. Call it
// now and then.
func (s *Store) Rest() {
	s.mu.Lock()
	var idle *state
	if !s.asked {
		idle, s.latest = s.latest, nil
	}
	s.asked = false
	s.mu.Unlock()
	idle.release()
}

// release gives the state up; its last user frees the rows. nil has none.
func (st *state) release() {
	if st == nil {
		return
	}
	s := st.store
	s.mu.Lock()
	st.users--
	last := st.users == 0
	s.mu.Unlock()
	if !last {
		return
	}
	s.o.report(closed(st.rows))
	s.release(st.gen)
}

func closed(rows snapshot) error {
	if err := rows.close(); err != nil {
		return fmt.Errorf("close of a snapshot: %w", err)
	}
	return nil
}

// hiddenOf is what deletions hide of a tenant, read once.
func (st *state) hiddenOf(t graph.Tenant) (*hidden, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if h := st.hidden[t]; h != nil {
		return h, nil
	}
	h, err := loadHidden(st.rows, t)
	if err != nil {
		return nil, err
	}
	if st.hidden == nil {
		st.hidden = map[graph.Tenant]*hidden{}
	}
	st.hidden[t] = h
	return h, nil
}
