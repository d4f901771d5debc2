package raftlog

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// guard stands in front of a bbolt file: a panic or a memory fault in it (bbolt reads through mmap, and asserts) becomes
// an error that names the file.
//
// bbolt holds its locks by hand, so after a panic they may be held for ever. The file is not touched again then, not
// even to close it: every later call gets the first error. The process is expected to end soon.
type guard struct {
	file   string
	broken atomic.Pointer[error]
}

// run calls f, on the calling goroutine.
func (g *guard) run(what string, f func() error) (err error) {
	if broken := g.broken.Load(); broken != nil {
		return *broken
	}
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %s: %v: %w", g.file, what, p, ErrDamaged)
			g.broken.Store(&err)
		}
	}()
	return f()
}
