// Package load asks a server for as much as it can give, and measures what it gets.
//
// It holds a client that is as lean as the wire allows, the workloads, and the clocks. The client shares its machine with the
// server that it measures, so it speaks HTTP/2 itself: one goroutine for each connection reads answers, and the answer to
// a call sends the next one; requests are written as bytes and of an answer only the ids are looked at.
//
// It promises that latencies are measured from the moment at which a call was meant to start, that what happens while
// the server warms up does not count, and that a figure comes only from a run whose acknowledged writes were all read
// back, byte for byte. It refuses to know how the server does it, and trusts nothing but the API.
package load
