package telemetry

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-metrics"
	raftprom "github.com/hashicorp/go-metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
)

// NewRaftSink makes the sink that hands to Prometheus what Raft measures, as `memory_graph_raft_…`. Series appear when they
// are first measured and stay.
func NewRaftSink(registerer prometheus.Registerer) (metrics.MetricSink, error) {
	sink, err := raftprom.NewPrometheusSinkFrom(raftprom.PrometheusOpts{Registerer: registerer, Name: namespace + "_raft_sink"})
	if err != nil {
		return nil, fmt.Errorf("sink for the metrics of raft: %w", err)
	}
	return &raftSink{PrometheusSink: sink, registerer: registerer, samples: map[string]prometheus.Summary{}}, nil
}

// raftSink is that of the library, but for samples without labels: there are a dozen for each log entry, and the library makes
// and copies names for each.
type raftSink struct {
	*raftprom.PrometheusSink
	registerer prometheus.Registerer

	mu      sync.RWMutex
	samples map[string]prometheus.Summary // by name as Raft says it; guarded by mu
}

// AddSample takes one measurement.
func (s *raftSink) AddSample(parts []string, value float32) { s.AddSampleWithLabels(parts, value, nil) }

// AddSampleWithLabels takes one measurement.
func (s *raftSink) AddSampleWithLabels(parts []string, value float32, labels []metrics.Label) {
	if len(labels) > 0 {
		s.PrometheusSink.AddSampleWithLabels(parts, value, labels)
		return
	}
	var room [64]byte
	name := room[:0]
	for _, p := range parts {
		name = append(append(name, '_'), p...)
	}
	s.mu.RLock()
	sample := s.samples[string(name)]
	s.mu.RUnlock()
	if sample == nil {
		sample = s.add(string(name))
	}
	sample.Observe(float64(value))
}

// add makes the summary of a name, as the library would.
func (s *raftSink) add(name string) prometheus.Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sample := s.samples[name]; sample != nil {
		return sample
	}
	plain := strings.NewReplacer(" ", "_", ".", "_", "=", "_", "-", "_", "/", "_").Replace(name[1:])
	sample := prometheus.NewSummary(prometheus.SummaryOpts{
		Name: plain, Help: plain, MaxAge: 10 * time.Second, Objectives: map[float64]float64{0.5: 0.05, 0.9: 0.01, 0.99: 0.001},
	})
	// A name that is taken stays the other's: nothing of Raft's has two kinds.
	_ = s.registerer.Register(sample)
	s.samples[name] = sample
	return sample
}

// MeasureRaft makes the sink the one to which Raft reports. Raft knows only one in a process, so only a program's main
// calls this, once, before it starts Raft.
func MeasureRaft(sink metrics.MetricSink) error {
	c := metrics.DefaultConfig(namespace)
	c.EnableHostname, c.EnableRuntimeMetrics = false, false
	if _, err := metrics.NewGlobal(c, sink); err != nil {
		return fmt.Errorf("metrics of raft: %w", err)
	}
	return nil
}
