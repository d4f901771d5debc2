package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/client"
)

// exampleNetwork serves a fake graph with two events in this process, under every address. The examples use it in place of the network.
func exampleNetwork() (dialer func(context.Context, string) (net.Conn, error), stop func()) {
	f := &fakeNode{fakeCluster: &fakeCluster{lineage: lineage, keyed: map[string]*pb.Session{}, added: make(chan struct{})}}
	f.happen(2)
	listener, server := bufconn.Listen(1<<16), grpc.NewServer(grpc.UnaryInterceptor(f.unary), grpc.StreamInterceptor(f.stream))
	graphgrpc.RegisterMemoryGraphServiceServer(server, f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	return func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }, func() {
		server.Stop()
		<-done
	}
}

func Example() {
	dialer, stop := exampleNetwork()
	defer stop()
	// Without a Dialer, which keeps this example off the network, client.Dial("10.0.0.1:50051", …) does the same.
	c, err := client.Config{Dialer: dialer}.Dial("10.0.0.1:50051", "10.0.0.2:50051", "10.0.0.3:50051")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()

	session, err := c.Graph().CreateSession(ctx, &pb.CreateSessionRequest{Metadata: map[string]string{"user": "ada"}})
	if err != nil {
		var failed *client.Error
		if errors.As(err, &failed) && failed.MayHaveHappened {
			// Keep failed.IdempotencyKey, and make the same request with it later: it takes effect once.
			log.Printf("unsure; key %s", failed.IdempotencyKey)
		}
		log.Fatal(err)
	}
	fmt.Println(session.GetMetadata()["user"])
	// Output: ada
}

// Events come in order, each once, whatever becomes of the nodes meanwhile.
func ExampleEvents() {
	dialer, stop := exampleNetwork()
	defer stop()
	c, err := client.Config{Dialer: dialer}.Dial("10.0.0.1:50051", "10.0.0.2:50051")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()

	seen := 0
	for event, err := range client.Events(ctx, c.Graph(), &pb.StreamEventsRequest{FromBeginning: true}) {
		var trimmed *client.EventsTrimmedError
		if errors.As(err, &trimmed) {
			log.Fatalf("too late: begin again with what is there, from %s on", trimmed.OldestEventID)
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.GetId())
		if seen++; seen == 2 {
			break
		}
	}
	// Output:
	// 0000abcd-0000000000000001-00000000
	// 0000abcd-0000000000000002-00000000
}

// A line of calls sees what it has written, with reads that cost nothing but a look at the nearest state.
func ExampleClient_Causal() {
	dialer, stop := exampleNetwork()
	defer stop()
	c, err := client.Config{Dialer: dialer, Reads: client.Local}.Dial("10.0.0.1:50051", "10.0.0.2:50051")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()

	line := c.Causal()
	session, err := line.Graph().CreateSession(ctx, &pb.CreateSessionRequest{})
	if err != nil {
		log.Fatal(err)
	}
	again, err := line.Graph().GetSession(ctx, &pb.GetSessionRequest{SessionId: session.GetId()})
	if err != nil {
		log.Fatal(err)
	}
	// Another process goes on after all of this: c.CausalAfter(token).
	fmt.Println(again.GetId() == session.GetId(), line.Token())
	// Output: true 0000abcd-0000000000000003
}
