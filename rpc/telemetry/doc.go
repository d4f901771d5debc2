// Package telemetry counts and times what the edge of the process sees, and hands it to Prometheus.
//
// A [Metrics] has a registry of its own: two servers in one process do not mix. Counters count on the node that served the
// call, once for each accepted change; gauges of replicated state are read when they are scraped. The names, labels and
// buckets are a contract with dashboards. It knows no call and no record: its callers say what happened.
package telemetry
