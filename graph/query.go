package graph

import (
	"errors"
	"iter"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A Query selects nodes, newest first. It is checked when it is made and can run on any view.
type Query struct {
	session       string
	nodeType      pb.NodeType
	after, before *int64
	filters       []filter
	// most is how many rows one call may read, MaxScanRows but in tests.
	most int
}

// NewQuery checks the selection of a request; paging is the caller's.
func NewQuery(req *pb.QueryRequest) (*Query, error) {
	q := &Query{nodeType: req.GetNodeType(), most: MaxScanRows}
	if req.SessionId != nil {
		id, err := CheckSessionID("session_id", req.GetSessionId())
		if err != nil {
			return nil, err
		}
		q.session = id
	}
	if _, known := pb.NodeType_name[int32(q.nodeType)]; !known {
		return nil, invalid("node_type", "%d is no node type", q.nodeType)
	}
	var err error
	if q.after, err = bound("after", req.After); err != nil {
		return nil, err
	}
	if q.before, err = bound("before", req.Before); err != nil {
		return nil, err
	}
	q.filters, err = newFilters(req.Filters)
	return q, err
}

// Sessions selects all sessions.
func Sessions() *Query { return &Query{nodeType: session, most: MaxScanRows} }

func bound(field string, t *timestamppb.Timestamp) (*int64, error) {
	if err := checkTime(field, t); err != nil || unset(t) {
		return nil, err
	}
	ns := nanos(t)
	return &ns, nil
}

// Paging says which part of the matches to return and what it may cost.
type Paging struct {
	// From resumes after a place; Offset is then ignored.
	From *Place
	// Offset and Limit count matches; neither is negative. Limit 0 returns none.
	Offset, Limit int
	// SkipTotal leaves Page.Total 0.
	SkipTotal bool
	// MaxBytes cuts the page when its rows exceed it; one row is always returned. 0 is no bound.
	MaxBytes int
	// Grown, when not nil, hears how many bytes the page has now; its error ends the page.
	Grown func(bytes int) error
	// Expired reports that the caller's time is running out: counting stops then.
	Expired func() bool
}

// Page is a part of the matches.
type Page struct {
	Nodes []*pb.Node
	// Total is the number of matches, a lower bound when LowerBound is set.
	Total      int64
	LowerBound bool
	// Next is where the next page starts, nil on the last one.
	Next *Place
}

// Page reads a part of the matches and counts them all. A filter without an index reads rows one by one: it is Exhausted
// when MaxScanRows of them do not fill the page, and the total is a lower bound when they do not end the count.
func (q *Query) Page(v View, p Paging) (Page, error) {
	var page Page
	skip, bytes := p.Offset, 0
	if p.From != nil {
		skip = 0
	}
	err := q.Each(v, p.From, skip, p.Limit+1, func(m Match) (bool, error) {
		if len(page.Nodes) == p.Limit {
			return false, nil
		}
		if err := m.find(); err != nil {
			return false, err
		}
		size := len(m.rec.Wire) + wireOverhead
		if p.MaxBytes > 0 && len(page.Nodes) > 0 && bytes+size > p.MaxBytes {
			return false, nil
		}
		bytes += size
		if p.Grown != nil {
			if err := p.Grown(bytes); err != nil {
				return false, err
			}
		}
		n, err := m.Node()
		if err != nil {
			return false, err
		}
		page.Nodes = append(page.Nodes, n)
		place := m.Place
		page.Next = &place
		return true, nil
	}, func() { page.Next = nil })
	if err != nil || p.SkipTotal {
		return page, err
	}
	page.Total, page.LowerBound, err = q.count(v, p.Expired)
	return page, err
}

// wireOverhead is what a node takes in a reply beyond its stored bytes, at the most: revision, times and lengths.
const wireOverhead = 64

// A Match is a node that a query selected.
type Match struct {
	Entry
	view View
	rows NodeReader
	rec  NodeRecord
	node *pb.Node
}

// Node is the node as a reader sees it.
func (m *Match) Node() (*pb.Node, error) {
	if err := m.load(); err != nil {
		return nil, err
	}
	return present(m.view, m.rec, m.node)
}

// Wire is the encoding of what Node returns; the caller may keep it. Stored bytes are handed on as they are, but for a
// session, part of which is kept elsewhere.
func (m *Match) Wire() ([]byte, error) {
	if err := m.find(); err != nil {
		return nil, err
	}
	if m.Type == session {
		n, err := m.Node()
		if err != nil {
			return nil, err
		}
		return Encode(n), nil
	}
	return m.rec.sent(), nil
}

// find reads the record.
func (m *Match) find() error {
	if m.rec.Position != 0 {
		return nil
	}
	rec, ok, err := m.rows.NodeAt(m.Position)
	if err != nil || !ok {
		return orDamaged(err, m.Position)
	}
	m.rec = rec
	return nil
}

func (m *Match) load() error {
	if m.node != nil {
		return nil
	}
	err := m.find()
	if err == nil {
		m.node, err = m.rec.Node()
	}
	return err
}

// Present decodes a record as a reader sees it: a session with the part of it that changes.
func Present(v View, rec NodeRecord) (*pb.Node, error) {
	n, err := rec.Node()
	if err != nil {
		return nil, err
	}
	return present(v, rec, n)
}

func present(v View, rec NodeRecord, n *pb.Node) (*pb.Node, error) {
	if s := n.GetSession(); s != nil {
		state, err := sessionState(v, rec.Position)
		if err != nil {
			return nil, err
		}
		fill(s, state)
	}
	return n, nil
}

// Each visits matches in order, after a place if from is not nil, without the first skip, at most most of them (below 0:
// all), until visit answers false. end, when not nil, is called if the matches ended before visit did.
func (q *Query) Each(v View, from *Place, skip, most int, visit func(Match) (bool, error), end func()) error {
	walk, err := q.walk(v)
	if err != nil {
		return err
	}
	walk.From = from
	rows := v.NodeReader()
	defer rows.Close()
	for m, err := range q.matches(v, rows, walk, nil) {
		if err != nil {
			return err
		}
		if skip > 0 {
			skip--
			continue
		}
		if most == 0 {
			return nil
		}
		most--
		if more, err := visit(m); err != nil || !more {
			return err
		}
	}
	if end != nil {
		end()
	}
	return nil
}

// walk is the cheapest index walk that covers the query: the session's, that of the first indexed filter, or that by time.
func (q *Query) walk(v View) (Walk, error) {
	w := Walk{Type: q.nodeType, After: q.after, Before: q.before}
	at, err := q.sessionAt(v)
	if err != nil {
		return w, err
	}
	w.Session = at
	if at == 0 && len(q.filters) > 0 && q.filters[0].attribute != nil {
		w.Attribute = q.filters[0].attribute
	}
	return w, nil
}

func (q *Query) sessionAt(v View) (Position, error) {
	if q.session == "" {
		return 0, nil
	}
	rec, ok, err := v.NodeByID(q.session)
	if err != nil {
		return 0, err
	}
	if !ok || rec.Session != rec.Position {
		return 0, missing("session", "Session", q.session)
	}
	return rec.Position, nil
}

// look is how many entries are passed between two looks at the clock.
const look = 1024

// matches filters a walk. Only what the index does not tell is read from the rows. expired, when not nil, ends it like a
// budget that is used up.
func (q *Query) matches(v View, rows NodeReader, w Walk, expired func() bool) iter.Seq2[Match, error] {
	filters := q.filters
	if w.Attribute != nil {
		filters = filters[1:]
	}
	return func(yield func(Match, error) bool) {
		passed := 0
		for e, err := range v.Walk(w) {
			m := Match{Entry: e, view: v, rows: rows}
			passed++
			switch {
			case err != nil:
			case len(filters) > 0 && passed > q.most, expired != nil && passed%look == 0 && expired():
				err = q.spent()
			case len(filters) > 0:
				err = m.load()
			}
			if err != nil {
				yield(m, err)
				return
			}
			if all(filters, m.node) && !yield(m, nil) {
				return
			}
		}
	}
}

func (q *Query) spent() error {
	return &Error{Kind: Exhausted, Reason: ReasonBudget, Message: "the filters would read more than " + strconv.Itoa(q.most) +
		" records in one call: narrow the query by session, type, time or an indexed filter"}
}

func all(filters []filter, n *pb.Node) bool {
	for _, f := range filters {
		if !f.matches(n) {
			return false
		}
	}
	return true
}

// count counts all matches: from counters where they tell, else by a walk that stops at MaxScanRows or when the caller's
// time is up (D14).
func (q *Query) count(v View, expired func() bool) (n int64, lowerBound bool, err error) {
	w, err := q.walk(v)
	if err != nil {
		return 0, false, err
	}
	if len(q.filters) == 0 && q.after == nil && q.before == nil {
		n, err = v.CountNodes(w.Session, q.nodeType)
		return n, false, err
	}
	rows := v.NodeReader()
	defer rows.Close()
	for _, err := range q.matches(v, rows, w, expired) {
		if errors.Is(err, Exhausted) {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
		if n == int64(q.most) {
			return n, true, nil
		}
		n++
	}
	return n, false, nil
}
