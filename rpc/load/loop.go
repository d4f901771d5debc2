package load

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// A script is what one client does, call after call. One goroutine uses it at a time.
type script interface {
	// next appends the request of the next call and names its method.
	next(b []byte) (method, []byte)
	// took looks at the answer, whose bytes it must not keep.
	took(reply []byte) error
	// operations is how much the call did that was answered: a batch does many things.
	operations() int64
}

// A counted script tells what it has done while a call goes on: streams are long. Anybody may ask.
type counted interface {
	script
	count() int64
}

// A finite script ends by itself.
type finite interface {
	script
	more() bool
}

const (
	// patience is how long calls that were begun may take to end once nobody measures any more.
	patience = time.Minute
	// pause is what a client that was refused for lack of room waits before it tries again.
	pause = 10 * time.Millisecond
)

// A loop is clients at work: each begins its next call when the one before has ended, or when the pace says so.
type loop struct {
	// from and to bound what is measured; nothing new begins after to.
	from, to time.Time
	pace     *pace // nil: as fast as answers come

	working sync.WaitGroup
	mu      sync.Mutex // guards failed
	failed  error
}

// A client makes one call at a time on its connection.
type client struct {
	loop   *loop
	conn   *conn
	tally  *tally
	script script
	buffer []byte
	meant  time.Time
}

// message hands the answer to the script.
func (c *client) message(p []byte) error { return c.script.took(p) }

// end counts the call and goes on.
func (c *client) end(err error) {
	now := time.Now()
	measured := !now.Before(c.loop.from) && now.Before(c.loop.to)
	var call *CallError
	switch {
	case errors.As(err, &call) && call.Code == codeExhausted:
		if measured {
			c.tally.refuse()
		}
		time.AfterFunc(pause, func() { c.again(true) })
		return
	case err != nil:
		c.loop.fail(err)
	case measured:
		c.tally.call(now.Sub(c.meant), c.script.operations())
	}
	c.again(false)
}

// again begins the next call, if there is to be one. flush says that nobody else will send it.
func (c *client) again(flush bool) {
	now := time.Now()
	if f, ok := c.script.(finite); ok && !f.more() || !now.Before(c.loop.to) || c.loop.err() != nil {
		c.loop.working.Done()
		return
	}
	c.meant = now
	if c.loop.pace != nil {
		meant, due := c.loop.pace.take(now, c)
		if !due {
			return // it belongs to the pace now
		}
		c.meant = meant
	}
	c.begin(flush)
}

func (c *client) begin(flush bool) {
	var m method
	c.buffer = append(c.buffer[:0], 0, 0, 0, 0, 0)
	m, c.buffer = c.script.next(c.buffer)
	binary.BigEndian.PutUint32(c.buffer[1:], uint32(len(c.buffer)-messagePrefixBytes))
	if err := c.conn.call(m, c.buffer, c); err != nil {
		c.loop.fail(err)
		c.loop.working.Done()
		return
	}
	if flush {
		_ = c.conn.flush() // end hears of it
	}
}

// fail stops the loop. The first error counts.
func (l *loop) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

func (l *loop) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// start sets the clients to work.
func (l *loop) start(clients []*client) {
	l.working.Add(len(clients))
	for _, c := range clients {
		c.again(true)
	}
}

// wait returns when no client is at work any more. Calls that do not end are cut off, with their connections.
func (l *loop) wait(ctx context.Context, conns []*conn) error {
	done := make(chan struct{})
	go func() {
		l.working.Wait()
		close(done)
	}()
	late := time.NewTimer(time.Until(l.to) + patience)
	defer late.Stop()
	var cut error
	select {
	case <-done:
		return l.err()
	case <-ctx.Done():
		cut = ctx.Err()
	case <-late.C:
		cut = errors.New("calls did not end a minute after the last one was begun")
	}
	l.fail(cut)
	for _, c := range conns {
		c.fail(cut)
	}
	if l.pace != nil {
		l.pace.dismiss(l)
	}
	<-done
	return l.err()
}

// A pace says when calls are meant to begin: every so often, whether or not those before have ended.
type pace struct {
	start time.Time
	rate  float64 // calls a second

	mu     sync.Mutex // guards what follows
	issued int64
	idle   []*client
	over   bool
}

func (p *pace) due() time.Time {
	return p.start.Add(time.Duration(float64(p.issued) / p.rate * float64(time.Second)))
}

// take is the moment at which the next call was meant to begin, if that has come; else the client becomes idle.
func (p *pace) take(now time.Time, c *client) (meant time.Time, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		c.loop.working.Done()
		return time.Time{}, false
	}
	if meant = p.due(); meant.After(now) {
		p.idle = append(p.idle, c)
		return time.Time{}, false
	}
	p.issued++
	return meant, true
}

// drive wakes idle clients when their time has come, until the loop is over.
func (p *pace) drive(l *loop) {
	const tick = 500 * time.Microsecond
	var ready []*client
	for now := time.Now(); now.Before(l.to) && l.err() == nil; now = time.Now() {
		ready = ready[:0]
		p.mu.Lock()
		for len(p.idle) > 0 && !p.due().After(now) {
			// The one that has waited longest, so that all connections are used.
			c := p.idle[0]
			p.idle = p.idle[1:]
			c.meant = p.due()
			p.issued++
			ready = append(ready, c)
		}
		wait := max(p.due().Sub(now), tick)
		if len(p.idle) == 0 {
			wait = tick
		}
		p.mu.Unlock()
		for _, c := range ready {
			c.begin(true)
		}
		time.Sleep(min(wait, 10*time.Millisecond))
	}
	p.dismiss(l)
}

// dismiss lets idle clients go.
func (p *pace) dismiss(l *loop) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.working.Add(-len(p.idle))
	p.idle, p.over = nil, true
}
