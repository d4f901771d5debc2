// Package cluster agrees on the order of commands and keeps this node's state machine in step with it.
//
// A [Node] is hashicorp/raft around an [fsm.Machine]: [Node.Propose] puts a command into the log, many to an entry, and
// returns what became of it once it is on disk and applied; [Node.Barrier] waits until this node has applied all that
// was acknowledged before. Both work on every node: commands go to the leader, and so does the question how far a read has to be. Nothing
// else writes to the store. On a leader it also does the chores that keep the state in order. A cluster of one opens no port.
//
// An error of a write says whether the command was surely not proposed. Commands are opaque: the package knows no kinds
// of nodes and no messages of the API.
package cluster
