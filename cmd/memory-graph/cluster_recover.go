package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
)

// recoverFlags are what the command's flags are read into.
type recoverFlags struct {
	dataDir, format string
	yes, dryRun     bool
}

func (p *program) newClusterRecoverCommand() *cobra.Command {
	var f recoverFlags
	cmd := &cobra.Command{
		Use: "recover", Args: cobra.NoArgs,
		Short: "Make a cluster of one out of a member of a cluster that has lost most of its voters",
		Long: `recover is for a cluster that has lost most of its voters for good: it makes a new cluster of one out of the data folder of a
member that is stopped. What that member has in its log counts as agreed upon; what only the lost ones had is lost.

Stop every member that is left, and copy all data folders first. Of those that are left choose the one with the highest last
term and, among those, the highest last log entry: --dry-run prints both. Run recover there and start it. The others join it with
empty folders.

The new cluster has an id and a lineage of its own: members of the old one are refused, and event ids and page tokens that were
told before are no longer taken. What was done is written down in the folder, and the old log stays beside the new one. Cut
short, recover is run again, and goes on where it was.`,
		Example: `  memory-graph cluster recover --data-dir /var/lib/memory-graph --dry-run
  memory-graph cluster recover --data-dir /var/lib/memory-graph --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if v := p.getenv("DB_PATH"); v != "" && !cmd.Flags().Changed("data-dir") {
				f.dataDir = v
			}
			format, err := parseOutput(f.format)
			if err != nil {
				return err
			}
			p.started = true
			return p.recoverCluster(f, &output{w: p.stdout, format: format, width: p.terminalWidth()})
		},
	}
	cmd.Flags().StringVar(&f.dataDir, "data-dir", defaultDataDir, "folder of the stopped node (DB_PATH)")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only tell what would be done")
	cmd.Flags().StringVarP(&f.format, "output", "o", string(formatTable), "table, json or yaml")
	_ = cmd.MarkFlagDirname("data-dir")
	return cmd
}

func (p *program) recoverCluster(f recoverFlags, out *output) error {
	recovery := cluster.Recovery{Folder: f.dataDir, Version: version, Random: rand.Reader, Clock: p.clock}
	plan, err := recovery.Plan()
	if err != nil {
		return err
	}
	if f.dryRun {
		return out.showValue(plan, func() string { return recoveryText("would be recovered", plan) })
	}
	if !f.yes {
		if err := p.confirmRecovery(plan); err != nil {
			return err
		}
	}
	done, err := recovery.Run()
	if err != nil {
		return err
	}
	return out.showValue(done, func() string { return recoveryText("recovered", done) + "\n" + afterRecovery(f.dataDir, done) })
}

// clock is the time, for what writes it down.
func (p *program) clock() time.Time {
	if p.now == nil {
		return time.Now()
	}
	return p.now()
}

// confirmRecovery asks for the id of the node. It is in nobody's fingers.
func (p *program) confirmRecovery(plan cluster.RecoveryRecord) error {
	fmt.Fprintf(p.stderr, "%s\nCommands that only other members had are lost, and members of cluster %s can never come back with their data.\nType the id of the node to go on: ",
		recoveryText("to be recovered", plan), printable(plan.FromCluster))
	answer, err := bufio.NewReader(io.LimitReader(p.stdin, 1<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("ask: %w", err)
	}
	if strings.TrimSpace(answer) != plan.NodeID {
		return errors.New("nothing was done: the answer is not the id of the node; --yes does not ask")
	}
	return nil
}

func recoveryText(what string, r cluster.RecoveryRecord) string {
	unsure := "none"
	if r.LastIndex > r.Applied {
		unsure = fmt.Sprintf("%d, from %d on: they count as agreed upon", r.LastIndex-r.Applied, r.Applied+1)
	}
	text := facts(what, r.NodeID, "last term", whole(r.LastTerm), "last log entry", whole(r.LastIndex), "entries not applied", unsure,
		"old cluster", r.FromCluster, "new cluster", r.ToCluster, "old lineage", fmt.Sprintf("%08x", r.FromLineage), "new lineage", fmt.Sprintf("%08x", r.ToLineage),
		"last revision", whole(r.Revision), "revisions go on above", whole(r.Above), "the old log stays in", r.RaftLog)
	for _, m := range r.Members {
		role := "non-voter"
		if m.Voter {
			role = "voter"
		}
		text += facts("old member", m.NodeID+" at "+m.Address+", "+role)
	}
	return text
}

func afterRecovery(folder string, r cluster.RecoveryRecord) string {
	return fmt.Sprintf(`what to do next:
  1. start this node with the settings that it had, but without --bootstrap-expect; its folder is %s
  2. see that it is well:          memory-graph cluster status
  3. move the data folders of the other members aside and start them, without --bootstrap-expect, with --join and this node's gossip address
  4. see that all have the same:   memory-graph cluster digest
  readers of events begin anew: memory-graph events; ids of lineage %08x are no longer taken
`, printable(folder), r.FromLineage)
}
