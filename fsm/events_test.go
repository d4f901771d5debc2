package fsm_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// feed are the keys and events of all tenants.
func feed(t T, s *store.Store) (keys []store.EventKey, all []*logpb.StoredEvent) {
	t.Helper()
	snap := s.Snapshot()
	defer snap.Close()
	for row, err := range snap.Feed(store.EventKey{}) {
		if err != nil {
			t.Fatalf("feed: %v", err)
		}
		keys = append(keys, row.Key)
	}
	return keys, events(t, s, store.EventKey{})
}

// TestTheChainHolds computes it anew: h_n = H(h_{n-1} ‖ d_n), where d_n is keyed and is of the event as it was made (D10).
func TestTheChainHolds(t *testing.T) {
	w := newWorld(t)
	for _, c := range []*logpb.Command{
		createSession("s1"), createNodes(aPrompt("p1", "s1"), aResponse("r1", "p1"), aTool("t1", "r1")), closeSession("s1"),
	} {
		w.must(c)
	}
	check := func(asMade bool) {
		t.Helper()
		_, all := feed(t, w.m.Store())
		sys := w.system()
		var chain [32]byte
		for i, e := range all {
			made := proto.CloneOf(e)
			made.Digest, made.Chain = nil, nil
			mac := hmac.New(sha256.New, sys.Key[:])
			mac.Write([]byte("event"))
			mac.Write(graph.Encode(made))
			if asMade && !bytes.Equal(mac.Sum(nil), e.Digest) {
				t.Errorf("event %d: digest is not that of the event", i)
			}
			chain = sha256.Sum256(append(chain[:], e.Digest...))
			if !bytes.Equal(e.Chain, chain[:]) {
				t.Errorf("event %d: the chain breaks", i)
			}
		}
		if chain != sys.Chain || sys.Events != uint64(len(all)) || sys.EventRows != uint64(len(all)) {
			t.Errorf("the chain ends in another hash than the system's, or %d events are not %d", len(all), sys.Events)
		}
	}
	check(true)
	// Deletion takes the detail from earlier events and leaves their digests: the chain still holds.
	w.must(deleteSession("s1"))
	check(false)
	_, all := feed(t, w.m.Store())
	for _, e := range all {
		if e.Detail != nil {
			t.Errorf("%v", e)
		}
	}
}

// TestEventRowsAreCanonical: the seal is appended, not encoded, and must be what encoding gives.
func TestEventRowsAreCanonical(t *testing.T) {
	w := small(t)
	snap := w.m.Store().Snapshot()
	defer snap.Close()
	for row, err := range snap.Feed(store.EventKey{}) {
		e := &logpb.StoredEvent{}
		if err = errors.Join(err, proto.Unmarshal(row.Body, e)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(graph.Encode(e), row.Body) || len(e.Digest) != 32 || len(e.Chain) != 32 {
			t.Errorf("event %v is stored as %x", e, row.Body)
		}
	}
}

// TestOrdinalsCountWithinAnEntry: refused commands in between leave no gap.
func TestOrdinalsCountWithinAnEntry(t *testing.T) {
	w := newWorld(t)
	results := w.do(createSession("s1"), createNodes(aPrompt("p1", "s1"), aPrompt("p1", "s1")), createNodes(aPrompt("p1", "s1")), createSession("s1"), createSession("s2"))
	refused := ""
	for _, r := range results {
		refused += fmt.Sprint(r.Err != nil, " ")
		if r.Revision != 2 {
			t.Errorf("commands of one entry share a revision, got %d", r.Revision)
		}
	}
	if refused != "false true false true false " {
		t.Error(refused)
	}
	w.must(createSession("s3"))
	keys, _ := feed(t, w.m.Store())
	if got, want := fmt.Sprint(keys), "[{2 0} {2 1} {2 2} {2 3} {3 0}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestEventsAreOfTheirTenant: ids and events of one tenant are nothing to another.
func TestEventsAreOfTheirTenant(t *testing.T) {
	w := newWorld(t)
	w.must(createSession("s1"))
	other := createSession("s1")
	other.Tenant = 2
	w.must(other)
	_, all := feed(t, w.m.Store())
	if len(all) != 2 || all[0].Tenant != 1 || all[1].Tenant != 2 || all[0].Instant != epoch+2*second {
		t.Errorf("got %v", all)
	}
	snap := w.m.Store().Snapshot()
	defer snap.Close()
	n := 0
	for row, err := range snap.Events(2, store.EventKey{}, 0) {
		if err != nil || row.Key.Revision != 3 || row.Session == 0 || row.Type != pb.EventType_EVENT_TYPE_SESSION_CREATED {
			t.Errorf("got %v, %v", row, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestDerivedIDsAreNotGuessable: they depend on the key of the cluster, and never repeat.
func TestDerivedIDsAreNotGuessable(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range []string{"k", "l"} {
		w := &world{t: t, m: newMachine(), stamp: epoch}
		b := bootstrap()
		b.GetBootstrap().Key = []byte(strings.Repeat(key, 32))
		w.must(b)
		w.must(createSession("s1"))
		w.do(createNodes(aPrompt("p1", "s1"), aPrompt("p2", "s1")), createNodes(aPrompt("p3", "s1")))
		_, all := feed(t, w.m.Store())
		for _, e := range all {
			if e.EdgeId == "" {
				continue
			}
			if seen[e.EdgeId] || len(e.EdgeId) != 36 || e.EdgeId[14] != '8' || !strings.ContainsRune("89ab", rune(e.EdgeId[19])) {
				t.Errorf("id %s", e.EdgeId)
			}
			seen[e.EdgeId] = true
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d ids", len(seen))
	}
}

// TestHiddenRecordsAreToldByNoEvent: between the deletion and its sweep the rows of events still have their detail.
func TestHiddenRecordsAreToldByNoEvent(t *testing.T) {
	w := newWorld(t)
	s := createSession("s1")
	s.GetCreateSession().Session.Metadata = map[string]string{"secret": "x"}
	w.must(s)
	w.must(createNodes(aPrompt("p1", "s1")))
	var edges []*pb.Edge
	for i := range 1000 {
		edges = append(edges, reference(fmt.Sprint("e", i), "p1", uuidOf("s1")))
	}
	w.must(importing(nil, edges))
	for i := range edges {
		edges[i] = reference(fmt.Sprint("f", i), "p1", uuidOf("s1"))
	}
	w.must(importing(nil, edges))
	told := func() (with int) {
		_, all := feed(t, w.m.Store())
		w.read(func(v graph.View) {
			for _, e := range all {
				if err := graph.Refresh(v, e); err != nil {
					t.Fatal(err)
				}
				if e.Detail != nil {
					with++
				}
			}
		})
		return with
	}
	if got := told(); got != 2 {
		t.Errorf("%d events tell of what is there", got)
	}
	w.must(deleteSession("s1"))
	if got := told(); got != 0 {
		t.Errorf("%d events tell of what is deleted", got)
	}
	_, all := feed(t, w.m.Store())
	if all[0].Detail == nil {
		t.Error("the sweep has not come yet: the row must have its detail, or this test tests nothing")
	}
	w.read(func(v graph.View) {
		if err := graph.Refresh(broken{v, &fault{at: 1}}, all[0]); !errors.Is(err, errBroken) {
			t.Errorf("got %v", err)
		}
	})
}
