//go:build unix

package main

import "syscall"

// restrictFiles makes what this process creates readable by its user alone, whatever a library asks for.
func restrictFiles() { syscall.Umask(0o077) }
