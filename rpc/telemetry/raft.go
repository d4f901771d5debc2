package telemetry

import (
	"fmt"

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
	return sink, nil
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
