package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/client"
)

const (
	defaultAddress = "127.0.0.1:50051"
	defaultTimeout = 30 * time.Second
	// addressVariable stands in for --address.
	addressVariable = "MEMORY_GRAPH_ADDRESS"
	// maxReplyBytes is what the client takes in one message: a reply of 4 MiB and some framing.
	maxReplyBytes = 8 << 20
)

// Names of request and reply metadata.
const (
	keyIdempotency = "idempotency-key"
	keyConsistency = "memory-graph-consistency"
	keyMinRevision = "memory-graph-min-revision"
	keyRevision    = "memory-graph-revision"
	keyCascade     = "memory-graph-cascade"
	keyLastEvent   = "memory-graph-last-event"
	keyLineage     = "memory-graph-lineage"
)

// A kind of call decides which flags a client command has.
type kind int

const (
	// read calls may ask for less than the default consistency.
	read kind = iota
	// write calls may carry an idempotency key.
	write
	// streaming reads have no time limit unless one is asked for.
	streaming
	// uploads write for as long as it takes; repeating one changes nothing.
	upload
	// downloads read for as long as it takes and have a form of output of their own.
	download
	// plain calls are about the cluster, not the graph: neither consistency nor a key applies.
	plain
)

// connection is what the flags that every client command has are read into.
type connection struct {
	address        string
	timeout        time.Duration
	output         string
	verbose        bool
	idempotencyKey string
	consistency    string
	minRevision    uint64
}

// A verb describes one client command.
type verb struct {
	use, short, long, example string
	args                      cobra.PositionalArgs
	kind                      kind
	// flags adds the command's own flags.
	flags func(*cobra.Command)
	run   func(context.Context, *call, []string) error
}

// A call is one client command at work.
type call struct {
	*program
	connection
	graph    graphgrpc.MemoryGraphServiceClient
	transfer graphgrpc.GraphTransferServiceClient
	cluster  graphgrpc.ClusterServiceClient
	backup   graphgrpc.BackupServiceClient
	out      *output
}

// client makes a command of a verb: it reads the flags, connects, runs and closes.
func (p *program) client(v verb) *cobra.Command {
	var c connection
	cmd := &cobra.Command{Use: v.use, Short: v.short, Long: v.long, Example: v.example, Args: v.args}
	c.addFlags(cmd, v.kind)
	if v.flags != nil {
		v.flags(cmd)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		format, err := parseOutput(c.output)
		if err != nil {
			return err
		}
		address := cmp.Or(c.address, p.getenv(addressVariable), defaultAddress)
		conn, err := p.dial(address, c.verbose)
		if err != nil {
			return err
		}
		p.started = true
		defer func() { err = cmp.Or(err, conn.Close()) }()
		ctx, cancel := c.context(cmd.Context())
		defer cancel()
		return v.run(ctx, &call{
			program: p, connection: c, out: &output{w: p.stdout, format: format, width: cmp.Or(p.terminalWidth(), defaultWidth)},
			graph: graphgrpc.NewMemoryGraphServiceClient(conn), transfer: graphgrpc.NewGraphTransferServiceClient(conn),
			cluster: graphgrpc.NewClusterServiceClient(conn), backup: graphgrpc.NewBackupServiceClient(conn),
		}, args)
	}
	return cmd
}

func (c *connection) addFlags(cmd *cobra.Command, k kind) {
	f := cmd.Flags()
	timeout := defaultTimeout
	if k == streaming || k == upload || k == download {
		timeout = 0
	}
	f.StringVar(&c.address, "address", "", "server address, or several separated by commas (environment "+addressVariable+"; default "+defaultAddress+")")
	f.DurationVar(&c.timeout, "timeout", timeout, "how long the command may take; 0 is no limit")
	f.BoolVarP(&c.verbose, "verbose", "v", false, "tell the revision of each answer on standard error")
	c.output = string(formatTable)
	if k != download {
		f.StringVarP(&c.output, "output", "o", c.output, "table, json or yaml")
		_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	}
	switch k {
	case read, streaming, download:
		f.StringVar(&c.consistency, "consistency", "", "linearizable (the server's default), bounded or local")
		f.Uint64Var(&c.minRevision, "min-revision", 0, "wait until the answer is at least as new as this revision")
	case write:
		f.StringVar(&c.idempotencyKey, "idempotency-key", "", "repeating the command with the same key takes effect once")
	case upload, plain:
	}
}

// context puts the time limit and the request metadata of the flags into the context.
func (c *connection) context(ctx context.Context) (context.Context, context.CancelFunc) {
	var pairs []string
	if c.idempotencyKey != "" {
		pairs = append(pairs, keyIdempotency, c.idempotencyKey)
	}
	if c.consistency != "" {
		pairs = append(pairs, keyConsistency, c.consistency)
	}
	if c.minRevision > 0 {
		pairs = append(pairs, keyMinRevision, strconv.FormatUint(c.minRevision, 10))
	}
	if len(pairs) > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, pairs...)
	}
	if c.timeout > 0 {
		return context.WithTimeout(ctx, c.timeout)
	}
	return context.WithCancel(ctx)
}

// revisionTo is an interceptor's report of reply metadata; nil when nobody wants it.
func (p *program) revisionTo(verbose bool) func(metadata.MD) {
	if !verbose {
		return nil
	}
	return func(md metadata.MD) {
		for _, r := range md.Get(keyRevision) {
			fmt.Fprintf(p.stderr, "revision %s\n", printable(r))
		}
	}
}

const (
	// longestCall is what a call may take when the command has no limit: servers give none more.
	longestCall = 10 * time.Minute
	// reconnecting is how long events that are followed wait for a server that is gone.
	reconnecting = time.Minute
)

// dial makes a client of the servers at the addresses. Connecting happens with the first call, which reports what goes wrong.
func (p *program) dial(addresses string, verbose bool) (*client.Client, error) {
	list, err := client.ParseAddresses(addresses)
	if err != nil {
		return nil, usagef("%v", err)
	}
	cfg := client.Config{
		FailFast: true, Timeout: longestCall, Patience: reconnecting, MaxReplyBytes: maxReplyBytes,
		Watch: client.Watch{Lost: func(string, string, error) { fmt.Fprintln(p.stderr, "the server is gone; waiting for it") }},
	}
	if report := p.revisionTo(verbose); report != nil {
		cfg.DialOptions = append(cfg.DialOptions, grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			var md metadata.MD
			err := invoke(ctx, method, req, reply, cc, append(opts, grpc.Header(&md))...)
			report(md)
			return err
		}))
	}
	return cfg.Dial(list...)
}

// parsePairs reads key=value flags.
func parsePairs(flag string, pairs []string) (map[string]string, error) {
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" || !utf8.ValidString(p) {
			return nil, usagef("--%s %q: want key=value, valid UTF-8", flag, p)
		}
		m[k] = v
	}
	return m, nil
}

// parseEnum finds the value of a generated enum by its name with or without prefix, in any case, with - for _.
func parseEnum[E ~int32](what, prefix string, names map[int32]string, s string) (E, error) {
	want := strings.ToUpper(strings.ReplaceAll(s, "-", "_"))
	var known []string
	for _, n := range slices.Sorted(maps.Keys(names)) {
		short := strings.TrimPrefix(names[n], prefix)
		if n == 0 {
			continue
		}
		if want == short || want == names[n] || want == "TOOL" && short == "TOOL_INVOCATION" {
			return E(n), nil
		}
		known = append(known, strings.ToLower(short))
	}
	return 0, usagef("%s %q is unknown; use one of %s", what, s, strings.Join(known, ", "))
}
