package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const (
	ofNode = pb.EventType_EVENT_TYPE_NODE_CREATED
	ofEdge = pb.EventType_EVENT_TYPE_EDGE_CREATED
)

// feedRows tells of each row of the feeds how many events it has.
func feedRows(t testing.TB, s *Store) string {
	t.Helper()
	sn := s.Snapshot()
	defer sn.Close()
	var out []string
	if err := sn.WalkRows(func(key, value []byte) error {
		switch key[0] {
		case spaceFeed:
			_, bodies, err := decodeEvents(value, nil)
			out = append(out, fmt.Sprintf("%s: %d", Describe(key), len(bodies)))
			return err
		case spaceTenantFeed:
			events, err := decodeEventIndex(EventKey{}, value, nil)
			out = append(out, fmt.Sprintf("%s: %d", Describe(key), len(events)))
			return err
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "; ")
}

// TestEventsOfEdgesShareARow: they are read, changed and trimmed one by one all the same.
func TestEventsOfEdgesShareARow(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		commit(t, s, func(b *Batch) {
			b.PutEvent(EventKey{5, 3}, 1, 7, ofNode, []byte("a"))
			b.PutEvent(EventKey{5, 4}, 1, 8, ofEdge, []byte("b"))
			b.PutEvent(EventKey{5, 5}, 1, 0, ofEdge, []byte("c"))
			b.PutEvent(EventKey{5, 6}, 1, 7, ofNode, []byte("d"))
			for n, want := range []string{"a", "b", "c", "d"} {
				if body, ok, err := b.Event(EventKey{5, 3 + uint32(n)}); string(body) != want || !ok || err != nil {
					t.Errorf("event %d in the batch: %q, %v, %v", n, body, ok, err)
				}
			}
			b.SetEvent(EventKey{5, 4}, []byte("longer than before"))
			b.SetEvent(EventKey{5, 7}, []byte("there is none"))
		})
		wantText(t, "rows", feedRows(t, s), "feed, event 5/3: 3; feed, event 5/6: 1; tenant 1, feed, event 5/3: 3; tenant 1, feed, event 5/6: 1")
		sn := s.Snapshot()
		defer sn.Close()
		wantText(t, "of a tenant", feed(t, sn, 1, EventKey{}, 0), "5/3:1:7:a 5/4:4:8:longer than before 5/5:4:0:c 5/6:1:7:d")
		wantText(t, "of all, within a row", wholeFeed(t, sn, EventKey{5, 4}), "5/5:1:c 5/6:1:d")
		wantText(t, "within a row", feed(t, sn, 1, EventKey{5, 3}, 0), "5/4:4:8:longer than before 5/5:4:0:c 5/6:1:7:d")
		wantText(t, "the last of a row", feed(t, sn, 1, EventKey{5, 5}, 0), "5/6:1:7:d")
		wantText(t, "of a session", feed(t, sn, 1, EventKey{}, 8), "5/3:1:7: 5/4:4:8:longer than before 5/5:4:0: 5/6:1:7:")
		if row, ok, err := sn.Event(EventKey{5, 5}); string(row.Body) != "c" || !ok || err != nil {
			t.Errorf("event 5/5: %q, %v, %v", row.Body, ok, err)
		}
		for _, none := range []EventKey{{5, 2}, {5, 7}, {5, 400}, {6, 1}} {
			if _, ok, err := sn.Event(none); ok || err != nil {
				t.Errorf("event %v that never was: %v, %v", none, ok, err)
			}
		}
		wantFindings(t, findings(t, s, CheckOptions{}), []string{"feed: feed: feed, event 5/3 comes after a gap"})
	})
}

