package graph

import (
	"iter"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Tenant separates the graphs of different customers. Inside it is a number; 1 is `default`.
type Tenant uint32

// DefaultTenant is the tenant of every caller until credentials exist.
const DefaultTenant Tenant = 1

// Revision numbers commits: the index of the log entry plus a replicated base (D5).
type Revision uint64

// Position numbers records in the order they were made, nodes and edges together, across tenants. It never repeats, is
// the tie-break of every order, and is how index entries name records. 0 names none.
type Position uint64

// NodeRecord is a stored node: what the store keeps beside it, and its wire bytes.
type NodeRecord struct {
	Created, Modified Revision
	Position          Position
	// Session is the node of the session it belongs to: itself for a session, 0 for agents and templates.
	Session Position
	// Ordinal is the place of its creation event within Created.
	Ordinal uint32
	// Wire is the canonical encoding of the Node, without its revision.
	Wire []byte
}

// EdgeRecord is a stored edge.
type EdgeRecord struct {
	Created, Modified      Revision
	Position               Position
	From, To               Position
	FromSession, ToSession Position // sessions of the ends, 0 for none
	// Automatic edges were made by the call that made their node; they go only with it.
	Automatic bool
	Type      pb.EdgeType
	// Wire is the canonical encoding of the Edge, without its revision.
	Wire []byte
}

// SessionState is where a session is in its life (D6). Stored: never renumber.
type SessionState uint8

// The states.
const (
	SessionActive SessionState = 1
	SessionClosed SessionState = 2
)

// SessionRecord is the part of a session that changes with every write in it.
type SessionRecord struct {
	Position Position // of the session's node
	State    SessionState
	// Updated is the instant of the last write in the session, Unix nanoseconds.
	Updated int64
	// Tail is the prompt that the next one follows, 0 when there is none.
	Tail Position
}

// Attribute is an indexed, exact property of a node.
type Attribute struct {
	Key   string // one of AttributeKeys
	Value string
}

// Walk selects nodes by index. The zero Walk is all nodes of the tenant, newest first.
type Walk struct {
	// Session restricts to the members of a session, the session node included.
	Session Position
	// Type restricts to one type; 0 is all.
	Type pb.NodeType
	// Attribute restricts to nodes that have it; not together with Session.
	Attribute *Attribute
	// After and Before bound the time of the node, inclusive, Unix nanoseconds.
	After, Before *int64
	// From resumes strictly after this place in the order of the walk.
	From *Place
	// OldestFirst turns the order round.
	OldestFirst bool
}

// Place is where a node stands in the order of lists: by time, then by position.
type Place struct {
	Time     int64 // Unix nanoseconds
	Position Position
}

// Entry is what an index knows of a node.
type Entry struct {
	Place
	Type pb.NodeType
}

// EdgeWalk selects the edges of a node, in the order they were committed.
type EdgeWalk struct {
	Node     Position
	Incoming bool // else outgoing
	Type     pb.EdgeType
	// From resumes strictly after the edge at this position.
	From Position
}

// Doomed is a deletion that was committed whole and whose rows a sweep is still removing (D6).
type Doomed struct {
	Position Position // of the session's or the node's row
	Session  bool     // everything that belongs to it goes too
	// Phase and Reached say how far the sweep has come, so that the next one need not pass what is gone already. Position
	// and Session alone tell deletions apart.
	Phase   uint8
	Reached Place
}

// View reads the graph of one tenant in one state. What a committed deletion has hidden is not there, whether it was
// swept or not. An error means damage, never absence. A View is not safe for concurrent use.
type View interface {
	// NodeByID and EdgeByID find records by id, NodeAt and EdgeAt by position.
	NodeByID(id string) (NodeRecord, bool, error)
	NodeAt(at Position) (NodeRecord, bool, error)
	EdgeByID(id string) (EdgeRecord, bool, error)
	EdgeAt(at Position) (EdgeRecord, bool, error)
	// NodeReader reads nodes that lie near each other, as those of a walk do. Close it.
	NodeReader() NodeReader
	// Session is the state of the session whose node is at a position.
	Session(at Position) (SessionRecord, bool, error)
	// Walk yields index entries in order. The cost grows with what is yielded, not with what is stored.
	Walk(w Walk) iter.Seq2[Entry, error]
	// Edges yields the edges of a node in commit order, whatever their types.
	Edges(w EdgeWalk) iter.Seq2[EdgeRecord, error]
	// CountNodes counts from counters: of a session (0: the tenant), of a type (0: all).
	CountNodes(session Position, t pb.NodeType) (int64, error)
	CountEdges() (int64, error)
	CountActiveSessions() (int64, error)
}

// NodeReader finds nodes by position, as View does. Wire of what it returns is valid until the next call.
type NodeReader interface {
	NodeAt(at Position) (NodeRecord, bool, error)
	Close()
}

// Tx is the state that a command sees and changes. Writes are seen by later reads of the same command at once. Writing
// cannot fail: a storage that breaks panics, because a replica that skips a write diverges.
type Tx interface {
	View
	// Taken reports whether an id is in use, by a visible record or by one that a sweep has yet to remove.
	NodeIDTaken(id string) (bool, error)
	EdgeIDTaken(id string) (bool, error)
	// NextPosition hands out the next position.
	NextPosition() Position
	// PutNode stores a node with its index entries and counters. node carries id and data; rec everything but Wire.
	PutNode(rec NodeRecord, node *pb.Node)
	// ReplaceNode stores a changed node in place of old; position, session, ordinal and Created stay.
	ReplaceNode(old NodeRecord, modified Revision, node *pb.Node)
	// RemoveNode removes a node's row, index entries, counters, and a response's invocation counter. Not its edges.
	RemoveNode(rec NodeRecord)
	// PutEdge stores an edge with its adjacency entries and counters. rec is everything but Wire.
	PutEdge(rec EdgeRecord, edge *pb.Edge)
	RemoveEdge(rec EdgeRecord)
	// PutSession stores the changing part of a session and keeps the counter of active ones.
	PutSession(rec SessionRecord)
	RemoveSession(at Position)
	// Invocations is the next invocation_order of a response; SetInvocations stores it. It is never reused.
	Invocations(response Position) (uint32, error)
	SetInvocations(response Position, next uint32)
	// CountSessionEdges is how many edges touch members of a session.
	CountSessionEdges(session Position) (int64, error)
	// Doom hides a node or a session with its members from every later read; again, it notes how far the sweep has come.
	// Spared takes the mark away after the sweep.
	Doom(d Doomed)
	Spared(d Doomed)
	// NextDoomed is the deletion that was committed first and still has rows.
	NextDoomed() (Doomed, bool, error)
	// Unhidden reads the same state with what is doomed still in it. Only a sweep needs it.
	Unhidden() View
}
