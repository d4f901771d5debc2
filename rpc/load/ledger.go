package load

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// An acknowledged is a prompt whose write was acknowledged: 28 bytes each, and its content can be made again.
type acknowledged struct {
	id      id
	session int32
	seed    uint64
}

// A ledger holds what one client was told is written. It has one writer.
type ledger struct {
	size     int
	sessions []id
	written  []acknowledged
}

// most that one BatchGetNodes is asked for: a reply has at most 4 MiB.
const (
	maxReadBack      = 1000
	readBackBytes    = 2 << 20
	readBackOverhead = 256
)

// check compares what was read back with what was acknowledged, in its order.
func (l *ledger) check(want []acknowledged, reply []byte) error {
	var got pb.BatchGetNodesResponse
	if err := proto.Unmarshal(reply, &got); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if len(got.Nodes) != len(want) {
		return fmt.Errorf("read back: of %d acknowledged prompts from %s on, %d are there", len(want), want[0].id, len(got.Nodes))
	}
	var text []byte
	for i, w := range want {
		n := got.Nodes[i]
		text = appendText(text[:0], w.seed, l.size)
		p := n.GetPrompt()
		switch {
		case n.Id != w.id.String() || p.GetId() != n.Id:
			return fmt.Errorf("read back: %s where %s was acknowledged", n.Id, w.id)
		case p.SessionId != l.sessions[w.session].String():
			return fmt.Errorf("read back: %s is in session %s, not %s", n.Id, p.SessionId, l.sessions[w.session])
		case p.Content != string(text):
			return fmt.Errorf("read back: %s has another content than was written", n.Id)
		}
	}
	return nil
}

// A reader reads a ledger back, part by part.
type reader struct {
	ledger *ledger
	at     int
	part   []acknowledged
	count  int64
}

func (r *reader) next(b []byte) (method, []byte) {
	n := min(maxReadBack, max(1, readBackBytes/(r.ledger.size+readBackOverhead)), len(r.ledger.written)-r.at)
	r.part = r.ledger.written[r.at : r.at+n]
	for _, w := range r.part {
		b = appendIDField(b, 1, w.id)
	}
	return methodBatchGet, b
}

func (r *reader) took(reply []byte) error {
	if err := r.ledger.check(r.part, reply); err != nil {
		return err
	}
	r.at += len(r.part)
	r.count += int64(len(r.part))
	return nil
}

func (r *reader) operations() int64 { return int64(len(r.part)) }

func (r *reader) more() bool { return r.at < len(r.ledger.written) }

// readBack reads everything that was acknowledged and compares it. It returns how much that was.
func (t *target) readBack(ctx context.Context, ledgers []*ledger) (count int64, err error) {
	var scripts []script
	var readers []*reader
	for _, l := range ledgers {
		if len(l.written) > 0 {
			r := &reader{ledger: l}
			readers, scripts = append(readers, r), append(scripts, r)
		}
	}
	const atOnce = 8
	for len(scripts) > 0 {
		n := min(atOnce, len(scripts))
		err = errors.Join(err, t.exhaust(ctx, scripts[:n]))
		if err != nil {
			return 0, err
		}
		scripts = scripts[n:]
	}
	for _, r := range readers {
		count += r.count
	}
	return count, nil
}

func acknowledgedBy(ledgers []*ledger) (count int64) {
	for _, l := range ledgers {
		count += int64(len(l.written))
	}
	return count
}