// TestWhatSharesNoRow: events of other commands, tenants and places, and those beyond the bounds of a row.
func TestWhatSharesNoRow(t *testing.T) {
	large := bytes.Repeat([]byte("x"), maxRowBodies)
	for name, c := range map[string]struct {
		put  func(b *Batch)
		want []string // events of the rows of the feed of all
	}{
		"edges come first": {func(b *Batch) {
			b.PutEvent(EventKey{1, 0}, 1, 1, ofEdge, nil)
			b.PutEvent(EventKey{1, 1}, 1, 1, pb.EventType_EVENT_TYPE_EDGE_DELETED, nil)
			b.PutEvent(EventKey{1, 2}, 1, 1, pb.EventType_EVENT_TYPE_NODE_DELETED, nil)
		}, []string{"1/0: 2", "1/2: 1"}},
		"of another command": {func(b *Batch) {
			b.PutEvent(EventKey{1, 0}, 1, 1, ofNode, nil)
			b.Mark()
			b.PutEvent(EventKey{1, 1}, 1, 1, ofEdge, nil)
		}, []string{"1/0: 1", "1/1: 1"}},
		"of a command that was refused": {func(b *Batch) {
			b.PutEvent(EventKey{1, 0}, 1, 1, ofNode, nil)
			b.Mark()
			b.PutEvent(EventKey{1, 1}, 1, 1, ofNode, nil)
			b.PutEvent(EventKey{1, 2}, 1, 1, ofEdge, nil)
			b.Revert()
			b.PutEvent(EventKey{1, 1}, 1, 1, ofEdge, nil)
		}, []string{"1/0: 1", "1/1: 1"}},
		"of another tenant": {func(b *Batch) {
			b.PutEvent(EventKey{1, 0}, 1, 1, ofNode, nil)
			b.PutEvent(EventKey{1, 1}, 2, 1, ofEdge, nil)
		}, []string{"1/0: 1", "1/1: 1"}},
		"of another revision": {func(b *Batch) {
			b.PutEvent(EventKey{1, 0}, 1, 1, ofNode, nil)
			b.PutEvent(EventKey{2, 1}, 1, 1, ofEdge, nil)
		}, []string{"1/0: 1", "2/1: 1"}},
		"too many": {func(b *Batch) {
			b.PutEvent(EventKey{1, 0}, 1, 1, ofNode, nil)
			for n := range uint32(maxRowEvents + 3) {
				b.PutEvent(EventKey{1, n + 1}, 1, 1, ofEdge, nil)
			}
		}, []string{"1/0: 16", "1/16: 4"}},
		"too large": {func(b *Batch) {
			b.PutEvent(EventKey{1, 0}, 1, 1, ofNode, large)
			b.PutEvent(EventKey{1, 1}, 1, 1, ofEdge, []byte("x"))
			b.PutEvent(EventKey{1, 2}, 1, 1, ofEdge, large)
		}, []string{"1/0: 1", "1/1: 1", "1/2: 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := closing(t, OpenMemory())
			commit(t, s, c.put)
			all, _, _ := strings.Cut(feedRows(t, s), "; tenant")
			wantText(t, "rows", strings.ReplaceAll(all, "feed, event ", ""), strings.Join(c.want, "; "))
		})
	}
}

// TestTrimWithinARow leaves a row of what is left of it.
func TestTrimWithinARow(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		commit(t, s, func(b *Batch) {
			b.PutEvent(EventKey{1, 0}, 1, 7, ofNode, []byte("a"))
			b.PutEvent(EventKey{1, 1}, 1, 8, ofEdge, []byte("b"))
			b.PutEvent(EventKey{1, 2}, 1, 9, ofEdge, []byte("c"))
			b.PutEvent(EventKey{2, 0}, 1, 7, ofNode, []byte("d"))
			b.PutEvent(EventKey{2, 1}, 1, 7, ofEdge, []byte("e"))
		})
		commit(t, s, func(b *Batch) {
			b.Mark()
			if n, err := b.TrimEvents(3, 4); n != 4 || err != nil {
				t.Errorf("first try removed %d, %v", n, err)
			}
			b.Revert()
			if n, err := b.TrimEvents(3, 2); n != 2 || err != nil {
				t.Errorf("removed %d, %v", n, err)
			}
		})
		sn := s.Snapshot()
		defer sn.Close()
		wantText(t, "what is left", feed(t, sn, 1, EventKey{}, 0), "1/2:4:9:c 2/0:1:7:d 2/1:4:7:e")
		first, _, err := sn.FirstEvent(1)
		if first != (EventKey{1, 2}) || err != nil {
			t.Errorf("first event %v, %v", first, err)
		}
		last, _, err := sn.LastEvent(1)
		if last != (EventKey{2, 1}) || err != nil {
			t.Errorf("last event %v, %v", last, err)
		}
		if sys := s.System(); sys.EventRows != 3 || sys.Trimmed != (EventKey{1, 1}) {
			t.Errorf("system %+v", sys)
		}
		wantFindings(t, findings(t, s, CheckOptions{}), []string{})
	})
}

// TestFeedsDisagree: what the feed of a tenant says of a row that has more events, or fewer.
func TestFeedsDisagree(t *testing.T) {
	for name, index := range map[string][]byte{
		"more":  encodeEventIndex(EventRow{Type: ofNode}, EventRow{Type: ofEdge}, EventRow{Type: ofEdge}),
		"fewer": encodeEventIndex(EventRow{Type: ofNode}),
	} {
		s := closing(t, OpenMemory())
		commit(t, s, func(b *Batch) {
			b.PutEvent(EventKey{1, 0}, 1, 0, ofNode, []byte("a"))
			b.PutEvent(EventKey{1, 1}, 1, 0, ofEdge, []byte("b"))
		})
		write1(t, s, tenantFeedKey(1, EventKey{1, 0}), index)
		wantFindings(t, findings(t, s, CheckOptions{}), []string{
			"missing: tenant feed: tenant 1, feed, event 1/0 is not there with 2 events", "stray: tenant feed: tenant 1, feed, event 1/0 is there with",
		})
		b := s.Begin()
		if _, err := b.TrimEvents(2, 1); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: trim of a part: %v", name, err)
		}
		b.Discard()
		sn := s.Snapshot()
		var err error
		for _, err = range sn.Events(1, EventKey{}, 0) {
		}
		if more := name == "more"; more != errors.Is(err, ErrDamaged) {
			t.Errorf("%s: reading: %v", name, err)
		}
		sn.Close()
	}
}
