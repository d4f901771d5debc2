package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/load"
)

// benchFlags are what the command's flags are read into.
type benchFlags struct {
	load.Options
	dataDir    string
	output     string
	cpuProfile string
	pids       []int
}

func (p *program) newBenchCommand() *cobra.Command {
	var f benchFlags
	var names []string
	var table strings.Builder
	for _, w := range load.Workloads() {
		names = append(names, w.Name)
		fmt.Fprintf(&table, "  %-10s %s\n", w.Name, w.Short)
	}
	var etcd strings.Builder
	for _, w := range load.EtcdWorkloads() {
		names = append(names, w.Name)
		fmt.Fprintf(&etcd, "  %-10s %s\n", w.Name, w.Short)
	}
	cmd := &cobra.Command{
		Use: "bench WORKLOAD [-- SERVER FLAGS]", GroupID: groupClient, Short: "Load a server and measure it",
		Long: `bench puts a server under load and tells how fast it answers. Without --address it starts a server of its own, in a process
of its own and a folder that it removes afterwards; flags behind -- are given to that server.

Each client makes one call at a time; with --rate calls begin at that rate, whether or not earlier ones have ended, and their
latency is measured from when they were meant to begin. Several addresses are nodes of one cluster: connections are spread over
them, and the workload events subscribes to each. What happens in the warm-up does not count. Every write that was
acknowledged is read back and compared at the end: if one is not there, there is no figure.

Workloads:
` + table.String() + `
Those of an etcd that runs, to compare with, by the same client:
` + etcd.String(),
		Example: `  memory-graph bench write
  memory-graph bench write --clients 1024 --duration 30s -o json
  memory-graph bench mixed --rate 2000 --address 127.0.0.1:50051
  memory-graph bench write --address 10.0.0.1:50051,10.0.0.2:50051,10.0.0.3:50051
  memory-graph bench etcd-put --address 127.0.0.1:2379
  memory-graph bench read --data-dir /var/tmp -- --snapshot-threshold 100000`,
		Args:      cobra.MinimumNArgs(1),
		ValidArgs: names,
		RunE:      func(cmd *cobra.Command, args []string) error { return p.bench(cmd.Context(), f, args) },
	}
	f.addTo(cmd)
	cmd.AddCommand(p.newBenchGrowCommand(), p.newBenchTransferCommand())
	return cmd
}

func (f *benchFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Address, "address", "", "host:port of a server that runs, or of several nodes, separated by commas; none: start one")
	flags.IntSliceVar(&f.pids, "pid", nil, "processes of that server on this machine, whose CPU and memory are to be told")
	flags.BoolVar(&f.Local, "local", false, "let GetNode read what its node has, without asking the leader")
	flags.StringVar(&f.dataDir, "data-dir", "", "folder in which the server that is started gets its own; none: that for temporary files")
	flags.IntVar(&f.Clients, "clients", 0, "calls under way at once (default: the workload's)")
	flags.IntVar(&f.Connections, "connections", 0, "connections that carry them (default: one for 100 clients)")
	flags.DurationVar(&f.WarmUp, "warm-up", load.DefaultWarmUp, "how long to run before measuring")
	flags.DurationVar(&f.Duration, "duration", load.DefaultDuration, "how long to measure")
	flags.Float64Var(&f.Rate, "rate", 0, "calls to begin a second; 0: each client as soon as it is answered")
	flags.IntVar(&f.Size, "size", load.DefaultSize, "bytes of content of each prompt")
	flags.IntVar(&f.Batch, "batch", 0, "nodes that a call creates, for workloads that create many (default: the workload's)")
	flags.IntVar(&f.Sessions, "sessions", 0, "sessions to write to and read from (default: the workload's)")
	flags.IntVar(&f.Preload, "preload", load.DefaultPreload, "prompts that are there before the clock starts, for workloads that read")
	flags.StringVarP(&f.output, "output", "o", string(formatTable), "table, json or yaml")
	flags.StringVar(&f.cpuProfile, "cpu-profile", "", "file that gets a CPU profile of this client")
	_ = cmd.MarkFlagDirname("data-dir")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

