// Package check says whether a state is one that applying commands can lead to.
//
// It reads a snapshot of the store as package store's own check does, and judges on top of that what the rows mean: each record
// passes the checks of a request, each edge joins the nodes that it names, each member belongs to the session that it names,
// each event is sealed into the chain and tells of what is there, sweeps have taken what they say, templates and tool calls
// were counted. It promises that what it reports is wrong, that a state without findings has rows that follow from each other
// in both directions, and a memory that does not grow with the store. It changes nothing and knows nothing of files or the log.
package check

import (
	"encoding/binary"
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store/ledger"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// The faults that come on top of those of package store.
const (
	// FaultRecord: a record that no call would have let in.
	FaultRecord store.Fault = "record"
	// FaultRevision: a revision that is not there yet, or out of order.
	FaultRevision store.Fault = "revision"
	// FaultMember: a record that does not belong to the session that it names.
	FaultMember store.Fault = "member"
	// FaultEnds: an edge that does not join the nodes that it names, or may not.
	FaultEnds store.Fault = "ends"
	// FaultSession: the state of a session does not fit its prompts.
	FaultSession store.Fault = "session"
	// FaultUses: a template was used, or a response has called tools, more often than is counted.
	FaultUses store.Fault = "uses"
	// FaultDoomed: a deletion of what is not there, or whose sweep has left rows behind.
	FaultDoomed store.Fault = "doomed"
	// FaultEvent: an event that is not sealed as it was made, or tells of what is not there. FaultChain: one that does not
	// follow from the one before it.
	FaultEvent store.Fault = "event"
	FaultChain store.Fault = "chain"
	// FaultOutcome: what is remembered of a request makes no sense.
	FaultOutcome store.Fault = "outcome"
)

// Options of a check.
type Options struct {
	// Report hears of each finding, once.
	Report func(store.Finding)
	// Progress hears of the rows that were read so far; its error ends the check. nil is not asked.
	Progress func(rows uint64) error
	// Room is how many keys are kept in memory at the most, about; 0 for the default.
	Room int
}

// State checks a state. The error is that of Progress.
func State(sn *store.Snapshot, o Options) (store.Checked, error) {
	if o.Room == 0 {
		o.Room = ledger.DefaultRoom
	}
	r := &rules{sn: sn, sys: sn.System(), tell: o.Report, books: ledger.New(o.Room)}
	r.begin()
	done, err := sn.Check(store.CheckOptions{Report: o.Report, Visit: r.visit, Next: r.next, Progress: o.Progress, Room: o.Room})
	if done.Whole {
		done.Unnamed += r.books.Unseen()
	}
	return done, err
}

// rules judges rows as they come.
type rules struct {
	sn    *store.Snapshot
	sys   store.System
	tell  func(store.Finding)
	books *ledger.Ledger
	// later passes fill the books and report nothing else: the first has.
	later bool

	doomed  map[mark]bool
	feed    feed
	index   feedIndex
	edges   bundle
	members family
	// newest is the creation of the last node of a tenant.
	tenant graph.Tenant
	newest store.EventKey
}

// mark names what is doomed.
type mark struct {
	tenant  graph.Tenant
	at      graph.Position
	session bool
}

func (r *rules) begin() {
	r.doomed, r.feed, r.edges, r.members = map[mark]bool{}, feed{}, bundle{}, family{}
	r.tenant, r.newest = 0, store.EventKey{}
}

// next ends a pass.
func (r *rules) next() bool {
	r.endOfEdges()
	r.endOfMembers()
	r.endOfFeed()
	r.index.end()
	r.books.Differences(r.differs)
	r.later = true
	r.begin()
	return r.books.Next()
}

func (r *rules) fault(fault store.Fault, key []byte, format string, args ...any) {
	if !r.later {
		r.tell(store.NewFinding(fault, key, format, args...))
	}
}

// unreadable tells of a row that a rule wanted to read.
func (r *rules) unreadable(key []byte, err error) { r.fault(store.FaultRead, key, "%v", err) }

func (r *rules) visit(row store.Row) {
	switch row := row.(type) {
	case store.TellingRow:
		r.event(row)
	case store.IndexedRow:
		r.indexed(row)
	case store.OutcomeRow:
		r.outcome(row)
	case store.DoomedRow:
		r.doom(row)
	case store.NodeRow:
		r.node(row)
	case store.EdgeRow:
		r.edge(row)
	case store.AdjacentRow:
		r.adjacent(row)
	case store.MemberRow:
		r.member(row)
	case store.SessionRow:
		r.session(row)
	default:
		panic(fmt.Sprintf("check: no rule for %T", row))
	}
}

// What is entered into the books: a claim that one row makes, and the grounds for it in others.
const (
	claimSession = 's' // position 8 and id of a session: each member names it
	claimEnd     = 'e' // position 8, session 8 and id of a node: each edge names it at each end
	claimDetail  = 'd' // revision 8, ordinal 4 and id of a record: its creation event tells its detail
)

func claim(kind byte, t graph.Tenant, a, b uint64, id string) []byte {
	k := make([]byte, 0, 21+len(id))
	k = binary.BigEndian.AppendUint32(append(k, kind), uint32(t))
	k = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(k, a), b)
	return append(k, id...)
}

