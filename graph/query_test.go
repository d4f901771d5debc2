package graph

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// shelf is a view of prompts at the times 1, 2, 3, … that knows how to walk by time and to find by position, no more.
// Queries on a real store are tested in fsm.
type shelf struct {
	View
	books int
}

func (s shelf) Walk(w Walk) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for i := s.books; i > 0; i-- {
			if w.After != nil && int64(i) < *w.After {
				return
			}
			if !yield(Entry{Place{int64(i), Position(i)}, prompt}, nil) {
				return
			}
		}
	}
}

func (s shelf) NodeReader() NodeReader { return s }

func (s shelf) Close() {}

func (s shelf) NodeAt(at Position) (NodeRecord, bool, error) {
	n := &pb.Node{Id: fmt.Sprint(at), NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{Content: "x"}}}
	return NodeRecord{Position: at, Wire: Encode(n)}, at <= Position(s.books), nil
}

func TestBudgets(t *testing.T) {
	v := shelf{books: 10}
	budget := func(req *pb.QueryRequest, most int) *Query {
		q, err := NewQuery(req)
		if err != nil {
			t.Fatal(err)
		}
		if q.most != MaxScanRows {
			t.Errorf("the budget is %d", q.most)
		}
		q.most = most
		return q
	}
	scan := &pb.QueryRequest{Filters: map[string]string{"content": "x"}}
	times := &pb.QueryRequest{After: Timestamp(1)}
	for _, c := range []struct {
		name       string
		req        *pb.QueryRequest
		most       int
		limit      int
		nodes      int
		total      int64
		lowerBound bool
	}{
		{"as many as there are", scan, 10, 3, 3, 10, false},
		{"the page fits, the count does not", scan, 9, 3, 3, 9, true},
		{"counting by index", times, 5, 20, 10, 5, true},
		{"counting by index to the end", times, 10, 20, 10, 10, false},
	} {
		page, err := budget(c.req, c.most).Page(v, Paging{Limit: c.limit})
		if err != nil || len(page.Nodes) != c.nodes || page.Total != c.total || page.LowerBound != c.lowerBound {
			t.Errorf("%s: got %d of %d, lower bound %v, %v", c.name, len(page.Nodes), page.Total, page.LowerBound, err)
		}
	}
	_, err := budget(scan, 9).Page(v, Paging{Limit: 20})
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Kind != Exhausted || refusal.Reason != ReasonBudget || !strings.Contains(refusal.Message, "more than 9 records") {
		t.Errorf("the page does not fit: %v", err)
	}
}

// TestAnIndexWithoutItsRecordIsDamage, and no refusal.
func TestAnIndexWithoutItsRecordIsDamage(t *testing.T) {
	m := Match{Entry: Entry{Place: Place{Position: 11}}, view: shelf{books: 10}, rows: shelf{books: 10}}
	_, err := m.Node()
	var refusal *Error
	if err == nil || errors.As(err, &refusal) || !strings.Contains(err.Error(), "position 11") {
		t.Errorf("got %v", err)
	}
}
