package telemetry

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace begins every name of ours.
const namespace = "memory_graph"

// The labels of a call that succeeded, and of one whose caller went away: neither is an error.
const (
	statusOK       = "OK"
	statusCanceled = "Canceled"
)

// Counts is what the graph holds.
type Counts struct {
	// Nodes include sessions.
	Nodes, Edges, Sessions, ActiveSessions int64
}

// Options of New.
type Options struct {
	// Methods are the calls whose series exist from the first scrape, by their short names.
	Methods []string
	// Counts reads the replicated state of this node; nil leaves its gauges out.
	Counts func() (Counts, error)
	// Cache reads how the cache of this node's store fares; nil leaves its metrics out.
	Cache func() Cache
	// Disk reads how full the disk of this node is; nil leaves its metrics out.
	Disk func() Disk
	// Members reads where this node stands in its cluster; nil leaves its metrics out.
	Members func() (Members, error)
	// Events are the counters of what the node tells; nil leaves them out.
	Events *NodeEvents
	// Now is the clock of averages; nil for the real one.
	Now func() time.Time
}

// Metrics are those of one server. All methods may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	window   *window
	now      func() time.Time

	nodesCreated, edgesCreated, prompts, responses, tools prometheus.Counter
	handoffs, instantiations, queries, errors             prometheus.Counter
	requests                                              *prometheus.CounterVec
	streamed, closed                                      *prometheus.CounterVec
	activeStreams, activeConnections, buffered            prometheus.Gauge
	writeLatency, readLatency, queryDuration              prometheus.Histogram
	toolDuration, batchSize                               prometheus.Histogram
	requestDuration                                       *prometheus.HistogramVec
}

// callBuckets are those of calls and writes, seconds.
func callBuckets() []float64 { return []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1} }

// New makes the metrics of one server.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), now: o.Now}
	if m.now == nil {
		m.now = time.Now
	}
	m.window = newWindow(m.now())
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.makeCounters()
	m.makeCalls()
	m.makeHistograms()
	if o.Counts != nil {
		m.registry.MustRegister(newStateGauges(o.Counts))
	}
	if o.Cache != nil {
		m.registry.MustRegister(newCacheMetrics(o.Cache))
	}
	if o.Disk != nil {
		m.registry.MustRegister(newDiskMetrics(o.Disk))
	}
	if o.Members != nil {
		m.registry.MustRegister(newMemberMetrics(o.Members))
	}
	if o.Events != nil {
		m.registry.MustRegister(o.Events)
	}
	for _, method := range o.Methods {
		m.requests.WithLabelValues(method, statusOK)
		m.requestDuration.WithLabelValues(method)
	}
	return m
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help + onThisNode})
	m.registry.MustRegister(c)
	return c
}

const onThisNode = " Counted on the node that served the call."

func (m *Metrics) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}

func (m *Metrics) makeCounters() {
	m.nodesCreated = m.counter("nodes_created_total", "Nodes created, sessions and imported ones included.")
	m.edgesCreated = m.counter("edges_created_total", "Edges created, those that calls make by themselves included.")
	m.prompts = m.counter("prompts_submitted_total", "Prompts added.")
	m.responses = m.counter("responses_generated_total", "Responses added.")
	m.tools = m.counter("tools_invoked_total", "Tool invocations added.")
	m.handoffs = m.counter("agent_handoffs_total", "TRANSFERS_TO edges created by a call.")
	m.instantiations = m.counter("template_instantiations_total", "Templates instantiated.")
	m.queries = m.counter("queries_executed_total", "Query and StreamQuery calls that succeeded.")
	m.errors = m.counter("errors_total", "Calls that ended with any other status than OK and Canceled.")
}

func (m *Metrics) makeCalls() {
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "grpc_requests_total", Help: "Calls that ended, by method and status." + onThisNode,
	}, []string{"method", "status"})
	m.streamed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "stream_nodes_total", Help: "Nodes sent by streams." + onThisNode,
	}, []string{"method"})
	m.requestDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "grpc_request_duration_seconds", Buckets: callBuckets(),
		Help: "How long calls took, streams until their end.",
	}, []string{"method"})
	m.closed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "grpc_connections_closed_total", Help: "Connections that this node closed because a bound was reached.",
	}, []string{"reason"})
	m.registry.MustRegister(m.requests, m.streamed, m.closed, m.requestDuration)
	for _, reason := range []string{AddressShare, PartialRequests, UntakenReplies} {
		m.closed.WithLabelValues(reason)
	}
	for _, method := range []string{"StreamQuery", "Export"} {
		m.streamed.WithLabelValues(method)
	}
	m.activeStreams = m.gauge("grpc_active_streams", "Streaming calls that are open on this node.")
	m.buffered = m.gauge("buffer_size", "Changes that this node has proposed and that wait for their result.")
	m.activeConnections = m.gauge("grpc_active_connections", "Connections that are open on this node.")
}

