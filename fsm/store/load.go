package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// loadBytes is how much a load gathers before it goes to the engine.
const loadBytes = 4 << 20

// A Load fills an empty store with the records of a state, in the order of [Snapshot.Records], and makes the rows that follow from
// them. Records are taken to be hostile: one that no replica has is an error that wraps ErrDamaged. What they say together is for a
// check. One goroutine uses it. Until Commit the store has no System, so that it counts as empty; a load that is given up leaves
// rows behind, and the store is good for nothing.
type Load struct {
	store  *Store
	gen    *generation
	system System
	begun  bool
	// compares says that the digest of the system is of this format.
	compares bool
	writes   []*write
	// arena is what keys and values of writes lie in, row where a value is put together.
	arena, row []byte
	digest     [4]uint64
	events     uint64
	newest     EventKey
}

// Load begins to fill the store, which must be empty.
func (s *Store) Load() (*Load, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if err := isEmpty(g.engine); err != nil {
		s.release(g)
		return nil, fmt.Errorf("load: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing {
		panic("store: a batch is open")
	}
	s.writing = true
	return &Load{store: s, gen: g}, nil
}

func isEmpty(e engine) (err error) {
	rows := e.live()
	defer func() { err = errors.Join(err, rows.close()) }()
	c, err := rows.open(keyRange{lower: []byte{0}}, false)
	if err != nil {
		return err
	}
	defer c.close()
	if c.first() {
		return fmt.Errorf("%s is there: the store is not empty", Describe(c.key()))
	}
	return c.err()
}

// System is as the records say; it is the first of them.
func (l *Load) System() System { return l.system }

// Put takes the next record, and keeps nothing of it.
func (l *Load) Put(r *logpb.StateRecord) error {
	if err := l.put(r); err != nil {
		return err
	}
	if len(l.arena) >= loadBytes {
		return l.flush()
	}
	return nil
}

func (l *Load) put(r *logpb.StateRecord) error {
	if sys := r.GetSystem(); (sys != nil) == l.begun {
		return fmt.Errorf("%T: the system comes first, and once: %w", r.Record, ErrDamaged)
	}
	switch r := r.Record.(type) {
	case *logpb.StateRecord_System:
		return l.begin(r.System)
	case *logpb.StateRecord_Events:
		return l.told(r.Events)
	case *logpb.StateRecord_Outcome:
		return l.outcome(r.Outcome)
	case *logpb.StateRecord_Deletion:
		d := r.Deletion
		if d.Phase > math.MaxUint8 {
			return fmt.Errorf("deletion %d of tenant %d: phase %d: %w", d.Sequence, d.Tenant, d.Phase, ErrDamaged)
		}
		return l.covered(doomedKey(graph.Tenant(d.Tenant), d.Sequence), encodeDoomed(graph.Doomed{
			Session: d.Session, Position: graph.Position(d.Position), Phase: byte(d.Phase),
			Reached: graph.Place{Time: d.ReachedTime, Position: graph.Position(d.ReachedPosition)},
		}))
	case *logpb.StateRecord_Node:
		return l.node(r.Node)
	case *logpb.StateRecord_Edge:
		return l.edge(r.Edge)
	case *logpb.StateRecord_Session:
		s := r.Session
		key := positionKey(graph.Tenant(s.Tenant), kindState, graph.Position(s.Position))
		if s.State > math.MaxUint8 {
			return damaged(key, fmt.Sprintf("state %d", s.State))
		}
		return l.placed(key, s.Position, encodeState(graph.SessionRecord{
			Position: graph.Position(s.Position), State: graph.SessionState(s.State), Updated: s.Updated, Tail: graph.Position(s.Tail),
		}))
	case *logpb.StateRecord_Counter:
		return l.counter(r.Counter)
	case *logpb.StateRecord_Invocations:
		i := r.Invocations
		return l.placed(positionKey(graph.Tenant(i.Tenant), kindInvocations, graph.Position(i.Position)), i.Position, encodeNumber(i.Next))
	default:
		return fmt.Errorf("a record of a kind that this release does not know: %w", ErrVersion)
	}
}

// begin takes the system, which is written last.
func (l *Load) begin(s *logpb.StateSystem) error {
	if len(s.Key) != 32 || len(s.Digest) != 32 || len(s.Chain) != 32 || s.ClusterId == "" || s.Lineage == 0 || s.Applied+s.Base < s.Applied {
		return fmt.Errorf("the system is not what a replica has: %w", ErrDamaged)
	}
	l.begun, l.compares = true, s.DigestFormat == DigestFormat
	l.system = System{
		Applied: s.Applied, Base: s.Base, Lineage: s.Lineage, ClusterID: s.ClusterId, Key: [32]byte(s.Key), FeatureLevel: s.FeatureLevel,
		Instant: s.Instant, Position: s.Position, Commands: s.Commands, Chain: [32]byte(s.Chain), Events: s.Events, EventRows: s.EventRows,
		LastEvent: eventKeyOf(s.LastEvent), Trimmed: eventKeyOf(s.Trimmed),
	}
	for i := range l.system.Digest {
		l.system.Digest[i] = binary.BigEndian.Uint64(s.Digest[24-8*i:])
	}
	return nil
}

func eventKeyOf(k *logpb.StateEventKey) EventKey {
	return EventKey{graph.Revision(k.GetRevision()), k.GetOrdinal()}
}

// told takes events, which only get later.
func (l *Load) told(e *logpb.StateEvents) error {
	t, first := graph.Tenant(e.Tenant), eventKeyOf(e.First)
	key := feedKey(first)
	if len(e.Events) == 0 || len(e.Events) > maxRowEvents || first.Ordinal+uint32(len(e.Events)) < first.Ordinal {
		return damaged(key, fmt.Sprintf("%d events are none that were kept together", len(e.Events)))
	}
	if l.events > 0 && !l.newest.Less(first) {
		return damaged(key, fmt.Sprintf("does not come after %v", l.newest))
	}
	bodies, index := appendEventsHead(l.row[:0], t), []byte{rowFormat}
	for _, one := range e.Events {
		if one.Type > math.MaxInt32 {
			return damaged(key, "event type below 0")
		}
		bodies, index = appendBytes(bodies, one.Event), appendEventIndex(index, pb.EventType(one.Type), graph.Position(one.Session))
	}
	l.row = bodies
	l.write(key, bodies)
	l.write(tenantFeedKey(t, first), index)
	l.events += uint64(len(e.Events))
	l.newest = first.plus(len(e.Events) - 1)
	return nil
}

func (l *Load) outcome(o *logpb.StateOutcome) error {
	if len(o.RequestId) != 16 {
		return fmt.Errorf("outcome of tenant %d: request id of %d bytes: %w", o.Tenant, len(o.RequestId), ErrDamaged)
	}
	t, id := graph.Tenant(o.Tenant), [16]byte(o.RequestId)
	l.write(expiryKey(o.Expires, t, id), nil)
	return l.covered(outcomeKey(t, id), encodeOutcome(o.Expires, o.Outcome))
}

func (l *Load) counter(c *logpb.StateCounter) error {
	if c.Kind < countNodes || c.Kind > countOutcomes || c.Type > math.MaxUint8 || c.Count == 0 {
		return fmt.Errorf("counter %v of tenant %d, type %d, count %d: %w", c.Kind, c.Tenant, c.Type, c.Count, ErrDamaged)
	}
	key := counterKey(graph.Tenant(c.Tenant), byte(c.Kind), 17)
	session, other, typed := counterParts(c.Kind)
	if session {
		key = be64(key, c.Session)
	}
	if other {
		key = be64(key, c.Other)
	}
	if typed {
		key = append(key, byte(c.Type))
	}
	return l.covered(key, encodeNumber(c.Count))
}

func (l *Load) node(s *logpb.StateNode) error {
	t, at := graph.Tenant(s.Tenant), graph.Position(s.Position)
	key, n := positionKey(t, kindNode, at), &pb.Node{}
	if err := proto.Unmarshal(s.Node, n); err != nil {
		return damaged(key, err.Error())
	}
	if n.Type < 0 || n.Type > math.MaxUint8 {
		return damaged(key, fmt.Sprintf("type %d", n.Type))
	}
	r := graph.NodeRecord{
		Position: at, Created: graph.Revision(s.Created), Modified: graph.Revision(s.Modified), Ordinal: s.Ordinal, Session: graph.Position(s.Session), Wire: s.Node,
	}
	l.row = append(appendNodeHead(l.row[:0], r, n.Type), r.Wire...)
	if err := l.placed(key, s.Position, l.row); err != nil {
		return err
	}
	l.write(idKey(t, kindNodeID, n.Id), encodeNumber(s.Position))
	for _, k := range indexKeys(t, r, n) {
		l.write(k, nil)
	}
	return nil
}

func (l *Load) edge(s *logpb.StateEdge) error {
	t, at := graph.Tenant(s.Tenant), graph.Position(s.Position)
	key, e := positionKey(t, kindEdge, at), &pb.Edge{}
	if err := proto.Unmarshal(s.Edge, e); err != nil {
		return damaged(key, err.Error())
	}
	if e.Type < 0 || e.Type > math.MaxUint8 {
		return damaged(key, fmt.Sprintf("type %d", e.Type))
	}
	r := graph.EdgeRecord{
		Position: at, Created: graph.Revision(s.Created), Modified: graph.Revision(s.Modified), Automatic: s.Automatic, Type: e.Type,
		From: graph.Position(s.From), To: graph.Position(s.To), FromSession: graph.Position(s.FromSession), ToSession: graph.Position(s.ToSession), Wire: s.Edge,
	}
	l.row = append(appendEdgeHead(l.row[:0], r), r.Wire...)
	if err := l.placed(key, s.Position, l.row); err != nil {
		return err
	}
	l.write(idKey(t, kindEdgeID, e.Id), encodeNumber(s.Position))
	l.write(adjacencyKey(t, kindOut, r.From, r.Type, at), nil)
	l.write(adjacencyKey(t, kindIn, r.To, r.Type, at), nil)
	return nil
}

// placed writes a covered row at a position, which must have been handed out.
func (l *Load) placed(key []byte, position uint64, value []byte) error {
	if position == 0 || position > l.system.Position {
		return damaged(key, "is at a position that was not handed out")
	}
	return l.covered(key, value)
}

// covered writes a row that counts in the digest.
func (l *Load) covered(key, value []byte) error {
	h, err := rowHash(key, value)
	if err != nil {
		return err
	}
	l.digest = add(l.digest, h)
	l.write(key, value)
	return nil
}

// write gathers a row.
func (l *Load) write(key, value []byte) {
	if cap(l.arena) == 0 {
		l.arena = make([]byte, 0, loadBytes+loadBytes/4)
	}
	from := len(l.arena)
	l.arena = append(append(l.arena, key...), value...) // what has moved stays where the writes before point to
	end := from + len(key)
	l.writes = append(l.writes, &write{key: l.arena[from:end:end], value: l.arena[end:len(l.arena):len(l.arena)]})
}

// flush hands what was gathered to the engine. The engine may keep the memory.
func (l *Load) flush() error {
	slices.SortFunc(l.writes, func(a, b *write) int { return bytes.Compare(a.key, b.key) })
	if err := l.gen.engine.apply(slices.Values(l.writes)); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	l.writes, l.arena = nil, nil
	return nil
}

// Check sees that the records are those that the system tells of.
func (l *Load) Check() error {
	sys := l.system
	switch {
	case !l.begun:
		return fmt.Errorf("there is no record: %w", ErrDamaged)
	case l.compares && l.digest != sys.Digest:
		return fmt.Errorf("records have the digest %x, the system says %x: %w", l.digest, sys.Digest, ErrDamaged)
	case l.events != sys.EventRows || l.events > 0 && l.newest != sys.LastEvent:
		return fmt.Errorf("%d events are there, the last is %v, the system says %d and %v: %w", l.events, l.newest, sys.EventRows, sys.LastEvent, ErrDamaged)
	}
	return nil
}

// Compares reports that the digest which came with the records is of this release's format, so that they could be held against it.
func (l *Load) Compares() bool { return l.compares }

// Commit writes the system behind the rows, and makes all durable: the store is then as it was where the rows were read.
func (l *Load) Commit() error {
	if err := l.Check(); err != nil {
		return err
	}
	l.system.Digest = l.digest
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.gen.engine.flush(); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if err := l.gen.engine.apply(slices.Values([]*write{{key: systemKey, value: l.system.encode()}})); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if err := l.gen.engine.flush(); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	s := l.store
	s.mu.Lock()
	s.system, s.flushed, s.expiry = l.system, l.system, nil
	l.gen.warm = newWarm()
	passed := s.passedLocked()
	s.mu.Unlock()
	s.recent.restart(l.system)
	passed.release()
	l.Close()
	return nil
}

// Close gives the load up. After Commit it does nothing.
func (l *Load) Close() {
	if l.gen == nil {
		return
	}
	g := l.gen
	l.gen = nil
	l.store.mu.Lock()
	l.store.writing = false
	l.store.mu.Unlock()
	l.store.release(g)
}
