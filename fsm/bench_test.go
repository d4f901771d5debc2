//go:build unix

package fsm_test

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// load is what a benchmark applies: n commands, in entries of perEntry, to so many sessions in turn.
type load struct {
	perEntry, sessions int
	// nodes is how many nodes one command has.
	nodes int
	build func(nodes []*pb.Node) *logpb.Command
	// pace is how far stamps are apart, 50 µs if 0. Request ids are remembered for 15 minutes.
	pace time.Duration
}

// BenchmarkApply applies prompts of 256 bytes as a server under load gets them: stamps microseconds apart, ids UUIDv7, one
// entry a batch. cpu-µs/node counts both the applying goroutine and what the engine does in the background.
func BenchmarkApply(b *testing.B) {
	verbatim := func(nodes []*pb.Node) *logpb.Command {
		for _, n := range nodes {
			n.SessionId = n.GetPrompt().SessionId
		}
		return importing(nodes, nil)
	}
	many := func(nodes []*pb.Node) *logpb.Command { return createNodes(nodes...) }
	for _, c := range []struct {
		name, engine string
		load
	}{
		{"memory/one session", "memory", load{256, 1, 1, many, 0}},
		{"pebble/one session", "pebble", load{256, 1, 1, many, 0}},
		{"pebble/256 sessions", "pebble", load{256, 256, 1, many, 0}},
		{"pebble/10000 sessions", "pebble", load{256, 10_000, 1, many, 0}},
		{"pebble/request ids expire", "pebble", load{256, 256, 1, many, 200 * time.Millisecond}},
		{"pebble/one at a time", "pebble", load{1, 1, 1, many, 0}},
		{"pebble/batches of 100", "pebble", load{8, 64, 100, many, 0}},
		{"pebble/import of 500", "pebble", load{1, 64, 500, verbatim, 0}},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b)
			if c.engine == "pebble" {
				w = onStore(b, benchStore(b))
			}
			for i := range c.sessions {
				w.must(createSession(fmt.Sprint("s", i+1)))
			}
			entries := c.entries(b, w)
			b.ReportAllocs()
			start := cpu(b)
			b.ResetTimer()
			for _, e := range entries {
				for _, r := range w.m.Apply([]fsm.LogEntry{e})[0] {
					if r.Err != nil {
						b.Fatal(r.Err)
					}
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(cpu(b)-start)/1e3/float64(b.N), "cpu-µs/node")
		})
	}
}

// entries are the log of b.N nodes.
func (l load) entries(b *testing.B, w *world) []fsm.LogEntry {
	if l.pace == 0 {
		l.pace = 50 * time.Microsecond
	}
	stamp := func(made int) int64 { return w.stamp + int64(made)*int64(l.pace) }
	content := strings.Repeat("What did the agent see? ", 11)[:256]
	var entries []fsm.LogEntry
	var stamped []*logpb.Stamped
	for made := 0; made < b.N; {
		var nodes []*pb.Node
		for range min(l.nodes, b.N-made) {
			n := aPrompt(uuidv7(stamp(made)), fmt.Sprint("s", made/l.nodes%l.sessions+1))
			n.GetPrompt().Content = content
			nodes = append(nodes, n)
			made++
		}
		c := l.build(nodes)
		c.RequestId = append(binary.BigEndian.AppendUint64(nil, uint64(stamp(made)/1e6)<<8), random(8)...)
		c.Fingerprint = random(16)
		stamped = append(stamped, &logpb.Stamped{Stamp: stamp(made), Command: encode(b, c)})
		if len(stamped) == l.perEntry || made == b.N {
			w.index++
			entries = append(entries, fsm.LogEntry{Index: w.index, Term: 1, Data: entryOf(b, stamped...)})
			stamped = nil
		}
	}
	return entries
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// uuidv7 is an id as the server makes them.
func uuidv7(ns int64) string {
	id := binary.BigEndian.AppendUint64(nil, uint64(ns/1e6)<<16)[:6]
	id = append(id, random(10)...)
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// cpu is the processor time of this process, nanoseconds.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
