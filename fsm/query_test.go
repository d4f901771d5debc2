package fsm_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// library is a world with two sessions of some length.
func library(t T) *world {
	w := newWorld(t)
	w.must(createSession("s1"))
	w.must(createSession("s2"))
	for i := range 10 {
		p, r := aPrompt(fmt.Sprint("p", i), fmt.Sprint("s", i%2+1)), aResponse(fmt.Sprint("r", i), fmt.Sprint("p", i))
		p.GetPrompt().Timestamp = graph.Timestamp(epoch + int64(i/3)*second) // three at a time
		r.GetResponse().Timestamp = graph.Timestamp(epoch + int64(100+i)*second)
		r.GetResponse().Metadata = &pb.ResponseMetadata{Model: fmt.Sprint("model-", i%3), FinishReason: "stop", LatencyMs: int64(i) * 10}
		w.must(createNodes(p, r))
	}
	w.must(createNodes(anAgent("a1"), aTemplate("m1")))
	return w
}

func query(t T, req *pb.QueryRequest) *graph.Query {
	t.Helper()
	q, err := graph.NewQuery(req)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return q
}

func ids(nodes []*pb.Node) string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Id)
	}
	return aliases(strings.Join(out, " "))
}

func TestQueries(t *testing.T) {
	w := library(t)
	at := func(seconds int64) *pb.QueryRequest {
		return &pb.QueryRequest{NodeType: promptType.Enum(), After: graph.Timestamp(epoch + seconds*second)}
	}
	for _, c := range []struct {
		name  string
		req   *pb.QueryRequest
		page  graph.Paging
		want  string
		total int64
		more  bool
	}{
		{"newest first, ties by position", &pb.QueryRequest{NodeType: promptType.Enum()}, graph.Paging{Limit: 20}, "p9 p8 p7 p6 p5 p4 p3 p2 p1 p0", 10, false},
		{"a session with its node", &pb.QueryRequest{SessionId: proto.String(uuidOf("s2"))}, graph.Paging{Limit: 20}, "r9 r7 r5 r3 r1 p9 s2 p7 p5 p3 p1", 11, false},
		{"a session, one type", &pb.QueryRequest{SessionId: proto.String(uuidOf("s2")), NodeType: responseType.Enum()}, graph.Paging{Limit: 2}, "r9 r7", 5, true},
		{"exactly the limit", &pb.QueryRequest{NodeType: promptType.Enum()}, graph.Paging{Limit: 10}, "p9 p8 p7 p6 p5 p4 p3 p2 p1 p0", 10, false},
		{"one less", &pb.QueryRequest{NodeType: promptType.Enum()}, graph.Paging{Limit: 9}, "p9 p8 p7 p6 p5 p4 p3 p2 p1", 10, true},
		{"an offset", &pb.QueryRequest{NodeType: promptType.Enum()}, graph.Paging{Limit: 2, Offset: 3}, "p6 p5", 10, true},
		{"an offset beyond the end", &pb.QueryRequest{NodeType: promptType.Enum()}, graph.Paging{Limit: 2, Offset: 30}, "", 10, false},
		{"nothing asked for", &pb.QueryRequest{NodeType: promptType.Enum()}, graph.Paging{}, "", 10, false},
		{"no total", &pb.QueryRequest{NodeType: promptType.Enum()}, graph.Paging{Limit: 1, SkipTotal: true}, "p9", 0, true},
		{"after, inclusive", at(2), graph.Paging{Limit: 20}, "p9 p8 p7 p6", 4, false},
		{"after and before", &pb.QueryRequest{NodeType: promptType.Enum(), After: graph.Timestamp(epoch + second), Before: graph.Timestamp(epoch + second)}, graph.Paging{Limit: 20}, "p5 p4 p3", 3, false},
		{"after after before", &pb.QueryRequest{After: graph.Timestamp(epoch + second), Before: graph.Timestamp(epoch)}, graph.Paging{Limit: 20}, "", 0, false},
		{"an index", &pb.QueryRequest{Filters: map[string]string{"model": "model-1"}}, graph.Paging{Limit: 20}, "r7 r4 r1", 3, false},
		{"an index and a scan", &pb.QueryRequest{Filters: map[string]string{"model": "model-1", "latency_ms>": "10"}}, graph.Paging{Limit: 1}, "r7", 2, true},
		{"two indexes", &pb.QueryRequest{Filters: map[string]string{"model": "model-1", "finish_reason": "stop"}}, graph.Paging{Limit: 20}, "r7 r4 r1", 3, false},
		{"an index of a session", &pb.QueryRequest{SessionId: proto.String(uuidOf("s1")), Filters: map[string]string{"model": "model-1"}}, graph.Paging{Limit: 20}, "r4", 1, false},
		{"an index and times", &pb.QueryRequest{Filters: map[string]string{"model": "model-1"}, Before: graph.Timestamp(epoch + 104*second)}, graph.Paging{Limit: 20}, "r4 r1", 2, false},
		{"a scan", &pb.QueryRequest{Filters: map[string]string{"content": "of p3"}}, graph.Paging{Limit: 20}, "p3", 1, false},
		{"a scan that finds nothing", &pb.QueryRequest{Filters: map[string]string{"content": "nothing"}}, graph.Paging{Limit: 20}, "", 0, false},
		{"an empty value of an index", &pb.QueryRequest{Filters: map[string]string{"model": ""}}, graph.Paging{Limit: 20}, "", 0, false},
		{"agents", &pb.QueryRequest{NodeType: agentType.Enum()}, graph.Paging{Limit: 20}, "a1", 1, false},
		{"cut by bytes", &pb.QueryRequest{NodeType: promptType.Enum()}, graph.Paging{Limit: 20, MaxBytes: 500}, "p9 p8", 10, true},
		{"one row at the least", &pb.QueryRequest{NodeType: promptType.Enum()}, graph.Paging{Limit: 20, MaxBytes: 1}, "p9", 10, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.read(func(v graph.View) {
				page, err := query(t, c.req).Page(v, c.page)
				if err != nil {
					t.Fatal(err)
				}
				if got := ids(page.Nodes); got != c.want || page.Total != c.total || page.LowerBound || (page.Next != nil) != c.more {
					t.Errorf("got %q of %d, more %v; want %q of %d, more %v", got, page.Total, page.Next != nil, c.want, c.total, c.more)
				}
			})
		})
	}
}

