// Package graphpb holds the messages of the public API, generated from memory_graph.proto and transfer.proto.
//
// The same messages are the records that the store keeps. The package links no gRPC.
package graphpb
