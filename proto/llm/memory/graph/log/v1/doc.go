// Package logpb holds the messages of the replicated log, the event feed and the exactly-once table.
//
// What is written with them is read for ever: fields are added, never reused or renumbered.
package logpb
