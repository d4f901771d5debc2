package check

import (
	"bytes"
	"crypto/sha256"
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// feed is where a pass stands in the events of all tenants.
type feed struct {
	any     bool
	last    store.EventKey
	chain   []byte
	instant int64
}

// event judges an event: as it was made, in its place, and of a record that is there as long as it tells its detail.
func (r *rules) event(row store.TellingRow) {
	e := &logpb.StoredEvent{}
	key := store.FeedKey(row.Key)
	if err := proto.Unmarshal(row.Body, e); err != nil {
		r.fault(FaultEvent, key, "%v", err)
		return
	}
	if e.Detail != nil {
		r.books.Stored(claim(claimDetail, row.Tenant, uint64(row.Key.Revision), uint64(row.Key.Ordinal), about(e)), 1)
	}
	if r.later {
		return
	}
	f := &r.feed
	switch now := fsm.Revision(r.sys); {
	case !bytes.Equal(graph.Encode(e), row.Body):
		r.fault(FaultEvent, key, "is not written as this program writes it")
	case graph.Tenant(e.Tenant) != row.Tenant:
		r.fault(FaultEvent, key, "is of tenant %d, its row says %d", e.Tenant, row.Tenant)
	case row.Key.Revision > now:
		r.fault(FaultRevision, key, "is of revision %d, the state is at %d", row.Key.Revision, now)
	case e.Instant < f.instant || e.Instant > r.sys.Instant:
		r.fault(FaultEvent, key, "is of the instant %d, the event before it of %d, the state of %d", e.Instant, f.instant, r.sys.Instant)
	case !r.sealed(e):
		r.fault(FaultEvent, key, "is not as it was when it was made: its digest is of something else")
	}
	r.chained(key, e)
	f.any, f.last, f.instant, f.chain = true, row.Key, e.Instant, e.Chain
}

// about is the id of the record whose creation an event tells.
func about(e *logpb.StoredEvent) string {
	if e.NodeId != "" {
		return e.NodeId
	}
	return e.SessionId
}

// sealed holds an event against its digest. Of one whose detail was taken that cannot be done: the digest is of the whole.
func (r *rules) sealed(e *logpb.StoredEvent) bool {
	born := e.Type == pb.EventType_EVENT_TYPE_NODE_CREATED && graph.TellsDetail(e.NodeType) ||
		e.Type == pb.EventType_EVENT_TYPE_SESSION_CREATED
	if born && e.Detail == nil {
		return len(e.Digest) == sha256.Size
	}
	bare := &logpb.StoredEvent{
		Type: e.Type, Tenant: e.Tenant, Instant: e.Instant, NodeId: e.NodeId, NodeType: e.NodeType, SessionId: e.SessionId,
		EdgeId: e.EdgeId, EdgeType: e.EdgeType, FromNodeId: e.FromNodeId, ToNodeId: e.ToNodeId, Reason: e.Reason, Detail: e.Detail,
	}
	return bytes.Equal(e.Digest, fsm.EventDigest(r.sys.Key, graph.Encode(bare)))
}

// chained holds an event against the one before it; before the oldest that is kept is none, if there was one at all.
func (r *rules) chained(key []byte, e *logpb.StoredEvent) {
	before := r.feed.chain
	if !r.feed.any {
		if r.sys.Trimmed != (store.EventKey{}) {
			return
		}
		before = make([]byte, sha256.Size)
	}
	want := sha256.Sum256(append(bytes.Clone(before), e.Digest...))
	if !bytes.Equal(e.Chain, want[:]) {
		r.fault(FaultChain, key, "does not follow from the event before it, %v", r.feed.last)
	}
}

func (r *rules) endOfFeed() {
	if r.feed.any && !bytes.Equal(r.feed.chain, r.sys.Chain[:]) {
		r.fault(FaultChain, store.SystemKey(), "keeps another end of the chain than the last event, %v", r.feed.last)
	}
}

// told sees that the creation of a node without detail was told.
func (r *rules) told(key []byte, row store.NodeRow, born store.EventKey) {
	event, ok, err := r.sn.Event(born)
	if err != nil {
		return // told where the event is read
	}
	e := &logpb.StoredEvent{}
	if !ok || proto.Unmarshal(event.Body, e) != nil || event.Tenant != row.Tenant ||
		e.Type != pb.EventType_EVENT_TYPE_NODE_CREATED || e.NodeId != row.Node.Id {
		r.fault(FaultEvent, key, "was made with event %v, which does not tell of it", born)
	}
}

// feedIndex reads the feed of all beside that of a tenant.
type feedIndex struct {
	tenant graph.Tenant
	next   func() (store.FeedRow, error, bool)
	stop   func()
	row    store.FeedRow
	ok     bool
	// named is the session at the position that was looked at last.
	at    graph.Position
	named string
}

func (x *feedIndex) end() {
	if x.stop != nil {
		x.stop()
	}
	*x = feedIndex{}
}

// indexed judges the entry of an event in the feed of its tenant. That there is one for each is seen elsewhere.
func (r *rules) indexed(row store.IndexedRow) {
	if r.later {
		return
	}
	x := &r.index
	if x.next == nil || x.tenant != row.Tenant {
		x.end()
		x.tenant = row.Tenant
		x.next, x.stop = iter.Pull2(r.sn.Feed(store.EventKey{}))
		x.step()
	}
	for x.ok && x.row.Key.Less(row.Event.Key) {
		x.step()
	}
	e := &logpb.StoredEvent{}
	if !x.ok || x.row.Key != row.Event.Key || proto.Unmarshal(x.row.Body, e) != nil {
		return
	}
	key := store.TenantFeedKey(row.Tenant, row.Event.Key)
	switch session := row.Event.Session; {
	case e.Type != row.Event.Type:
		r.fault(FaultEvent, key, "says %v, the event is %v", row.Event.Type, e.Type)
	case (session == 0) != (e.SessionId == ""):
		r.fault(FaultEvent, key, "is of the session at position %d, the event of %q", session, e.SessionId)
	case session != 0:
		if id, there := r.sessionAt(row.Tenant, session); there && id != e.SessionId {
			r.fault(FaultEvent, key, "is of the session %q at position %d, the event of %q", id, session, e.SessionId)
		}
	}
}

func (x *feedIndex) step() {
	row, err, ok := x.next()
	x.row, x.ok = row, ok && err == nil
}

// sessionAt is the id of the node at a position, if one is left there: positions are not used twice.
func (r *rules) sessionAt(t graph.Tenant, at graph.Position) (string, bool) {
	x := &r.index
	if x.at == at {
		return x.named, x.named != ""
	}
	x.at, x.named = at, ""
	rec, ok, err := r.sn.Whole(t).NodeAt(at)
	if err == nil && ok {
		if n, err := rec.Node(); err == nil {
			x.named = n.Id
		}
	}
	return x.named, x.named != ""
}

// outcome judges what is remembered of a request.
func (r *rules) outcome(row store.OutcomeRow) {
	if r.later {
		return
	}
	key := store.OutcomeKey(row.Tenant, row.ID)
	o := &logpb.Outcome{}
	err := proto.Unmarshal(row.Body, o)
	switch {
	case err != nil:
		r.fault(FaultOutcome, key, "%v", err)
	case !bytes.Equal(graph.Encode(o), row.Body):
		r.fault(FaultOutcome, key, "is not written as this program writes it")
	case o.Expires != row.Expires:
		r.fault(FaultOutcome, key, "expires at %d, its row says %d", o.Expires, row.Expires)
	case o.Expires > r.sys.Instant+fsm.LongestMemory:
		r.fault(FaultOutcome, key, "expires at %d, later than anything of the instant %d may", o.Expires, r.sys.Instant)
	case o.Position > r.sys.Position:
		r.fault(FaultOutcome, key, "was made at position %d, %d were handed out", o.Position, r.sys.Position)
	case o.Kind > uint32(graph.OutOfRange):
		r.fault(FaultOutcome, key, "is a refusal of the kind %d, which is none", o.Kind)
	}
}
