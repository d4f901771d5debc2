package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func commit(t testing.TB, s *Store, change func(b *Batch)) {
	t.Helper()
	b := s.Begin()
	change(b)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

func mustPanic(t testing.TB, says string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if r := recover(); !strings.Contains(fmt.Sprint(r), says) {
			t.Errorf("panic %v, want one that says %q", r, says)
		}
	}()
	f()
}

func fullSystem() System {
	return System{
		Applied: 300, Term: 7, ConfigIndex: 299, Config: []byte("config"), Lineage: 0xdeadbeef, Base: 1 << 40,
		ClusterID: "11111111-2222-4333-8444-555555555555", Key: [32]byte{1, 31: 2}, FeatureLevel: 1, Instant: -5, Position: 900,
		Commands: 1000, Digest: [4]uint64{1, 2, 3, 1 << 63}, Chain: [32]byte{3, 31: 4}, Events: 50, EventRows: 20,
		LastEvent: EventKey{300, 1}, Trimmed: EventKey{200, 9},
	}
}

func TestSystemIsStoredWithTheBatch(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		if diff := cmp.Diff(System{}, s.System()); diff != "" {
			t.Errorf("system of an empty store: %s", diff)
		}
		want := fullSystem()
		commit(t, s, func(b *Batch) { *b.System() = want })
		if diff := cmp.Diff(want, s.System()); diff != "" {
			t.Error(diff)
		}
		sn := s.Snapshot()
		defer sn.Close()
		commit(t, s, func(b *Batch) { b.System().Applied++ })
		if diff := cmp.Diff(want, sn.System()); diff != "" {
			t.Errorf("a snapshot's system changed: %s", diff)
		}
		if got := s.System().Applied; got != want.Applied+1 {
			t.Errorf("applied %d, want %d", got, want.Applied+1)
		}
	})
}

func TestRevertTakesTheSystemBack(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		commit(t, s, func(b *Batch) {
			b.System().Applied = 4
			b.Mark()
			b.System().Commands = 9
			b.PutEvent(EventKey{4, 0}, 1, 0, 1, []byte("x"))
			b.PutOutcome(1, [16]byte{1}, 100, []byte("y"))
			b.Revert()
		})
		if diff := cmp.Diff(System{Applied: 4}, s.System()); diff != "" {
			t.Error(diff)
		}
		rows := rowsOf(t, s)
		delete(rows, "system")
		wantRows(t, "rows", rows, map[string]string{})
	})
}

func TestABatchIsSeenWholeOrNotAtAll(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		work(t, s, 1)
		before := rowsOf(t, s)
		b := s.Begin()
		x := b.Tx(1)
		x.PutNode(graph.NodeRecord{Position: x.NextPosition()}, testPrompt(99, "text"))
		b.PutEvent(EventKey{2, 0}, 1, 0, 1, nil)
		wantRows(t, "rows before the commit", rowsOf(t, s), before)
		b.Discard()
		b.Discard()
		wantRows(t, "rows after the batch was given up", rowsOf(t, s), before)
		if err := b.Commit(); err == nil {
			t.Error("a batch that was given up was committed")
		}
	})
}

func TestOneBatchAtATime(t *testing.T) {
	s := OpenMemory()
	b := s.Begin()
	mustPanic(t, "a batch is open", func() { s.Begin() })
	b.Discard()
	s.Begin().Discard()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustPanic(t, "closed", func() { s.Begin() })
}

// feed renders what a sequence of events yields.
func feed(t testing.TB, sn *Snapshot, tenant graph.Tenant, after EventKey, session graph.Position) string {
	t.Helper()
	var out []string
	for row, err := range sn.Events(tenant, after, session) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d/%d:%d:%d:%s", row.Key.Revision, row.Key.Ordinal, row.Type, row.Session, row.Body))
	}
	return strings.Join(out, " ")
}

func wholeFeed(t testing.TB, sn *Snapshot, after EventKey) string {
	t.Helper()
	var out []string
	for row, err := range sn.Feed(after) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d/%d:%d:%s", row.Key.Revision, row.Key.Ordinal, row.Tenant, row.Body))
	}
	return strings.Join(out, " ")
}

