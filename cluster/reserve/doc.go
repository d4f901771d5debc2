// Package reserve keeps a node from filling its disk to the last byte (DECISIONS.md D11).
//
// It looks how much room the file system of a data folder has, says whether that is enough to take writes, and keeps a
// ballast file whose room is given back when a write that cannot be refused finds none. It decides; who refuses, and what,
// is for the caller. It knows nothing of logs and rows.
package reserve
