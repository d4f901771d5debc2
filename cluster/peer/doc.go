// Package peer is the one port over which the nodes of a cluster talk: Raft's streams and the peer service, apart by ALPN, over
// mutually authenticated TLS 1.3.
//
// Whoever has neither the secret of the cluster nor a certificate with the role of a node of its authority gets no byte through.
// Each stream of Raft opens by saying of which cluster it is, who dials and who is wanted, and each call of the peer service says
// the same; a node answers for itself alone, so that a node on the address of another, and a node of another cluster, are told
// apart from the right one, and told why. Secrets and certificates are replaced while the port is open, and what was
// authenticated by withdrawn ones is closed.
//
// What goes through the port is not known here, nor who should be a member. Listener and dialling are handed in, so that it
// runs in memory, too.
package peer
