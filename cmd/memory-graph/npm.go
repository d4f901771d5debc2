package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/deploy/npm"
)

func (p *program) newNPMRepairCommand() *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use:     "npm-repair [PROJECT]",
		GroupID: groupClient,
		Short:   "Make the published npm client work",
		Long: `npm-repair puts the contract in place that ` + npm.Client + ` ` + npm.Version + ` opens and does not bring along: the
file node_modules/@llm-dev-ops/proto/memory_graph.proto of the project, the working folder unless named. It is the contract of this
server, the same on the wire, with the names of fields that the client uses. npm removes it with node_modules: name the command as
postinstall script of the project. See docs/NPM.md.`,
		Example: `  npm install ` + npm.Client + `@` + npm.Version + ` && memory-graph npm-repair
  memory-graph npm-repair services/web
  memory-graph npm-repair --print > memory_graph.proto`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p.started = true
			if show {
				_, err := fmt.Fprint(p.stdout, npm.Contract())
				return err
			}
			return p.repairNPM(append(args, ".")[0])
		},
	}
	cmd.Flags().BoolVar(&show, "print", false, "print the file instead")
	return cmd
}

func (p *program) repairNPM(project string) error {
	done, err := npm.Repair(project)
	if err != nil {
		return err
	}
	if !done.Known {
		fmt.Fprintf(p.stderr, "%s is %s; the file was made for %s and may not fit\n", npm.Client, printable(done.Version), npm.Version)
	}
	what := "repaired"
	if !done.Changed {
		what = "was repaired already"
	}
	_, err = fmt.Fprintf(p.stdout, "%s: %s\n", what, printable(done.Path))
	return err
}
