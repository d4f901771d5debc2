package main

import (
	"context"

	"github.com/spf13/cobra"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func (p *program) newTemplateCommand() *cobra.Command {
	return p.group("template", "Create, list, read and instantiate prompt templates", `  memory-graph template create --name greeting --text "Hey {{name}}, how are you?" --variable name
  memory-graph template list`,
		p.newTemplateCreateCommand(), p.newTemplateListCommand(), p.newTemplateGetCommand(), p.newTemplateInstantiateCommand())
}

func templateFacts(t *pb.TemplateNode) string {
	return facts(append([]string{"id", t.GetId(), "created", instant(t.GetCreatedAt())}, templatePairs(t)...)...)
}

func (p *program) newTemplateCreateCommand() *cobra.Command {
	t := &pb.TemplateNode{}
	var file, parent string
	var variables []string
	return p.client(verb{
		use: "create", short: "Create a template, from flags or from JSON", args: cobra.NoArgs, kind: write,
		long: `Create a template, from flags or from JSON. Variables stand in the text as {{name}}. A variable that is named by
--variable is required and may be any text; defaults, patterns and types need JSON.`,
		example: `  memory-graph template create --name greeting --text "Hey {{name}}, how are you?" --variable name
  memory-graph template create --file greeting.json`,
		flags: func(cmd *cobra.Command) {
			f := cmd.Flags()
			f.StringVarP(&file, "file", "f", "", "JSON of the template; - is standard input; excludes the other flags")
			f.StringVar(&t.Name, "name", "", "name of the template")
			f.StringVar(&t.TemplateText, "text", "", "the text; - reads standard input")
			f.StringVar(&t.Version, "template-version", "", "MAJOR.MINOR.PATCH; the server's default is 1.0.0")
			f.StringArrayVar(&variables, "variable", nil, "name of a required variable, may be repeated")
			f.StringVar(&parent, "parent", "", "id of the template that this one inherits from")
			cmd.MarkFlagsOneRequired("file", "name")
			cmd.MarkFlagsMutuallyExclusive("file", "name")
		},
		run: func(ctx context.Context, c *call, _ []string) (err error) {
			if file != "" {
				t, err = readOne(p, file, func() *pb.TemplateNode { return &pb.TemplateNode{} })
			} else {
				t.TemplateText, err = p.textOrInput(t.TemplateText)
			}
			if err != nil {
				return err
			}
			for _, v := range variables {
				t.Variables = append(t.Variables, &pb.VariableSpec{Name: v, Required: true})
			}
			if parent != "" {
				t.Metadata = map[string]string{"parent_id": parent}
			}
			made, err := c.graph.CreateTemplate(ctx, &pb.CreateTemplateRequest{Template: t})
			if err != nil {
				return err
			}
			return c.out.show(made, func() string { return templateFacts(made) })
		},
	})
}

func (p *program) newTemplateListCommand() *cobra.Command {
	q := queryFlags{nodeType: "template"}
	return p.client(verb{
		use: "list", short: "List templates, newest first", args: cobra.NoArgs,
		example: "  memory-graph template list --limit 20",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().Int32Var(&q.limit, "limit", 0, "at most so many, up to 10000; 0 is the server's default")
			cmd.Flags().StringVar(&q.pageToken, "page-token", "", "continue where the page before ended")
		},
		run: func(ctx context.Context, c *call, _ []string) error {
			req, err := q.request(p.now())
			if err != nil {
				return err
			}
			return c.queryPage(ctx, req)
		},
	})
}

func (p *program) newTemplateGetCommand() *cobra.Command {
	return p.client(verb{
		use: "get ID", short: "Show a template", args: cobra.ExactArgs(1),
		example: "  memory-graph template get 0196fd1e-8c33-7e55-a1b2-6f7a8b9c0d1e",
		run: func(ctx context.Context, c *call, args []string) error {
			n, err := c.graph.GetNode(ctx, &pb.GetNodeRequest{NodeId: args[0]})
			if err != nil {
				return err
			}
			if n.GetTemplate() == nil {
				return usagef("%s is a %s, not a template; see it with: memory-graph node get %s", args[0], typeName(n.GetType()), args[0])
			}
			return c.out.show(n.GetTemplate(), func() string { return templateFacts(n.GetTemplate()) })
		},
	})
}

func (p *program) newTemplateInstantiateCommand() *cobra.Command {
	req := &pb.InstantiateTemplateRequest{}
	var values []string
	return p.client(verb{
		use: "instantiate ID", short: "Make a prompt of a template", args: cobra.ExactArgs(1), kind: write,
		example: `  memory-graph template instantiate 0196fd1e-8c33-7e55-a1b2-6f7a8b9c0d1e \
    --session 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11 --var name=Alice`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&req.SessionId, "session", "", "id of the session that the prompt goes to")
			cmd.Flags().StringArrayVar(&values, "var", nil, "name=value, may be repeated")
			require(cmd, "session")
		},
		run: func(ctx context.Context, c *call, args []string) (err error) {
			if req.VariableValues, err = parsePairs("var", values); err != nil {
				return err
			}
			req.TemplateId = args[0]
			made, err := c.graph.InstantiateTemplate(ctx, req)
			if err != nil {
				return err
			}
			return c.out.show(made, func() string {
				return nodeFacts(&pb.Node{Id: made.Id, Type: pb.NodeType_NODE_TYPE_PROMPT, SessionId: made.SessionId, NodeData: &pb.Node_Prompt{Prompt: made}})
			})
		},
	})
}
