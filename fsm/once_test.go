package fsm_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// TestAnExpiredRowIsAbsentSweptOrNot: many rows expire at once; the sweep takes two, all of them are absent.
func TestAnExpiredRowIsAbsentSweptOrNot(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		w.must(keyed(createNodes(anAgent(fmt.Sprint("a", i))), fmt.Sprint("k", i), "x"))
	}
	w.stamp += 25 * 3600 * second
	for i := 9; i >= 0; i-- {
		r := w.do(keyed(createNodes(anAgent(fmt.Sprint("b", i))), fmt.Sprint("k", i), "another"))[0]
		if r.Err != nil || r.Replayed {
			t.Fatalf("key k%d after a day: %v, replayed %v", i, r.Err, r.Replayed)
		}
	}
	w.digest()
	for i := range 10 {
		r := w.do(keyed(createNodes(anAgent("x")), fmt.Sprint("k", i), "another"))[0]
		if r.Err != nil || !r.Replayed || r.Nodes[0].Id != fmt.Sprint("b", i) {
			t.Fatalf("key k%d: %v, %v", i, r.Err, r.Nodes)
		}
	}
	w.stamp += 25 * 3600 * second
	for range 6 {
		w.do(raise(1))
	}
	for _, row := range rows(t, w.m.Store()) {
		if strings.Contains(row, "outcome") {
			t.Errorf("left over: %s", row)
		}
	}
}

// TestNoLiveKeyIsDropped: at its cap a tenant gets no new keys, and keeps the ones it has.
func TestNoLiveKeyIsDropped(t *testing.T) {
	w := newWorld(t)
	w.m.LimitOutcomes(2)
	w.must(keyed(createNodes(anAgent("a1")), "k1", "x"))
	w.must(keyed(createNodes(anAgent("a2")), "k2", "x"))
	r := w.do(keyed(createNodes(anAgent("a3")), "k3", "x"))[0]
	var refusal *graph.Error
	if !errors.As(r.Err, &refusal) || refusal.Kind != graph.Exhausted || refusal.Field != "idempotency-key" || r.Revision != 4 {
		t.Fatalf("got %v", r)
	}
	if r := w.do(keyed(createNodes(anAgent("a1")), "k1", "x"))[0]; r.Err != nil || !r.Replayed {
		t.Errorf("a key that lives: %v", r)
	}
	if r := w.do(minted(createNodes(anAgent("a4")), "m", "x"))[0]; r.Err != nil {
		t.Errorf("an id that a node minted: %v", r)
	}
	other := keyed(createNodes(anAgent("a1")), "k3", "x")
	other.Tenant = 2
	w.must(other)
	w.must(createNodes(anAgent("a5")))
	w.stamp += 25 * 3600 * second
	w.must(keyed(createNodes(anAgent("a3")), "k3", "x"))
}

func TestRecall(t *testing.T) {
	w := newWorld(t)
	id, print := sha256.Sum256([]byte("k")), sha256.Sum256([]byte("x"))
	recall := func(print []byte) (fsm.Result, bool) {
		t.Helper()
		r, ok, err := w.m.Recall(tenant, id[:16], print)
		if err != nil {
			t.Fatal(err)
		}
		return r, ok
	}
	if _, ok := recall(print[:16]); ok {
		t.Error("what never was is remembered")
	}
	w.must(keyed(createSession("s1"), "k", "x"))
	w.must(createNodes(aPrompt("p1", "s1")))
	r, ok := recall(print[:16])
	if !ok || !r.Replayed || r.Err != nil || r.Revision != 3 || r.Nodes[0].GetSession().GetUpdatedAt().AsTime().UnixNano() != epoch+3*second {
		t.Errorf("got %v, %v", r, ok)
	}
	if r, ok := recall([]byte("another")); !ok || r.Replayed || !errors.Is(r.Err, graph.Invalid) {
		t.Errorf("got %v, %v", r, ok)
	}
	w.must(deleteSession("s1"))
	if r, ok := recall(print[:16]); !ok || !errors.Is(r.Err, graph.NotFound) {
		t.Errorf("got %v, %v", r, ok)
	}
	w.stamp += 25 * 3600 * second
	w.do(raise(1))
	if _, ok := recall(print[:16]); ok {
		t.Error("a key lives longer than a day")
	}
	if _, _, err := w.m.Recall(tenant, []byte("short"), nil); err == nil {
		t.Error("a request id of 5 bytes")
	}
	if err := w.m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.m.Recall(tenant, id[:16], nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := w.m.Chore(fsm.Retention{}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// TestOutcomesHoldNoContent looks for what callers wrote in the rows that outlive it.
func TestOutcomesHoldNoContent(t *testing.T) {
	w := newWorld(t)
	w.must(keyed(createSession("s1"), "k0", "x"))
	secret := "content of "
	w.must(keyed(createNodes(aPrompt("p1", "s1")), "k1", secret))
	w.must(keyed(updateNode(aPrompt("p1", "s1"), nil), "k2", secret))
	w.do(keyed(createNodes(aResponse("r1", "nobody")), "k3", secret))
	seen := 0
	for _, row := range rows(t, w.m.Store()) {
		if strings.Contains(row, "outcome") {
			seen++
			if strings.Contains(row, fmt.Sprintf("%x", secret)) {
				t.Errorf("content in %s", row)
			}
		}
	}
	if seen != 9 { // a row and an expiry for each, a counter
		t.Errorf("saw %d rows", seen)
	}
}
