//go:build !wasip1

package gossip

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls, often with its locks held: nothing here waits, and nothing here calls memberlist.
type delegate Gossip

func (d *delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said
}

func (*delegate) NotifyMsg([]byte)                      {}
func (*delegate) GetBroadcasts(int, int) [][]byte       { return nil }
func (*delegate) LocalState(bool) []byte                { return nil }
func (*delegate) MergeRemoteState([]byte, bool)         {}
func (d *delegate) NotifyJoin(n *memberlist.Node)       { d.arrived(n) }
func (d *delegate) NotifyUpdate(n *memberlist.Node)     { d.arrived(n) }
func (d *delegate) NotifyLeave(n *memberlist.Node)      { d.gone(n) }
func (d *delegate) gossip() *Gossip                     { return (*Gossip)(d) }
func (d *delegate) refuse(id, why string) error         { return fmt.Errorf("%s: %s", id, why) }
func (d *delegate) known(id string) (m Member, ok bool) { m, ok = d.members[id]; return m, ok }

// NotifyAlive keeps out who is of another cluster, or says nothing that can be read.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	a, err := decode(n.Meta)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gossip().oursLocked(a.Metadata) {
		return nil
	}
	if _, ok := d.known(n.Name); ok {
		delete(d.members, n.Name)
		d.gossip().tellLocked()
	}
	return d.refuse(n.Name, "it is of cluster "+a.ClusterID+" and not of "+d.saying.ClusterID)
}

// NotifyMerge ends a join between two clusters, before either hears of the other's members.
func (d *delegate) NotifyMerge(others []*memberlist.Node) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range others {
		if n.State == memberlist.StateDead || n.State == memberlist.StateLeft {
			continue
		}
		if a, err := decode(n.Meta); err == nil && !d.gossip().oursLocked(a.Metadata) {
			return d.refuse(n.Name, "it is of cluster "+a.ClusterID+" and not of "+d.saying.ClusterID)
		}
	}
	return nil
}

// NotifyConflict: an id is at two addresses. That is a node that has moved while its old address is not known to be dead yet, or a
// copied data folder. Where it may have moved to is tried as soon as it is found dead.
func (d *delegate) NotifyConflict(have, other *memberlist.Node) {
	at, err := netip.ParseAddrPort(other.Address())
	if err != nil || have.Name == d.config.NodeID {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.claims[have.Name] == at || len(d.claims) == maxClaims {
		return
	}
	d.claims[have.Name] = at
	d.config.Logger.Info("a node is said to be at two addresses: it has moved, or its data folder was copied", "node", have.Name,
		"address", have.Address(), "other", at)
}

func (d *delegate) arrived(n *memberlist.Node) {
	a, err := decode(n.Meta)
	if err != nil {
		return // NotifyAlive has let nothing in that cannot be read
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := Member{NodeID: n.Name, Metadata: a.Metadata, GossipAddr: n.Address(), State: Alive, Since: time.Now()}
	if was, ok := d.known(n.Name); ok {
		m.Since = was.Since
	}
	d.members[n.Name] = m
	delete(d.departed, n.Name)
	if d.claims[n.Name].String() == m.GossipAddr {
		delete(d.claims, n.Name)
	}
	d.gossip().tellLocked()
}

func (d *delegate) gone(n *memberlist.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.known(n.Name)
	if !ok {
		return
	}
	delete(d.members, n.Name)
	m.State, m.Since = Dead, time.Now()
	if a, err := decode(n.Meta); err == nil && a.leaving {
		m.State = Left
	}
	d.departed[n.Name] = m
	d.forgetLocked()
	d.gossip().tellLocked()
	wake(d.wish)
}

// forgetLocked drops who went long ago, and who went first when there are too many.
func (d *delegate) forgetLocked() {
	now := time.Now()
	maps.DeleteFunc(d.departed, func(_ string, m Member) bool { return now.Sub(m.Since) > departedMemory })
	if len(d.departed) <= maxDeparted {
		return
	}
	oldest := slices.MinFunc(slices.Collect(maps.Values(d.departed)), func(a, b Member) int { return a.Since.Compare(b.Since) })
	delete(d.departed, oldest.NodeID)
}
