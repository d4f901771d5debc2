// Package secret holds what the nodes of a cluster share and nobody else knows: CLUSTER_SECRET.
//
// A [Secret] gives out keys, never itself: each purpose has a label of its own, so that a key says nothing of another one
// and nothing of the secret. It prints as [redacted]. What the keys are used for is not known here.
package secret
