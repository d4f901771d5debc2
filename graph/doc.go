// Package graph says what is true in the memory graph and what a mutation changes.
//
// It holds the rules for sessions, nodes, edges, templates and queries, the limits, and the storage interface that the
// rules work on. Given the same storage and the same mutation it always ends in the same state with the same events: it
// knows no disk, network, clock, randomness, goroutine or Raft. Instants and ids come in with the mutation. A rule that is
// broken is a [*Error]; every other error means that the storage is damaged.
package graph
