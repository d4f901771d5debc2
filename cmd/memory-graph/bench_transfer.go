package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/load"
)

// transferFlags are what the command's flags are read into.
type transferFlags struct {
	load.Options
	nodes   int64
	dataDir string
	output  string
}

func (p *program) newBenchTransferCommand() *cobra.Command {
	var f transferFlags
	cmd := &cobra.Command{
		Use: "transfer [-- SERVER FLAGS]", Short: "Measure export to a file, and import from it",
		Long: `transfer fills a server of its own, runs memory-graph export against it and memory-graph import of that file against another
server of its own, as processes, and takes their time. Then it reads everything back from the second server.`,
		Example: `  memory-graph bench transfer
  memory-graph bench transfer --nodes 1000000 -o json`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.benchTransfer(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	flags.Int64Var(&f.nodes, "nodes", 100_000, "prompts to export and import")
	flags.StringVar(&f.dataDir, "data-dir", "", "folder in which servers and the file get theirs; none: that for temporary files")
	flags.IntVar(&f.Size, "size", load.DefaultSize, "bytes of content of each prompt")
	flags.StringVarP(&f.output, "output", "o", string(formatTable), "table, json or yaml")
	return cmd
}

// A transferReport is what transfer prints.
type transferReport struct {
	Server       benchServer `json:"server"`
	Nodes        int64       `json:"nodes"`
	Edges        int64       `json:"edges"`
	FileBytes    int64       `json:"file_bytes"`
	Exported     float64     `json:"exported_nodes_per_second"`
	Imported     float64     `json:"imported_nodes_per_second"`
	ServerCores  float64     `json:"server_cpu_cores"`
	ServerCPU    float64     `json:"server_cpu_us_per_operation"`
	Acknowledged int64       `json:"acknowledged"`
	ReadBack     int64       `json:"read_back"`
}

func (r transferReport) text() string {
	return facts("server", r.Server.String(), "graph", fmt.Sprintf("%d nodes, %d edges, %d MiB of JSON Lines", r.Nodes, r.Edges, r.FileBytes>>20),
		"export", fmt.Sprintf("%.0f nodes a second", r.Exported), "import", fmt.Sprintf("%.0f nodes a second", r.Imported),
		"CPU", fmt.Sprintf("server %.2f cores while importing, %.1f µs a node", r.ServerCores, r.ServerCPU),
		"read back", fmt.Sprintf("%d of %d acknowledged writes", r.ReadBack, r.Acknowledged))
}

func (p *program) benchTransfer(ctx context.Context, f transferFlags, args []string) (err error) {
	format, err := parseOutput(f.output)
	if err != nil {
		return err
	}
	if f.nodes < 1 || f.Size < 1 || f.Size > load.MaxSize {
		return usagef("want 1 or more nodes of 1 to %d bytes", load.MaxSize)
	}
	p.started = true
	folder, err := os.MkdirTemp(f.dataDir, "memory-graph-bench-")
	if err != nil {
		return err
	}
	defer closing(&err, func() error { return os.RemoveAll(folder) })
	report, err := p.transferThrough(ctx, f, filepath.Join(folder, "graph.jsonl"), args)
	if err != nil {
		return err
	}
	out := &output{w: p.stdout, format: format, width: cmp.Or(p.terminalWidth(), defaultWidth)}
	return out.showValue(report, report.text)
}

// transferThrough fills one server, exports it to the file, and imports that into another.
func (p *program) transferThrough(ctx context.Context, f transferFlags, file string, args []string) (r transferReport, err error) {
	from, err := p.startServer(ctx, f.dataDir, args)
	if err != nil {
		return r, err
	}
	defer closing(&err, from.stop)
	f.Address, f.Server = from.address, from.process
	growth, err := load.NewGrowth(ctx, f.Options)
	if err != nil {
		return r, err
	}
	defer growth.Close()
	if _, err := growth.Fill(ctx, f.nodes); err != nil {
		return r, err
	}
	exported, err := p.timed(ctx, "export", "--address", from.address, "-o", file)
	if err != nil {
		return r, err
	}
	to, err := p.startServer(ctx, f.dataDir, args)
	if err != nil {
		return r, err
	}
	defer closing(&err, to.stop)
	before, err := to.process.Usage()
	imported, err2 := p.timed(ctx, "import", "--address", to.address, file)
	after, err3 := to.process.Usage()
	if err := errors.Join(err2, growth.Connect(ctx, to.address, to.process)); err != nil {
		return r, err
	}
	held := growth.Held()
	r = transferReport{
		Server: to.benchServer, Nodes: held.Nodes, Edges: held.Edges, Acknowledged: growth.Acknowledged(),
		Exported: float64(held.Nodes) / exported.Seconds(), Imported: float64(held.Nodes) / imported.Seconds(),
	}
	if err == nil && err3 == nil { // else nobody knows what it used
		used := (after.CPU - before.CPU).Seconds()
		r.ServerCores, r.ServerCPU = used/imported.Seconds(), used*1e6/float64(held.Nodes)
	}
	info, err := os.Stat(file)
	if err != nil {
		return r, err
	}
	r.FileBytes = info.Size()
	if r.ReadBack, err = growth.ReadBack(ctx); err != nil {
		return r, fmt.Errorf("no figure: %w", err)
	}
	return r, nil
}

// timed runs this program as a process of its own and takes its time.
func (p *program) timed(ctx context.Context, args ...string) (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = p.stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w", args[0], err)
	}
	return time.Since(start), nil
}
