package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// most is how many nodes there are at most, least how many at least.
const least, most = 3, 5

// found makes a cluster of new machines.
func (r *run) found(ctx context.Context) error {
	var err error
	if r.secret, err = secret.New([]byte(strings.Repeat("s", secret.MinBytes))); err != nil {
		return err
	}
	r.network.boot(clients)
	var servers []cluster.Server
	for range r.config.Nodes {
		m := r.machine()
		if err := m.start(); err != nil {
			return err
		}
		r.enlist(m)
		servers = append(servers, cluster.Server{NodeID: m.id(), Address: m.peerAddress(), Voter: true})
	}
	founder := r.machines[0].node()
	if err := founder.Found(servers); err != nil {
		return err
	}
	for _, m := range r.machines[1:] {
		if err := r.adopt(m); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	for _, n := range nodes(r.machines) {
		if err := n.WaitReady(ctx); err != nil {
			return fmt.Errorf("a new cluster: %w", err)
		}
	}
	return nil
}

// machine is a new one.
func (r *run) machine() *machine {
	name := r.spare[len(r.spare)-1]
	r.spare = r.spare[:len(r.spare)-1]
	return &machine{run: r, name: name, disk: r.newDisk()}
}

func (r *run) newDisk() *disk {
	return newDisk(rand.New(rand.NewPCG(r.random.Uint64(), r.random.Uint64())))
}

// enlist makes a machine one of those that clients call.
func (r *run) enlist(m *machine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.machines = append(slices.Clone(r.machines), m)
}

// dismiss is the inverse.
func (r *run) dismiss(m *machine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.machines = without(r.machines, m)
}

// list is all machines that clients call, for other goroutines.
func (r *run) list() []*machine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.machines
}

func (r *run) addresses() []string {
	var all []string
	for _, m := range r.list() {
		all = append(all, m.apiAddress())
	}
	return all
}

// adopt makes a new node one of the cluster.
func (r *run) adopt(m *machine) error {
	for _, n := range nodes(without(r.machines, m)) {
		if id := n.Identity(); !id.Waits() {
			return m.node().Adopt(id.ClusterID, id.Lineage)
		}
	}
	return errors.New("no node of the cluster runs")
}

// leader is the machine that leads, nil for none.
func (r *run) leader() *machine {
	for _, m := range r.machines {
		if n := m.node(); n != nil {
			if term, _ := n.LeadingTerm(); term != 0 {
				return m
			}
		}
	}
	return nil
}

// victim is the machine that leads, or any.
func (r *run) victim() *machine {
	any := r.machines[r.random.IntN(len(r.machines))]
	if leader := r.leader(); leader != nil && r.random.IntN(2) == 0 {
		return leader
	}
	return any
}

// boot starts a machine that does not run.
func (m *machine) boot() error {
	if m.now() != nil {
		return nil
	}
	m.run.tell("start %s", m.name)
	return m.start()
}

