package load

import (
	"context"
	"fmt"
	"time"
)

// How much a connection reads at once, bytes: little where there are thousands of them.
const (
	readBuffer      = 64 << 10
	smallReadBuffer = 4 << 10
	fewConnections  = 64

	mostTallies = 16
)

// A target is the server under load, and the connections to it.
type target struct{ conns []*conn }

// dialTarget opens connections, to each address in turn.
func dialTarget(ctx context.Context, addresses []string, connections int) (*target, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	size := readBuffer
	if connections > fewConnections {
		size = smallReadBuffer
	}
	t := &target{}
	for i := range connections {
		c, err := connect(ctx, addresses[i%len(addresses)], size)
		if err != nil {
			t.close()
			return nil, fmt.Errorf("connection %d of %d: %w", len(t.conns)+1, connections, err)
		}
		t.conns = append(t.conns, c)
	}
	return t, nil
}

func (t *target) close() { closeAll(t.conns) }

// clients spread scripts over the connections.
func (t *target) clients(l *loop, scripts []script) ([]*client, []*tally, error) {
	tallies := make([]*tally, min(len(t.conns), len(scripts), mostTallies))
	for i := range tallies {
		tallies[i] = newTally()
	}
	clients := make([]*client, len(scripts))
	for i, s := range scripts {
		n := i % len(t.conns)
		clients[i] = &client{loop: l, conn: t.conns[n], tally: tallies[n%len(tallies)], script: s}
	}
	most := (len(scripts) + len(t.conns) - 1) / len(t.conns)
	if limit := t.conns[0].maxStreams; uint32(most) > limit {
		return nil, nil, fmt.Errorf("%d calls at a time on one connection, but the server takes %d: use more connections", most, limit)
	}
	return clients, tallies, nil
}

// exhaust runs scripts to their end and measures nothing.
func (t *target) exhaust(ctx context.Context, scripts []script) error {
	const forever = 24 * time.Hour
	now := time.Now()
	l := &loop{from: now.Add(forever), to: now.Add(forever)}
	clients, _, err := t.clients(l, scripts)
	if err != nil {
		return err
	}
	l.start(clients)
	return l.wait(ctx, t.conns)
}

// frameMessage appends a message with its prefix.
func frameMessage(b, message []byte) []byte {
	n := len(message)
	return append(append(b, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n)), message...)
}
