package main

import (
	"errors"
	"testing"
	"time"
)

// TestPostgreSQLIsMeasured starts one, where it is installed.
func TestPostgreSQLIsMeasured(t *testing.T) {
	o := options{clients: 4, size: 256, warmUp: 50 * time.Millisecond, duration: time.Second}
	r, err := run(t.Context(), o)
	if errors.Is(err, errAbsent) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Operations == 0 || r.Acknowledged < r.Operations || r.ReadBack != r.Acknowledged || r.Latency["p50"] <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestTextsAreThoseOfTheOtherSide(t *testing.T) {
	// rpc/load has the same test.
	if got, want := string(appendText(nil, 7, 24)), textOfSeed7; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

const textOfSeed7 = "X3gMZRe4LPcYGP0fNPMRCoSs"
