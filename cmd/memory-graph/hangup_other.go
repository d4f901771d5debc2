//go:build !unix

package main

import "os"

// onHangup tells of nothing: this system has no such signal.
func onHangup() (asked <-chan os.Signal, release func()) { return nil, func() {} }
