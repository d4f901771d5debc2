package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

const (
	// maxStoryNodes bounds what one tree holds in memory.
	maxStoryNodes = 100_000
	// storyPage is how many nodes a page asks for, edgeWorkers how many calls run at once.
	storyPage   = 1000
	edgeWorkers = 8
)

// A story is a session with all that its tree shows.
type story struct {
	session *pb.Session
	// nodes are the prompts, responses and tool invocations, oldest first.
	nodes []*pb.Node
	// edges are those from prompts and responses to agents, templates and references, by the node that they start from.
	edges map[string][]*pb.Edge
	// related are the nodes that the edges end in.
	related map[string]*pb.Node
}

// fetchStory reads a session. Parents stand in the records, so only agents, templates and references need edges: one
// call for each prompt and response.
func fetchStory(ctx context.Context, graph graphgrpc.MemoryGraphServiceClient, id string) (*story, error) {
	session, err := graph.GetSession(ctx, &pb.GetSessionRequest{SessionId: id})
	if err != nil {
		return nil, err
	}
	s := &story{session: session, edges: make(map[string][]*pb.Edge), related: make(map[string]*pb.Node)}
	req := &pb.QueryRequest{SessionId: &id, Limit: storyPage, SkipTotal: true}
	for {
		page, err := graph.Query(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, n := range page.GetNodes() {
			if n.GetType() != pb.NodeType_NODE_TYPE_SESSION {
				s.nodes = append(s.nodes, n)
			}
		}
		if len(s.nodes) > maxStoryNodes {
			return nil, fmt.Errorf("session %s has more than %d nodes; read it in parts with: memory-graph query --session %s --stream", id, maxStoryNodes, id)
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	slices.Reverse(s.nodes)
	if err := s.fetchEdges(ctx, graph); err != nil {
		return nil, err
	}
	return s, s.fetchRelated(ctx, graph)
}

// fetchEdges asks for the edges of all prompts and responses, a few at a time.
func (s *story) fetchEdges(ctx context.Context, graph graphgrpc.MemoryGraphServiceClient) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		workers sync.WaitGroup
		mu      sync.Mutex // guards s.edges
		work    = make(chan string)
	)
	for range edgeWorkers {
		workers.Go(func() {
			for id := range work {
				edges, err := relations(ctx, graph, id)
				if err != nil {
					cancel(err)
					continue
				}
				mu.Lock()
				s.edges[id] = edges
				mu.Unlock()
			}
		})
	}
	for _, n := range s.nodes {
		if n.GetType() == pb.NodeType_NODE_TYPE_TOOL_INVOCATION || ctx.Err() != nil {
			continue
		}
		work <- n.GetId()
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

// relations returns the outgoing edges of a node that its tree shows.
func relations(ctx context.Context, graph graphgrpc.MemoryGraphServiceClient, id string) ([]*pb.Edge, error) {
	var edges []*pb.Edge
	req := &pb.GetEdgesRequest{NodeId: id, PageSize: storyPage}
	for {
		page, err := graph.GetEdges(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, e := range page.GetEdges() {
			switch e.GetType() {
			case pb.EdgeType_EDGE_TYPE_HANDLED_BY, pb.EdgeType_EDGE_TYPE_INSTANTIATES,
				pb.EdgeType_EDGE_TYPE_TRANSFERS_TO, pb.EdgeType_EDGE_TYPE_REFERENCES:
				edges = append(edges, e)
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return edges, nil
		}
	}
}

func (s *story) fetchRelated(ctx context.Context, graph graphgrpc.MemoryGraphServiceClient) error {
	var ids []string
	seen := make(map[string]bool)
	for _, n := range s.nodes {
		for _, e := range s.edges[n.GetId()] {
			if !seen[e.GetToNodeId()] {
				seen[e.GetToNodeId()] = true
				ids = append(ids, e.GetToNodeId())
			}
		}
	}
	for some := range slices.Chunk(ids, storyPage) {
		nodes, err := batchGet(ctx, graph, some)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			s.related[n.GetId()] = n
		}
	}
	return nil
}

// batchGet reads at most 1000 nodes, in as many pages as their size needs. Unknown ids are left out.
func batchGet(ctx context.Context, graph graphgrpc.MemoryGraphServiceClient, ids []string) ([]*pb.Node, error) {
	var nodes []*pb.Node
	req := &pb.BatchGetNodesRequest{NodeIds: ids, PageSize: int32(len(ids))}
	for {
		page, err := graph.BatchGetNodes(ctx, req)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, page.GetNodes()...)
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return nodes, nil
		}
	}
}

// totals sum up a story.
type totals struct {
	Prompts          int   `json:"prompts"`
	Responses        int   `json:"responses"`
	ToolInvocations  int   `json:"tool_invocations"`
	FailedTools      int   `json:"tool_invocations_failed"`
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	TotalTokens      int64 `json:"total_tokens"`
	// DurationMs is from the first to the last of its times, the length of a last tool call included.
	DurationMs int64 `json:"duration_ms"`
}

func (s *story) totals() totals {
	var t totals
	var first, last time.Time
	for _, n := range s.nodes {
		at := when(n).AsTime()
		end := at.Add(time.Duration(n.GetToolInvocation().GetDurationMs()) * time.Millisecond)
		if when(n) != nil {
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if end.After(last) {
				last = end
			}
		}
		switch n.GetType() {
		case pb.NodeType_NODE_TYPE_PROMPT:
			t.Prompts++
		case pb.NodeType_NODE_TYPE_RESPONSE:
			t.Responses++
			u := n.GetResponse().GetTokenUsage()
			t.PromptTokens += u.GetPromptTokens()
			t.CompletionTokens += u.GetCompletionTokens()
			t.TotalTokens += u.GetTotalTokens()
		case pb.NodeType_NODE_TYPE_TOOL_INVOCATION:
			t.ToolInvocations++
			if n.GetToolInvocation().GetStatus() == "failed" {
				t.FailedTools++
			}
		}
	}
	if last.After(first) {
		t.DurationMs = last.Sub(first).Milliseconds()
	}
	return t
}
