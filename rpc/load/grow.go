package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// promptsPerSession is how many prompts a session of a [Growth] has.
const promptsPerSession = 1000

// A Growth fills an empty server with prompts that are known by their number alone, so that it can hold any number of them, and
// measures what calls cost at any size. One goroutine may use it.
type Growth struct {
	bench  *bench
	filled int64
	// most is the most memory that the server was seen to have, bytes.
	most int64
}

// A CallCost is what a call took one client that made it again and again.
type CallCost struct {
	Call    string  `json:"call"`
	Latency Latency `json:"latency_ms"`
}

// sessionsPage is how many sessions a page of ListSessions has: no more than there are at the smaller size, so that both
// answers are of one length.
const sessionsPage = 10

// growthStreams is how many Import streams fill the server at once.
const growthStreams = 4

// NewGrowth connects. Of the options it takes address, size, server, warm-up and duration, which are those of each call
// that [Growth.Measure] measures.
func NewGrowth(ctx context.Context, o Options) (*Growth, error) {
	o.Workload, o.Clients, o.Connections = "write", growthStreams, growthStreams
	if _, err := o.fill(); err != nil {
		return nil, err
	}
	g := &Growth{bench: &bench{Options: o}}
	return g, g.Connect(ctx, o.Address, o.Server)
}

// Connect goes on with another server on the same data.
func (g *Growth) Connect(ctx context.Context, address string, server Meter) (err error) {
	g.Close()
	g.bench.Address, g.bench.Server = address, server
	g.bench.target, err = dialTarget(ctx, g.bench.addresses(), growthStreams)
	return err
}

// Close ends the connections.
func (g *Growth) Close() {
	if g.bench.target != nil {
		g.bench.target.close()
		g.bench.target = nil
	}
}

// RSS is the most memory that the server was seen to have, bytes; 0 when unknown.
func (g *Growth) RSS() int64 { return g.most }

// What numbers stand for.
const (
	kindSession = iota + 1
	kindPrompt
	kindBelongs
	kindFollows
)

// numbered is the id of the n-th of a kind: as random as a UUID of an importer, and always the same.
func numbered(kind int, n int64) id {
	var u id
	copy(u[:], appendHash(appendHash(nil, uint64(n)<<8|uint64(kind)), uint64(n)<<8|uint64(kind+64)))
	return u
}

func (g *Growth) prompt(n int64) acknowledged {
	return acknowledged{id: numbered(kindPrompt, n), session: int32(n / promptsPerSession), seed: uint64(n)}
}

// Fill imports until there are so many prompts, in sessions of a thousand. It returns how many a second it were.
func (g *Growth) Fill(ctx context.Context, prompts int64) (perSecond float64, err error) {
	b := g.bench
	first, last := g.filled/promptsPerSession, (prompts+promptsPerSession-1)/promptsPerSession
	if g.filled%promptsPerSession != 0 {
		return 0, fmt.Errorf("%d prompts fill no whole number of sessions of %d", g.filled, promptsPerSession)
	}
	for n := first; n < last; n++ {
		b.sessions = append(b.sessions, numbered(kindSession, n))
	}
	var next atomic.Int64
	next.Store(first)
	errs := make([]error, growthStreams)
	w := b.watch()
	var working sync.WaitGroup
	for i := range growthStreams {
		working.Go(func() { errs[i] = g.fillSessions(ctx, b.target.conns[i], &next, prompts) })
	}
	working.Wait()
	var used Result
	w.stop(&used)
	g.most = max(g.most, used.ServerRSS)
	if err := errors.Join(errs...); err != nil {
		return 0, fmt.Errorf("fill: %w", err)
	}
	perSecond = float64(prompts-g.filled) / used.Seconds
	g.filled = prompts
	return perSecond, nil
}

// fillSessions imports one session after the other, each with the number that is next.
func (g *Growth) fillSessions(ctx context.Context, c *conn, next *atomic.Int64, prompts int64) error {
	im := &growing{ended: make(chan error, 1)}
	s, err := c.open(methodImport, im)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		session := next.Add(1) - 1
		if session*promptsPerSession >= prompts {
			break
		}
		if err := im.session(s, session, min(promptsPerSession, prompts-session*promptsPerSession), g.bench.Size); errors.Is(err, errEnded) {
			break // end says why
		} else if err != nil {
			return err
		}
	}
	if err := s.closeSend(); err != nil {
		return err
	}
	select {
	case err := <-im.ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// growing is one stream of a Growth.
type growing struct {
	out   chunk
	ended chan error
}

func (*growing) message([]byte) error { return nil }

func (im *growing) end(err error) { im.ended <- err }

// session sends a session with its prompts.
func (im *growing) session(s *stream, session, prompts int64, size int) error {
	const each = 250 // so that session, prompts and edges are no more than a chunk takes
	start := time.Unix(1_700_000_000, 0)
	u := numbered(kindSession, session)
	first := session * promptsPerSession
	for from := first; from < first+prompts; from += each {
		to := min(from+each, first+prompts)
		im.out.reset(size)
		at := func(n int64) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }
		if from == first {
			im.out.session(u, at(first))
		}
		for n := from; n < to; n++ {
			im.out.prompt(numbered(kindPrompt, n), u, uint64(n), at(n))
		}
		for n := from; n < to; n++ {
			p := numbered(kindPrompt, n)
			im.out.edge(numbered(kindBelongs, n), p, u, pb.EdgeType_EDGE_TYPE_BELONGS_TO, at(n))
			if n > first {
				im.out.edge(numbered(kindFollows, n), p, numbered(kindPrompt, n-1), pb.EdgeType_EDGE_TYPE_FOLLOWS, at(n))
			}
		}
		if err := s.write(im.out.message(), importAhead); err != nil {
			return err
		}
	}
	return nil
}

