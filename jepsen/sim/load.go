package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/client"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/workload"
)

// clients is the host of all clients.
const clients = "clients"

// How patient clients are.
const (
	readAttempt, writeAttempt = 2 * time.Second, time.Second
	callDeadline              = 4 * time.Minute
	shun                      = 3 * time.Second
	pingAfter, pingTimeout    = 10 * time.Second, 3 * time.Second
	// A worker makes one call in a time between these.
	leastPace, mostPace = 80 * time.Millisecond, 600 * time.Millisecond
)

// load is the clients: those of jepsen/workload, and those whose history is checked.
type load struct {
	run              *run
	process          process
	reading, writing *client.Client
	exact            *workload.Load
	stop             func() error
}

func (r *run) openLoad(ctx context.Context) (*load, error) {
	l := &load{run: r, process: r.network.boot(clients)}
	calls := client.Config{Addresses: r.addresses, Dial: l.dial, Attempt: readAttempt, Deadline: callDeadline}
	l.reading = client.New(calls)
	calls.Attempt, calls.Shun = writeAttempt, shun
	l.writing = client.New(calls)
	var err error
	l.exact, err = workload.Open(ctx, workload.Config{
		Writing: l.writing, Reading: l.reading, Watching: l.reading, Addresses: r.addresses, Seed: r.config.Seed,
		Writers: 3, Readers: 2, Watchers: 2, Pace: r.between(leastPace, mostPace),
	})
	if err != nil {
		return nil, fmt.Errorf("open the load: %w", errors.Join(err, l.closeClients()))
	}
	l.stop = l.exact.Start(ctx)
	return l, nil
}

// dial makes a connection that repeats nothing by itself.
func (l *load) dial(address string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, append([]grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return l.process.dial(ctx, to) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
	}, options...)...)
}

func (l *load) counts() (writes, reads, events int) {
	c := l.exact.Counts()
	return c.Writes, c.Reads, c.Events
}

func (l *load) closeClients() error { return errors.Join(l.reading.Close(), l.writing.Close()) }

// close ends what the load does. It may be called when that has ended.
func (l *load) close() {
	_ = l.stop() // it was asked before, or the run has failed already
	l.exact.Close()
	if err := l.closeClients(); err != nil {
		l.run.tell("clients: %v", err)
	}
}
