package load

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const (
	// importAhead is how much of an import may wait in this client, bytes.
	importAhead = 1 << 20
	// recordsPerPrompt are the prompt and its edges to the session and to the prompt before.
	recordsPerPrompt = 3
	maxImportRecords = 1000
)

// An importing writes one Import stream: prompts as an export has them, with ids, times and edges. Each has its sessions to
// itself, for the prompts of a session follow each other.
type importing struct {
	ledger *ledger
	seed   uint64
	each   int
	last   []id // of every session the newest prompt
	edge   id
	edges  uint64
	start  time.Time
	out    chunk
	ended  chan error
	reply  pb.ImportResponse
}

func newImporting(l *ledger, seed uint64, each int) *importing {
	im := &importing{
		ledger: l, seed: seed, each: min(each, maxImportRecords/recordsPerPrompt), last: make([]id, len(l.sessions)),
		start: time.Now(), ended: make(chan error, 1),
	}
	_, _ = rand.Read(im.edge[:]) // never fails
	return im
}

func (im *importing) message(p []byte) error { return proto.Unmarshal(p, &im.reply) }

func (im *importing) end(err error) { im.ended <- err }

// run imports until enough says so, and returns when the server has acknowledged it all.
func (im *importing) run(ctx context.Context, c *conn, enough func(written int) bool) error {
	before := len(im.ledger.written)
	im.reply.Reset()
	s, err := c.open(methodImport, im)
	if err != nil {
		return err
	}
	for ctx.Err() == nil && !enough(len(im.ledger.written)-before) {
		im.next()
		if err := s.write(im.out.message(), importAhead); errors.Is(err, errEnded) {
			break // end says why
		} else if err != nil {
			return err
		}
	}
	if err := s.closeSend(); err != nil {
		return err
	}
	select {
	case err = <-im.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	if n := int64(len(im.ledger.written) - before); err == nil && im.reply.NodesCreated != n {
		err = fmt.Errorf("%d nodes were imported, %d were sent", im.reply.NodesCreated, n)
	}
	return err
}

// next makes the next chunk.
func (im *importing) next() {
	im.out.reset(im.ledger.size)
	before := len(im.ledger.written)
	for range im.each {
		im.seed++
		a := acknowledged{session: int32(im.seed % uint64(len(im.last))), seed: im.seed}
		binary.BigEndian.PutUint64(a.id[:], im.seed)
		copy(a.id[8:], im.edge[:8])
		im.ledger.written = append(im.ledger.written, a)
		im.out.prompt(a.id, im.ledger.sessions[a.session], a.seed, im.at(a))
	}
	for _, a := range im.ledger.written[before:] {
		im.out.edge(im.newEdge(), a.id, im.ledger.sessions[a.session], pb.EdgeType_EDGE_TYPE_BELONGS_TO, im.at(a))
		if last := im.last[a.session]; last != (id{}) {
			im.out.edge(im.newEdge(), a.id, last, pb.EdgeType_EDGE_TYPE_FOLLOWS, im.at(a))
		}
		im.last[a.session] = a.id
	}
}

func (im *importing) newEdge() id {
	im.edges++
	e := im.edge
	binary.BigEndian.PutUint64(e[8:], im.edges)
	return e
}

// at is the time of a prompt, later than those before it.
func (im *importing) at(a acknowledged) time.Time {
	return im.start.Add(time.Duration(a.seed&(1<<40-1)) * time.Microsecond)
}

// importers makes one for each client, with sessions of its own.
func (b *bench) importers() ([]*importing, error) {
	if len(b.sessions) < b.Clients {
		return nil, fmt.Errorf("%d sessions for %d clients, which need at least one each", len(b.sessions), b.Clients)
	}
	var all []*importing
	for i := range b.Clients {
		l := b.newLedger()
		l.sessions = nil
		for n := i; n < len(b.sessions); n += b.Clients {
			l.sessions = append(l.sessions, b.sessions[n])
		}
		all = append(all, newImporting(l, b.seedOf(), b.Batch))
	}
	return all, nil
}

// importAll runs them all at once.
func (b *bench) importAll(ctx context.Context, all []*importing, enough func(written int) bool) error {
	errs := make([]error, len(all))
	var working sync.WaitGroup
	for i, im := range all {
		working.Go(func() { errs[i] = im.run(ctx, b.target.conns[i%len(b.target.conns)], enough) })
	}
	working.Wait()
	return errors.Join(errs...)
}

// imports measures from the first byte to the last acknowledgement: chunks are acknowledged together at the end.
func (b *bench) imports(ctx context.Context) error {
	if err := b.found(ctx); err != nil {
		return err
	}
	all, err := b.importers()
	if err != nil {
		return err
	}
	until := func(d time.Duration) func(int) bool {
		end := time.Now().Add(d)
		return func(int) bool { return !time.Now().Before(end) }
	}
	if b.WarmUp > 0 {
		if err := b.importAll(ctx, all, until(b.WarmUp)); err != nil {
			return err
		}
	}
	warm := acknowledgedBy(b.ledgers)
	w := b.watch()
	if err := b.importAll(ctx, all, until(b.Duration)); err != nil {
		return err
	}
	w.stop(&b.result)
	b.result.Operations = acknowledgedBy(b.ledgers) - warm
	b.result.Calls = int64(len(all))
	b.result.settle()
	return nil
}
