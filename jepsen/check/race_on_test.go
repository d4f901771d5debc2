//go:build race

package check

// everyNth is which part of the many histories is judged: the race detector makes that ten times as slow and finds nothing in pure functions. It
// shares no factor with the sizes and kinds of the histories, which come in turns.
const everyNth = 11
