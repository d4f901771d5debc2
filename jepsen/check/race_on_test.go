//go:build race

package check

// everyNth is which part of the many histories is judged: the race detector makes that ten times as slow and finds nothing in pure functions.
const everyNth = 10
