//go:build !race

package check

// everyNth is which part of the many histories is judged: all of them.
const everyNth = 1