func (p *program) bench(ctx context.Context, f benchFlags, args []string) (err error) {
	format, err := parseOutput(f.output)
	if err != nil {
		return err
	}
	f.Workload = args[0]
	if err := f.Validate(); err != nil {
		return usageError{err}
	}
	if len(args) > 1 && f.Address != "" {
		return usagef("flags behind -- are for a server that is started here, not for the one at --address")
	}
	if strings.HasPrefix(f.Workload, "etcd-") && f.Address == "" {
		return usagef("%s is for an etcd that runs: say where by --address", f.Workload)
	}
	if len(f.pids) > 0 && f.Address == "" {
		return usagef("--pid is for a server that runs at --address, not for one that is started here")
	}
	p.started = true
	server := benchServer{Version: version}
	f.Server = metersOf(f.pids)
	var disk *load.Disk
	if f.Address == "" {
		started, err := p.startServer(ctx, f.dataDir, args[1:])
		if err != nil {
			return err
		}
		defer closing(&err, started.stop)
		f.Address, f.Server, server = started.address, started.process, started.benchServer
		d, err := load.MeasureDisk(ctx, f.dataDir, f.Size, measureDiskFor)
		if err != nil {
			return err
		}
		disk = &d
	}
	stop, err := profileTo(f.cpuProfile)
	if err != nil {
		return err
	}
	defer closing(&err, stop)
	result, err := load.Run(ctx, f.Options)
	if err != nil {
		return err
	}
	report := benchReport{Server: server, Disk: disk, Result: result}
	out := &output{w: p.stdout, format: format, width: cmp.Or(p.terminalWidth(), defaultWidth)}
	return out.showValue(report, report.text)
}

// metersOf measures processes of this machine; none: nobody measures.
func metersOf(pids []int) load.Meter {
	var all load.Processes
	for _, pid := range pids {
		all = append(all, load.Process(pid))
	}
	if all == nil {
		return nil
	}
	return all
}

// profileTo starts a CPU profile; no name, no profile.
func profileTo(name string) (stop func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// A benchReport is a result with the server that it is of.
type benchReport struct {
	Server benchServer `json:"server"`
	Disk   *load.Disk  `json:"disk,omitempty"`
	load.Result
}

// measureDiskFor is how long the log store, and a file, are written to before a run.
const measureDiskFor = time.Second

func (r benchReport) text() string {
	ms := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + " ms" }
	latency := func(l load.Latency) string {
		return fmt.Sprintf("p50 %s, p95 %s, p99 %s, p99.9 %s, most %s", ms(l.P50), ms(l.P95), ms(l.P99), ms(l.P999), ms(l.Max))
	}
	clients := fmt.Sprintf("%d on %d connections", r.Clients, r.Connections)
	if r.Rate > 0 {
		clients += fmt.Sprintf(", %g calls a second", r.Rate)
	}
	var refused, cpu, memory, above, disk string
	if r.Disk != nil {
		disk = fmt.Sprintf("one entry into the log store alone p50 %s; append and sync p50 %s", ms(r.Disk.Log.P50), ms(r.Disk.Sync.P50))
	}
	if r.Refused > 0 {
		refused = strconv.FormatInt(r.Refused, 10)
	}
	if r.ServerRSS > 0 {
		cpu = fmt.Sprintf("server %.2f cores, %.1f µs each; client %.2f cores", r.ServerCores, r.ServerCPU, r.ClientCores)
		memory = fmt.Sprintf("server %d MiB at most, %d MiB more than at the start", r.ServerRSS>>20, r.ServerGrowth>>20)
	}
	if r.Above != nil {
		above = latency(*r.Above)
	}
	return facts("workload", r.Workload, "server", r.Server.String(), "clients", clients,
		"per second", fmt.Sprintf("%.0f (%d in %.1f s)", r.PerSecond, r.Operations, r.Seconds),
		"latency", latency(r.Latency), "event after write", above, "refused", refused, "CPU", cpu, "memory", memory, "disk", disk,
		"read back", fmt.Sprintf("%d of %d acknowledged writes", r.ReadBack, r.Acknowledged))
}
