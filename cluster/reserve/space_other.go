//go:build !(linux || darwin || freebsd)

package reserve

import "math"

// measure knows no way to ask here: there is always room, until a write finds none.
func measure(string) (Space, error) { return Space{Free: math.MaxInt64, Total: 0}, nil }