func wantText(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestEvents(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		commit(t, s, func(b *Batch) {
			b.PutEvent(EventKey{1, 0}, 1, 5, 1, []byte("a"))
			b.PutEvent(EventKey{1, 1}, 2, 6, 2, []byte("b"))
			b.PutEvent(EventKey{1, 256}, 1, 0, 3, []byte("c"))
			if body, ok, err := b.Event(EventKey{1, 1}); string(body) != "b" || !ok || err != nil {
				t.Errorf("event in the batch %q, %v, %v", body, ok, err)
			}
		})
		commit(t, s, func(b *Batch) {
			b.PutEvent(EventKey{300, 0}, 1, 5, 4, []byte("d"))
			b.SetEvent(EventKey{1, 0}, []byte("reduced"))
			b.SetEvent(EventKey{2, 0}, []byte("never was"))
			if _, ok, err := b.Event(EventKey{2, 0}); ok || err != nil {
				t.Errorf("an event that never was: %v, %v", ok, err)
			}
		})
		sn := s.Snapshot()
		defer sn.Close()
		wantText(t, "tenant 1", feed(t, sn, 1, EventKey{}, 0), "1/0:1:5:reduced 1/256:3:0:c 300/0:4:5:d")
		wantText(t, "after one", feed(t, sn, 1, EventKey{1, 0}, 0), "1/256:3:0:c 300/0:4:5:d")
		wantText(t, "after a key that is none", feed(t, sn, 1, EventKey{7, 0}, 0), "300/0:4:5:d")
		wantText(t, "of a session, the others without bodies", feed(t, sn, 1, EventKey{}, 5), "1/0:1:5:reduced 1/256:3:0: 300/0:4:5:d")
		wantText(t, "tenant 2", feed(t, sn, 2, EventKey{}, 0), "1/1:2:6:b")
		wantText(t, "tenant 3", feed(t, sn, 3, EventKey{}, 0), "")
		wantText(t, "of all", wholeFeed(t, sn, EventKey{}), "1/0:1:reduced 1/1:2:b 1/256:1:c 300/0:1:d")
		wantText(t, "of all, after one", wholeFeed(t, sn, EventKey{1, 1}), "1/256:1:c 300/0:1:d")
		first, ok, err := sn.FirstEvent(1)
		if first != (EventKey{1, 0}) || !ok || err != nil {
			t.Errorf("first event %v, %v, %v", first, ok, err)
		}
		last, ok, err := sn.LastEvent(1)
		if last != (EventKey{300, 0}) || !ok || err != nil {
			t.Errorf("last event %v, %v, %v", last, ok, err)
		}
		if _, ok, err := sn.LastEvent(9); ok || err != nil {
			t.Errorf("last event of a tenant without any: %v, %v", ok, err)
		}
		if sys := s.System(); sys.Events != 4 || sys.EventRows != 4 || sys.LastEvent != (EventKey{300, 0}) {
			t.Errorf("system %+v", sys)
		}
		for range sn.Events(1, EventKey{}, 0) {
			break
		}
		for range sn.Feed(EventKey{}) {
			break
		}
	})
}

func TestTrimEvents(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		commit(t, s, func(b *Batch) {
			for i := range uint64(10) {
				b.PutEvent(EventKey{graph.Revision(1 + i/2), uint32(i % 2)}, graph.Tenant(1+i%2), 0, 1, []byte{'a' + byte(i)})
			}
		})
		trim := func(below graph.Revision, limit, want int) {
			t.Helper()
			commit(t, s, func(b *Batch) {
				b.Mark()
				if n, err := b.TrimEvents(below, limit); n != want || err != nil {
					t.Errorf("first try removed %d, %v; want %d", n, err, want)
				}
				b.Revert()
				if n, err := b.TrimEvents(below, limit); n != want || err != nil {
					t.Errorf("removed %d, %v; want %d", n, err, want)
				}
			})
		}
		trim(1, 100, 0)
		trim(3, 3, 3)
		trim(3, 0, 0)
		trim(3, 100, 1)
		trim(3, 100, 0)
		trim(1, 100, 0)
		sn := s.Snapshot()
		defer sn.Close()
		wantText(t, "what is left", wholeFeed(t, sn, EventKey{}), "3/0:1:e 3/1:2:f 4/0:1:g 4/1:2:h 5/0:1:i 5/1:2:j")
		wantText(t, "of a tenant", feed(t, sn, 2, EventKey{}, 0), "3/1:1:0:f 4/1:1:0:h 5/1:1:0:j")
		if sys := s.System(); sys.Events != 10 || sys.EventRows != 6 || sys.Trimmed != (EventKey{2, 1}) {
			t.Errorf("system %+v", sys)
		}
		trim(100, 100, 6)
		if rows := rowsOf(t, s); len(rows) != 1 {
			t.Errorf("rows left: %v", rows)
		}
	})
}

