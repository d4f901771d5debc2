package cluster

import (
	"bytes"
	"strings"
	"sync"
)

// maxOutput is how many of the last bytes that a process printed are kept.
const maxOutput = 1 << 20

// output keeps the end of what a process prints and notices the line that begins with `ready`.
type output struct {
	// ready is closed when the line is complete.
	ready chan struct{}

	mu        sync.Mutex
	text      []byte
	line      []byte
	addresses map[string]string
}

func newOutput() *output {
	return &output{ready: make(chan struct{})}
}

// stream is one of the two channels of a process that end in the same output.
type stream struct {
	to *output
	// announces says that the ready line may come here.
	announces bool
}

// Write implements io.Writer; it never fails.
func (s stream) Write(p []byte) (int, error) {
	o := s.to
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if over := len(o.text) - maxOutput; over > 0 {
		o.text = append([]byte(nil), o.text[over:]...)
	}
	if s.announces && o.addresses == nil {
		o.scanLocked(p)
	}
	return len(p), nil
}

func (o *output) scanLocked(p []byte) {
	o.line = append(o.line, p...)
	for {
		line, rest, whole := bytes.Cut(o.line, []byte("\n"))
		if !whole {
			return
		}
		o.line = rest
		if found := parseReady(string(line)); found != nil {
			o.addresses = found
			close(o.ready)
			return
		}
	}
}

// parseReady reads `ready grpc=127.0.0.1:1 metrics=127.0.0.1:2 data=./data`; nil for any other line.
func parseReady(line string) map[string]string {
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != "ready" {
		return nil
	}
	found := make(map[string]string)
	for _, word := range words[1:] {
		if key, value, ok := strings.Cut(word, "="); ok {
			found[key] = value
		}
	}
	return found
}

func (o *output) address(key string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.addresses[key]
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}
