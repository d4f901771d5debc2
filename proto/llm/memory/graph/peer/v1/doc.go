// Package peerpb holds the messages that the nodes of a cluster exchange beside Raft, generated from peer.proto.
//
// No client sees them. The package links no gRPC.
package peerpb