func TestOutcomes(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		id := func(n byte) [16]byte { return [16]byte{n} }
		commit(t, s, func(b *Batch) {
			b.PutOutcome(1, id(1), 30, []byte("late"))
			b.PutOutcome(2, id(1), 10, []byte("other tenant"))
			b.PutOutcome(1, id(2), -20, []byte("long ago"))
			b.PutOutcome(1, id(3), 5, []byte("early"))
			b.PutOutcome(1, id(3), 40, []byte("put again"))
		})
		commit(t, s, func(b *Batch) {
			body, ok, err := b.Outcome(1, id(3))
			if string(body) != "put again" || !ok || err != nil {
				t.Errorf("outcome %q, %v, %v", body, ok, err)
			}
			if _, ok, err := b.Outcome(3, id(1)); ok || err != nil {
				t.Errorf("outcome of a tenant without any: %v, %v", ok, err)
			}
			if n, err := b.CountOutcomes(1); n != 3 || err != nil {
				t.Errorf("%d outcomes, %v", n, err)
			}
		})
		sn := s.Snapshot()
		body, ok, err := sn.Outcome(2, id(1))
		if string(body) != "other tenant" || !ok || err != nil {
			t.Errorf("outcome of a snapshot %q, %v, %v", body, ok, err)
		}
		sn.Close()

		expire := func(now int64, limit, want int) {
			t.Helper()
			commit(t, s, func(b *Batch) {
				b.Mark()
				if n, err := b.ExpireOutcomes(now, limit); n != want || err != nil {
					t.Errorf("first try removed %d, %v; want %d", n, err, want)
				}
				b.Revert()
				if n, err := b.ExpireOutcomes(now, limit); n != want || err != nil {
					t.Errorf("removed %d, %v; want %d", n, err, want)
				}
			})
		}
		expire(-21, 10, 0)
		expire(10, 1, 1)
		expire(10, 10, 1)
		expire(39, 0, 0)
		// One that is put with an expiry before those that went is found all the same.
		commit(t, s, func(b *Batch) { b.PutOutcome(1, id(9), -100, nil) })
		expire(29, 10, 1)
		commit(t, s, func(b *Batch) {
			if n, err := b.CountOutcomes(1); n != 2 || err != nil {
				t.Errorf("%d outcomes, %v", n, err)
			}
			if n, err := b.CountOutcomes(2); n != 0 || err != nil {
				t.Errorf("%d outcomes of tenant 2, %v", n, err)
			}
		})
		expire(1<<63-1, 10, 2)
		if rows := rowsOf(t, s); len(rows) != 1 {
			t.Errorf("rows left: %v", rows)
		}
	})
}

func TestDoomedTenant(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		look := func() (graph.Tenant, bool) {
			sn := s.Snapshot()
			defer sn.Close()
			tenant, ok, err := sn.DoomedTenant()
			if err != nil {
				t.Error(err)
			}
			return tenant, ok
		}
		if tenant, ok := look(); ok {
			t.Errorf("doomed in tenant %d of an empty store", tenant)
		}
		commit(t, s, func(b *Batch) { b.Tx(300).Doom(graph.Doomed{Position: 4}) })
		commit(t, s, func(b *Batch) { b.Tx(7).Doom(graph.Doomed{Position: 9}) })
		if tenant, ok := look(); tenant != 7 || !ok {
			t.Errorf("tenant %d, %v; want 7", tenant, ok)
		}
	})
}

