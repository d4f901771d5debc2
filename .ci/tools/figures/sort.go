package main

import (
	"cmp"
	"maps"
	"slices"
)

// sortedBySize are the names, the largest first.
func sortedBySize(m map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
}