func TestQueriesOfWhatIsNotThere(t *testing.T) {
	w := library(t)
	w.read(func(v graph.View) {
		for _, id := range []string{uuidOf("s9")} {
			q := query(t, &pb.QueryRequest{SessionId: &id})
			_, err := q.Page(v, graph.Paging{Limit: 1})
			if !errors.Is(err, graph.NotFound) {
				t.Errorf("got %v", err)
			}
		}
		page, err := graph.Sessions().Page(v, graph.Paging{Limit: 1})
		if err != nil || ids(page.Nodes) != "s2" || page.Total != 2 || !page.Nodes[0].GetSession().IsActive || page.Nodes[0].Revision == 0 {
			t.Errorf("got %v, %v", page, err)
		}
	})
}

// TestPagesJoin: pages of any size, cut by bytes or not, give what one page gives, and cost nothing for what is skipped.
func TestPagesJoin(t *testing.T) {
	w := library(t)
	rapid.Check(t, func(t *rapid.T) {
		req := &pb.QueryRequest{}
		if rapid.Bool().Draw(t, "session") {
			req.SessionId = proto.String(uuidOf("s1"))
		}
		if rapid.Bool().Draw(t, "type") {
			req.NodeType = rapid.SampledFrom([]pb.NodeType{promptType, responseType}).Draw(t, "which").Enum()
		}
		if rapid.Bool().Draw(t, "filter") {
			req.Filters = map[string]string{rapid.SampledFrom([]string{"content", "model", "latency_ms<"}).Draw(t, "key"): "1"}
		}
		q := query(t, req)
		w.read(func(v graph.View) {
			whole, err := q.Page(v, graph.Paging{Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			var joined []*pb.Node
			paging := graph.Paging{Offset: 7}
			for first := true; first || paging.From != nil; first = false {
				paging.Limit = rapid.IntRange(1, 7).Draw(t, "limit")
				paging.MaxBytes = rapid.IntRange(0, 900).Draw(t, "bytes")
				if first {
					paging.Offset = 0
				}
				page, err := q.Page(v, paging)
				if err != nil {
					t.Fatal(err)
				}
				if page.Total != int64(len(whole.Nodes)) {
					t.Fatalf("total %d, want %d", page.Total, len(whole.Nodes))
				}
				joined = append(joined, page.Nodes...)
				paging.From = page.Next
				paging.Offset = 5 // ignored with a place
			}
			if ids(joined) != ids(whole.Nodes) {
				t.Fatalf("got %s, want %s", ids(joined), ids(whole.Nodes))
			}
		})
	})
}

// TestCountingStopsWhenTimeIsUp, whether anything matches or not.
func TestCountingStopsWhenTimeIsUp(t *testing.T) {
	w := newWorld(t)
	w.must(createSession("s1"))
	for i := range 3 {
		var nodes []*pb.Node
		for j := range 1000 {
			nodes = append(nodes, aPrompt(fmt.Sprint("p", i, "-", j), "s1"))
		}
		w.must(createNodes(nodes...))
	}
	for want, req := range map[int64]*pb.QueryRequest{
		0:    {Filters: map[string]string{"content": "nothing"}},
		2047: {NodeType: promptType.Enum(), After: graph.Timestamp(0 + 1)},
	} {
		looks := 0
		w.read(func(v graph.View) {
			page, err := query(t, req).Page(v, graph.Paging{Expired: func() bool { looks++; return looks == 2 }})
			if err != nil || !page.LowerBound || page.Total != want || looks != 2 {
				t.Errorf("got %d, lower bound %v, %d looks, %v; want %d", page.Total, page.LowerBound, looks, err, want)
			}
		})
	}
}

func TestEachStops(t *testing.T) {
	w := library(t)
	q := query(t, &pb.QueryRequest{NodeType: promptType.Enum()})
	w.read(func(v graph.View) {
		for _, c := range []struct {
			skip, most, stop int
			want             string
			ended            bool
		}{
			{0, -1, 99, "p9 p8 p7 p6 p5 p4 p3 p2 p1 p0", true},
			{8, -1, 99, "p1 p0", true},
			{0, 2, 99, "p9 p8", false},
			{0, -1, 3, "p9 p8 p7", false},
			{12, -1, 99, "", true},
			{0, 10, 99, "p9 p8 p7 p6 p5 p4 p3 p2 p1 p0", true},
		} {
			var got []*pb.Node
			ended := false
			err := q.Each(v, nil, c.skip, c.most, func(m graph.Match) (bool, error) {
				n, err := m.Node()
				got = append(got, n)
				return len(got) < c.stop, err
			}, func() { ended = true })
			if err != nil || ids(got) != c.want || ended != c.ended {
				t.Errorf("%+v: got %s, ended %v, %v", c, ids(got), ended, err)
			}
		}
		if err := q.Each(v, nil, 0, -1, func(graph.Match) (bool, error) { return true, errBroken }, nil); !errors.Is(err, errBroken) {
			t.Errorf("got %v", err)
		}
	})
}

func TestEdgesResume(t *testing.T) {
	w := library(t)
	for _, e := range []*pb.Edge{reference("e1", "p0", "p0"), reference("e2", "p1", "p0"), reference("e3", "p0", "p1")} {
		w.must(createEdge(e))
	}
	for _, direction := range []pb.EdgeDirection{0, 1, 2, 3} {
		q, err := graph.NewEdgeQuery(&pb.GetEdgesRequest{NodeId: "p0", Direction: direction.Enum()})
		if err != nil {
			t.Fatal(err)
		}
		var places []graph.EdgePlace
		seen := map[graph.EdgePlace]bool{}
		w.read(func(v graph.View) {
			all := func(from *graph.EdgePlace, most int) (out []graph.EdgePlace) {
				err := q.Each(v, from, func(p graph.EdgePlace, _ graph.EdgeRecord) (bool, error) {
					out = append(out, p)
					return len(out) < most, nil
				})
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			places = all(nil, 99)
			for i, p := range places {
				if rest := all(&p, 99); fmt.Sprint(rest) != fmt.Sprint(places[i+1:]) {
					t.Errorf("%v after %v: got %v, want %v", direction, p, rest, places[i+1:])
				}
				seen[p] = true
			}
			if one := all(nil, 1); fmt.Sprint(one) != fmt.Sprint(places[:1]) {
				t.Errorf("%v: the first is %v", direction, one)
			}
			if err := q.Each(v, nil, func(graph.EdgePlace, graph.EdgeRecord) (bool, error) { return true, errBroken }); !errors.Is(err, errBroken) {
				t.Errorf("got %v", err)
			}
		})
		want := map[pb.EdgeDirection]int{0: 3, 1: 3, 2: 4, 3: 6}[direction]
		if direction == 2 {
			want = 4 // RESPONDS_TO, FOLLOWS, the loop, e2
		}
		if len(places) != want || len(seen) != want {
			t.Errorf("%v: %v, want %d", direction, places, want)
		}
	}
}