func (m *Metrics) makeHistograms() {
	m.writeLatency = m.histogram("write_latency_seconds", "From proposal to applied, of accepted changes.", callBuckets())
	m.readLatency = m.histogram("read_latency_seconds", "Reads, the wait for a fresh state included.",
		[]float64{.0001, .0005, .001, .005, .01, .025, .05, .1})
	m.queryDuration = m.histogram("query_duration_seconds", "Query and StreamQuery calls that succeeded.",
		[]float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10})
	m.toolDuration = m.histogram("tool_duration_seconds", "Durations that callers reported of finished tool invocations.",
		[]float64{.1, .5, 1, 2, 5, 10, 30, 60})
	m.batchSize = m.histogram("batch_size", "Entries of BatchCreateNodes and BatchGetNodes requests.",
		[]float64{1, 5, 10, 25, 50, 100, 250, 500, 1000})
}

// Registry is where further collectors of the same server belong.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// A Change is what one accepted change did.
type Change struct {
	Took                                                              time.Duration
	Nodes, Edges, Prompts, Responses, Tools, Handoffs, Instantiations int
	// ToolDurations are of the tool invocations that it left finished.
	ToolDurations []time.Duration
}

// Committed counts an accepted change.
func (m *Metrics) Committed(c Change) {
	m.writeLatency.Observe(c.Took.Seconds())
	m.window.write(m.now(), c.Took)
	m.nodesCreated.Add(float64(c.Nodes))
	m.edgesCreated.Add(float64(c.Edges))
	m.prompts.Add(float64(c.Prompts))
	m.responses.Add(float64(c.Responses))
	m.tools.Add(float64(c.Tools))
	m.handoffs.Add(float64(c.Handoffs))
	m.instantiations.Add(float64(c.Instantiations))
	for _, d := range c.ToolDurations {
		m.toolDuration.Observe(d.Seconds())
	}
}

// Read starts to time a read; call what it returns at the end.
func (m *Metrics) Read() (done func()) {
	start := m.now()
	return func() {
		end := m.now()
		m.readLatency.Observe(end.Sub(start).Seconds())
		m.window.read(end, end.Sub(start))
	}
}

// Query starts to time a query; call what it returns when it has succeeded.
func (m *Metrics) Query() (done func()) {
	start := m.now()
	return func() {
		m.queries.Inc()
		m.queryDuration.Observe(m.now().Sub(start).Seconds())
	}
}

// Batch observes how many entries a batch has.
func (m *Metrics) Batch(entries int) { m.batchSize.Observe(float64(entries)) }

// Streamed counts nodes that a stream has sent.
func (m *Metrics) Streamed(method string, nodes int) {
	m.streamed.WithLabelValues(method).Add(float64(nodes))
}

// Finished counts a call that has ended with a status such as `OK` or `NotFound`.
func (m *Metrics) Finished(method, status string, took time.Duration) {
	m.requests.WithLabelValues(method, status).Inc()
	m.requestDuration.WithLabelValues(method).Observe(took.Seconds())
	m.window.request(m.now())
	if status != statusOK && status != statusCanceled {
		m.errors.Inc()
	}
}

// Streams keeps count of streaming calls that are open.
func (m *Metrics) Streams(delta int) { m.activeStreams.Add(float64(delta)) }

// Connections keeps count of connections that are open.
func (m *Metrics) Connections(delta int) { m.activeConnections.Add(float64(delta)) }

// Why connections are closed.
const (
	AddressShare    = "address_share"
	PartialRequests = "partial_requests"
	UntakenReplies  = "untaken_replies"
)

// Closed counts a connection that was closed because a bound was reached.
func (m *Metrics) Closed(reason string) { m.closed.WithLabelValues(reason).Inc() }

// Buffered keeps count of changes that wait for their result.
func (m *Metrics) Buffered(delta int) { m.buffered.Add(float64(delta)) }

// LastMinute says how this node has fared.
func (m *Metrics) LastMinute() Minute { return m.window.minute(m.now()) }
