// Package graphgrpc holds the client and server stubs of MemoryGraphService and GraphTransferService.
//
// It is apart from the messages so that a program which only reads and writes those does not link gRPC.
package graphgrpc
