package cluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Values of the transport (RAFT.md 7). One RPC at a time to a peer: with two, a follower that once fails to store wedges for good.
const (
	maxRPCsInFlight  = 1
	maxPooledStreams = 3
	rpcTimeout       = 10 * time.Second
	dialTimeout      = 2 * time.Second
	// writeStall is how long one write may take. Raft gives a snapshot 10 s for each 256 KiB in all, so hours: a follower that is stopped
	// would keep the turn of the others.
	writeStall = 30 * time.Second
	// readStall is how long a snapshot that comes in may stand still. Raft reads it in its main goroutine, which does not vote meanwhile.
	readStall = 10 * time.Second
)

// An ackTransport remembers, per peer, when the newest request was sent that the peer answered in the same term. That is what a
// strict read round asks for; raft.VerifyLeader also takes the answer to a request from before the read began.
type ackTransport struct {
	*raft.NetworkTransport
	logger  *endLogger
	streams *ownStreams
	// snapshots bounds what is sent of snapshots.
	snapshots *throttle
	// acked has a token when an answer came.
	acked chan struct{}
	// consumer is what Raft takes its requests from: those of other nodes, and orders of this one.
	consumer, orders chan raft.RPC
	// done is closed at the end, and passing waited for.
	done    chan struct{}
	ending  sync.Once
	passing sync.WaitGroup
	// order counts what is sent, and read rounds begin between two counts: a clock may stand still.
	order atomic.Uint64

	// mu guards acks.
	mu   sync.Mutex
	acks map[raft.ServerID]ack
}

// An ack is what is known of one peer.
type ack struct {
	// sent is the place in the order of the newest request that the peer has answered in term, sentAt when that was.
	sent   uint64
	sentAt time.Time
	term   uint64
	// match is the last entry that the peer is known to have.
	match uint64
}

func newTransport(port Port, addresses raft.ServerAddressProvider, snapshots *throttle, logger hclog.Logger) *ackTransport {
	quiet := &endLogger{Logger: logger}
	streams := &ownStreams{StreamLayer: port.Streams(), open: map[*ownConn]struct{}{}, broken: make(chan struct{}, 1)}
	t := &ackTransport{
		logger: quiet, streams: streams,
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: streams, ServerAddressProvider: addresses, Logger: quiet,
			MaxPool: maxPooledStreams, MaxRPCsInFlight: maxRPCsInFlight, Timeout: rpcTimeout,
		}),
		snapshots: snapshots, acked: make(chan struct{}, 1), acks: map[raft.ServerID]ack{},
		consumer: make(chan raft.RPC), orders: make(chan raft.RPC), done: make(chan struct{}),
	}
	t.passing.Go(t.pass)
	return t
}

// Close ends the transport and all of its streams.
func (t *ackTransport) Close() error {
	t.logger.ended.Store(true)
	t.ending.Do(func() { close(t.done) })
	err := t.NetworkTransport.Close()
	t.passing.Wait()
	return err
}

// Consumer is where Raft hears of requests.
func (t *ackTransport) Consumer() <-chan raft.RPC { return t.consumer }

// pass hands requests to Raft.
func (t *ackTransport) pass() {
	for {
		var request raft.RPC
		select {
		case request = <-t.NetworkTransport.Consumer():
		case request = <-t.orders:
		case <-t.done:
			return
		}
		select {
		case t.consumer <- request:
		case <-t.done:
			return
		}
	}
}

// stand makes Raft ask for votes, as a leader does that transfers its leadership to this node.
func (t *ackTransport) stand(ctx context.Context) {
	order := raft.RPC{
		Command:  &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}},
		RespChan: make(chan raft.RPCResponse, 1),
	}
	select {
	case t.orders <- order:
	case <-t.done:
	case <-ctx.Done():
	}
}

// endLogger makes no errors of what comes to its end because the node does.
type endLogger struct {
	hclog.Logger
	ended atomic.Bool
}

// Error logs an error, unless the end has come.
func (l *endLogger) Error(message string, figures ...any) {
	if l.ended.Load() {
		l.Debug(message, figures...)
		return
	}
	l.Logger.Error(message, figures...)
}

