package cluster

import (
	"fmt"
	"slices"
	"sync"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/membership"
)

// maxRemovals bounds the ids of removed nodes that are remembered: of those that did not hear of it.
const maxRemovals = 256

// removals are the nodes that operators have removed and that could not be told. Every node keeps them; a leader tells those that it knows of to
// whom it asks for a report, and hears of others.
type removals struct {
	// folder is empty in memory.
	folder identity.Folder

	mu  sync.Mutex
	ids []string
}

func openRemovals(n *Node) (*removals, error) {
	r := &removals{}
	if n.config.InMemory {
		return r, nil
	}
	r.folder = identity.Folder(n.config.Folder)
	var err error
	r.ids, err = r.folder.Removed()
	return r, err
}

// Removed are all of them.
func (r *removals) Removed() []membership.NodeID {
	var ids []membership.NodeID
	for _, id := range r.list() {
		ids = append(ids, membership.NodeID(id))
	}
	return ids
}

// NoteRemoved remembers one more.
func (r *removals) NoteRemoved(id membership.NodeID) error { return r.note([]string{string(id)}) }

func (r *removals) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

// note remembers those that are new.
func (r *removals) note(ids []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.ids)
	for _, id := range ids {
		if id != "" && !slices.Contains(all, id) && len(all) < maxRemovals {
			all = append(all, id)
		}
	}
	if len(all) == len(r.ids) {
		return nil
	}
	if r.folder != "" {
		if err := r.folder.SetRemoved(all); err != nil {
			return fmt.Errorf("remember who was removed: %w", err)
		}
	}
	r.ids = all
	return nil
}
