// Package sim runs whole clusters in one process, in virtual time, and hurts them.
//
// The nodes are ours, unchanged: package cluster with hashicorp/raft, the port between nodes with its TLS, the API over gRPC. What is
// under them is a model: a network that behaves like TCP (bytes of a connection come in order, late, or not at all until one end gives
// up), disks that forget what was not synced, clocks that jump. A seed decides what happens when. A run promises to notice what
// jepsen/workload notices, two leaders in one term, states that differ at one index, and a cluster that does not come back. It
// refuses to know what a real disk, kernel or machine does: those are hurt by the other packages of jepsen.
package sim
