package fsm_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

func operations() protoreflect.OneofDescriptor {
	return (&logpb.Command{}).ProtoReflect().Descriptor().Oneofs().ByName("operation")
}

// stampedAll stamps commands once: the stamps are part of the log however it is cut.
func stampedAll(t T, commands []*logpb.Command) []*logpb.Stamped {
	t.Helper()
	var out []*logpb.Stamped
	for i, c := range commands {
		out = append(out, &logpb.Stamped{Stamp: epoch + int64(2+i)*second, Command: encode(t, c)})
	}
	return out
}

// cut cuts n things into runs of a length that next says.
func cut[V any](all []V, next func(left int) int) (runs [][]V) {
	for len(all) > 0 {
		n := min(next(len(all)), len(all))
		runs = append(runs, all[:n])
		all = all[n:]
	}
	return runs
}

// log makes entries out of groups of commands. The first two commands are always entries of their own, so that the
// template is at revision 3 in every log.
func logOf(t T, stamped []*logpb.Stamped, next func(left int) int) []fsm.LogEntry {
	t.Helper()
	groups := append([][]*logpb.Stamped{stamped[:1], stamped[1:2]}, cut(stamped[2:], next)...)
	entries := []fsm.LogEntry{{Index: 1, Term: 1, Data: entryOf(t, &logpb.Stamped{Stamp: epoch, Command: encode(t, bootstrap())})}}
	for i, g := range groups {
		entries = append(entries, fsm.LogEntry{Index: uint64(i) + 2, Term: 1, Data: entryOf(t, g...)})
	}
	return entries
}

// outcome is what the callers were told, without revisions.
func outcome(results [][]fsm.Result) (out []string) {
	for _, entry := range results {
		for _, r := range entry {
			text := fmt.Sprint(r.Replayed, r.Imported, r.Edge.GetId(), r.EdgesCreated)
			var refusal *graph.Error
			if errors.As(r.Err, &refusal) {
				text += fmt.Sprintf(" %+v", *refusal)
			}
			for _, n := range r.Nodes {
				c := proto.CloneOf(n)
				c.Revision = 0
				text += fmt.Sprintf(" %x", graph.Encode(c))
			}
			out = append(out, text)
		}
	}
	return out
}

func bodies(t T, s *store.Store) (out []string) {
	for _, e := range events(t, s, store.EventKey{}) {
		out = append(out, string(graph.Encode(e)))
	}
	return out
}

// TestRegrouping: how commands were grouped into entries shows in revisions alone, how entries were cut into batches
// shows nowhere (D16).
func TestRegrouping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stamped := stampedAll(t, generated(3).Draw(t, "commands"))
		one := fsm.New(store.OpenMemory())
		wantResults := outcome(one.Apply(logOf(t, stamped, func(int) int { return 1 })))
		want, wantEvents := fsm.Digest(one.Store().System()), bodies(t, one.Store())

		entries := logOf(t, stamped, func(left int) int { return rapid.IntRange(1, min(left, 9)).Draw(t, "group") })
		grouped := fsm.New(store.OpenMemory())
		results := grouped.Apply(entries)
		if got := fsm.Digest(grouped.Store().System()); got != want {
			t.Fatalf("grouped: digest %x, want %x\n%s", got, want, cmp.Diff(rows(t, one.Store()), rows(t, grouped.Store())))
		}
		if got := bodies(t, grouped.Store()); !slices.Equal(got, wantEvents) {
			t.Fatalf("grouped: %d events, want %d, or others", len(got), len(wantEvents))
		}
		if diff := cmp.Diff(wantResults, outcome(results)); diff != "" {
			t.Fatalf("grouped: results differ: %s", diff)
		}

		batched := fsm.New(store.OpenMemory())
		var inBatches [][]fsm.Result
		for _, batch := range cut(entries, func(left int) int { return rapid.IntRange(1, left).Draw(t, "batch") }) {
			inBatches = append(inBatches, batched.Apply(batch)...)
		}
		if diff := cmp.Diff(rows(t, grouped.Store()), rows(t, batched.Store())); diff != "" {
			t.Fatalf("in batches: %s", diff)
		}
		if diff := cmp.Diff(outcome(results), outcome(inBatches)); diff != "" {
			t.Fatalf("in batches: results differ: %s", diff)
		}
	})
}

// TestRestartChangesNothing closes and opens a store on disk between batches.
func TestRestartChangesNothing(t *testing.T) {
	for seed := range 4 {
		stamped := stampedAll(t, generated(3).Example(100+seed))
		entries := logOf(t, stamped, func(int) int { return 3 })
		through := fsm.New(store.OpenMemory())
		through.Apply(entries)
		dir := t.TempDir()
		for _, batch := range cut(entries, func(int) int { return 5 }) {
			m := fsm.New(openPebble(t, dir))
			m.Apply(entries[:1]) // what was applied before the restart is known after it
			m.Apply(batch)
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
		m := fsm.New(openPebble(t, dir))
		if diff := cmp.Diff(rows(t, through.Store()), rows(t, m.Store())); diff != "" {
			t.Errorf("seed %d: %s", seed, diff)
		}
		if m.Applied() != through.Applied() {
			t.Errorf("applied %d, want %d", m.Applied(), through.Applied())
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
