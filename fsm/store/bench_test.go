package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const (
	benchSessions = 300
	benchBatch    = 100
)

// fill puts n prompts of 1 KiB into sessions in turn, benchBatch a batch, and returns the sessions.
func fill(b testing.TB, s *Store, n int) []graph.Position {
	text := strings.Repeat("lorem ipsum dolor sit amet ", 38)
	sessions := make([]graph.Position, benchSessions)
	batch := s.Begin()
	x := batch.Tx(1)
	for i := range sessions {
		sessions[i] = x.NextPosition()
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		x.PutNode(graph.NodeRecord{Created: 1, Modified: 1, Position: sessions[i], Session: sessions[i]}, &pb.Node{
			Id: id, Type: pb.NodeType_NODE_TYPE_SESSION, NodeData: &pb.Node_Session{Session: &pb.Session{Id: id}},
		})
	}
	for i := range n {
		if i%benchBatch == 0 && i > 0 {
			if err := batch.Commit(); err != nil {
				b.Fatal(err)
			}
			batch = s.Begin()
			x = batch.Tx(1)
		}
		at := sessions[i%benchSessions]
		x.PutNode(graph.NodeRecord{Created: 2, Modified: 2, Position: x.NextPosition(), Session: at}, benchPrompt(i, text))
		x.PutSession(graph.SessionRecord{Position: at, State: graph.SessionActive, Updated: int64(i)})
	}
	if err := batch.Commit(); err != nil {
		b.Fatal(err)
	}
	return sessions
}

func benchID(i int) string { return fmt.Sprintf("10000000-0000-4000-8000-%012d", i) }

func benchPrompt(i int, text string) *pb.Node {
	return &pb.Node{Id: benchID(i), Type: pb.NodeType_NODE_TYPE_PROMPT, NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
		Id: benchID(i), Content: text, Timestamp: graph.Timestamp(int64(i) * 1e6),
		Metadata: &pb.PromptMetadata{Model: "gpt-4", Temperature: 0.7},
	}}}
}

// benchEngines are as in production.
func benchEngines() map[string]func(b *testing.B) *Store {
	return map[string]func(b *testing.B) *Store{
		"memory": func(b *testing.B) *Store { return closing(b, OpenMemory()) },
		"pebble": func(b *testing.B) *Store {
			s, err := OpenPebble(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			return closing(b, s)
		},
	}
}

// eachBench runs a benchmark on both engines, on disk with the rows in files.
func eachBench(b *testing.B, nodes int, run func(b *testing.B, s *Store, sessions []graph.Position)) {
	for name, open := range benchEngines() {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			sessions := fill(b, s, nodes)
			if err := s.Flush(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			run(b, s, sessions)
		})
	}
}

func BenchmarkPutNode(b *testing.B) {
	for name, open := range benchEngines() {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			b.ReportAllocs()
			b.ResetTimer()
			fill(b, s, b.N)
		})
	}
}

func BenchmarkNodeByID(b *testing.B) {
	const nodes = 100_000
	eachBench(b, nodes, func(b *testing.B, s *Store, _ []graph.Position) {
		sn := s.Snapshot()
		defer sn.Close()
		v := sn.View(1)
		rng := rand.New(rand.NewPCG(1, 2))
		for b.Loop() {
			if _, ok, err := v.NodeByID(benchID(rng.IntN(nodes))); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
}

// BenchmarkWalk reads whole sessions; the figure is of one row of them.
func BenchmarkWalk(b *testing.B) {
	eachBench(b, 100_000, func(b *testing.B, s *Store, sessions []graph.Position) {
		sn := s.Snapshot()
		defer sn.Close()
		v := sn.View(1)
		rows := 0
		for rows < b.N {
			for e, err := range v.Walk(graph.Walk{Session: sessions[rows%len(sessions)]}) {
				if err != nil {
					b.Fatal(err)
				}
				if _, ok, err := v.NodeAt(e.Position); !ok || err != nil {
					b.Fatal(ok, err)
				}
				rows++
			}
		}
		b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	})
}

// BenchmarkFirstPage opens a snapshot and reads the newest 50 nodes of a session: the commonest read.
func BenchmarkFirstPage(b *testing.B) {
	eachBench(b, 100_000, func(b *testing.B, s *Store, sessions []graph.Position) {
		i := 0
		for b.Loop() {
			sn := s.Snapshot()
			v := sn.View(1)
			n := 0
			for e, err := range v.Walk(graph.Walk{Session: sessions[i%len(sessions)]}) {
				if err != nil {
					b.Fatal(err)
				}
				if _, ok, err := v.NodeAt(e.Position); !ok || err != nil {
					b.Fatal(ok, err)
				}
				if n++; n == 50 {
					break
				}
			}
			sn.Close()
			i++
		}
	})
}
