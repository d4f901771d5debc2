// Package membership decides who belongs to a cluster, and who of them votes.
//
// A [Former] makes one cluster out of nodes that have none, exactly once, however they are started. A [Keeper] runs where
// the leader is: it takes in nodes that came, promotes them when they have caught up, follows those that moved, and removes
// those that are gone, one change of the configuration at a time and never so that fewer nodes would have to fail to stop
// the cluster. What it does next is decided by [Settings.Plan], which is pure. It also does what operators ask for, and keeps
// the book of which level of the replicated state every member can apply (DECISIONS.md D1).
//
// The package knows nothing of Raft, of gossip or of the wire: it is handed them as small interfaces.
package membership
