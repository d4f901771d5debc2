package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Options say what to run against which server. Zero fields have the defaults that they name.
type Options struct {
	// Address is host and port of the server, or of several nodes of one cluster, separated by commas: connections are spread
	// over them.
	Address string
	// Workload is the name of one of [Workloads].
	Workload string
	// Clients is how many calls are under way at once; the workload's default when 0.
	Clients int
	// Connections carry them; as few as the server's bound of 100 calls on each allows when 0.
	Connections int
	// WarmUp is not measured, Duration is.
	WarmUp, Duration time.Duration
	// Rate is how many calls to begin every second, whether or not earlier ones have ended; 0: each client begins a call when
	// its last one has ended. Latency is measured from the moment at which a call was meant to begin.
	Rate float64
	// Size is the length of a prompt's content, bytes.
	Size int
	// Batch is how many nodes one call of batch, import or events creates; the workload's default when 0.
	Batch int
	// Sessions is how many sessions there are to write to and read from; the workload's default when 0.
	Sessions int
	// Preload is how many prompts there are before the clock starts, for workloads that read.
	Preload int
	// Local makes GetNode read what its node has, without asking the leader.
	Local bool
	// Server measures the server's process, or those of several nodes (see [Processes]); nil: nobody does.
	Server Meter
}

// Bounds and defaults of Options.
const (
	DefaultWarmUp   = 2 * time.Second
	DefaultDuration = 10 * time.Second
	DefaultSize     = 256
	DefaultSessions = 64
	DefaultPreload  = 10_000
	MaxClients      = 100_000
	MaxSize         = 1_000_000

	callsPerConnection = 100
)

// A Result is what one run measured.
type Result struct {
	Workload    string  `json:"workload"`
	Clients     int     `json:"clients"`
	Connections int     `json:"connections"`
	Size        int     `json:"size"`
	Batch       int     `json:"batch,omitempty"`
	Sessions    int     `json:"sessions"`
	Preload     int     `json:"preload,omitempty"`
	Rate        float64 `json:"rate,omitempty"`
	// Nodes is how many addresses the load was spread over, and for the workload events how many subscribers there were.
	Nodes int  `json:"nodes"`
	Local bool `json:"local_reads,omitempty"`
	// Seconds is how long it was measured. Calls were answered in it, which did Operations: nodes written or read, events.
	Seconds    float64 `json:"seconds"`
	Calls      int64   `json:"calls"`
	Operations int64   `json:"operations"`
	PerSecond  float64 `json:"operations_per_second"`
	// Refused calls were told that there is no room. They are tried again and count for nothing else.
	Refused int64   `json:"refused"`
	Latency Latency `json:"latency_ms"`
	// Above is how much later than the acknowledgement of its write an event was seen; of the workload events.
	Above *Latency `json:"event_after_write_ms,omitempty"`
	// Acknowledged is how many writes were, warm-up included; ReadBack how many of them were read back and compared.
	Acknowledged int64 `json:"acknowledged"`
	ReadBack     int64 `json:"read_back"`
	// What the server's process used while it was measured; 0 when unknown. Cores is how many processors it kept busy.
	ServerCores float64 `json:"server_cpu_cores,omitempty"`
	ServerCPU   float64 `json:"server_cpu_us_per_operation,omitempty"`
	// NodeCores are the parts of ServerCores, when the server is several processes.
	NodeCores []float64 `json:"node_cpu_cores,omitempty"`
	// ServerRSS is the most memory that was seen in use while it was measured, ServerGrowth how much more that is than at its
	// beginning, bytes.
	ServerRSS    int64   `json:"server_rss_bytes,omitempty"`
	ServerGrowth int64   `json:"server_rss_growth_bytes"`
	ClientCores  float64 `json:"client_cpu_cores,omitempty"`
}

// settle works out what follows from the rest.
func (r *Result) settle() {
	r.PerSecond = float64(r.Operations) / r.Seconds
	if r.Operations > 0 {
		r.ServerCPU = r.ServerCores * 1e6 / r.PerSecond
	}
}

// A Workload is a kind of load.
type Workload struct {
	Name, Short string
	clients     int
	batch       int
	sessions    int
	rate        float64
	// apart: each client has a connection to itself.
	apart bool
	run   func(*bench, context.Context) error
}

