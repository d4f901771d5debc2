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
	for _, u := range sizeUnits() {
		if int64(*s)%u.bytes == 0 {
			return strconv.FormatInt(int64(*s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Set takes auto, 0, or a whole number with or without a unit.
func (s *reserveSize) Set(v string) error {
	if v == autoSize {
		*s = 0
		return nil
	}
	digits, unit := v, int64(1)
	for _, u := range sizeUnits() {
		if before, ok := strings.CutSuffix(v, u.name); ok {
			digits, unit = before, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("%q is no size: use auto, 0, or a whole number of bytes, KiB, MiB, GiB or TiB, as in 512MiB", v)
	}
	*s = reserveSize(n * unit)
	if n == 0 {
		*s = reserve.None
	}
	return nil
}
