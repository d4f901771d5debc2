package check

import (
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// Operations that look at single nodes.
const (
	// ReplicaState answers with a ReplicaAnswer about the node of the answer.
	ReplicaState = "replica-state"
	// ReplicaLog answers with a ReplicaEntries about the node of the answer.
	ReplicaLog = "replica-log"
)

// ReplicaAnswer is what a node says of itself. What is left zero was not asked.
type ReplicaAnswer struct {
	// Life counts the starts of its process.
	Life     int    `json:"life,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
	// Digest is that of its state at the revision.
	Digest  string `json:"digest,omitempty"`
	Applied uint64 `json:"applied,omitempty"`
	Term    uint64 `json:"term,omitempty"`
	// Leader says that it believes itself to be the leader in the term.
	Leader bool `json:"leader,omitempty"`
}

// ReplicaEntries is a piece of the committed log, as digests of its entries.
type ReplicaEntries struct {
	First   uint64   `json:"first"`
	Entries []string `json:"entries"`
}

// Replicas says whether all nodes are one state machine: equal at equal revisions, never back, one leader a term.
func Replicas(ops []history.Op) Verdict { return replicas().check(ops) }

func replicas() checker[*replicaState] {
	return checker[*replicaState]{
		name: "replica",
		fs:   []string{ReplicaState, ReplicaLog},
		read: readReplicas,
		rules: []rule[*replicaState]{
			{"digest", (*replicaState).digests},
			{"applied-back", (*replicaState).appliedBack},
			{"term-back", (*replicaState).termBack},
			{"one-leader", (*replicaState).oneLeader},
			{"log", (*replicaState).logs},
		},
	}
}

type replicaState struct {
	states []read[ReplicaAnswer]
	entry  []read[ReplicaEntries]
}

func readReplicas(ops []history.Op) (*replicaState, map[string]int, error) {
	s := &replicaState{}
	calls := named(ops, ReplicaState, ReplicaLog)
	var err error
	if s.states, err = reads[ReplicaAnswer](calls, ReplicaState); err != nil {
		return nil, nil, err
	}
	if s.entry, err = reads[ReplicaEntries](calls, ReplicaLog); err != nil {
		return nil, nil, err
	}
	digests := 0
	for _, r := range s.states {
		if r.answer.Digest != "" {
			digests++
		}
	}
	counts := map[string]int{"states": len(s.states), "digests": digests, "logs": len(s.entry)}
	if len(s.states)+len(s.entry) == 0 {
		return nil, counts, errNothing
	}
	return s, counts, nil
}

// digests: one revision, one state.
func (s *replicaState) digests(f *findings) {
	first := map[uint64]read[ReplicaAnswer]{}
	for _, r := range s.states {
		if r.answer.Digest == "" {
			continue
		}
		was, known := first[r.answer.Revision]
		if !known {
			first[r.answer.Revision] = r
		} else if was.answer.Digest != r.answer.Digest {
			f.add("digest", proof(was.Call, r.Call), "at revision %d the state of %s is %s, that of %s is %s",
				r.answer.Revision, was.Return.Node, was.answer.Digest, r.Return.Node, r.answer.Digest)
		}
	}
}

// appliedBack: what a node has applied only grows, as long as its process lives.
func (s *replicaState) appliedBack(f *findings) {
	s.backwards("applied-back", f, func(r read[ReplicaAnswer]) (string, uint64) {
		return fmt.Sprintf("%s in life %d has applied", r.Return.Node, r.answer.Life), r.answer.Applied
	})
}

// termBack: the term of a node only grows, over all its lives: a vote is durable before it is given.
func (s *replicaState) termBack(f *findings) {
	s.backwards("term-back", f, func(r read[ReplicaAnswer]) (string, uint64) { return r.Return.Node + " is in term", r.answer.Term })
}

// backwards looks for a figure that is less than it was when somebody looked before. 0 is no figure.
func (s *replicaState) backwards(rule string, f *findings, figure func(read[ReplicaAnswer]) (of string, is uint64)) {
	highest := map[string]read[ReplicaAnswer]{}
	was := func(of string) uint64 {
		before, known := highest[of]
		if !known {
			return 0
		}
		_, value := figure(before)
		return value
	}
	sweep(s.states, func(before read[ReplicaAnswer]) {
		if of, value := figure(before); value > was(of) {
			highest[of] = before
		}
	}, func(r read[ReplicaAnswer]) {
		if of, value := figure(r); value != 0 && value < was(of) {
			f.add(rule, proof(highest[of].Call, r.Call), "%s %d after %d", of, value, was(of))
		}
	})
}

// oneLeader: nobody leads in the term of another.
func (s *replicaState) oneLeader(f *findings) {
	first := map[uint64]read[ReplicaAnswer]{}
	for _, r := range s.states {
		if !r.answer.Leader {
			continue
		}
		was, known := first[r.answer.Term]
		if !known {
			first[r.answer.Term] = r
		} else if was.Return.Node != r.Return.Node {
			f.add("one-leader", proof(was.Call, r.Call), "%s and %s both lead in term %d", was.Return.Node, r.Return.Node, r.answer.Term)
		}
	}
}

// logs: one index, one committed entry.
func (s *replicaState) logs(f *findings) {
	type place struct {
		digest string
		at     read[ReplicaEntries]
	}
	first := map[uint64]place{}
	for _, r := range s.entry {
		for i, digest := range r.answer.Entries {
			index := r.answer.First + uint64(i)
			was, known := first[index]
			if !known {
				first[index] = place{digest, r}
			} else if was.digest != digest {
				f.add("log", proof(was.at.Call, r.Call), "committed entry %d is %s at %s and %s at %s", index, was.digest, was.at.Return.Node, digest, r.Return.Node)
			}
		}
	}
}
