//go:build !wasip1

package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// A store that is damaged is made again from the log, when the log begins with the first entry: under the same id, for the
// log has all that was promised (DECISIONS.md D21). The damaged one is moved aside and kept. Where the log begins later,
// the node is refused, and its folder left as it is. Log and vote are never made again.

// openRows opens the rows, or makes them again.
func (n *Node) openRows(folder identity.Folder, f files, fresh bool) (*store.Store, error) {
	noted, err := folder.Damage()
	if err != nil {
		return nil, err
	}
	rows, err := n.openStore(folder)
	if err == nil && noted != "" {
		if err = readsWhole(rows); err != nil {
			err = errors.Join(fmt.Errorf("store was found damaged (%s) and is: %w", noted, err), rows.Close())
		}
	}
	switch {
	case err == nil && noted != "":
		n.logger.Warn("store was found damaged, but now all of it can be read and is what its digest says", "found", noted)
		return rows, folder.ClearDamage()
	case err == nil:
		return rows, nil
	case fresh || !errors.Is(err, store.ErrDamaged):
		return nil, err
	}
	return n.rebuild(folder, f, err)
}

func (n *Node) openStore(folder identity.Folder) (*store.Store, error) {
	if n.config.openStore != nil {
		return n.config.openStore(folder.Store(), n.storeOptions())
	}
	return store.OpenPebble(folder.Store(), n.storeOptions())
}

// readsWhole reads every row and compares the digest.
func readsWhole(rows *store.Store) error {
	snap := rows.Snapshot()
	defer snap.Close()
	got, err := snap.Digest()
	if err != nil {
		return fmt.Errorf("%w: %w", err, store.ErrDamaged)
	}
	if want := snap.System().Digest; got != want {
		return fmt.Errorf("digest of the rows is %x, the store says %x: %w", got, want, store.ErrDamaged)
	}
	return nil
}

// rebuild moves a damaged store aside and begins an empty one, which Raft fills from the log.
func (n *Node) rebuild(folder identity.Folder, f files, damage error) (*store.Store, error) {
	first, err := f.logs.FirstIndex()
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	if first != 1 {
		return nil, fmt.Errorf("store is damaged, and cannot be made again from the log, which begins at entry %d: restore a backup: %w", first, damage)
	}
	if _, err := f.logs.Verify(0); err != nil {
		return nil, fmt.Errorf("store is damaged, and so is the log: restore a backup: %w", errors.Join(damage, err))
	}
	if err := hasAll(f); err != nil {
		return nil, fmt.Errorf("store is damaged, and cannot be made again from the log: %w", errors.Join(err, damage))
	}
	aside, err := folder.MoveStoreAside(n.config.Clock())
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	// Only now: a start that was cut short before has still to find that the log reaches so far.
	if err := f.stable.SetUint64([]byte(raftlog.KeyDurable), 0); err != nil {
		return nil, errors.Join(damage, err)
	}
	n.logger.Error("store is damaged: it is moved aside and made again from the log", "error", damage, "moved_to", aside)
	n.config.Events.rebuilt(aside, damage)
	return n.openStore(folder)
}

// hasAll sees that the log reaches to all that the store is known to have had: nothing else would notice that its end is
// gone.
func hasAll(f files) error {
	last, err := f.logs.LastIndex()
	if err != nil {
		return err
	}
	durable, err := remembered(f.stable, raftlog.KeyDurable)
	if err != nil {
		return err
	}
	installed, err := remembered(f.stable, raftlog.KeyInstalled)
	if err != nil {
		return err
	}
	if installed > last {
		return fmt.Errorf("%s ends at entry %d, a snapshot that came in ended at entry %d: restore a backup", f.logs.File(), last, installed)
	}
	return reaches(f, last, durable, installed)
}

// noteDamage writes down that the store was found damaged while the node ran, for the next start: the damage may lie where
// opening a store does not look.
func (n *Node) noteDamage(err error) {
	if n.config.InMemory || !errors.Is(err, store.ErrDamaged) {
		return
	}
	text := n.config.Clock().UTC().Format(time.RFC3339) + " " + err.Error()
	if err := identity.Folder(n.config.Folder).NoteDamage(text); err != nil {
		n.logger.Error("note that the store is damaged", "error", err)
	}
}
