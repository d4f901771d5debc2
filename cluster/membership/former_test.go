package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"pgregory.net/rapid"
)

// A town is nodes that look for a cluster. It stands in for gossip, the wire and the disks; it runs no Raft: a cluster counts as
// working once most of its voters have its id on disk. One goroutine drives it.
type town struct {
	expect int
	now    time.Time
	houses []*house
	// blind: who does not see and cannot ask whom.
	blind map[[2]int]bool
	// meanwhile happens after a question was answered and before the one who asked goes on.
	meanwhile func()
	// lost: a welcome does not arrive; nil for never.
	lost func() bool
	// crash is where the next Found is cut short, 0 for nowhere.
	crash   int
	founded int
	// worked are the ids of all clusters that ever worked.
	worked map[string]bool
}

// A house is a node: its disk and, while it runs, its former.
type house struct {
	town  *town
	index int
	disk  disk
	run   *Former
	joins bool
}

type disk struct {
	id     NodeID
	owner  int
	renewn int
	// entry is the first entry of the log, with its voters.
	entry   []NodeID
	cluster string
}

// Where Found may be cut short.
const (
	beforeEntry = iota + 1
	beforeID
	afterID
)

var errDied = errors.New("the power was cut")

func newTown(nodes, expect int) *town {
	t := &town{expect: expect, now: time.Unix(1000, 0), blind: map[[2]int]bool{}, worked: map[string]bool{}}
	for i := range nodes {
		t.houses = append(t.houses, &house{town: t, index: i, disk: disk{id: NodeID(fmt.Sprintf("n%d", i)), owner: i}})
	}
	return t
}

// start is what a start does: a founding that was cut short after its entry is finished.
func (h *house) start() {
	if h.run != nil {
		return
	}
	h.joins = false
	if h.disk.entry != nil && h.disk.cluster == "" {
		h.town.founded++
		h.disk.cluster = fmt.Sprintf("cluster-%d-of-%s", h.town.founded, h.disk.id)
	}
	h.run = NewFormer(FormerConfig{
		Self: h.disk.id, Expect: h.town.expect, Node: h, Gossip: h, Peers: h, Logger: hclog.NewNullLogger(),
		Clock: func() time.Time { return h.town.now }, Joins: func() { h.joins = true },
	})
}

func (h *house) stop() { h.run = nil }

// wipe gives the node an empty disk, and so another id.
func (h *house) wipe() {
	h.stop()
	h.disk = disk{id: NodeID(fmt.Sprintf("n%d-%d", h.index, h.disk.renewn+1)), owner: h.index, renewn: h.disk.renewn + 1}
}

// round does what a running node does: it looks for a cluster, or tells the voters of the one that it has.
func (h *house) round() {
	if h.run == nil {
		return
	}
	f := h.run
	if h.disk.cluster == "" {
		if _, err := f.Round(context.Background()); errors.Is(err, errDied) {
			h.stop()
		}
		return
	}
	if h.disk.entry == nil {
		return
	}
	for _, s := range h.Servers() {
		if slices.Contains(h.disk.entry, s.ID) && s.ClusterID == "" {
			_ = h.Welcome(context.Background(), s, Welcome{From: h.disk.id, Cluster: h.Cluster()})
		}
	}
}

func (h *house) Cluster() Cluster { return Cluster{ID: h.disk.cluster, Lineage: 1} }

func (h *house) Found(_ context.Context, voters []Server) error {
	crash := h.town.crash
	h.town.crash = 0
	if crash == beforeEntry {
		return errDied
	}
	for _, v := range voters {
		h.disk.entry = append(h.disk.entry, v.ID)
	}
	if crash == beforeID {
		return errDied
	}
	h.town.founded++
	h.disk.cluster = fmt.Sprintf("cluster-%d-of-%s", h.town.founded, h.disk.id)
	if crash == afterID {
		return errDied
	}
	return nil
}

func (h *house) Adopt(c Cluster) error {
	h.disk.cluster = c.ID
	return nil
}

func (h *house) Changed() <-chan struct{} { return nil }

func (h *house) Left() []NodeID { return nil }

func (h *house) Servers() []Server {
	var live []Server
	for _, other := range h.town.houses {
		if other.run == nil || h.town.blind[[2]int{h.index, other.index}] {
			continue
		}
		s := Server{ID: other.disk.id, ClusterID: other.disk.cluster, Address: fmt.Sprintf("h%d:1", other.index), Role: RoleVoter, Expect: h.town.expect}
		if other.joins {
			s.Expect = 0
		}
		live = append(live, s)
	}
	return live
}

// reach is the node that a server is now, if it can be asked.
func (h *house) reach(to Server) (*house, error) {
	for _, other := range h.town.houses {
		if other.disk.id == to.ID && other.run != nil && !h.town.blind[[2]int{h.index, other.index}] {
			return other, nil
		}
	}
	return nil, errors.New("no route")
}

// Ask is called by several goroutines at a time, which only read.
func (h *house) Ask(_ context.Context, to Server) (Report, error) {
	other, err := h.reach(to)
	if err != nil {
		return Report{}, err
	}
	return Report{ID: other.disk.id, Cluster: Cluster{ID: other.disk.cluster}, Configured: other.disk.entry != nil}, nil
}