// Workloads are all of them.
func Workloads() []Workload {
	return []Workload{
		{Name: "write", Short: "AddPrompt", clients: 256, run: (*bench).write},
		{Name: "batch", Short: "BatchCreateNodes", clients: 8, batch: 100, run: (*bench).batches},
		{Name: "read", Short: "GetNode, linearizable", clients: 64, run: (*bench).read},
		{Name: "edges", Short: "GetEdges of a prompt", clients: 64, run: (*bench).edges},
		{Name: "mixed", Short: "70 % GetNode, 5 % GetEdges, 5 % Query (20 of a session), 20 % AddPrompt", clients: 1000, run: (*bench).mixed},
		{Name: "query", Short: "first page (100) of a session's prompts", clients: 16, run: (*bench).query},
		{Name: "query-all", Short: "first page (100) of all prompts", clients: 16, run: (*bench).queryAll},
		{Name: "stream", Short: "StreamQuery of a session's prompts", clients: 1, sessions: 1, run: (*bench).stream},
		{Name: "events", Short: "AddPrompt (with --batch: BatchCreateNodes) while one subscriber hears all events", clients: 64, run: (*bench).events},
		{Name: "feed", Short: "StreamEvents from the beginning", clients: 1, run: (*bench).feed},
		{Name: "fill", Short: "Import of --preload prompts into an empty server, in sessions of a thousand", clients: growthStreams, apart: true, run: (*bench).fill},
		{Name: "import", Short: "GraphTransferService.Import of prompts with their edges", clients: 2, batch: 333, run: (*bench).imports},
		{Name: "connections", Short: "90 % GetNode, 10 % AddPrompt; as many connections as clients", clients: 10_000, rate: 1000, apart: true, run: (*bench).crowd},
		{Name: "sessions", Short: "first page (100) of ListSessions", clients: 16, run: (*bench).listSessions},
	}
}

// Find is the workload with the name.
func Find(name string) (Workload, error) {
	all := append(Workloads(), EtcdWorkloads()...)
	if i := slices.IndexFunc(all, func(w Workload) bool { return w.Name == name }); i >= 0 {
		return all[i], nil
	}
	var names []string
	for _, w := range all {
		names = append(names, w.Name)
	}
	return Workload{}, fmt.Errorf("workload %q is unknown: use one of %s", name, strings.Join(names, ", "))
}

// fill sets what was left out and reports every problem at once.
func (o *Options) fill() (Workload, error) {
	w, err := Find(o.Workload)
	problems := []error{err}
	o.Clients = cmp.Or(o.Clients, w.clients)
	if w.apart {
		o.Connections = cmp.Or(o.Connections, o.Clients)
	}
	o.Rate = cmp.Or(o.Rate, w.rate)
	nodes := len(o.addresses())
	least := (o.Clients + callsPerConnection - 1) / callsPerConnection
	o.Connections = cmp.Or(o.Connections, min((least+nodes-1)/nodes*nodes, max(o.Clients, 1)))
	o.Batch = cmp.Or(o.Batch, w.batch)
	o.Size = cmp.Or(o.Size, DefaultSize)
	o.Sessions = cmp.Or(o.Sessions, w.sessions, DefaultSessions)
	o.Duration = cmp.Or(o.Duration, DefaultDuration)
	add := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	add(o.Clients < 1 || o.Clients > MaxClients, "clients are %d, 1 to %d", o.Clients, MaxClients)
	add(o.Connections < 1 || o.Connections > max(o.Clients, 1), "connections are %d, 1 to %d: one for each client at the most", o.Connections, o.Clients)
	add(o.Connections < nodes, "connections are %d, at least one to each of %d addresses", o.Connections, nodes)
	add(o.Size < 1 || o.Size > MaxSize, "size is %d bytes, 1 to %d", o.Size, MaxSize)
	add(o.Batch < 0 || o.Batch > 1000, "batch is %d, 1 to 1000", o.Batch)
	add(o.Sessions < 1, "sessions are %d, at least 1", o.Sessions)
	add(o.Preload < 0, "preload is %d", o.Preload)
	add(o.Rate < 0, "rate is %v calls a second", o.Rate)
	add(o.WarmUp < 0 || o.Duration <= 0, "warm-up is %v, duration %v", o.WarmUp, o.Duration)
	return w, errors.Join(problems...)
}

// addresses are those of all nodes.
func (o *Options) addresses() []string { return strings.Split(o.Address, ",") }

// A bench is one run.
type bench struct {
	Options
	target   *target
	sessions []id
	// preloaded is what was written before the clock started; ledgers are all of them.
	preloaded *ledger
	ledgers   []*ledger
	result    Result
}

// Validate reports every problem at once.
func (o Options) Validate() error {
	_, err := o.fill()
	return err
}

