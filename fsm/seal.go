package fsm

import (
	"crypto/hmac"
	"crypto/sha256"
)

// LongestMemory is how long after a command its request id is remembered at the most, nanoseconds of the log's instants.
const LongestMemory = int64(keyedLife)

// EventDigest is the digest that an event is sealed with: of its canonical encoding without digest and chain, under the key of
// the cluster. For those who verify; apply keeps a hash at hand for it.
func EventDigest(key [32]byte, body []byte) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(eventUse))
	mac.Write(body)
	return mac.Sum(nil)
}
