package importer

import (
	"slices"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// isRefusal says that the server refuses a record and would take others: it breaks a rule, refers to what is not there, or
// differs from what is stored under its id.
func isRefusal(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists:
		return true
	}
	return false
}

// progressOf reads from an error how many chunks of the stream the server has committed before it, and what they did.
func progressOf(err error) (chunks int, done *pb.ImportResponse) {
	done = &pb.ImportResponse{}
	for _, detail := range status.Convert(err).Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok {
			continue
		}
		whole := func(key string) int64 {
			n, err := strconv.ParseInt(info.Metadata[key], 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
		done.NodesCreated, done.NodesUnchanged = whole("nodes_created"), whole("nodes_unchanged")
		done.EdgesCreated, done.EdgesUnchanged = whole("edges_created"), whole("edges_unchanged")
		chunks = int(whole("chunks"))
	}
	return chunks, done
}

// missingIn is the id that the server says is not there.
func missingIn(err error) string {
	if status.Code(err) != codes.NotFound {
		return ""
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ResourceInfo); ok {
			return info.ResourceName
		}
	}
	return ""
}

// isolate takes the records out of a refused chunk that the server does not take, by sending it in halves. A record is to
// blame when it was refused alone: the one that is left when others are taken out has not been judged yet.
func (d *delivery) isolate(c *chunk, refusal error) error {
	if id := missingIn(refusal); id != "" {
		d.lose(id)
	}
	judged := c.records()
	d.drop(c)
	switch left := c.records(); {
	case left == 0:
		return nil
	case left == 1 && judged == 1:
		d.refuse(c, refusal)
		return nil
	case left == 1:
		return d.sendPart(c)
	}
	first, second := c.halves()
	for _, half := range []*chunk{first, second} {
		if d.drop(half); half.records() == 0 {
			continue
		}
		if err := d.sendPart(half); err != nil {
			return err
		}
	}
	return nil
}

// sendPart sends a part of a chunk, and takes out of it what the server refuses.
func (d *delivery) sendPart(c *chunk) error {
	err := d.sendAlone(c)
	if err != nil && isRefusal(err) {
		return d.isolate(c, err)
	}
	return err
}

// sendAlone sends one chunk down a stream of its own.
func (d *delivery) sendAlone(c *chunk) error {
	stream, err := d.client.Import(d.ctx)
	if err != nil {
		return err
	}
	_ = stream.Send(&c.req) // the answer says what became of it
	answer, err := stream.CloseAndRecv()
	if err == nil {
		d.count(answer)
	}
	return err
}

// refuse reports the only record of a chunk. Unless another one is stored under its id, the id is lost.
func (d *delivery) refuse(c *chunk, refusal error) {
	message := status.Convert(refusal).Message()
	for i, n := range c.req.Nodes {
		d.refused(c.nodesOf[i], message)
		if status.Code(refusal) != codes.AlreadyExists {
			d.lose(n.Id)
		}
	}
	for i := range c.req.Edges {
		d.refused(c.edgesOf[i], message)
	}
}

// maxLost bounds the ids that are remembered as lost. Beyond it, the server is asked.
const maxLost = 100_000

func (d *delivery) lose(id string) {
	if id != "" && len(d.lost) < maxLost {
		d.lost[id] = true
	}
}

// halves cuts a chunk in two, nodes first.
func (c *chunk) halves() (first, second *chunk) {
	n, e := len(c.req.Nodes), len(c.req.Edges)
	cutNodes := min(n, (n+e)/2)
	cutEdges := (n+e)/2 - cutNodes
	part := func(n0, n1, e0, e1 int) *chunk {
		return &chunk{req: pb.ImportRequest{Nodes: c.req.Nodes[n0:n1:n1], Edges: c.req.Edges[e0:e1:e1]},
			nodesOf: c.nodesOf[n0:n1:n1], edgesOf: c.edgesOf[e0:e1:e1], size: c.size}
	}
	return part(0, cutNodes, 0, cutEdges), part(cutNodes, n, cutEdges, e)
}

// drop takes the records out of a chunk that refer to what is lost; they are then lost, too. A node that stays is lost no
// more: what came before it in the file could not refer to it, and what comes behind it can.
func (d *delivery) drop(c *chunk) {
	if len(d.lost) == 0 {
		return
	}
	var nodes []*pb.Node
	var nodesOf []origin
	for i, n := range c.req.Nodes {
		at := slices.IndexFunc(parents(n), func(id string) bool { return d.lost[id] })
		if at < 0 {
			nodes, nodesOf = append(nodes, n), append(nodesOf, c.nodesOf[i])
			delete(d.lost, n.Id)
			continue
		}
		d.refused(c.nodesOf[i], "refers to "+parents(n)[at]+", which is not there")
		d.lose(n.Id)
	}
	var edges []*pb.Edge
	var edgesOf []origin
	for i, e := range c.req.Edges {
		switch {
		case d.lost[e.FromNodeId]:
			d.refused(c.edgesOf[i], "begins at "+e.FromNodeId+", which is not there")
		case d.lost[e.ToNodeId]:
			d.refused(c.edgesOf[i], "ends at "+e.ToNodeId+", which is not there")
		default:
			edges, edgesOf = append(edges, e), append(edgesOf, c.edgesOf[i])
		}
	}
	c.req.Nodes, c.nodesOf, c.req.Edges, c.edgesOf = nodes, nodesOf, edges, edgesOf
}

// parents are the ids that a node refers to.
func parents(n *pb.Node) []string {
	var ids []string
	if n.Type != pb.NodeType_NODE_TYPE_SESSION {
		ids = append(ids, n.SessionId)
	}
	return append(ids, n.GetPrompt().GetSessionId(), n.GetResponse().GetPromptId(), n.GetToolInvocation().GetResponseId())
}