// Run runs a workload. It has a result only when every acknowledged write was read back.
func Run(ctx context.Context, o Options) (_ Result, err error) {
	w, err := o.fill()
	if err != nil {
		return Result{}, err
	}
	b := &bench{Options: o}
	if b.target, err = dialTarget(ctx, o.addresses(), o.Connections); err != nil {
		return Result{}, err
	}
	defer b.target.close()
	b.result = Result{
		Workload: o.Workload, Clients: o.Clients, Connections: o.Connections, Size: o.Size, Batch: o.Batch,
		Sessions: o.Sessions, Rate: o.Rate, Nodes: len(o.addresses()), Local: o.Local,
	}
	if err := w.run(b, ctx); err != nil {
		return Result{}, fmt.Errorf("%s: %w", o.Workload, err)
	}
	b.result.Acknowledged += acknowledgedBy(b.ledgers)
	count, err := b.target.readBack(ctx, b.ledgers)
	if err != nil {
		return Result{}, fmt.Errorf("%s: no figure: %w", o.Workload, err)
	}
	b.result.ReadBack += count
	return b.result, nil
}

// newLedger makes the ledger of one more client.
func (b *bench) newLedger() *ledger {
	l := &ledger{size: b.Size, sessions: b.sessions}
	b.ledgers = append(b.ledgers, l)
	return l
}

// seedOf keeps the contents of ledgers apart.
func (b *bench) seedOf() uint64 { return uint64(len(b.ledgers)) << 40 }

func (b *bench) random() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }

// found opens the sessions.
func (b *bench) found(ctx context.Context) error {
	founders := make([]*founder, b.Sessions)
	scripts := make([]script, b.Sessions)
	for i := range scripts {
		founders[i] = &founder{}
		scripts[i] = founders[i]
	}
	most := len(b.target.conns) * callsPerConnection
	for part := range slices.Chunk(scripts, most) {
		if err := b.target.exhaust(ctx, part); err != nil {
			return fmt.Errorf("open sessions: %w", err)
		}
	}
	for _, f := range founders {
		b.sessions = append(b.sessions, f.id)
	}
	return nil
}

// load writes prompts before the clock starts.
func (b *bench) load(ctx context.Context, count int) error {
	if err := b.found(ctx); err != nil {
		return err
	}
	const at, each = 4, 500
	size := min(each, max(1, readBackBytes/(b.Size+readBackOverhead)))
	b.preloaded = &ledger{size: b.Size, sessions: b.sessions}
	b.result.Preload = count
	var scripts []script
	var parts []*ledger
	for i := range at {
		l := b.newLedger()
		parts = append(parts, l)
		share := count/at + btoi(i < count%at)
		scripts = append(scripts, &batcher{writer: writer{ledger: l, seed: b.seedOf()}, each: size, left: share})
	}
	if err := b.target.exhaust(ctx, scripts); err != nil {
		return fmt.Errorf("write what is to be read: %w", err)
	}
	for _, l := range parts {
		b.preloaded.written = append(b.preloaded.written, l.written...)
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// measure runs scripts for the warm-up and the duration and fills in the result.
func (b *bench) measure(ctx context.Context, scripts []script) error {
	return b.measureWith(ctx, scripts, counterOf(scripts), func(*loop) {})
}

// counterOf is how much scripts have done so far that say so; nil when they do not.
func counterOf(scripts []script) func() int64 {
	if _, ok := scripts[0].(counted); !ok {
		return nil
	}
	return func() (sum int64) {
		for _, s := range scripts {
			sum += s.(counted).count()
		}
		return sum
	}
}

// measureWith measures; operations are what count says, if it is there, else what the scripts say of each call.
func (b *bench) measureWith(ctx context.Context, scripts []script, count func() int64, begin func(*loop)) error {
	l := &loop{from: time.Now().Add(b.WarmUp)}
	l.to = l.from.Add(b.Duration)
	if b.Rate > 0 {
		l.pace = &pace{start: time.Now(), rate: b.Rate}
	}
	clients, tallies, err := b.target.clients(l, scripts)
	if err != nil {
		return err
	}
	begin(l)
	l.start(clients)
	if l.pace != nil {
		go l.pace.drive(l)
	}
	await(ctx, l.from)
	w := b.watch()
	var sample window
	if count != nil {
		sample.begin(count())
	}
	await(ctx, l.to)
	if count != nil {
		sample.end(count())
	}
	w.stop(&b.result)
	if err := l.wait(ctx, b.target.conns); err != nil {
		return err
	}
	sum := newTally()
	for _, t := range tallies {
		sum.add(t)
	}
	r := &b.result
	r.Calls, r.Operations, r.Refused, r.Latency = sum.calls, sum.operations, sum.refused, sum.percentiles()
	r.Seconds = b.Duration.Seconds()
	if count != nil {
		r.Seconds, r.Operations = sample.took.Seconds(), sample.count
	}
	r.settle()
	return nil
}

// A window is what a counter rose by between two moments.
type window struct {
	start time.Time
	took  time.Duration
	count int64
}

func (w *window) begin(count int64) { w.start, w.count = time.Now(), -count }

func (w *window) end(count int64) { w.took, w.count = time.Since(w.start), w.count+count }

// await waits for a moment.
func await(ctx context.Context, at time.Time) {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
