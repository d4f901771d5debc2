// Package cluster runs real server processes for the tests of this tree.
//
// It builds the program, starts it, waits until it says that it is ready, and then stops, kills, pauses or wipes it. It
// promises that no process outlives the test that started it and that everything a process printed can be shown when
// something fails. It refuses to know what a server answers: that is asked by jepsen/conformance and jepsen/crash.
package cluster
