package importer

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Graph is what one session, or a list of templates, says as records, in an order in which each refers only to earlier
// ones.
type Graph struct {
	// Shared are agents and templates, which belong to no session: other sessions name the same ones.
	Shared []*pb.Node
	// Nodes are the session and, in the order in which they were told, what belongs to it.
	Nodes []*pb.Node
	Edges []*pb.Edge
	// Keyed says that the session is known by a key, so that other files may tell of it, too.
	Keyed bool
	// Where is the position in the file, for people; Lines are those of the nodes and then of the edges, when every record
	// has a line of its own.
	Where string
	Lines []int
}

// A scribe writes down what a format reads in a file. Readers call its methods in the order in which things happened, and
// keep the handles that they return so as to refer to them.
//
// It promises that every record is one that the graph takes and changes nothing about: defaults are filled in, names that
// are too long are left out, metadata is cut to its limits, texts arrive byte for byte. A record that breaks a rule is
// reported with its position and left out, with what hangs on it; its handle is then not ok, and may be used all the same.
// Records are held until the item that tells of them is read.
type scribe struct {
	source Source
	report func(where, format string, args ...any)
	yield  func(Graph) error
	noted  func(where, format string, args ...any) // nil where nobody listens

	row      formatRow
	where    string // of the item
	digest   string // of the file, once somebody asked for it
	index    int    // counts the sessions of the file that have no key
	sessions []*session
	// loose are templates and agents that no session told of.
	loose Graph
	// given are the ids of the file that were kept, so that each is used once.
	given map[string]bool
	held  int // bytes of the file that were read since release
	err   error
}

func newScribe(source Source, report func(where, format string, args ...any), yield func(Graph) error) *scribe {
	return &scribe{source: source, report: report, yield: yield, given: make(map[string]bool)}
}

// begin prepares for an item of a format.
func (s *scribe) begin(row formatRow, it *item) { s.row, s.where = row, it.where }

// end yields what the item told.
func (s *scribe) end() error { return s.release() }

// release yields all sessions that were told so far; none of their handles may be used any more. Formats of whole files
// call it between sessions, since the values of a file that are read without it must fit into MaxConversationBytes.
func (s *scribe) release() error {
	if s.err != nil {
		return s.err
	}
	s.held = 0
	sessions := s.sessions
	s.sessions = nil
	for _, one := range sessions {
		if err := s.yield(one.close()); err != nil {
			return err
		}
	}
	return s.finish()
}

// finish yields what belongs to no session.
func (s *scribe) finish() error {
	loose := s.loose
	s.loose = Graph{}
	if len(loose.Shared)+len(loose.Edges) == 0 {
		return nil
	}
	return s.yield(loose)
}

// problem reports what was left out of the file, and where in it.
func (s *scribe) problem(where, format string, args ...any) { s.report(where, format, args...) }

// note tells of lines that are no records by what they are, and so are left out of every file.
func (s *scribe) note(where, format string, args ...any) {
	if s.noted != nil {
		s.noted(where, format, args...)
	}
}

// fileDigest is the SHA-256 of the file, in hex. The first call reads the file once more; a fault of the disk ends the
// reading at the end of the item.
func (s *scribe) fileDigest() string {
	if s.digest == "" && s.err == nil {
		s.digest, s.err = digest(s.source)
	}
	return s.digest
}

// maxGiven bounds the ids of a file that are kept: so many are remembered, the later ones are derived.
const maxGiven = 1_000_000

// id is the id that the file gives when it is a UUID that was not used before in it, else derived from kind and parts.
func (s *scribe) id(given, kind string, parts ...string) string {
	if lower, ok := uuidText(given); ok && !s.given[lower] && len(s.given) < maxGiven {
		s.given[lower] = true
		return lower
	}
	return derive(s.row.mapping, kind, parts...)
}

// A sessionSpec says what a session is. Everything may be left out.
type sessionSpec struct {
	// where is the position in the file, for people; empty is that of the item.
	where string
	// id is the id that the file has; kept when it is a UUID.
	id string
	// key identifies the session without the file that it stands in: the same key is the same session in every file that
	// this format reads, and every file must tell the same record of it. Without id and key a session is known by the
	// digest of the file and its place in it.
	key     []string
	created *timestamppb.Timestamp
	closed  bool
	// metadata is added as far as it fits, in order; see flatten.
	metadata []pair
	// model, temperature (nil is 0.7) and tools are what prompts and responses that name none have.
	model       string
	temperature *float64
	tools       []string
}

