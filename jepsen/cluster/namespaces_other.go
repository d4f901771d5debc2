//go:build !linux

package cluster

// NewNamespaces is for Linux alone.
func NewNamespaces(int) (Network, error) { return nil, ErrNoNamespaces }
