package main

import (
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
)

func TestSizesOfTheDiskReserve(t *testing.T) {
	for text, want := range map[string]struct {
		bytes reserveSize
		again string
	}{
		"auto": {0, "auto"}, "0": {reserve.None, "0"}, "0MiB": {reserve.None, "0"}, "1": {1, "1"}, "1024": {1024, "1KiB"},
		"512MiB": {512 << 20, "512MiB"}, "3GiB": {3 << 30, "3GiB"}, "2TiB": {2 << 40, "2TiB"}, "1025KiB": {1025 << 10, "1025KiB"},
	} {
		var s reserveSize
		if err := s.Set(text); err != nil || s != want.bytes || s.String() != want.again {
			t.Errorf("%s: got %d, %q, %v", text, s, s.String(), err)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "5%", "MiB", "1MB", "9000000TiB", "9223372036854775808"} {
		var s reserveSize
		if err := s.Set(text); err == nil {
			t.Errorf("%q became %d", text, s)
		}
	}
}