// A session is a session that is being told.
type session struct {
	*scribe
	spec     sessionSpec
	ordinal  int // among the sessions of the scribe
	identity []string
	rec      *pb.Session
	graph    Graph
	edges    map[string]bool
	last     *promptRef
	start    *promptRef
	counts   map[string]int
	waiting  []*templateRef // system texts that no prompt has instantiated yet
}

// session begins a session. Several may be open at the same time.
func (s *scribe) session(spec sessionSpec) *session {
	one := &session{scribe: s, spec: spec, ordinal: len(s.sessions), edges: make(map[string]bool), counts: make(map[string]int)}
	one.rec = &pb.Session{IsActive: !spec.closed, CreatedAt: spec.created, Metadata: map[string]string{"import_format": string(s.row.name)}}
	if lower, ok := uuidText(spec.id); ok && len(spec.key) == 0 {
		one.spec.key = []string{"id", lower}
	}
	if one.graph.Keyed = len(one.spec.key) > 0; one.graph.Keyed {
		one.identity = append([]string{"key"}, one.spec.key...)
	} else {
		one.identity = []string{s.fileDigest(), strconv.Itoa(s.index)}
		one.rec.Metadata["import_index"] = strconv.Itoa(s.index)
		one.rec.Metadata["import_source"] = s.fileDigest()[:min(16, len(s.fileDigest()))]
		s.index++
	}
	one.rec.Id = s.id(spec.id, "session", one.identity...)
	addMetadata(one.rec.Metadata, spec.metadata)
	one.graph.Nodes = []*pb.Node{{Id: one.rec.Id, Type: pb.NodeType_NODE_TYPE_SESSION, NodeData: &pb.Node_Session{Session: one.rec}}}
	s.sessions = append(s.sessions, one)
	return one
}

// close gives the records away. Templates that no prompt came for are instantiated from the last one.
func (s *session) close() Graph {
	s.instantiateWaiting(s.last)
	s.graph.Where = s.position("")
	return s.graph
}

// verbatim passes records on that are complete: Nodes, then Edges.
func (s *scribe) verbatim(g Graph) error { return s.yield(g) }

// metadata adds entries to the session's metadata, as far as they fit.
func (s *session) metadata(pairs ...pair) { addMetadata(s.rec.Metadata, pairs) }

// position is where for reports, that of the session when empty.
func (s *session) position(where string) string {
	switch {
	case where != "":
		return where
	case s.spec.where != "":
		return s.spec.where
	default:
		return s.where
	}
}

// nodeID is the id of a node: the one given, else from the session's identity and the key, or the number among its kind.
func (s *session) nodeID(given, kind string, key []string) string {
	if len(key) == 0 {
		key = []string{"#" + strconv.Itoa(s.counts[kind])}
		s.counts[kind]++
	}
	return s.id(given, kind, append(s.identity[:len(s.identity):len(s.identity)], key...)...)
}

// check holds a record against the graph's own rules, and against what a message cannot carry.
func check(n *pb.Node, texts ...string) error {
	for _, t := range texts {
		if !utf8.ValidString(t) {
			return fmt.Errorf("is not valid UTF-8")
		}
	}
	return graph.CheckNode("", n)
}

// add puts a node of the session down, with its BELONGS_TO edge, unless it breaks a rule or its id is taken.
func (s *session) add(where string, n *pb.Node, texts ...string) ref {
	n.SessionId = s.rec.Id
	if err := check(n, texts...); err != nil {
		s.problem(s.position(where), "%v", err)
		return ref{}
	}
	s.graph.Nodes = append(s.graph.Nodes, n)
	r := ref{id: n.Id, session: s, ok: true}
	s.link(edgeSpec{kind: pb.EdgeType_EDGE_TYPE_BELONGS_TO, from: r, to: ref{id: s.rec.Id, session: s, ok: true}})
	return r
}

// A ref names a record that was told.
type ref struct {
	id      string
	session *session // nil for agents and templates
	// ok is false when the record was left out; edges to it are left out, too.
	ok bool
}
