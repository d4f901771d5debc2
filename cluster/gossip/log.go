//go:build !wasip1

package gossip

import (
	"bytes"
	"log"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// maxLines is how many lines memberlist may log in a second: strangers can make it log.
	maxLines = 10
)

// newLogger makes memberlist log by way of hclog. Its lines carry their level.
func newLogger(logger hclog.Logger) *log.Logger {
	to := logger.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})
	return log.New(&fewLines{to: to, debug: logger.IsDebug}, "", 0)
}

// fewLines lets through a few lines a second.
type fewLines struct {
	to    *log.Logger
	debug func() bool

	mu    sync.Mutex
	since time.Time
	lines int
}

func (f *fewLines) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("[DEBUG]")) && !f.debug() {
		return len(line), nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.since) >= time.Second {
		f.since, f.lines = now, 0
	}
	if f.lines++; f.lines <= maxLines {
		f.to.Print(string(bytes.Replace(line, []byte("memberlist: "), nil, 1)))
	}
	return len(line), nil
}
