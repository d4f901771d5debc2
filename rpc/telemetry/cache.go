package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Cache is how a cache has fared since the start.
type Cache struct{ Hits, Requests, Bytes int64 }

// cacheMetrics read the cache of this node's store when they are scraped.
type cacheMetrics struct {
	read                  func() Cache
	hits, requests, bytes *prometheus.Desc
}

func newCacheMetrics(read func() Cache) *cacheMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help+" Of this node; 0 for a store in memory.", nil, nil)
	}
	return &cacheMetrics{
		read:     read,
		hits:     desc("cache_hits_total", "Blocks of the store that were found in its cache."),
		requests: desc("cache_requests_total", "Blocks of the store that were looked for in its cache."),
		bytes:    desc("cache_size_bytes", "What the cache of the store holds."),
	}
}

// Describe tells Prometheus what comes.
func (c *cacheMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- c.hits
	to <- c.requests
	to <- c.bytes
}

// Collect reads the cache.
func (c *cacheMetrics) Collect(to chan<- prometheus.Metric) {
	now := c.read()
	to <- prometheus.MustNewConstMetric(c.hits, prometheus.CounterValue, float64(now.Hits))
	to <- prometheus.MustNewConstMetric(c.requests, prometheus.CounterValue, float64(now.Requests))
	to <- prometheus.MustNewConstMetric(c.bytes, prometheus.GaugeValue, float64(now.Bytes))
}
