// Package raftlog holds the Raft log and the vote of a node, sealed.
//
// Every value that goes to disk carries a version, a key id, a codec and a CRC-32C over itself and over the place that
// it was written for, so that a value which rotted, was cut short or turns up at another index is an error that names
// the file, never an answer. Opening a damaged bbolt file is an error too, whatever bbolt itself does with it (panic,
// fault, or a silent step back to the transaction before).
//
// The stores are stacked: [Cache] (recent entries, bounded in bytes) over [WatchLogs] (reports a disk that hangs) over
// [Logs] (seals and verifies) over bbolt or memory. [Stable] is the same for the vote, in a file of its own.
//
// The package knows nothing of what an entry says, of members, or of the state machine.
package raftlog
