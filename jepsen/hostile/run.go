package hostile

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// Config says what is sent where.
type Config struct {
	// Conn is the server, of which nobody else asks anything meanwhile.
	Conn *grpc.ClientConn
	// Seed and Messages: which messages, and how many.
	Seed     uint64
	Messages int
	// Report hears of each message that was not answered as it should have been.
	Report func(error)
}

// Report is what a run did.
type Report struct {
	Sent, Accepted int
	Codes          map[codes.Code]int
}

// refresh is after how many messages the ids that are known are made anew: most will have been deleted.
const refresh = 100

// Run sends messages one by one, and judges each answer and what is left of each refusal. Its error is of the server's not
// answering at all.
func Run(ctx context.Context, c Config) (Report, error) {
	r := &run{Config: c, graph: graphgrpc.NewMemoryGraphServiceClient(c.Conn), report: Report{Codes: map[codes.Code]int{}}}
	all := methods()
	for i := range c.Messages {
		if i%refresh == 0 {
			if err := r.learn(ctx); err != nil {
				return r.report, fmt.Errorf("message %d of seed %d: %w", i, c.Seed, err)
			}
		}
		m := newMaker(c.Seed, uint64(i), r.known.all())
		method := pick(m, all)
		bodies := m.bodies(method, r.known)
		problem, err := r.try(ctx, m, method, bodies)
		if err != nil {
			return r.report, fmt.Errorf("message %d of seed %d, %s %s: %w", i, c.Seed, method.name(), shown(bodies), err)
		}
		if problem != nil {
			c.Report(fmt.Errorf("message %d of seed %d, %s %s: %w", i, c.Seed, method.name(), shown(bodies), problem))
		}
	}
	return r.report, nil
}

type run struct {
	Config
	graph  graphgrpc.MemoryGraphServiceClient
	known  records
	last   footprint
	report Report
}

// bodies are the messages of one call, one unless it takes more.
func (m *maker) bodies(method method, r records) [][]byte {
	n := 1
	if method.desc.IsStreamingClient() {
		n = m.IntN(4)
	}
	var all [][]byte
	for range n {
		switch m.IntN(10) {
		case 0:
			all = append(all, m.garbage())
		case 1:
			all = append(all, m.spoil(method.input, m.message(method.input)))
		case 2:
			all = append(all, m.spoil(method.input, m.bend(m.good(method.name(), r))))
		case 3, 4, 5:
			all = append(all, m.message(method.input))
		default:
			all = append(all, m.bend(m.good(method.name(), r)))
		}
	}
	return all
}

// shown is how messages are reported: as hex, large ones by their beginning; seed and number tell the rest.
func shown(bodies [][]byte) string {
	const most = 300
	text := ""
	for _, b := range bodies {
		text += fmt.Sprintf("[%d bytes %x] ", len(b), b[:min(most, len(b))])
	}
	return text
}

// try sends one call. problem is what the server did wrong.
func (r *run) try(ctx context.Context, m *maker, method method, bodies [][]byte) (problem, err error) {
	limited, hurried, cancel := m.headers(ctx)
	defer cancel()
	a := method.send(limited, r.Conn, bodies...)
	r.report.Sent++
	r.report.Codes[a.code()]++
	problem = judge(method, bodies, hurried, a)
	if a.code() == codes.DeadlineExceeded {
		return problem, r.learn(ctx) // what ran out of time may yet take effect; a write after it comes later
	}
	now, err := r.footprint(ctx)
	if err != nil {
		return nil, err
	}
	before := r.last
	r.last = now
	switch {
	case a.err == nil:
		r.report.Accepted++
	case method.desc.IsStreamingClient(): // chunks before the one that was refused stay
	case now != before:
		problem = errors.Join(problem, fmt.Errorf("was refused and changed %+v to %+v", before, now))
	}
	if problem != nil {
		problem = fmt.Errorf("%w; the answer: %v", problem, a.err)
	}
	return problem, nil
}

// footprint is what a refused call leaves as it is: counts, and the last event, whose id names a revision.
type footprint struct {
	nodes, edges, sessions, active int64
	event                          string
}

func (r *run) footprint(ctx context.Context) (footprint, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	counts, err := r.graph.GetMetrics(ctx, &emptypb.Empty{})
	if err != nil {
		return footprint{}, fmt.Errorf("counts: %w", err)
	}
	stream, err := r.graph.StreamEvents(ctx, &graphpb.StreamEventsRequest{})
	if err != nil {
		return footprint{}, fmt.Errorf("last event: %w", err)
	}
	header, err := stream.Header()
	if err != nil || len(header.Get("memory-graph-last-event")) != 1 {
		return footprint{}, fmt.Errorf("last event: headers %v: %w", header, err)
	}
	return footprint{
		counts.GetTotalNodes(), counts.GetTotalEdges(), counts.GetTotalSessions(), counts.GetActiveSessions(),
		header.Get("memory-graph-last-event")[0],
	}, nil
}

// learn makes one record of each kind and knows their ids from then on.
func (r *run) learn(ctx context.Context) (err error) {
	if r.known, err = furnish(ctx, r.graph); err != nil {
		return err
	}
	r.last, err = r.footprint(ctx)
	r.known.event = r.last.event
	return err
}
