package hostile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// Storm sends messages of a seed by many callers at once, each on a connection of its own that dial opens. One call in four is
// given up half way, and one in eight left open until its caller has sent all. What it checks is only that nothing is answered
// with a code that blames the server; report hears of what is.
func Storm(ctx context.Context, dial func() (*grpc.ClientConn, error), seed uint64, callers, each int, report func(error)) error {
	var wg sync.WaitGroup
	problems := make(chan error, callers)
	for caller := range callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := storm(ctx, dial, seed+uint64(caller), each, report); err != nil {
				problems <- fmt.Errorf("caller of seed %d: %w", seed+uint64(caller), err)
			}
		}()
	}
	wg.Wait()
	close(problems)
	var all []error
	for err := range problems {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func storm(ctx context.Context, dial func() (*grpc.ClientConn, error), seed uint64, each int, report func(error)) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	known, err := furnish(ctx, graphgrpc.NewMemoryGraphServiceClient(conn))
	if err != nil {
		return err
	}
	all := methods()
	var open []context.CancelFunc
	defer func() {
		for _, end := range open {
			end()
		}
	}()
	for i := range each {
		m := newMaker(seed, uint64(i), known.all())
		method := pick(m, all)
		bodies := m.bodies(method, known)
		limited, hurried, cancel := m.headers(ctx)
		switch m.IntN(8) {
		case 0:
			open = append(open, method.begin(limited, conn, bodies))
			if len(open) > mostOpen {
				open[0]()
				open = open[1:]
			}
		case 1, 2:
			method.begin(limited, conn, bodies)()
		default:
			a := method.send(limited, conn, bodies...)
			if !slices.Contains(precise, a.code()) && !(hurried && a.code() == codes.DeadlineExceeded) {
				report(fmt.Errorf("message %d of seed %d, %s %s: %w", i, seed, method.name(), shown(bodies), a.err))
			}
		}
		cancel()
	}
	return nil
}

// mostOpen is how many calls a caller leaves open: a server takes a hundred of one connection.
const mostOpen = 60

// begin sends the messages of a call and waits for nothing. The call lives until it is ended, or ctx is.
func (m method) begin(ctx context.Context, conn *grpc.ClientConn, bodies [][]byte) (end context.CancelFunc) {
	ctx, end = context.WithCancel(ctx)
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, m.path, grpc.ForceCodec(bare{}))
	if err != nil {
		return end // it was given up already
	}
	for _, body := range bodies {
		if stream.SendMsg(&body) != nil {
			break // it has ended
		}
	}
	return end
}
