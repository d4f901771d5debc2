package graph

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// nanos is a valid timestamp as Unix nanoseconds; 0 for none.
func nanos(t *timestamppb.Timestamp) int64 {
	return t.GetSeconds()*int64(time.Second) + int64(t.GetNanos())
}

// Timestamp is Unix nanoseconds as a message.
func Timestamp(ns int64) *timestamppb.Timestamp {
	s := ns / int64(time.Second)
	rest := ns % int64(time.Second)
	if rest < 0 {
		s, rest = s-1, rest+int64(time.Second)
	}
	return &timestamppb.Timestamp{Seconds: s, Nanos: int32(rest)}
}

func unset(t *timestamppb.Timestamp) bool { return t.GetSeconds() == 0 && t.GetNanos() == 0 }

// CheckTime refuses a moment that the graph cannot keep; nil is no moment.
func CheckTime(field string, t *timestamppb.Timestamp) error { return checkTime(field, t) }

// checkTime refuses a timestamp that is malformed or outside what int64 nanoseconds hold.
func checkTime(field string, t *timestamppb.Timestamp) error {
	if t == nil {
		return nil
	}
	if t.Nanos < 0 || t.Nanos >= int32(time.Second) {
		return invalid(field, "nanos must be 0 to 999,999,999, got %d", t.Nanos)
	}
	const limit = math.MaxInt64/int64(time.Second) - 1
	if t.Seconds < -limit || t.Seconds > limit {
		return invalid(field, "must lie between the years 1678 and 2262")
	}
	return nil
}
