package storagetest

import (
	"reflect"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// Storage is what is tested. It is empty at first.
type Storage interface {
	// Begin opens a batch; only one is open at a time.
	Begin() Batch
	// View reads what is committed. It must stay readable to the end of the test, and not change.
	View(t graph.Tenant) graph.View
	// Rows names every row that the storage holds but one of its own that counts positions.
	Rows() []string
}

// Batch is a change that is committed as a whole.
type Batch interface {
	// Tx reads and changes one tenant. Every Tx of a batch sees the others' changes.
	Tx(t graph.Tenant) graph.Tx
	// Mark sets the point to which Revert goes back.
	Mark()
	Revert()
	Commit()
}

// Run checks every claim on a storage of its own.
func Run(t *testing.T, open func(t *testing.T) Storage) {
	for _, c := range []struct {
		name  string
		check func(w *world)
	}{
		{"records are found by id and by position", recordsAreFound},
		{"ids of any form are told apart", idsAreToldApart},
		{"what is not there is not an error", absenceIsNoError},
		{"revisions are of the record, not of its wire", revisionsAreOfTheRecord},
		{"walks go newest first or oldest first", walksAreOrdered},
		{"equal times are ordered by position", tiesGoByPosition},
		{"walks keep to session, type and attribute", walksKeepToTheirSubject},
		{"walks keep to times, inclusive", walksKeepToTimes},
		{"walks resume strictly after a place", walksResume},
		{"extreme times keep their order", extremeTimes},
		{"attributes are exact", attributesAreExact},
		{"edges come in commit order whatever their types", edgesInCommitOrder},
		{"a loop leaves and enters its node", loops},
		{"counters count", countersCount},
		{"sessions are counted while active", activeSessions},
		{"invocations are kept with their response", invocations},
		{"tenants are apart", tenantsAreApart},
		{"a replaced node moves its index entries", replacing},
		{"what is removed leaves nothing", removingLeavesNothing},
		{"a reverted change leaves no trace", revertLeavesNoTrace},
		{"revert goes back to the last mark only", revertToTheLastMark},
		{"a view does not change", viewsDoNotChange},
		{"writes are seen by open walks without harm", writingWhileWalking},
		{"a doomed session is hidden with its members", doomedSession},
		{"a doomed node is hidden with its edges", doomedNode},
		{"hidden edges are subtracted once", hiddenEdgesOnce},
		{"deletions are swept in the order of their commits", doomedInOrder},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(&world{t: t, s: open(t)}) })
	}
}

// T is what *testing.T and the tests of a property have in common.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func equal(t T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// all collects a sequence whose errors fail the test.
func all[V any](t T, seq func(yield func(V, error) bool)) []V {
	t.Helper()
	out := []V{}
	for v, err := range seq {
		if err != nil {
			t.Fatalf("sequence: %v", err)
		}
		out = append(out, v)
	}
	return out
}

// must fails the test on an error of a look-up.
func must[V any](t T) func(v V, ok bool, err error) (V, bool) {
	return func(v V, ok bool, err error) (V, bool) {
		t.Helper()
		if err != nil {
			t.Fatalf("look-up: %v", err)
		}
		return v, ok
	}
}

func count(t T, n int64, err error) int64 {
	t.Helper()
	if err != nil {
		t.Fatalf("count: %v", err)
	}
	return n
}
