package fsm

import "errors"

// ErrCompacted is wrapped by errors about committed entries that are no longer in the log: the state has them.
var ErrCompacted = errors.New("the entries are no longer in the log")
