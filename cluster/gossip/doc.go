// Package gossip says who is there: every node tells the others where it is reached, what it may be and what it can, and who has
// gone. It is hashicorp/memberlist, encrypted with keys derived from the secret of the cluster.
//
// A node that knows one other learns of all. Members of another cluster are kept out from the moment that this node has one.
// What is told is a suggestion of whoever has the secret, at most 512 bytes and never a secret or a figure of load; who belongs to
// the cluster is decided elsewhere, and nothing here changes it. Listeners, dialling and names are handed in, so that it
// runs in memory, too. Under wasip1 only the types are there, for memberlist does not build.
package gossip
