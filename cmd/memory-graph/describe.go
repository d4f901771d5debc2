package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// instant writes a time in UTC, to the second; an unset one is empty.
func instant(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.DateTime) + "Z"
}

// typeName is the short name of a node's type: prompt, tool_invocation.
func typeName(t pb.NodeType) string {
	return strings.ToLower(strings.TrimPrefix(t.String(), "NODE_TYPE_"))
}

func edgeName(t pb.EdgeType) string { return strings.TrimPrefix(t.String(), "EDGE_TYPE_") }

func eventName(t pb.EventType) string { return strings.TrimPrefix(t.String(), "EVENT_TYPE_") }

// pairsText writes a map as key=value, sorted.
func pairsText(m map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k+"="+m[k])
	}
	return strings.Join(all, "  ")
}

// when is a record's own time, else the time at which it was made.
func when(n *pb.Node) *timestamppb.Timestamp {
	own := n.GetCreatedAt()
	for _, t := range []*timestamppb.Timestamp{n.GetPrompt().GetTimestamp(), n.GetResponse().GetTimestamp(), n.GetToolInvocation().GetTimestamp()} {
		if t != nil {
			own = t
		}
	}
	return own
}

// summary says in one text what a node holds.
func summary(n *pb.Node) string {
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Session:
		return activity(d.Session) + "  " + pairsText(d.Session.GetMetadata())
	case *pb.Node_Prompt:
		return d.Prompt.GetContent()
	case *pb.Node_Response:
		if d.Response.GetContent() == "" {
			return noText
		}
		return d.Response.GetContent()
	case *pb.Node_ToolInvocation:
		return d.ToolInvocation.GetToolName() + " " + d.ToolInvocation.GetStatus() + "  " + d.ToolInvocation.GetParameters()
	case *pb.Node_Agent:
		return d.Agent.GetName() + "  " + d.Agent.GetStatus()
	case *pb.Node_Template:
		return d.Template.GetName() + " " + d.Template.GetVersion() + "  " + d.Template.GetTemplateText()
	default:
		return ""
	}
}

// noText stands for an empty answer, as of one that only calls tools.
const noText = "(no text)"

func activity(s *pb.Session) string {
	if s.GetIsActive() {
		return "active"
	}
	return "closed"
}

func nodeRows(nodes []*pb.Node) string {
	rows := make([][]string, 0, len(nodes))
	for _, n := range nodes {
		rows = append(rows, []string{n.GetId(), typeName(n.GetType()), instant(when(n)), summary(n)})
	}
	return grid([]string{"id", "type", "time", "content"}, rows)
}

// nodeLine is a node as one line of a stream.
func nodeLine(n *pb.Node, width int) string {
	return cut(fmt.Sprintf("%-36s  %-15s  %-20s  %s", printable(n.GetId()), typeName(n.GetType()), instant(when(n)), oneLine(summary(n))), width)
}

// nodeFacts draws all of a node.
func nodeFacts(n *pb.Node) string {
	pairs := []string{"id", n.GetId(), "type", typeName(n.GetType()), "session", n.GetSessionId(), "created", instant(n.GetCreatedAt())}
	if n.GetRevision() > 0 {
		pairs = append(pairs, "revision", strconv.FormatUint(n.GetRevision(), 10))
	}
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Session:
		pairs = append(pairs, "state", activity(d.Session), "updated", instant(d.Session.GetUpdatedAt()), "metadata", pairsText(d.Session.GetMetadata()))
	case *pb.Node_Prompt:
		m := d.Prompt.GetMetadata()
		pairs = append(pairs, "time", instant(d.Prompt.GetTimestamp()), "model", m.GetModel(), "temperature", fmt.Sprintf("%g", m.GetTemperature()),
			"tools", strings.Join(m.GetToolsAvailable(), ", "), "custom", pairsText(m.GetCustom()), "content", d.Prompt.GetContent())
	case *pb.Node_Response:
		m := d.Response.GetMetadata()
		pairs = append(pairs, "prompt", d.Response.GetPromptId(), "time", instant(d.Response.GetTimestamp()), "model", m.GetModel(),
			"finish reason", m.GetFinishReason(), "latency", millis(m.GetLatencyMs()), "tokens", tokens(d.Response.GetTokenUsage()),
			"custom", pairsText(m.GetCustom()), "content", d.Response.GetContent())
	case *pb.Node_ToolInvocation:
		v := d.ToolInvocation
		pairs = append(pairs, "response", v.GetResponseId(), "time", instant(v.GetTimestamp()), "tool", v.GetToolName(), "status", v.GetStatus(),
			"duration", millis(v.GetDurationMs()), "retries", strconv.Itoa(int(v.GetRetryCount())), "metadata", pairsText(v.GetMetadata()),
			"parameters", v.GetParameters(), "result", v.GetResult(), "error", v.GetError())
	case *pb.Node_Agent:
		a := d.Agent
		pairs = append(pairs, "name", a.GetName(), "role", a.GetRole(), "status", a.GetStatus(),
			"capabilities", strings.Join(a.GetCapabilities(), ", "), "metadata", pairsText(a.GetMetadata()))
	case *pb.Node_Template:
		pairs = append(pairs, templatePairs(d.Template)...)
	}
	return facts(pairs...)
}

func templatePairs(t *pb.TemplateNode) []string {
	var variables []string
	for _, v := range t.GetVariables() {
		name := v.GetName()
		if v.GetRequired() {
			name += " (required)"
		}
		variables = append(variables, name)
	}
	return []string{"name", t.GetName(), "version", t.GetVersion(), "used", strconv.FormatInt(t.GetUsageCount(), 10),
		"variables", strings.Join(variables, ", "), "metadata", pairsText(t.GetMetadata()), "text", t.GetTemplateText()}
}

// millis writes a duration that is given in milliseconds; 0, which means unknown, is empty.
func millis(ms int64) string {
	if ms == 0 {
		return ""
	}
	return (time.Duration(min(ms, int64(1<<62)/int64(time.Millisecond))) * time.Millisecond).String()
}

// tokens writes a usage; one of zeros, which means unknown, is empty.
func tokens(u *pb.TokenUsage) string {
	if u.GetTotalTokens() == 0 && u.GetPromptTokens() == 0 && u.GetCompletionTokens() == 0 {
		return ""
	}
	return fmt.Sprintf("%d (%d in, %d out)", u.GetTotalTokens(), u.GetPromptTokens(), u.GetCompletionTokens())
}
