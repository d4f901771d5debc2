package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/metadata"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func (p *program) newNodeCommand() *cobra.Command {
	return p.group("node", "Create, read, change and delete nodes", `  memory-graph node get 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11
  memory-graph node add-prompt --session 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11 --content "What is a heron?"`,
		p.newNodeCreateCommand(), p.newNodeGetCommand(), p.newNodeUpdateCommand(), p.newNodeDeleteCommand(),
		p.newAddPromptCommand(), p.newAddResponseCommand(), p.newAddToolCommand())
}

func newNode() *pb.Node { return &pb.Node{} }

func (p *program) newNodeCreateCommand() *cobra.Command {
	var file string
	return p.client(verb{
		use: "create", short: "Create nodes from JSON: one object, or an array that is created as a whole or not at all",
		args: cobra.NoArgs, kind: write,
		example: `  echo '{"agent": {"name": "planner", "role": "plans"}}' | memory-graph node create
  memory-graph node create --file nodes.json`,
		flags: func(cmd *cobra.Command) { addFileFlag(cmd, &file, "a node or an array of nodes") },
		run: func(ctx context.Context, c *call, _ []string) error {
			nodes, list, err := readMessages(p, file, newNode)
			if err != nil {
				return err
			}
			if list {
				made, err := c.graph.BatchCreateNodes(ctx, &pb.BatchCreateNodesRequest{Nodes: nodes})
				if err != nil {
					return err
				}
				return c.out.show(made, func() string { return nodeRows(made.GetNodes()) })
			}
			n, err := c.graph.CreateNode(ctx, &pb.CreateNodeRequest{Node: nodes[0]})
			if err != nil {
				return err
			}
			return c.out.show(n, func() string { return nodeFacts(n) })
		},
	})
}

func (p *program) newNodeGetCommand() *cobra.Command {
	return p.client(verb{
		use: "get ID…", short: "Show nodes of any type", args: cobra.MinimumNArgs(1),
		long: "Show nodes of any type. One id shows everything and fails when it is unknown; several give a list without the unknown ones.",
		example: `  memory-graph node get 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11
  memory-graph node get one two three -o json`,
		run: func(ctx context.Context, c *call, args []string) error {
			if len(args) == 1 {
				n, err := c.graph.GetNode(ctx, &pb.GetNodeRequest{NodeId: args[0]})
				if err != nil {
					return err
				}
				return c.out.show(n, func() string { return nodeFacts(n) })
			}
			found := &pb.BatchGetNodesResponse{}
			for some := range slices.Chunk(args, storyPage) {
				nodes, err := batchGet(ctx, c.graph, some)
				if err != nil {
					return err
				}
				found.Nodes = append(found.Nodes, nodes...)
			}
			return c.out.show(found, func() string { return nodeRows(found.GetNodes()) })
		},
	})
}

func (p *program) newNodeUpdateCommand() *cobra.Command {
	var file string
	var expected uint64
	return p.client(verb{
		use: "update", short: "Replace the data of a node from JSON", args: cobra.NoArgs, kind: write,
		long: `Replace the data of a node from JSON with its id. Type, parents and times stay as they are. With --expected-revision
the change takes place only if the node still has that revision.`,
		example: `  memory-graph node get planner -o json | sed 's/idle/busy/' | memory-graph node update`,
		flags: func(cmd *cobra.Command) {
			addFileFlag(cmd, &file, "the node")
			cmd.Flags().Uint64Var(&expected, "expected-revision", 0, "the revision that the node must still have; 0 is any")
		},
		run: func(ctx context.Context, c *call, _ []string) error {
			n, err := readOne(p, file, newNode)
			if err != nil {
				return err
			}
			req := &pb.UpdateNodeRequest{Node: n}
			if expected > 0 {
				req.ExpectedRevision = &expected
			}
			if n, err = c.graph.UpdateNode(ctx, req); err != nil {
				return err
			}
			return c.out.show(n, func() string { return nodeFacts(n) })
		},
	})
}

func (p *program) newNodeDeleteCommand() *cobra.Command {
	var cascade bool
	return p.client(verb{
		use: "delete ID", short: "Delete a node with its edges", args: cobra.ExactArgs(1), kind: write,
		example: "  memory-graph node delete 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11 --cascade",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&cascade, "cascade", false, "delete the responses and tool calls below it, too")
		},
		run: func(ctx context.Context, c *call, args []string) error {
			if cascade {
				ctx = metadata.AppendToOutgoingContext(ctx, keyCascade, "true")
			}
			if _, err := c.graph.DeleteNode(ctx, &pb.DeleteNodeRequest{NodeId: args[0]}); err != nil {
				return err
			}
			return c.deleted("node", args[0])
		},
	})
}

