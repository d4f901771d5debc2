// Package client is the Go client of a Memory Graph cluster: several addresses, one connection that outlives any of them.
//
// A [Client] is a grpc.ClientConnInterface, so callers go on using the generated stubs ([Client.Graph], [Client.Transfer], or any
// other made with it). Underneath it keeps a connection to every node, sends each call to one that serves, and
//
//   - repeats what a node could not do (UNAVAILABLE, overload that says when to come back, changes that surely were not proposed) on
//     another node, with jittered pauses, until the deadline of the caller;
//   - gives every change an idempotency key, so that a repetition takes effect once; without a key it never repeats what may have happened;
//   - resumes streams of events (StreamEvents, SubscribeToSession) on any node after the last event that was delivered, without gap and without double;
//   - lets reads on one node see what was written through another, through [Client.Causal].
//
// It promises that whatever is not repeatable fails at once, that an error names every address that was tried and what it said
// ([Error]), that retries cannot multiply the load (see budget.go), and that no goroutine of it is left after [Client.Close].
//
// It does not know which node leads: any node takes any call. It keeps no queue: a call that finds no node waits in the goroutine
// of its caller. It does not resume StreamQuery, Export and Import once they have begun: those fail clearly, and [QueryAll] is a
// query that survives its nodes.
package client
