// Package memnet is a network in memory: hosts that listen, dial and send packets, names that move, and links that are cut.
//
// It stands in for TCP and UDP where there is none: in a bubble of testing/synctest, whose clock it obeys, and under wasip1. A
// stream through a cut link loses nothing and brings nothing until the link is back, as TCP does while it sends again; a dial hangs
// until its context ends; a packet is lost. It has no delay, no disorder and no loss besides. What is sent is not known here.
package memnet