// Settle waits until the server has nothing to do any more, for two minutes at most.
func (g *Growth) Settle(ctx context.Context) {
	const (
		most = 120 // looks, one a second
		idle = 50 * time.Millisecond
	)
	before := usage(g.bench.Server).CPU
	for range most {
		await(ctx, time.Now().Add(time.Second))
		now := usage(g.bench.Server).CPU
		if ctx.Err() != nil || now-before < idle {
			return
		}
		before = now
	}
}

// Measure takes the time of calls by one client, to records at random among all.
func (g *Growth) Measure(ctx context.Context) ([]CallCost, error) {
	b := g.bench
	random := b.random()
	pick := func() acknowledged { return g.prompt(random.Int64N(g.filled)) }
	var costs []CallCost
	for _, c := range []struct {
		call   string
		script script
	}{
		{"GetNode", &getter{pick: pick, size: b.Size}},
		{"GetEdges", &edger{pick: pick}},
		{"AddPrompt", b.newWriter()},
		{"Query of a session", &pager{random: random, sessions: b.sessions, limit: pageLimit}},
		{"Query of all", &pager{limit: pageLimit}},
		{"ListSessions", &lister{limit: sessionsPage}},
	} {
		if err := b.measure(ctx, []script{c.script}); err != nil {
			return nil, fmt.Errorf("%s: %w", c.call, err)
		}
		g.most = max(g.most, b.result.ServerRSS)
		costs = append(costs, CallCost{Call: c.call, Latency: b.result.Latency})
	}
	return costs, nil
}

// A Held is what a Growth knows to be in the server.
type Held struct {
	Nodes, Edges int64
	// Content and IDs are bytes: of all contents, and of the ids of nodes and edges as clients write them.
	Content, IDs int64
}

// Held counts what was written.
func (g *Growth) Held() Held {
	sessions, added := int64(len(g.bench.sessions)), acknowledgedBy(g.bench.ledgers)
	prompts := g.filled + added
	h := Held{Nodes: prompts + sessions, Edges: 2*prompts - sessions}
	h.Content, h.IDs = prompts*int64(g.bench.Size), (h.Nodes+h.Edges)*idTextBytes
	return h
}

// ReadBack reads everything that was acknowledged, and compares it. It returns how much that was.
func (g *Growth) ReadBack(ctx context.Context) (int64, error) {
	all := &ledger{size: g.bench.Size, sessions: g.bench.sessions}
	var scripts []script
	const parts = 8
	for i := range int64(parts) {
		scripts = append(scripts, &numberReader{ledger: all, growth: g, at: g.filled * i / parts, end: g.filled * (i + 1) / parts})
	}
	if err := g.bench.target.exhaust(ctx, scripts); err != nil {
		return 0, err
	}
	count, err := g.bench.target.readBack(ctx, g.bench.ledgers)
	return g.filled + count, err
}

// A numberReader reads back prompts that are known by their number.
type numberReader struct {
	ledger  *ledger
	growth  *Growth
	at, end int64
	part    []acknowledged
}

func (r *numberReader) operations() int64 { return int64(len(r.part)) }

func (r *numberReader) next(b []byte) (method, []byte) {
	n := min(maxReadBack, max(1, readBackBytes/int64(r.ledger.size+readBackOverhead)), r.end-r.at)
	r.part = r.part[:0]
	for i := range n {
		r.part = append(r.part, r.growth.prompt(r.at+i))
		b = appendIDField(b, 1, r.part[i].id)
	}
	return methodBatchGet, b
}

func (r *numberReader) took(reply []byte) error {
	if err := r.ledger.check(r.part, reply); err != nil {
		return err
	}
	r.at += int64(len(r.part))
	return nil
}

func (r *numberReader) more() bool { return r.at < r.end }

// Acknowledged is how many prompts the server has acknowledged.
func (g *Growth) Acknowledged() int64 { return g.filled + acknowledgedBy(g.bench.ledgers) }