// AppendEntries sends entries, or a heartbeat, and notes the answer.
func (t *ackTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, request *raft.AppendEntriesRequest, response *raft.AppendEntriesResponse) error {
	sent, at := t.order.Add(1), time.Now()
	if err := t.NetworkTransport.AppendEntries(id, target, request, response); err != nil {
		return err
	}
	// The same term: the peer had not moved on when it handled what was sent at that time.
	if response.Term == request.Term {
		t.note(id, sent, at, request, response)
	}
	return nil
}

func (t *ackTransport) note(id raft.ServerID, sent uint64, at time.Time, request *raft.AppendEntriesRequest, response *raft.AppendEntriesResponse) {
	t.mu.Lock()
	a := t.acks[id]
	if request.Term > a.term {
		a = ack{term: request.Term}
	}
	if request.Term == a.term && sent > a.sent {
		a.sent, a.sentAt = sent, at
	}
	if last := request.PrevLogEntry + uint64(len(request.Entries)); request.Term == a.term && response.Success && last > 0 {
		a.match = max(a.match, last)
	}
	t.acks[id] = a
	t.mu.Unlock()
	select {
	case t.acked <- struct{}{}:
	default:
	}
}

// ack is what is known of a peer in a term.
func (t *ackTransport) ack(id raft.ServerID, term uint64) (ack, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.acks[id]
	return a, a.term == term
}

// haveAcked reports whether a majority of the voters, this node being one or not, has answered in term something sent after a place in
// the order.
func (t *ackTransport) haveAcked(since uint64, term uint64, members raft.Configuration, self raft.ServerID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	voters, acked := 0, 0
	for _, s := range members.Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if a := t.acks[s.ID]; s.ID == self || (a.term == term && a.sent > since) {
			acked++
		}
	}
	return acked > voters/2
}

// ownStreams close every stream in the end: Raft's transport leaves those open that it waits on.
type ownStreams struct {
	raft.StreamLayer
	// broken has a token when a stream that another node has made has ended.
	broken chan struct{}

	// mu guards what follows.
	mu     sync.Mutex
	open   map[*ownConn]struct{}
	closed bool
}

// Accept takes a stream.
func (s *ownStreams) Accept() (net.Conn, error) {
	c, err := s.StreamLayer.Accept()
	if err != nil {
		return nil, err
	}
	return s.own(c, true)
}

// Dial makes a stream.
func (s *ownStreams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	c, err := s.StreamLayer.Dial(address, min(timeout, dialTimeout))
	if err != nil {
		return nil, err
	}
	return s.own(c, false)
}

func (s *ownStreams) own(c net.Conn, accepted bool) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	o := &ownConn{Conn: c, streams: s, accepted: accepted}
	s.open[o] = struct{}{}
	return o, nil
}

// Close ends the listening and every stream.
func (s *ownStreams) Close() error {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()
	err := s.StreamLayer.Close()
	for c := range open {
		c.Conn.Close() // nobody reads from it any more: whether that works does not matter
	}
	return err
}

// endAccepted ends the streams that others have made. They make new ones.
func (s *ownStreams) endAccepted() {
	s.mu.Lock()
	var accepted []*ownConn
	for c := range s.open {
		if c.accepted {
			accepted = append(accepted, c)
		}
	}
	s.mu.Unlock()
	for _, c := range accepted {
		c.Close() // whoever reads from it finds out
	}
}

type ownConn struct {
	net.Conn
	streams  *ownStreams
	accepted bool
	// limit is the deadline that Raft has set; it reads and writes from one goroutine.
	limit time.Time
}

// SetDeadline bounds what comes.
func (c *ownConn) SetDeadline(t time.Time) error {
	c.limit = t
	return c.Conn.SetDeadline(t)
}

// Write writes, and gives up when nothing of it is taken for long.
func (c *ownConn) Write(p []byte) (int, error) {
	due := time.Now().Add(writeStall)
	if !c.limit.IsZero() && c.limit.Before(due) {
		due = c.limit
	}
	if err := c.Conn.SetWriteDeadline(due); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close closes the stream.
func (c *ownConn) Close() error {
	c.streams.mu.Lock()
	delete(c.streams.open, c)
	c.streams.mu.Unlock()
	if c.accepted {
		select {
		case c.streams.broken <- struct{}{}:
		default:
		}
	}
	return c.Conn.Close()
}
