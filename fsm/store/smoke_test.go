package store

import (
	"bytes"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	p, err := OpenPebble(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{OpenMemory(), p} {
		b := s.Begin()
		b.System().Applied = 1
		x := b.Tx(1)
		at := x.NextPosition()
		x.PutNode(graph.NodeRecord{Created: 1, Modified: 1, Position: at, Session: at}, &pb.Node{Id: "a", Type: 1, NodeData: &pb.Node_Session{Session: &pb.Session{Id: "a"}}})
		x.PutSession(graph.SessionRecord{Position: at, State: 1})
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		t.Log(s.DurableApplied())
		var buf bytes.Buffer
		sys, err := s.WriteCheckpoint(&buf)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(s.DurableApplied())
		t.Log(sys, buf.Len())
		st, err := s.Stage(&buf)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Install(st, 7, 8); err != nil {
			t.Fatal(err)
		}
		sn := s.Snapshot()
		sn.WalkRows(func(k, v []byte) error { t.Logf("%s = %x", Describe(k), v); return nil })
		d, err := sn.Digest()
		t.Log(d == sn.System().Digest, err)
		sn.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
