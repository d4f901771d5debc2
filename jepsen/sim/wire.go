package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// windowBytes is what one end may have sent that the other has not read.
const windowBytes = 256 << 10

// pair is a connection: what goes there and what comes back.
type pair struct {
	network     *network
	there, back *wire
}

// wire is one direction of a connection; what is in it is guarded by the network's mutex.
type wire struct {
	way
	pair *pair
	cond *sync.Cond
	// segments are on their way or wait to be read, in order.
	segments []segment
	// newest is when the newest segment arrives.
	newest time.Time
	// cutAt is since when the way is cut; what arrived before is there.
	cutAt time.Time
	// unread are the bytes sent and not read, unheard those read whose acknowledgement has not passed.
	unread, unheard int
	// closed: the sender has. gone: the receiver has. sendError and readError are how the two ends were broken, nil for not.
	closed, gone         bool
	sendError, readError error
	// orphan: the receiver is gone and nobody has said so.
	orphan        bool
	reads, writes limit
	// wake goes off when the first segment arrives, patience when the sender gives up, refusal when it hears that nobody listens.
	wake, patience, refusal *time.Timer
}

type segment struct {
	data []byte
	at   time.Time
	last bool
}

// limit is a deadline.
type limit struct {
	passed bool
	timer  *time.Timer
}

// end is one end of a connection.
type end struct {
	in, out       *wire
	local, remote address
}

func (n *network) joinLocked(there, back way, here, at address) (mine, theirs *end) {
	p := &pair{network: n}
	p.there = &wire{way: there, pair: p, cond: sync.NewCond(&n.mu)}
	p.back = &wire{way: back, pair: p, cond: sync.NewCond(&n.mu)}
	n.wires[p.there], n.wires[p.back] = struct{}{}, struct{}{}
	return &end{in: p.back, out: p.there, local: here, remote: at}, &end{in: p.there, out: p.back, local: at, remote: here}
}

// other is the direction back.
func (p *pair) other(w *wire) *wire {
	if w == p.there {
		return p.back
	}
	return p.there
}

// blocked: nothing passes on the wire.
func (w *wire) blockedLocked() bool { return !w.pair.network.openLocked(w.way) }

// changedLocked is told that the way was cut or has healed.
func (w *wire) changedLocked(now time.Time, cut bool) {
	if cut {
		w.cutAt = now
		w.watchLocked()
		w.pair.other(w).watchLocked()
		return
	}
	w.resumeLocked(now)
}

// resumeLocked sends again what did not arrive.
func (w *wire) resumeLocked(now time.Time) {
	late := now.Add(time.Duration(w.pair.network.random.Int64N(int64(resend))))
	for i := range w.segments {
		if s := &w.segments[i]; s.at.After(w.cutAt) && s.at.Before(late) {
			s.at = late
		}
	}
	if len(w.segments) > 0 && w.newest.Before(late) {
		w.newest = late
	}
	w.cutAt = time.Time{}
	other := w.pair.other(w) // acknowledgements for it came this way
	other.unread -= other.unheard
	other.unheard = 0
	if w.patience != nil && !w.pair.other(w).blockedLocked() {
		w.patience.Stop()
		w.patience = nil
	}
	if w.orphan || other.gone && other.orphan {
		w.pair.breakLocked(w, syscall.ECONNRESET)
	}
	w.cond.Broadcast()
	other.cond.Broadcast()
}

// watchLocked begins to lose patience when something sent cannot be acknowledged.
func (w *wire) watchLocked() {
	if w.patience != nil || w.unread == 0 || w.sendError != nil || w.closed {
		return
	}
	if !w.blockedLocked() && !w.pair.other(w).blockedLocked() && !w.orphan {
		return
	}
	w.patience = time.AfterFunc(giveUp, func() {
		n := w.pair.network
		n.mu.Lock()
		defer n.mu.Unlock()
		w.patience = nil
		if w.unread > 0 && (w.orphan || w.blockedLocked() || w.pair.other(w).blockedLocked()) {
			w.pair.breakLocked(w, syscall.ETIMEDOUT)
		}
	})
}

// breakLocked ends the connection at the end that sends on w. The other end learns of it if that passes, else when it sends, or asks
// whether somebody is there.
func (p *pair) breakLocked(w *wire, why error) {
	back := p.other(w)
	if w.sendError == nil {
		w.sendError, back.readError = why, why
	}
	p.tellLocked(w)
	w.cond.Broadcast()
	back.cond.Broadcast()
}

// dieLocked is the end of the process that sends on w.
func (p *pair) dieLocked(w *wire, silently bool) {
	back := p.other(w)
	if w.sendError == nil {
		w.sendError, back.readError = net.ErrClosed, net.ErrClosed
	}
	if silently {
		p.orphanLocked(back)
	} else {
		p.tellLocked(w)
	}
	w.cond.Broadcast()
	back.cond.Broadcast()
	p.forgetLocked()
}

// tellLocked resets the far end of w, if that passes.
func (p *pair) tellLocked(w *wire) {
	back := p.other(w)
	if w.blockedLocked() {
		p.orphanLocked(back)
		return
	}
	if back.sendError == nil {
		back.sendError, w.readError = syscall.ECONNRESET, syscall.ECONNRESET
	}
	p.forgetLocked()
}

// orphanLocked leaves the sender of w alone, until it notices.
func (p *pair) orphanLocked(w *wire) {
	if w.orphan || w.sendError != nil {
		return
	}
	w.orphan = true
	w.watchLocked()
	time.AfterFunc(keepAlive, func() {
		p.network.mu.Lock()
		defer p.network.mu.Unlock()
		if w.sendError == nil {
			w.sendError, p.other(w).readError = syscall.ETIMEDOUT, syscall.ETIMEDOUT
			w.cond.Broadcast()
			p.other(w).cond.Broadcast()
			p.forgetLocked()
		}
	})
}

