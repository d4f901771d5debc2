package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph/storagetest"
)

// TestStoragesAgreeWithTheModel plays a game at random on both engines. A failure names the choices that lead to it.
func TestStoragesAgreeWithTheModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		changes := rapid.IntRange(1, 150).Draw(r, "changes")
		var choices []int
		fresh := func(label string, n int) int {
			choices = append(choices, rapid.IntRange(0, n-1).Draw(r, label))
			return choices[len(choices)-1]
		}
		memory := play(r, OpenMemory(), fresh, changes)
		again := func(label string, n int) int {
			if len(choices) == 0 || choices[0] >= n {
				r.Fatalf("%s: the engines were asked different things", label)
			}
			choice := choices[0]
			choices = choices[1:]
			return choice
		}
		s, err := openPebble(vfs.NewMem(), "store", testOptions(t))
		if err != nil {
			r.Fatalf("open: %v", err)
		}
		onDisk := play(r, s, again, changes)
		if fmt.Sprint(memory) != fmt.Sprint(onDisk) {
			r.Fatalf("rows in memory:\n%v\non disk:\n%v", memory, onDisk)
		}
	})
}

// play plays one game and returns the rows at its end.
func play(r *rapid.T, s *Store, draw storagetest.Draw, changes int) map[string]string {
	var views []func()
	defer func() {
		for _, end := range views {
			end()
		}
		if err := s.Close(); err != nil {
			r.Errorf("close: %v", err)
		}
	}()
	storagetest.Play(r, subject{r, s, func(end func()) { views = append(views, end) }}, draw, changes)
	return rowsOf(r, s)
}
