// Package workload keeps a cluster busy through its public API and knows afterwards what must be true of it.
//
// Writers make, change and delete records of their own, each with content that no other write has and an idempotency key. Readers ask
// any node for what others were just told is there. Watchers follow the events, now at this node, now at that. It promises to notice an
// acknowledged write that is lost or took effect twice, a linearizable read that went back, an event that is missing, doubled, out of
// order or different on another node, and a call that was not decided in time. It refuses to know what hurts the cluster meanwhile.
package workload
