// Package store keeps the rows of one replica: the graph of every tenant with its indexes and counters, the feed of
// events, the exactly-once rows and one row of the system.
//
// It lays them out over a small ordered key-value engine, of which there are two: Pebble without a write-ahead log (the
// Raft log is the only one) and an in-memory tree. Both promise the same. A [Batch] is seen whole or not at all. A
// [Snapshot] never changes. After a crash the store is an exact prefix of the committed batches and not behind the last
// [Store.Flush]. [Store.Install] swaps everything at once.
//
// It knows how rows are found and counted, and hides what is doomed; it knows no rule of the graph, no command, clock or
// network. DESIGN.md has the layout and the decisions.
package store