func (p *program) newAddPromptCommand() *cobra.Command {
	req := &pb.AddPromptRequest{}
	meta := &pb.PromptMetadata{}
	var custom, tools []string
	return p.client(verb{
		use: "add-prompt", short: "Add a prompt to a session", args: cobra.NoArgs, kind: write,
		example: `  memory-graph node add-prompt --session 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11 --content "What is a heron?"
  memory-graph node add-prompt --session 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11 --content - --model gpt-4 < question.txt`,
		flags: func(cmd *cobra.Command) {
			f := cmd.Flags()
			f.StringVar(&req.SessionId, "session", "", "id of the session")
			f.StringVar(&req.Content, "content", "", "the text; - reads standard input")
			f.StringVar(&meta.Model, "model", "", "model that is asked")
			f.Float64Var(&meta.Temperature, "temperature", 0.7, "temperature that is asked for")
			f.StringArrayVar(&tools, "tool", nil, "name of a tool that the model may call, may be repeated")
			f.StringArrayVar(&custom, "custom", nil, "key=value, may be repeated")
			require(cmd, "session", "content")
		},
		run: func(ctx context.Context, c *call, _ []string) (err error) {
			if meta.Custom, err = parsePairs("custom", custom); err != nil {
				return err
			}
			if req.Content, err = p.textOrInput(req.Content); err != nil {
				return err
			}
			meta.ToolsAvailable, req.Metadata = tools, meta
			made, err := c.graph.AddPrompt(ctx, req)
			if err != nil {
				return err
			}
			return c.out.show(made, func() string {
				return nodeFacts(&pb.Node{Id: made.Id, Type: pb.NodeType_NODE_TYPE_PROMPT, SessionId: made.SessionId, NodeData: &pb.Node_Prompt{Prompt: made}})
			})
		},
	})
}

func (p *program) newAddResponseCommand() *cobra.Command {
	req := &pb.AddResponseRequest{TokenUsage: &pb.TokenUsage{}}
	meta := &pb.ResponseMetadata{}
	var custom []string
	return p.client(verb{
		use: "add-response", short: "Add the answer to a prompt", args: cobra.NoArgs, kind: write,
		example: `  memory-graph node add-response --prompt 0196fd1e-8c30-7b11-8a44-2f1d9b7c0a52 --content "A wading bird." \
    --model gpt-4 --prompt-tokens 12 --completion-tokens 5 --latency-ms 640`,
		flags: func(cmd *cobra.Command) {
			f := cmd.Flags()
			f.StringVar(&req.PromptId, "prompt", "", "id of the prompt")
			f.StringVar(&req.Content, "content", "", "the text, may be empty; - reads standard input")
			f.Int64Var(&req.TokenUsage.PromptTokens, "prompt-tokens", 0, "tokens of the prompt")
			f.Int64Var(&req.TokenUsage.CompletionTokens, "completion-tokens", 0, "tokens of the answer")
			f.Int64Var(&req.TokenUsage.TotalTokens, "total-tokens", 0, "0 is the sum")
			f.StringVar(&meta.Model, "model", "", "model that answered")
			f.StringVar(&meta.FinishReason, "finish-reason", "", "why the answer ended")
			f.Int64Var(&meta.LatencyMs, "latency-ms", 0, "how long the answer took, in milliseconds")
			f.StringArrayVar(&custom, "custom", nil, "key=value, may be repeated")
			require(cmd, "prompt")
		},
		run: func(ctx context.Context, c *call, _ []string) (err error) {
			if meta.Custom, err = parsePairs("custom", custom); err != nil {
				return err
			}
			if req.Content, err = p.textOrInput(req.Content); err != nil {
				return err
			}
			req.Metadata = meta
			made, err := c.graph.AddResponse(ctx, req)
			if err != nil {
				return err
			}
			return c.out.show(made, func() string {
				return nodeFacts(&pb.Node{Id: made.Id, Type: pb.NodeType_NODE_TYPE_RESPONSE, NodeData: &pb.Node_Response{Response: made}})
			})
		},
	})
}

func (p *program) newAddToolCommand() *cobra.Command {
	tool := &pb.ToolInvocationNode{}
	var result, failure string
	var custom []string
	return p.client(verb{
		use: "add-tool", short: "Add a tool call of a response", args: cobra.NoArgs, kind: write,
		example: `  memory-graph node add-tool --response 0196fd1e-8c31-7c05-9d10-6b3e2a1f4c77 --name search \
    --parameters '{"query":"heron"}' --status success --result '["Ardea cinerea"]' --duration-ms 120`,
		flags: func(cmd *cobra.Command) {
			f := cmd.Flags()
			f.StringVar(&tool.ResponseId, "response", "", "id of the response")
			f.StringVar(&tool.ToolName, "name", "", "name of the tool")
			f.StringVar(&tool.Parameters, "parameters", "", "what the tool was called with, JSON by convention; - reads standard input")
			f.StringVar(&tool.Status, "status", "", "pending, running, success or failed")
			f.StringVar(&result, "result", "", "what the tool returned")
			f.StringVar(&failure, "error", "", "why the tool failed")
			f.Int64Var(&tool.DurationMs, "duration-ms", 0, "how long the call took, in milliseconds")
			f.Int32Var(&tool.RetryCount, "retries", 0, "how often the call was repeated")
			f.StringArrayVar(&custom, "metadata", nil, "key=value, may be repeated")
			require(cmd, "response", "name")
		},
		run: func(ctx context.Context, c *call, _ []string) (err error) {
			if tool.Metadata, err = parsePairs("metadata", custom); err != nil {
				return err
			}
			if tool.Parameters, err = p.textOrInput(tool.Parameters); err != nil {
				return err
			}
			if result != "" {
				tool.Result = &result
			}
			if failure != "" {
				tool.Error = &failure
			}
			made, err := c.graph.AddToolInvocation(ctx, &pb.AddToolInvocationRequest{ToolInvocation: tool})
			if err != nil {
				return err
			}
			return c.out.show(made, func() string {
				return nodeFacts(&pb.Node{Id: made.Id, Type: pb.NodeType_NODE_TYPE_TOOL_INVOCATION, NodeData: &pb.Node_ToolInvocation{ToolInvocation: made}})
			})
		},
	})
}
