package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Labels of [NodeEvents].
const (
	resultOK     = "ok"
	resultFailed = "failed"

	compareEqual    = "equal"
	compareDiffer   = "differ"
	compareDisputed = "disputed"

	askedLeader   = "leader"
	askedMajority = "majority"
)

// NodeEvents count what a node tells of itself and of the others. They are made before the node, and handed to the metrics of its server
// ([Options]). All methods may be called from any goroutine, and none blocks.
type NodeEvents struct {
	leaderChanges, elections, clockAlarms, peersRefused prometheus.Counter
	clockAhead                                          prometheus.Gauge
	memberChanges, comparisons, readFailures            *prometheus.CounterVec
	certificates, secrets                               *prometheus.CounterVec
	readIndex                                           *prometheus.HistogramVec
}

// NewNodeEvents makes counters that stand at 0.
func NewNodeEvents() *NodeEvents {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help + " Counted on this node."})
	}
	vector := func(name, help string, labels []string, first ...[]string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help + " Counted on this node."}, labels)
		for _, values := range first {
			v.WithLabelValues(values...)
		}
		return v
	}
	either := [][]string{{resultOK}, {resultFailed}}
	asked := [][]string{{askedLeader}, {askedMajority}}
	e := &NodeEvents{
		leaderChanges: counter("cluster_leader_changes_total", "How often another node led than before."),
		elections:     counter("cluster_elections_total", "How often this node asked for votes."),
		clockAlarms:   counter("cluster_clock_alarms_total", "How often the clock of this leader was found to differ from those of the voters."),
		peersRefused:  counter("peer_refused_total", "Connections and calls that the peer port turned away."),
		clockAhead: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "cluster_clock_ahead_seconds", Help: "How far the clock of this leader was ahead of the median of the voters at the last alarm.",
		}),
		memberChanges: vector("cluster_member_changes_total", "Changes of the members that this node made as the leader.", []string{"change", "result"}),
		comparisons: vector("cluster_digest_comparisons_total", "Comparisons of this node's state with those of the other members.", []string{"result"},
			[]string{compareEqual}, []string{compareDiffer}, []string{compareDisputed}),
		readFailures: vector("cluster_read_index_failures_total", "Questions for a read index that had no answer.", []string{"asked"}, asked...),
		certificates: vector("peer_certificate_reloads_total", "How often certificates were read again from their files.", []string{"result"}, either...),
		secrets:      vector("peer_secret_reloads_total", "How often the secrets of the cluster were read again from their file.", []string{"result"}, either...),
		readIndex: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "cluster_read_index_seconds", Help: "Questions for a read index, each for all reads that wait.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
		}, []string{"asked"}),
	}
	for _, one := range asked {
		e.readIndex.WithLabelValues(one...)
	}
	return e
}

func (e *NodeEvents) parts() []prometheus.Collector {
	return []prometheus.Collector{
		e.leaderChanges, e.elections, e.clockAlarms, e.peersRefused, e.clockAhead, e.memberChanges, e.comparisons, e.readFailures,
		e.certificates, e.secrets, e.readIndex,
	}
}

// Describe tells Prometheus what comes.
func (e *NodeEvents) Describe(to chan<- *prometheus.Desc) {
	for _, part := range e.parts() {
		part.Describe(to)
	}
}

// Collect hands it over.
func (e *NodeEvents) Collect(to chan<- prometheus.Metric) {
	for _, part := range e.parts() {
		part.Collect(to)
	}
}

func result(err error) string {
	if err != nil {
		return resultFailed
	}
	return resultOK
}

// LeaderChanged counts that another node leads.
func (e *NodeEvents) LeaderChanged() { e.leaderChanges.Inc() }

// Elected counts that this node asked for votes.
func (e *NodeEvents) Elected() { e.elections.Inc() }

// Clock takes in how far the clock of this leader is ahead of the others'.
func (e *NodeEvents) Clock(ahead time.Duration) {
	e.clockAlarms.Inc()
	e.clockAhead.Set(ahead.Seconds())
}

// MemberChange counts a change of the members: `add`, `promote` …
func (e *NodeEvents) MemberChange(change string, err error) {
	e.memberChanges.WithLabelValues(change, result(err)).Inc()
}

// Compared counts a comparison of states that found so many wrong, or could not tell which.
func (e *NodeEvents) Compared(wrong int, disputed bool) {
	found := compareEqual
	if disputed {
		found = compareDisputed
	} else if wrong > 0 {
		found = compareDiffer
	}
	e.comparisons.WithLabelValues(found).Inc()
}

// ReadIndex takes in a question for a read index, asked of the leader, or by the leader of a majority.
func (e *NodeEvents) ReadIndex(ofLeader bool, took time.Duration, err error) {
	asked := askedMajority
	if ofLeader {
		asked = askedLeader
	}
	if err != nil {
		e.readFailures.WithLabelValues(asked).Inc()
		return
	}
	e.readIndex.WithLabelValues(asked).Observe(took.Seconds())
}

// Certificates counts that certificates were read again, or could not be.
func (e *NodeEvents) Certificates(err error) { e.certificates.WithLabelValues(result(err)).Inc() }

// Secrets counts that secrets were read again, or could not be.
func (e *NodeEvents) Secrets(err error) { e.secrets.WithLabelValues(result(err)).Inc() }

// PeerRefused counts what the peer port turned away.
func (e *NodeEvents) PeerRefused() { e.peersRefused.Inc() }
