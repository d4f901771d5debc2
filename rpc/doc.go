// Package rpc is what crosses the edge of the process: the gRPC services, health, reflection, and the metrics port.
//
// A handler decodes, asks and encodes; it decides nothing about the graph. Chance enters here: ids that the caller left to
// the server, and request ids, are made before the proposal and travel in the command. Interceptors hold what is the same for
// all calls: recovery, decode errors, deadlines, request metadata, reply headers, metrics. One table, in status.go, turns
// errors into codes.
//
// It knows no disk and no Raft: writes go through a [Log], reads through a snapshot of the machine.
package rpc
