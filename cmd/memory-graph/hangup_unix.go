//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// onHangup tells of each request to read files again.
func onHangup() (asked <-chan os.Signal, release func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}