func (h *house) Pledge(_ context.Context, to Server, p Pledge) error {
	other, err := h.reach(to)
	if err == nil {
		err = other.run.Pledge(p)
	}
	if h.town.meanwhile != nil {
		h.town.meanwhile()
	}
	return err
}

func (h *house) Tell(context.Context, Server, Role) error { return errors.New("nobody tells here") }

func (h *house) Welcome(_ context.Context, to Server, w Welcome) error {
	other, err := h.reach(to)
	if err != nil {
		return err
	}
	if h.town.lost != nil && h.town.lost() {
		return errors.New("timeout")
	}
	return other.run.Welcome(w)
}

// check notes which clusters work, and says when there are two.
func (t *town) check() error {
	for _, h := range t.houses {
		if h.disk.entry == nil || h.disk.cluster == "" {
			continue
		}
		have := 0
		for _, other := range t.houses {
			if slices.Contains(h.disk.entry, other.disk.id) && other.disk.cluster == h.disk.cluster {
				have++
			}
		}
		if have >= quorum(len(h.disk.entry)) {
			t.worked[h.disk.cluster] = true
		}
	}
	if len(t.worked) > 1 {
		return fmt.Errorf("more than one cluster was formed: %v", t.worked)
	}
	return nil
}

// settle lets everything run without faults, and wants one cluster with as many voters as expected.
func (t *town) settle() error {
	t.meanwhile, t.lost, t.crash = nil, nil, 0
	clear(t.blind)
	for _, h := range t.houses {
		h.start()
	}
	for range 20 {
		t.now = t.now.Add(DefaultPledgeFor)
		for _, h := range t.houses {
			h.round()
		}
		if err := t.check(); err != nil {
			return err
		}
	}
	if len(t.worked) != 1 {
		return fmt.Errorf("%d clusters work in the end, want one: %v", len(t.worked), t.disks())
	}
	return nil
}

func (t *town) disks() string {
	text := ""
	for _, h := range t.houses {
		text += fmt.Sprintf("%+v joins %v; ", h.disk, h.joins)
	}
	return text
}

// TestOneClusterIsFormedWhateverHappens: as many nodes as are expected, which come, go, die in the middle of founding, and do not
// see each other now and then.
func TestOneClusterIsFormedWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 3, 5}).Draw(rt, "nodes")
		town := newTown(n, n)
		actions := func(depth int) {
			h := town.houses[rapid.IntRange(0, n-1).Draw(rt, "node")]
			switch what := rapid.IntRange(0, 9).Draw(rt, "what"); what {
			case 0, 1:
				h.start()
			case 2:
				h.stop()
			case 3:
				town.blind[[2]int{h.index, rapid.IntRange(0, n-1).Draw(rt, "of")}] = rapid.Bool().Draw(rt, "blind")
				delete(town.blind, [2]int{h.index, h.index})
			case 4:
				town.now = town.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second)
			case 5:
				town.crash = rapid.IntRange(0, 3).Draw(rt, "crash")
			default:
				if depth == 0 {
					h.round()
				}
			}
			if err := town.check(); err != nil {
				rt.Fatal(err)
			}
		}
		town.meanwhile = func() {
			for range rapid.IntRange(0, 2).Draw(rt, "meanwhile") {
				actions(1)
			}
		}
		for range rapid.IntRange(0, 60).Draw(rt, "actions") {
			actions(0)
		}
		if err := town.settle(); err != nil {
			rt.Fatal(err)
		}
	})
}

// TestMoreNodesThanExpectedFormOneCluster: they see each other only in part, and found at the same time; nobody dies.
func TestMoreNodesThanExpectedFormOneCluster(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(4, 5).Draw(rt, "nodes")
		town := newTown(n, 3)
		for _, h := range town.houses {
			h.start()
		}
		for i := range n {
			town.blind[[2]int{rapid.IntRange(0, n-1).Draw(rt, "who"), i}] = rapid.Bool().Draw(rt, "blind")
			delete(town.blind, [2]int{i, i})
		}
		town.lost = func() bool { return rapid.Bool().Draw(rt, "lost") }
		busy := map[int]bool{}
		actions := func() {
			h := town.houses[rapid.IntRange(0, n-1).Draw(rt, "node")]
			if rapid.Bool().Draw(rt, "look") {
				town.blind[[2]int{h.index, rapid.IntRange(0, n-1).Draw(rt, "of")}] = rapid.Bool().Draw(rt, "blind")
				delete(town.blind, [2]int{h.index, h.index})
			} else if !busy[h.index] {
				busy[h.index] = true
				h.round()
				delete(busy, h.index)
			}
			if err := town.check(); err != nil {
				rt.Fatal(err)
			}
		}
		town.meanwhile = func() {
			for range rapid.IntRange(0, 2).Draw(rt, "meanwhile") {
				actions()
			}
		}
		for range rapid.IntRange(0, 40).Draw(rt, "actions") {
			actions()
		}
		if err := town.settle(); err != nil {
			rt.Fatal(err)
		}
	})
}

