package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph/storagetest"
)

// TestStoragesAgreeWithTheModel plays games at random; a failure names the choices that lead to it.
func TestStoragesAgreeWithTheModel(t *testing.T) {
	dirs := 0
	for name, open := range map[string]func() *Store{
		"memory": OpenMemory,
		"pebble": func() *Store {
			dirs++
			s, err := openPebble(vfs.NewMem(), fmt.Sprint("store", dirs), testOptions(t))
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				s := open()
				defer func() {
					if err := s.Close(); err != nil {
						r.Errorf("close: %v", err)
					}
				}()
				var open []func()
				defer func() {
					for _, end := range open {
						end()
					}
				}()
				draw := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(r, label) }
				storagetest.Play(r, subject{r, s, func(end func()) { open = append(open, end) }}, draw, rapid.IntRange(1, 120).Draw(r, "changes"))
			})
		})
	}
}
