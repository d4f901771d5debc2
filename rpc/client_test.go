package rpc

import (
	"context"
	"errors"
	"net"
	"testing"

	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/client"
)

// TestTheGoClientGoesOnAtAnotherServer: what rpc/client expects of headers, keys, health and event ids is what servers do. Its own
// tests have fakes.
func TestTheGoClientGoesOnAtAnotherServer(t *testing.T) {
	log := newMemoryLog(t)
	keyed := 0
	log.meddle = func(c *logpb.Command) {
		if c.RequestId[0]&0x80 != 0 && !c.Keyed {
			keyed++
		}
	}
	nodes := map[string]*rig{"10.0.0.1:1": startOn(t, log), "10.0.0.2:1": startOn(t, log)}
	c, err := client.Config{Reads: client.Local, Dialer: func(ctx context.Context, address string) (net.Conn, error) {
		return nodes[address].lis.DialContext(ctx)
	}}.Dial("10.0.0.1:1", "10.0.0.2:1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // is always nil
	r := nodes["10.0.0.1:1"]
	stream, err := c.Graph().StreamEvents(r.ctx(), &pb.StreamEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	const many = 20
	line := c.Causal()
	last := ""
	for i := range many {
		if i == many/2 {
			if err := r.server.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s := must[*pb.Session](t)(line.Graph().CreateSession(r.ctx(), &pb.CreateSessionRequest{}))
		must[*pb.Session](t)(line.Graph().GetSession(r.ctx(), &pb.GetSessionRequest{SessionId: s.Id}))
		e := must[*pb.Event](t)(stream.Recv())
		if e.GetType() != pb.EventType_EVENT_TYPE_SESSION_CREATED || e.GetId() <= last {
			t.Fatalf("event %v after %s", e, last)
		}
		last = e.GetId()
	}
	if keyed != many {
		t.Errorf("%d changes had a key for retries, want %d", keyed, many)
	}
	foreign, err := c.Graph().StreamEvents(r.ctx(), &pb.StreamEventsRequest{AfterEventId: "00000001" + last[8:]})
	if err != nil {
		t.Fatal(err)
	}
	var changed *client.LineageChangedError
	if _, err := foreign.Recv(); !errors.As(err, &changed) || changed.Current != last[:8] {
		t.Errorf("an event of another history: %v", err)
	}
}
