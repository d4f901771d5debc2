package graph

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A filter tests one node. Those on an indexed attribute carry it, so that a query can start from its index.
type filter struct {
	attribute *Attribute
	matches   func(*pb.Node) bool
}

const knownFilters = "model, finish_reason, tool_name, status, role, name, version, content, metadata.<key>, custom.<key>, " +
	"latency_ms, duration_ms, total_tokens (these three with a suffix > or < too)"

// newFilters parses the filters of a query, in the order in which an index serves them best.
func newFilters(given map[string]string) ([]filter, error) {
	if len(given) > MaxFilters {
		return nil, invalid("filters", "has %d entries, at most %d", len(given), MaxFilters)
	}
	var indexed, scanned []filter
	for _, key := range slices.Sorted(maps.Keys(given)) {
		f, err := newFilter(key, given[key])
		if err != nil {
			return nil, err
		}
		if f.attribute != nil {
			indexed = append(indexed, f)
		} else {
			scanned = append(scanned, f)
		}
	}
	slices.SortStableFunc(indexed, func(a, b filter) int { return rank(a) - rank(b) })
	return append(indexed, scanned...), nil
}

func rank(f filter) int { return slices.Index(attributeKeys[:], f.attribute.Key) }

func newFilter(key, value string) (filter, error) {
	if slices.Contains(attributeKeys[:], key) {
		if key == "status" {
			value = strings.ToLower(value)
		}
		return filter{
			attribute: &Attribute{Key: key, Value: value},
			matches:   func(n *pb.Node) bool { return attribute(n, key) == value && hasAttribute(n, key) },
		}, nil
	}
	if name, ok := strings.CutPrefix(key, "metadata."); ok {
		return mapFilter(name, value, metadataOf), nil
	}
	if name, ok := strings.CutPrefix(key, "custom."); ok {
		return mapFilter(name, value, customOf), nil
	}
	if key == "content" {
		return filter{matches: func(n *pb.Node) bool {
			text, ok := contentOf(n)
			return ok && strings.Contains(text, value)
		}}, nil
	}
	return numberFilter(key, value)
}

// hasAttribute tells an empty value from none: an empty filter value matches nothing, as an index has no empty values.
func hasAttribute(n *pb.Node, key string) bool { return attribute(n, key) != "" }

func mapFilter(name, value string, of func(*pb.Node) map[string]string) filter {
	return filter{matches: func(n *pb.Node) bool {
		v, ok := of(n)[name]
		return ok && v == value
	}}
}

func metadataOf(n *pb.Node) map[string]string {
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Session:
		return d.Session.GetMetadata()
	case *pb.Node_ToolInvocation:
		return d.ToolInvocation.GetMetadata()
	case *pb.Node_Agent:
		return d.Agent.GetMetadata()
	case *pb.Node_Template:
		return d.Template.GetMetadata()
	default:
		return nil
	}
}

func customOf(n *pb.Node) map[string]string {
	if p := n.GetPrompt(); p != nil {
		return p.GetMetadata().GetCustom()
	}
	return n.GetResponse().GetMetadata().GetCustom()
}

func contentOf(n *pb.Node) (string, bool) {
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		return d.Prompt.GetContent(), true
	case *pb.Node_Response:
		return d.Response.GetContent(), true
	default:
		return "", false
	}
}

func numberFilter(key, value string) (filter, error) {
	name := strings.TrimRight(key, "<>")
	of := numberOf(name)
	if of == nil || len(key)-len(name) > 1 {
		return filter{}, invalid("filters["+clip(key)+"]", "is unknown; known are %s", knownFilters)
	}
	bound, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return filter{}, invalid("filters["+key+"]", "%q is no integer", clip(value))
	}
	low, high := bound, bound
	switch key[len(name):] {
	case ">":
		if bound == math.MaxInt64 {
			return filter{matches: func(*pb.Node) bool { return false }}, nil
		}
		low, high = bound+1, math.MaxInt64
	case "<":
		if bound == math.MinInt64 {
			return filter{matches: func(*pb.Node) bool { return false }}, nil
		}
		low, high = math.MinInt64, bound-1
	}
	return filter{matches: func(n *pb.Node) bool {
		v, ok := of(n)
		return ok && v >= low && v <= high
	}}, nil
}

func numberOf(name string) func(*pb.Node) (int64, bool) {
	switch name {
	case "latency_ms":
		return func(n *pb.Node) (int64, bool) {
			return n.GetResponse().GetMetadata().GetLatencyMs(), n.GetResponse() != nil
		}
	case "duration_ms":
		return func(n *pb.Node) (int64, bool) {
			return n.GetToolInvocation().GetDurationMs(), n.GetToolInvocation() != nil
		}
	case "total_tokens":
		return func(n *pb.Node) (int64, bool) {
			return n.GetResponse().GetTokenUsage().GetTotalTokens(), n.GetResponse() != nil
		}
	default:
		return nil
	}
}
