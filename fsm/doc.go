// Package fsm turns committed log entries into graph state.
//
// A [Machine] is the only writer of its store. Fed the same entries in the same order, every replica ends in the same
// state, however the entries were cut into batches, and however commands were grouped into entries: the digest of the state
// and the chain of events come out equal. Apply reads no clock, rolls no dice, starts no goroutine, ranges over no map, and
// knows no network. A command that breaks a rule is a result, remembered like any other; an entry that does not decode, or a
// store that fails, is a crash.
package fsm