// forgetLocked drops a connection whose both ends are over.
func (p *pair) forgetLocked() {
	over := func(w *wire) bool { return w.sendError != nil || w.closed }
	if !over(p.there) || !over(p.back) {
		return
	}
	for _, w := range []*wire{p.there, p.back} {
		delete(p.network.wires, w)
		for _, t := range []*time.Timer{w.wake, w.patience, w.refusal} {
			if t != nil {
				t.Stop()
			}
		}
	}
}

// firstLocked is the first segment, if it has arrived; else it sees to it that its arrival is noticed.
func (w *wire) firstLocked() *segment {
	if len(w.segments) == 0 {
		return nil
	}
	first, now := &w.segments[0], time.Now()
	if !w.cutAt.IsZero() && first.at.After(w.cutAt) {
		return nil
	}
	wait := first.at.Sub(now)
	if wait <= 0 {
		return first
	}
	if w.wake == nil {
		w.wake = time.AfterFunc(wait, func() {
			w.pair.network.mu.Lock()
			defer w.pair.network.mu.Unlock()
			w.cond.Broadcast()
		})
	} else {
		w.wake.Reset(wait)
	}
	return nil
}

// Read takes what has arrived.
func (e *end) Read(p []byte) (int, error) {
	w := e.in
	n := w.pair.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		paused := n.hosts[w.to].paused
		switch {
		case w.gone:
			return 0, net.ErrClosed
		case w.reads.passed:
			return 0, os.ErrDeadlineExceeded
		case paused:
		case w.readError != nil:
			return 0, w.readError
		default:
			if first := w.firstLocked(); first != nil {
				return w.takeLocked(first, p)
			}
		}
		w.cond.Wait()
	}
}

func (w *wire) takeLocked(first *segment, p []byte) (int, error) {
	if first.last {
		return 0, io.EOF
	}
	c := copy(p, first.data)
	if first.data = first.data[c:]; len(first.data) == 0 {
		w.segments = w.segments[1:]
	}
	if w.pair.other(w).blockedLocked() {
		w.unheard += c
	} else {
		w.unread -= c
	}
	w.cond.Broadcast()
	return c, nil
}

// Write sends. It waits when the other end does not read.
func (e *end) Write(p []byte) (int, error) {
	w := e.out
	n := w.pair.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for written := 0; ; {
		switch {
		case w.closed:
			return written, net.ErrClosed
		case w.writes.passed:
			return written, os.ErrDeadlineExceeded
		case n.hosts[w.from].paused:
		case w.sendError != nil:
			return written, w.sendError
		case written == len(p):
			return written, nil
		case w.gone && !w.blockedLocked():
			w.refuseLocked()
			return len(p), nil
		case w.unread < windowBytes:
			take := min(len(p)-written, windowBytes-w.unread)
			w.sendLocked(segment{data: append([]byte(nil), p[written:written+take]...)})
			w.unread += take
			written += take
			w.watchLocked()
			if w.orphan && !w.blockedLocked() { // a machine that is there again knows nothing of the connection
				w.pair.breakLocked(w, syscall.ECONNRESET)
			}
			continue
		}
		w.cond.Wait()
	}
}

// refuseLocked answers what is sent to an end that has been closed: after a round trip the sender hears that nobody takes it. Both its
// reads and its writes fail from then on; a write that failed before the reads do would be tried again in no time, for ever.
func (w *wire) refuseLocked() {
	if w.refusal != nil {
		return
	}
	n := w.pair.network
	w.refusal = time.AfterFunc(n.delayLocked(w.way)+n.delayLocked(w.pair.other(w).way), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		w.pair.breakLocked(w, syscall.ECONNRESET)
	})
}

// sendLocked puts a segment on its way, behind those before it.
func (w *wire) sendLocked(s segment) {
	n := w.pair.network
	at := time.Now().Add(n.delayLocked(w.way))
	if at.Before(w.newest) {
		at = w.newest
	}
	if !w.cutAt.IsZero() && !at.After(w.cutAt) {
		at = w.cutAt.Add(1)
	}
	s.at, w.newest = at, at
	w.segments = append(w.segments, s)
	w.cond.Broadcast()
}

// Close ends the connection in good order: what was sent still comes.
func (e *end) Close() error {
	n := e.out.pair.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.out.closed {
		return nil
	}
	for _, l := range []*limit{&e.in.reads, &e.out.writes} {
		if l.timer != nil {
			l.timer.Stop()
		}
	}
	e.in.gone = true
	if e.out.sendError == nil {
		e.out.sendLocked(segment{last: true})
	}
	e.out.closed = true
	e.in.cond.Broadcast()
	e.out.cond.Broadcast()
	e.out.pair.forgetLocked()
	return nil
}

func (e *end) LocalAddr() net.Addr  { return e.local }
func (e *end) RemoteAddr() net.Addr { return e.remote }

func (e *end) SetDeadline(t time.Time) error {
	_ = e.SetReadDeadline(t) // it never fails
	return e.SetWriteDeadline(t)
}

func (e *end) SetReadDeadline(t time.Time) error  { e.in.setDeadline(&e.in.reads, t); return nil }
func (e *end) SetWriteDeadline(t time.Time) error { e.out.setDeadline(&e.out.writes, t); return nil }

func (w *wire) setDeadline(l *limit, at time.Time) {
	n := w.pair.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.passed = false
	if at.IsZero() {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(at), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		l.passed = l.passed || l.timer == timer
		w.cond.Broadcast()
	})
	l.timer = timer
}
