//go:build !unix && !wasip1

package store

import "github.com/cockroachdb/pebble/v2/vfs"

// restrict does nothing: this system has no modes for owners.
func restrict(vfs.File) error { return nil }
