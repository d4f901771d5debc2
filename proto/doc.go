// Package proto is the folder of the wire: the public contract, our additions to it, and the format of the log.
//
// It holds .proto files with the Go code generated from them beside each, and the tests that keep them compatible with the
// contract as it was published (testdata/contract.proto) and with the logs that were written before. It promises that a
// program which imports the messages links no gRPC: service stubs live in a package of their own, graphgrpc. It holds no
// logic and knows no other room.
package proto
