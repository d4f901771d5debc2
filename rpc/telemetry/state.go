package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
)

// stateGauges read the replicated state when they are scraped, all from one look at it.
type stateGauges struct {
	counts               func() (Counts, error)
	active, nodes, edges *prometheus.Desc
}

func newStateGauges(counts func() (Counts, error)) *stateGauges {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help+" Replicated: every node tells the same.", nil, nil)
	}
	return &stateGauges{
		counts: counts,
		active: desc("active_sessions", "Sessions that are active."),
		nodes:  desc("total_nodes", "Nodes, sessions included."),
		edges:  desc("total_edges", "Edges."),
	}
}

// Describe tells Prometheus what comes.
func (s *stateGauges) Describe(to chan<- *prometheus.Desc) {
	to <- s.active
	to <- s.nodes
	to <- s.edges
}

// Collect reads the state. One that cannot be read spoils these gauges, not the scrape.
func (s *stateGauges) Collect(to chan<- prometheus.Metric) {
	c, err := s.counts()
	for _, g := range []struct {
		desc  *prometheus.Desc
		value int64
	}{{s.active, c.ActiveSessions}, {s.nodes, c.Nodes}, {s.edges, c.Edges}} {
		if err != nil {
			to <- prometheus.NewInvalidMetric(g.desc, err)
			continue
		}
		to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(g.value))
	}
}
