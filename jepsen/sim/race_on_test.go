//go:build race

package sim

// raceDetector: everything takes ten times as long.
const raceDetector = true
