// Package faults hurts clusters of real processes under load and holds what is left against what was promised.
//
// Each fault is a function that starts from a cluster that is well, hurts it, proves that it was hurt, lets it heal, and says how long
// nobody could write. Around it runs the load of jepsen/workload, and afterwards everything is compared on every node. It promises that a
// fault which was not in force fails the run instead of passing it. It refuses to know how a server is built.
package faults
