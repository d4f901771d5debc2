// Package conformance is the black-box table of cases that every server of the contract must pass.
//
// A [Case] says which calls it covers and which section of COMPATIBILITY.md it proves; it talks gRPC and HTTP to a real
// process and isolates itself by sessions and ids of its own, so that all run at once on one server, on one that keeps
// nothing on disk, and on any node of a cluster. Beside what a case claims, every reply that it sees is held against the
// rules of all replies: the headers, the details of errors, no UNIMPLEMENTED, INTERNAL or UNKNOWN. The package imports the
// contract and nothing of the server.
package conformance
