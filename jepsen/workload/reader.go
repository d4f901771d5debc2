package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// boardSize is how many of the last acknowledged records readers choose from.
const boardSize = 512

// board is where writers post what was acknowledged, for others to read.
type board struct {
	mu        sync.Mutex
	records   []*record
	next      int
	registers []*register
}

func newBoard() *board { return &board{} }

func (b *board) post(r *record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.records) < boardSize {
		b.records = append(b.records, r)
		return
	}
	b.records[b.next] = r
	b.next = (b.next + 1) % boardSize
}

func (b *board) register(r *register) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.registers = append(b.registers, r)
}

func (b *board) anyRecord(random *rand.Rand) *record {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.records) == 0 {
		return nil
	}
	return b.records[random.IntN(len(b.records))]
}

func (b *board) anyRegister(random *rand.Rand) *register {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.registers[random.IntN(len(b.registers))]
}

// reader reads at any node what others wrote.
type reader struct {
	load   *Load
	random *rand.Rand
}

func newReader(l *Load, seed uint64, number int) *reader {
	return &reader{load: l, random: rand.New(rand.NewPCG(seed, 1<<32+uint64(number)))}
}

func (r *reader) read(ctx context.Context) error {
	defer func() {
		r.load.mu.Lock()
		defer r.load.mu.Unlock()
		r.load.reads++
	}()
	chosen := r.load.board.anyRecord(r.random)
	if chosen == nil || r.random.IntN(2) == 0 {
		return r.value(ctx, r.load.board.anyRegister(r.random))
	}
	return r.record(ctx, chosen)
}

// value reads a register: never less than what was acknowledged or read, by whomever, before this began.
func (r *reader) value(ctx context.Context, of *register) error {
	least := of.known.Load()
	node, at, err := r.get(ctx, of.id)
	if err != nil {
		return fmt.Errorf("%w: GetNode: %w", ErrRefused, err)
	}
	got, err := parseValue(node.GetPrompt().GetContent())
	if err != nil {
		return fmt.Errorf("%w: register %s is %q: %w", ErrLost, of.id, node.GetPrompt().GetContent(), err)
	}
	if got < least {
		return fmt.Errorf("%w: %s read %d at %s, %d was known before", ErrStale, of.id, got, at, least)
	}
	if most := of.sent.Load(); got > most {
		return fmt.Errorf("%w: %s read %d at %s, %d was sent last", ErrSurplus, of.id, got, at, most)
	}
	raiseTo(&of.known, got)
	return nil
}

// record reads what was acknowledged to its writer: it is there, unless its deletion was sent, and never again after that was
// acknowledged. One read in four asks for no more than the revision of the acknowledgement, and gets that.
func (r *reader) record(ctx context.Context, of *record) error {
	wasGone := of.gone.Load()
	if of.revision != "" && !wasGone && r.random.IntN(4) == 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "memory-graph-consistency", "local", "memory-graph-min-revision", of.revision)
	}
	node, at, err := r.get(ctx, of.id)
	switch {
	case status.Code(err) == codes.NotFound:
		if !of.doomed.Load() {
			return fmt.Errorf("%w: %s was made at revision %s and %s says: %w", ErrStale, of.id, of.revision, at, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("%w: GetNode: %w", ErrRefused, err)
	case wasGone:
		return fmt.Errorf("%w: %s was deleted and %s has it", ErrStale, of.id, at)
	case contentOf(node) != of.content:
		return fmt.Errorf("%w: %s is %q at %s, want %q", ErrLost, of.id, contentOf(node), at, of.content)
	}
	return nil
}

func (r *reader) get(ctx context.Context, id string) (node *pb.Node, at string, err error) {
	o, err := r.load.call(ctx, r.load.config.Reading, func(ctx context.Context, g graph) (err error) {
		node, err = g.GetNode(ctx, &pb.GetNodeRequest{NodeId: id})
		return err
	})
	return node, o.Address, err
}

// contentOf is the part of a node that its writer made unique.
func contentOf(n *pb.Node) string {
	switch data := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		return data.Prompt.GetContent()
	case *pb.Node_Response:
		return data.Response.GetContent()
	case *pb.Node_ToolInvocation:
		return data.ToolInvocation.GetParameters()
	}
	return ""
}