// TestWipedNodeDoesNotFoundAgain: a node that lost its disk meets the cluster that it was of, and waits to be taken in.
func TestWipedNodeDoesNotFoundAgain(t *testing.T) {
	town := newTown(3, 3)
	if err := town.settle(); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1} {
		town.houses[i].wipe()
		town.houses[i].start()
	}
	for range 5 {
		for _, h := range town.houses {
			h.round()
		}
	}
	for _, i := range []int{0, 1} {
		if h := town.houses[i]; h.disk.cluster != "" || h.disk.entry != nil || !h.joins {
			t.Errorf("wiped node: got %+v, joins %v, want one that waits to be taken in", h.disk, h.joins)
		}
	}
	if err := town.check(); err != nil {
		t.Error(err)
	}
}

func TestWhoIsRefused(t *testing.T) {
	town := newTown(4, 3)
	for _, h := range town.houses {
		h.start()
	}
	town.blind[[2]int{2, 0}] = true // n2 does not know n0
	f := town.houses[2].run
	for name, c := range map[string]struct {
		pledge Pledge
		want   error
	}{
		"another number":      {Pledge{From: "n1", Expect: 5}, ErrNotYours},
		"a larger id":         {Pledge{From: "n3", Expect: 3}, ErrNotYours},
		"the node itself":     {Pledge{From: "n2", Expect: 3}, ErrNotYours},
		"not the smallest id": {Pledge{From: "n11", Expect: 3}, ErrNotYours},
	} {
		if err := f.Pledge(c.pledge); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if err := f.Pledge(Pledge{From: "n1", Expect: 3}); err != nil {
		t.Fatal(err)
	}
	if err := f.Pledge(Pledge{From: "n0", Expect: 3}); !errors.Is(err, ErrPledged) {
		t.Errorf("a second pledge: got %v, want %v", err, ErrPledged)
	}
	if err := f.Welcome(Welcome{From: "n0", Cluster: Cluster{ID: "x", Lineage: 1}}); !errors.Is(err, ErrPledged) {
		t.Errorf("welcome by another than the founder: got %v, want %v", err, ErrPledged)
	}
	town.now = town.now.Add(DefaultPledgeFor)
	if err := f.Pledge(Pledge{From: "n0", Expect: 3}); err != nil {
		t.Errorf("a pledge after the first one has ended: %v", err)
	}
	for range 2 {
		if err := f.Welcome(Welcome{From: "n0", Cluster: Cluster{ID: "x", Lineage: 1}}); err != nil {
			t.Errorf("welcome: %v", err)
		}
	}
	if err := f.Welcome(Welcome{From: "n0", Cluster: Cluster{ID: "y", Lineage: 1}}); !errors.Is(err, ErrTaken) {
		t.Errorf("welcome into a second cluster: got %v, want %v", err, ErrTaken)
	}
	if err := f.Pledge(Pledge{From: "n0", Expect: 3}); !errors.Is(err, ErrTaken) {
		t.Errorf("pledge of a member: got %v, want %v", err, ErrTaken)
	}
}

func TestNodesThatExpectDifferentNumbersWait(t *testing.T) {
	town := newTown(3, 3)
	for _, h := range town.houses {
		h.start()
	}
	f := NewFormer(FormerConfig{
		Self: "n0", Expect: 2, Node: town.houses[0], Gossip: town.houses[0], Peers: town.houses[0],
		Logger: hclog.NewNullLogger(), Clock: func() time.Time { return town.now },
	})
	if _, err := f.Round(t.Context()); err == nil || town.houses[0].disk.entry != nil {
		t.Errorf("got %v and %+v, want that it waits", err, town.houses[0].disk)
	}
}

// TestNodeThatOnlyJoinsFoundsNothing: without a number it waits for a welcome for ever.
func TestNodeThatOnlyJoinsFoundsNothing(t *testing.T) {
	town := newTown(1, 0)
	town.houses[0].start()
	if done, err := town.houses[0].run.Round(t.Context()); done || err == nil {
		t.Errorf("got %v, %v, want that it waits", done, err)
	}
	if err := town.houses[0].run.Welcome(Welcome{From: "x", Cluster: Cluster{ID: "c", Lineage: 1}}); err != nil {
		t.Error(err)
	}
	if done, err := town.houses[0].run.Round(t.Context()); !done || err != nil {
		t.Errorf("got %v, %v, want that it is done", done, err)
	}
}

// TestFormerRunEndsWithItsContextAndWithItsWork.
func TestFormerRunEndsWithItsContextAndWithItsWork(t *testing.T) {
	town := newTown(1, 2)
	town.houses[0].start()
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	var got error
	waiting.Go(func() { got = town.houses[0].run.Run(ctx) })
	cancel()
	waiting.Wait()
	if !errors.Is(got, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", got)
	}
	alone := newTown(1, 1)
	alone.houses[0].start()
	if err := alone.houses[0].run.Run(t.Context()); err != nil || alone.houses[0].disk.cluster == "" {
		t.Errorf("one that expects itself alone: got %v, %+v", err, alone.houses[0].disk)
	}
}
