//go:build race

package cluster

// underRace: the race detector is on.
const underRace = true
