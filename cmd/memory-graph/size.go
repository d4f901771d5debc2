package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
)

// reserveSize is the flag that says how many bytes stay free on the disk: 0 in it is for the default, which is written auto,
// and reserve.None for none, which is written 0.
type reserveSize int64

const autoSize = "auto"

// sizeUnits are what a size may end with, the larger first; bytes have no unit.
func sizeUnits() []struct {
	name  string
	bytes int64
} {
	return []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
}

func (s *reserveSize) Type() string { return "size" }

func (s *reserveSize) String() string {
	switch *s {
	case 0:
		return autoSize
	case reserve.None:
		return "0"
	}
	return formatSize(int64(*s))
}

// formatSize writes a size in the largest unit that leaves no fraction.
func formatSize(n int64) string {
	for _, u := range sizeUnits() {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// parseSize reads a whole number with or without a unit.
func parseSize(v string) (n int64, ok bool) {
	digits, unit := v, int64(1)
	for _, u := range sizeUnits() {
		if before, found := strings.CutSuffix(v, u.name); found {
			digits, unit = before, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n * unit, err == nil && n >= 0 && n <= math.MaxInt64/unit
}

// Set takes auto, 0, or a whole number with or without a unit.
func (s *reserveSize) Set(v string) error {
	if v == autoSize {
		*s = 0
		return nil
	}
	n, ok := parseSize(v)
	if !ok {
		return fmt.Errorf("%q is no size: use auto, 0, or a whole number of bytes, KiB, MiB, GiB or TiB, as in 512MiB", v)
	}
	*s = reserveSize(n)
	if n == 0 {
		*s = reserve.None
	}
	return nil
}
