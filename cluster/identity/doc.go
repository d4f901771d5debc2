// Package identity keeps who a data folder belongs to.
//
// A data folder has a lock, so that one process at a time uses it, and meta.json, which says of which cluster and which
// node it is, checksummed and replaced atomically. A node that opens another's folder, a later format or a damaged
// meta.json is told so and changes nothing.
//
// The package makes ids from the randomness that it is handed and knows nothing of Raft, of the store or of members.
package identity
