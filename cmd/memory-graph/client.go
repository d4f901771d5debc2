package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

const (
	defaultAddress = "127.0.0.1:50051"
	defaultPort    = "50051"
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
		conn, err := dial(address, p.revisionTo(c.verbose))
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
	case upload:
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

// dial connects to the first address that answers. Connecting happens with the first call, which reports what goes wrong.
func dial(addresses string, header func(metadata.MD)) (*grpc.ClientConn, error) {
	target, options, err := target(addresses)
	if err != nil {
		return nil, err
	}
	options = append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReplyBytes)),
	)
	if header != nil {
		options = append(options, grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			var md metadata.MD
			err := invoke(ctx, method, req, reply, cc, append(opts, grpc.Header(&md))...)
			header(md)
			return err
		}))
	}
	return grpc.NewClient(target, options...)
}

// target turns the addresses into something that gRPC resolves: a target with a scheme of its own as it stands (unix:,
// dns:), else host names and ports, tried in their order.
func target(addresses string) (string, []grpc.DialOption, error) {
	for _, scheme := range []string{"unix:", "dns:", "passthrough:"} {
		if strings.HasPrefix(addresses, scheme) {
			return addresses, nil, nil
		}
	}
	var state resolver.State
	for _, a := range strings.Split(strings.TrimPrefix(addresses, "ipv4:"), ",") {
		a = strings.TrimSpace(a)
		if a == "" {
			continue
		}
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			host, port = strings.Trim(a, "[]"), defaultPort
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", nil, usagef("address %q: the port must be 1 to 65535", a)
		}
		state.Addresses = append(state.Addresses, resolver.Address{Addr: net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port)})
	}
	if len(state.Addresses) == 0 {
		return "", nil, usagef("address %q names no server", addresses)
	}
	list := manual.NewBuilderWithScheme("list")
	list.InitialState(state)
	return "list:///" + state.Addresses[0].Addr, []grpc.DialOption{grpc.WithResolvers(list)}, nil
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
