package client

import (
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Pauses between the attempts of one call: a random part of the first, doubled each time, up to the last.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// backoff is how long to wait before the attempt after so many.
func backoff(attempts int) time.Duration {
	most := lastPause
	if shift := attempts - 1; shift < 6 {
		most = min(firstPause<<shift, lastPause)
	}
	return rand.N(most)
}

// A verdict is what an answer means for the call.
type verdict struct {
	// again: another attempt is safe and makes sense.
	again bool
	// after is when, on the same node; 0 when the node does not say.
	after time.Duration
	// node says what the answer tells of the node.
	node health
	// lost: the change may have taken effect.
	lost bool
}

// health is what an answer tells of the node that gave it.
type health int

const (
	// well: it works, whatever it has said.
	well health = iota
	// failing: it cannot serve anything now.
	failing
	// busy: it cannot take calls of this kind now.
	busy
)

// judge reads an answer. sent says that the request may have reached the node; keyed that it had an idempotency key.
func judge(k kind, keyed, sent bool, err error) verdict {
	s := status.Convert(err)
	info := infoOf(s)
	proposed, told := info.GetMetadata()["not_proposed"]
	surelyNot := !sent || told && proposed == "true"
	after, wait := retryAfter(s)
	v := verdict{after: after}
	repeatable := surelyNot || k == reads || k == feeds || k == readStreams || k == writes && keyed
	switch s.Code() {
	case codes.Unavailable:
		v.again, v.node = repeatable, failing
	case codes.ResourceExhausted:
		// It is refused before anything happens, unless the server says that it does not know. What bears no name is gRPC's: a message
		// that is too long, which may be the reply.
		surelyNot = surelyNot || !told && (wait || info != nil)
		v.again = wait && (repeatable || surelyNot)
		if wait {
			v.node = busy
		}
	default:
		v.again = told && surelyNot
	}
	v.lost = k != reads && k != feeds && k != readStreams && !surelyNot && unknown(s.Code())
	return v
}

// unknown reports codes that leave open what became of a change; with the others a server has refused it.
func unknown(c codes.Code) bool {
	switch c {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown, codes.Internal, codes.DataLoss, codes.ResourceExhausted:
		return true
	default:
		return false
	}
}