// revive starts every node that has ended by itself, as whatever supervises it would.
func (r *run) revive(ctx context.Context) error {
	for _, m := range r.machines {
		m.mu.Lock()
		failed := m.failed
		m.mu.Unlock()
		if failed == nil {
			continue
		}
		if !restartable(failed) {
			return fmt.Errorf("%s: %w", m.name, failed)
		}
		m.crash(false)
		if err := m.boot(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// restartable: a disk that hung, a transfer that did not end and a log that had diverged are reasons to begin anew; damage is none here.
func restartable(err error) bool {
	for _, known := range []string{"the disk hangs", "had diverged", "leadership transfer has been in progress"} {
		if strings.Contains(err.Error(), known) {
			return true
		}
	}
	return false
}

// wait lets time pass, and starts nodes that have ended by themselves.
func (r *run) wait(ctx context.Context, d time.Duration) error {
	const look = 500 * time.Millisecond
	for ; d > 0; d -= look {
		pass(min(d, look))
		if err := r.revive(ctx); err != nil {
			return err
		}
	}
	return nil
}

// operate does something on the leader, whoever that is, until it works.
func (r *run) operate(ctx context.Context, what string, do func(context.Context, *cluster.Node) error) error {
	ctx, cancel := context.WithTimeout(ctx, operateWithin)
	defer cancel()
	err := errors.New("nobody leads")
	for {
		if leader := r.leader(); leader != nil {
			one, cancel := context.WithTimeout(ctx, 10*time.Second)
			err = do(one, leader.node())
			cancel()
			if err == nil {
				return nil
			}
			r.tell("%s at %s: %v", what, leader.name, err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := r.wait(ctx, r.between(50*time.Millisecond, 500*time.Millisecond)); err != nil {
			return err
		}
	}
}

// takeIn makes a node that has started a voter.
func (r *run) takeIn(ctx context.Context, m *machine) error {
	if err := r.adopt(m); err != nil {
		return err
	}
	if err := r.operate(ctx, "add "+m.name, func(ctx context.Context, n *cluster.Node) error {
		_, err := n.AddNonvoter(ctx, m.id(), m.peerAddress(), 0)
		return err
	}); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, operateWithin)
	defer cancel()
	if err := m.node().Barrier(within, 0); err != nil {
		return fmt.Errorf("%s does not catch up: %w", m.name, err)
	}
	return r.operate(ctx, "give a vote to "+m.name, func(ctx context.Context, n *cluster.Node) error {
		_, err := n.AddVoter(ctx, m.id(), m.peerAddress(), 0)
		return err
	})
}

func (r *run) takeOut(ctx context.Context, name, id string) error {
	return r.operate(ctx, "remove "+name, func(ctx context.Context, n *cluster.Node) error {
		_, err := n.RemoveServer(ctx, id, 0)
		return err
	})
}

// replace takes the disk of a machine away. It comes back as another node, in the place of the first.
func (r *run) replace(ctx context.Context, m *machine) error {
	was := m.id()
	r.tell("wipe %s", m.name)
	m.crash(r.random.IntN(2) == 0)
	m.disk = r.newDisk()
	if err := r.takeOut(ctx, m.name, was); err != nil {
		return err
	}
	if err := m.boot(); err != nil {
		return err
	}
	return r.takeIn(ctx, m)
}

// grow adds a node, if there is room for one.
func (r *run) grow(ctx context.Context, h *hurt) error {
	if len(r.machines) >= most || len(r.spare) == 0 {
		h.heal = nil
		return nil
	}
	m := r.machine()
	r.tell("add %s", m.name)
	if err := m.boot(); err != nil {
		return err
	}
	r.enlist(m)
	return r.takeIn(ctx, m)
}

// shrink takes a node out, which runs on for a while.
func (r *run) shrink(ctx context.Context, m *machine, h *hurt) error {
	if len(r.machines) <= least {
		h.heal = nil
		return nil
	}
	r.tell("remove %s", m.name)
	if err := r.takeOut(ctx, m.name, m.id()); err != nil {
		return err
	}
	r.dismiss(m)
	h.heal = func(context.Context) error {
		m.crash(false)
		r.spare = append(r.spare, m.name)
		return nil
	}
	return nil
}

// agree compares nodes that should be the same.
func agree(machines []*machine) (committed uint64, err error) {
	var want [32]byte
	for i, m := range machines {
		n := m.node()
		if n == nil {
			return 0, fmt.Errorf("%s does not run", m.name)
		}
		if err := n.Ready(); err != nil {
			return 0, fmt.Errorf("%s is not ready: %w", m.name, err)
		}
		sys := n.Machine().Store().System()
		digest := fsm.Digest(sys)
		if i == 0 {
			committed, want = sys.Applied, digest
		}
		if sys.Applied != committed {
			return 0, fmt.Errorf("%s has applied entry %d, %s entry %d", machines[0].name, committed, m.name, sys.Applied)
		}
		if digest != want {
			return 0, fmt.Errorf("%s and %s differ at entry %d", machines[0].name, m.name, sys.Applied)
		}
	}
	return committed, nil
}

// works waits for a write that was sent now.
func (l *load) works(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, withinBound)
	defer cancel()
	if _, err := l.exact.Gap(ctx, time.Now()); err != nil {
		return fmt.Errorf("no write within %v of healing: %w", withinBound, err)
	}
	return l.exact.Failed()
}

// settle ends the load and compares everything.
func (r *run) settle(ctx context.Context, l *load) error {
	if err := l.stop(); err != nil {
		return err
	}
	if err := r.revive(ctx); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	committed, err := r.watch.same(within, r.machines)
	if err != nil {
		return fmt.Errorf("the nodes are not the same %v after the last write: %w", settleWithin, err)
	}
	r.watch.compareLogs(r.machines, committed)
	return l.exact.Verify(ctx)
}