// differs tells of a claim without grounds, or grounds without claims.
func (r *rules) differs(key []byte, n ledger.Entry) {
	t := graph.Tenant(binary.BigEndian.Uint32(key[1:]))
	a, b, id := binary.BigEndian.Uint64(key[5:]), binary.BigEndian.Uint64(key[13:]), string(key[21:])
	at := graph.Position(a)
	switch key[0] {
	case claimSession:
		r.tell(store.NewFinding(FaultMember, store.NodeKey(t, at), "is session %q and has %d members by its index; nodes that name it so: %d", id, n.Stored, n.Due))
	case claimEnd:
		r.tell(store.NewFinding(FaultEnds, store.NodeKey(t, at), "is %q of session %d and has %d ends of edges; edges that name it so: %d", id, b, n.Stored, n.Due))
	case claimDetail:
		k := store.EventKey{Revision: graph.Revision(a), Ordinal: uint32(b)}
		if n.Stored > n.Due {
			r.tell(store.NewFinding(FaultEvent, store.FeedKey(k), "tells the detail of %q, which is not there", id))
			return
		}
		r.tell(store.NewFinding(FaultEvent, store.FeedKey(k), "should tell of the creation of %q, with its detail", id))
	}
}

// node judges a node's row.
func (r *rules) node(row store.NodeRow) {
	t, rec, n := row.Tenant, row.Record, row.Node
	key := store.NodeKey(t, rec.Position)
	if !r.later {
		if err := graph.VerifyNode(n); err != nil {
			r.fault(FaultRecord, key, "%v", err)
		}
		r.revisions(key, rec.Created, rec.Modified)
		r.inOrder(t, key, store.EventKey{Revision: rec.Created, Ordinal: rec.Ordinal})
	}
	r.belongs(key, row)
	born := store.EventKey{Revision: rec.Created, Ordinal: rec.Ordinal}
	switch {
	case !r.sys.Trimmed.Less(born):
	case graph.TellsDetail(n.Type):
		r.books.Due(claim(claimDetail, t, uint64(born.Revision), uint64(born.Ordinal), n.Id), 1)
	case !r.later:
		r.told(key, row, born)
	}
}

func (r *rules) revisions(key []byte, created, modified graph.Revision) {
	if now := fsm.Revision(r.sys); created == 0 || created > modified || modified > now {
		r.fault(FaultRevision, key, "was made in revision %d and changed in %d, the state is at %d", created, modified, now)
	}
}

// inOrder: positions and creation events are handed out together.
func (r *rules) inOrder(t graph.Tenant, key []byte, born store.EventKey) {
	if t == r.tenant && !r.newest.Less(born) {
		r.fault(FaultRevision, key, "has the creation event %v, the node before it %v", born, r.newest)
	}
	r.tenant, r.newest = t, born
}

// belongs judges the session of a node.
func (r *rules) belongs(key []byte, row store.NodeRow) {
	rec, n := row.Record, row.Node
	switch n.Type {
	case pb.NodeType_NODE_TYPE_SESSION:
		if rec.Session != rec.Position {
			r.fault(FaultMember, key, "is a session and belongs to position %d instead of itself", rec.Session)
		}
	case pb.NodeType_NODE_TYPE_AGENT, pb.NodeType_NODE_TYPE_TEMPLATE:
		if rec.Session != 0 || n.SessionId != "" {
			r.fault(FaultMember, key, "is %v, which belongs to no session, and belongs to %q at position %d", n.Type, n.SessionId, rec.Session)
		}
	default:
		if rec.Session == 0 {
			r.fault(FaultMember, key, "is %v and belongs to no session", n.Type)
		}
	}
	if rec.Session != 0 {
		r.books.Due(claim(claimSession, row.Tenant, uint64(rec.Session), 0, n.SessionId), 1)
	}
}

// edge judges an edge's row.
func (r *rules) edge(row store.EdgeRow) {
	t, rec, e := row.Tenant, row.Record, row.Edge
	key := store.EdgeKey(t, rec.Position)
	if !r.later {
		err := graph.VerifyEdge(e)
		if err == nil && rec.Automatic {
			err = graph.VerifyAutomatic(rec)
		}
		if err != nil {
			r.fault(FaultRecord, key, "%v", err)
		}
		r.revisions(key, rec.Created, rec.Modified)
	}
	r.books.Due(claim(claimEnd, t, uint64(rec.From), uint64(rec.FromSession), e.FromNodeId), 1)
	r.books.Due(claim(claimEnd, t, uint64(rec.To), uint64(rec.ToSession), e.ToNodeId), 1)
}
