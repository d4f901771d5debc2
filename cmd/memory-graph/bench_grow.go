package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/load"
)

// growFlags are what the command's flags are read into.
type growFlags struct {
	load.Options
	small, nodes int64
	dataDir      string
	output       string
}

func (p *program) newBenchGrowCommand() *cobra.Command {
	var f growFlags
	cmd := &cobra.Command{
		Use: "grow [-- SERVER FLAGS]", Short: "Fill a server and compare what calls cost before and after",
		Long: `grow starts a server of its own, fills it with a few prompts, measures what calls cost one client, fills it with many, and
measures again. Then it kills the server, starts it, stops it and starts it again, reads everything back, and compacts
what the stopped server has left, to see what each part takes on disk. The folder is removed at the end.`,
		Example: `  memory-graph bench grow --nodes 200000
  memory-graph bench grow --nodes 10000000 --data-dir /var/tmp -o json`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.benchGrow(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	flags.Int64Var(&f.small, "small", 10_000, "prompts at first; whole sessions of 1000")
	flags.Int64Var(&f.nodes, "nodes", 10_000_000, "prompts at last")
	flags.StringVar(&f.dataDir, "data-dir", "", "folder in which the server gets its own; none: that for temporary files")
	flags.DurationVar(&f.WarmUp, "warm-up", load.DefaultWarmUp, "how long each call is made before it is measured")
	flags.DurationVar(&f.Duration, "duration", load.DefaultDuration, "how long each call is measured")
	flags.IntVar(&f.Size, "size", load.DefaultSize, "bytes of content of each prompt")
	flags.StringVarP(&f.output, "output", "o", string(formatTable), "table, json or yaml")
	return cmd
}

// A growReport is what grow prints.
type growReport struct {
	Server       benchServer `json:"server"`
	Acknowledged int64       `json:"acknowledged"`
	ReadBack     int64       `json:"read_back"`
	Growth       growFigures `json:"growth"`
}

// growFigures is one server at two sizes.
type growFigures struct {
	Small   int64      `json:"small_nodes"`
	Large   int64      `json:"large_nodes"`
	Costs   []growCost `json:"costs"`
	Loaded  float64    `json:"loaded_nodes_per_second"`
	RSS     int64      `json:"server_rss_bytes"`
	Killed  float64    `json:"kill_to_ready_ms"`
	Restart float64    `json:"restart_to_ready_ms"`
	Content int64      `json:"content_bytes"`
	IDs     int64      `json:"id_bytes"`
	OnDisk  int64      `json:"graph_disk_bytes"`
	Spaces  diskBytes  `json:"disk_bytes"`
}

// diskBytes are the bytes on disk of each keyspace.
type diskBytes map[string]int64

// A growCost is the time of one call, at both sizes, milliseconds.
type growCost struct {
	Call  string       `json:"call"`
	Small load.Latency `json:"small_ms"`
	Large load.Latency `json:"large_ms"`
}

// A grower is one run of grow.
type grower struct {
	*program
	growFlags
	args   []string
	server *startedServer
	growth *load.Growth
	report growReport
}

func (p *program) benchGrow(ctx context.Context, f growFlags, args []string) (err error) {
	format, err := parseOutput(f.output)
	if err != nil {
		return err
	}
	if f.small < 1 || f.nodes <= f.small || f.Duration <= 0 || f.Size < 1 || f.Size > load.MaxSize {
		return usagef("want 1 or more prompts at first, more at last, of 1 to %d bytes, and a duration", load.MaxSize)
	}
	p.started = true
	g := &grower{program: p, growFlags: f, args: args}
	if g.server, err = p.startServer(ctx, f.dataDir, args); err != nil {
		return err
	}
	folder := g.server.folder
	defer closing(&err, func() error { return os.RemoveAll(folder) })
	defer closing(&err, func() error {
		if g.server == nil {
			return nil
		}
		return g.server.kill()
	})
	if err := g.run(ctx); err != nil {
		return err
	}
	out := &output{w: p.stdout, format: format, width: cmp.Or(p.terminalWidth(), defaultWidth)}
	return out.showValue(g.report, g.report.text)
}

func (g *grower) run(ctx context.Context) (err error) {
	g.report.Server = g.server.benchServer
	g.Address, g.Server = g.server.address, g.server.process
	if g.growth, err = load.NewGrowth(ctx, g.Options); err != nil {
		return err
	}
	defer g.growth.Close()
	if err := g.measure(ctx); err != nil {
		return err
	}
	figures := &g.report.Growth
	if figures.Killed, err = g.restart(ctx, (*startedServer).kill); err != nil {
		return err
	}
	if figures.Restart, err = g.restart(ctx, (*startedServer).end); err != nil {
		return err
	}
	held := g.growth.Held()
	if g.report.ReadBack, err = g.growth.ReadBack(ctx); err != nil {
		return fmt.Errorf("no figure: %w", err)
	}
	g.report.Acknowledged = g.growth.Acknowledged()
	figures.RSS, figures.Content, figures.IDs = g.growth.RSS(), held.Content, held.IDs
	g.growth.Close()
	server := g.server
	g.server = nil
	if err := server.end(); err != nil {
		return err
	}
	return g.weigh(ctx, server.folder)
}

// measure fills the server and measures at both sizes.
func (g *grower) measure(ctx context.Context) (err error) {
	figures := &g.report.Growth
	figures.Small, figures.Large = g.small, g.nodes
	var costs [2][]load.CallCost
	for i, nodes := range []int64{g.small, g.nodes} {
		fmt.Fprintf(g.stderr, "filling to %d prompts\n", nodes)
		if figures.Loaded, err = g.growth.Fill(ctx, nodes); err != nil {
			return err
		}
		g.growth.Settle(ctx)
		if costs[i], err = g.growth.Measure(ctx); err != nil {
			return err
		}
	}
	for i, small := range costs[0] {
		figures.Costs = append(figures.Costs, growCost{Call: small.Call, Small: small.Latency, Large: costs[1][i].Latency})
	}
	return nil
}

// restart ends the server and starts it again. It returns how long the start took, milliseconds.
func (g *grower) restart(ctx context.Context, end func(*startedServer) error) (float64, error) {
	server := g.server
	g.server = nil
	g.growth.Close()
	if err := end(server); err != nil {
		return 0, err
	}
	start := time.Now()
	server, err := g.startServerOn(ctx, server.folder, g.args)
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	g.server = server
	return took.Seconds() * 1000, g.growth.Connect(ctx, server.address, server.process)
}

// weigh compacts the store of the stopped server and adds up what it takes on disk.
func (g *grower) weigh(ctx context.Context, folder string) (err error) {
	rows, err := store.OpenPebble(identity.Folder(folder).Store(), store.Options{})
	if err != nil {
		return err
	}
	defer closing(&err, rows.Close)
	if err := rows.CompactAll(ctx); err != nil {
		return err
	}
	usage, err := rows.DiskUsage(graph.DefaultTenant)
	if err != nil {
		return err
	}
	figures := &g.report.Growth
	figures.Spaces = diskBytes{}
	for _, u := range usage {
		figures.Spaces[u.Space] = int64(u.Bytes)
		if u.Graph {
			figures.OnDisk += int64(u.Bytes)
		}
	}
	return nil
}

func (r growReport) text() string {
	f := r.Growth
	rows := [][]string{}
	for _, c := range f.Costs {
		rows = append(rows, []string{c.Call, fmt.Sprintf("%.3f ms", c.Small.P50), fmt.Sprintf("%.3f ms", c.Large.P50), fmt.Sprintf("%.2f", c.Large.P50/c.Small.P50)})
	}
	costs := grid([]string{"p50 of", fmt.Sprintf("%d prompts", f.Small), fmt.Sprintf("%d prompts", f.Large), "times"}, rows)
	var spaces []string
	for name, bytes := range f.Spaces {
		spaces = append(spaces, fmt.Sprintf("%s %.1f MiB", name, float64(bytes)/(1<<20)))
	}
	slices.Sort(spaces)
	return costs + "\n\n" + facts("server", r.Server.String(), "loaded at", fmt.Sprintf("%.0f prompts a second", f.Loaded),
		"memory", fmt.Sprintf("server %d MiB at most", f.RSS>>20),
		"ready", fmt.Sprintf("%.0f ms after a kill, %.0f ms after a stop", f.Killed, f.Restart),
		"graph on disk", fmt.Sprintf("%.1f MiB, %.2f × contents (%.1f MiB) and ids (%.1f MiB)", float64(f.OnDisk)/(1<<20), float64(f.OnDisk)/float64(f.Content+f.IDs), float64(f.Content)/(1<<20), float64(f.IDs)/(1<<20)),
		"by keyspace", strings.Join(spaces, "\n"), "read back", fmt.Sprintf("%d of %d acknowledged writes", r.ReadBack, r.Acknowledged))
}
