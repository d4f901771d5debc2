package fsm_test

import (
	"fmt"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// BenchmarkApply applies keyed AddPrompt commands: a log entry holds 64, a batch 16 entries, a session takes 1000 prompts.
func BenchmarkApply(b *testing.B) {
	const perEntry, perBatch, perSession = 64, 16, 1000
	for _, engine := range []string{"memory", "pebble"} {
		b.Run(engine, func(b *testing.B) {
			w := newWorld(b)
			if engine == "pebble" {
				w = onStore(b, benchStore(b))
			}
			for i := range b.N/perSession + 1 {
				w.must(createSession(fmt.Sprint("s", i+1)))
			}
			var entries []fsm.LogEntry
			var commands []*logpb.Command
			flush := func() {
				w.index++
				entries = append(entries, fsm.LogEntry{Index: w.index, Term: 1, Data: w.entry(commands...)})
				commands = commands[:0]
			}
			for i := range b.N {
				c := createNodes(aPrompt(fmt.Sprintf("01890000-0000-7000-8000-%012x", i), fmt.Sprint("s", i/perSession+1)))
				commands = append(commands, keyed(c, fmt.Sprint("key", i), "x"))
				if len(commands) == perEntry {
					flush()
				}
			}
			flush()
			b.ReportAllocs()
			b.ResetTimer()
			for len(entries) > 0 {
				n := min(perBatch, len(entries))
				for _, results := range w.m.Apply(entries[:n]) {
					for _, r := range results {
						if r.Err != nil {
							b.Fatal(r.Err)
						}
					}
				}
				entries = entries[n:]
			}
		})
	}
}