// script is a load of commands whose grouping into batches must not show.
func script(t testing.TB, s *Store, group int) {
	t.Helper()
	b := s.Begin()
	for i := range uint64(60) {
		if i > 0 && int(i)%group == 0 {
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			b = s.Begin()
			b.System().Applied++
		}
		b.Mark()
		command(b, i, graph.Revision(b.System().Applied+1))
		if i%7 == 3 {
			b.Revert()
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

func command(b *Batch, i uint64, revision graph.Revision) {
	x := b.Tx(graph.Tenant(1 + i%2))
	at := x.NextPosition()
	rec := graph.NodeRecord{Created: revision, Modified: revision, Position: at, Ordinal: uint32(i), Session: graph.Position(i % 5)}
	x.PutNode(rec, testPrompt(at, "text"))
	rec, _, _ = x.NodeAt(at)
	if i%3 == 0 {
		x.ReplaceNode(rec, revision, testPrompt(at, "changed"))
		rec, _, _ = x.NodeAt(at)
	}
	x.PutEdge(graph.EdgeRecord{Created: revision, Modified: revision, Position: x.NextPosition(), From: at, To: at,
		FromSession: rec.Session, ToSession: rec.Session}, &pb.Edge{Id: fmt.Sprint("e", at), Type: 2})
	if i%4 == 0 {
		for e := range x.Edges(graph.EdgeWalk{Node: at}) {
			x.RemoveEdge(e)
		}
		x.RemoveNode(rec)
	}
	x.SetInvocations(graph.Position(i%9), uint32(i+1))
	b.PutOutcome(1, [16]byte{byte(i % 11)}, int64(i), []byte("outcome"))
}

func TestDigestDoesNotShowHowCommandsAreGrouped(t *testing.T) {
	var want [4]uint64
	for _, group := range []int{1, 2, 7, 60} {
		for name, open := range engines() {
			s := open(t)
			script(t, s, group)
			got := s.System().Digest
			if want == [4]uint64{} {
				want = got
			}
			if got != want || got == [4]uint64{} {
				t.Errorf("%s, groups of %d: digest %x, want %x", name, group, got, want)
			}
			rowsOf(t, s) // checks the digest that was kept against the rows
		}
	}
}

func TestDigestCoversWhatReplicasMustAgreeOn(t *testing.T) {
	base := func(b *Batch) {
		x := b.Tx(1)
		x.PutNode(graph.NodeRecord{Created: 1, Modified: 2, Position: 1, Ordinal: 3, Session: 1}, testSession(1))
		x.PutSession(graph.SessionRecord{Position: 1, State: graph.SessionActive})
	}
	digest := func(change func(b *Batch)) [4]uint64 {
		s := OpenMemory()
		defer s.Close()
		commit(t, s, func(b *Batch) {
			base(b)
			change(b)
		})
		return s.System().Digest
	}
	same := digest(func(*Batch) {})
	for name, change := range map[string]func(b *Batch){
		"session state": func(b *Batch) { b.Tx(1).PutSession(graph.SessionRecord{Position: 1, State: graph.SessionClosed}) },
		"tenant":        func(b *Batch) { b.Tx(2).PutSession(graph.SessionRecord{Position: 1, State: graph.SessionActive}) },
		"invocations":   func(b *Batch) { b.Tx(1).SetInvocations(1, 1) },
		"doomed":        func(b *Batch) { b.Tx(1).Doom(graph.Doomed{Position: 1}) },
		"outcome":       func(b *Batch) { b.PutOutcome(1, [16]byte{}, 1, nil) },
		"node":          func(b *Batch) { b.Tx(1).PutNode(graph.NodeRecord{Position: 2}, testPrompt(2, "x")) },
		"edge":          func(b *Batch) { b.Tx(1).PutEdge(graph.EdgeRecord{Position: 2}, &pb.Edge{Id: "e", Type: 1}) },
	} {
		if digest(change) == same {
			t.Errorf("%s: the digest does not show it", name)
		}
	}
	for name, change := range map[string]func(b *Batch){
		"revision": func(b *Batch) {
			rec, _, _ := b.Tx(1).NodeAt(1)
			n, _ := rec.Node()
			b.Tx(1).ReplaceNode(rec, 77, n)
		},
		"event":  func(b *Batch) { b.PutEvent(EventKey{1, 1}, 1, 1, 1, nil) },
		"system": func(b *Batch) { b.System().Applied = 12 },
	} {
		if digest(change) != same {
			t.Errorf("%s: the digest shows it", name)
		}
	}
}

func TestSumsModulo2To256(t *testing.T) {
	most := [4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	one := [4]uint64{1}
	if got := add(most, one); got != [4]uint64{} {
		t.Errorf("most + 1 = %x", got)
	}
	if got := subtract([4]uint64{}, one); got != most {
		t.Errorf("0 - 1 = %x", got)
	}
	a, b := [4]uint64{5, ^uint64(0), 0, 9}, [4]uint64{^uint64(0), 1, 2, 3}
	if got := subtract(add(a, b), b); got != a {
		t.Errorf("a + b - b = %x", got)
	}
}

func TestEventKeysAreOrdered(t *testing.T) {
	keys := []EventKey{{}, {0, 1}, {1, 0}, {1, 1}, {256, 0}, {256, 1 << 20}}
	for i, a := range keys {
		for j, b := range keys {
			if a.Less(b) != (i < j) || (bytes.Compare(feedKey(a), feedKey(b)) < 0) != (i < j) {
				t.Errorf("%v and %v are out of order", a, b)
			}
		}
	}
	if !slices.IsSortedFunc(keys, func(a, b EventKey) int { return bytes.Compare(feedKey(a), feedKey(b)) }) {
		t.Error("keys of the feed are out of order")
	}
}
