package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// fields are the members of a JSON object, each still as it stands in the file.
type fields map[string]json.RawMessage

var errNoObject = errors.New("not a JSON object")

func parseFields(raw json.RawMessage) (fields, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '{' {
		return nil, errNoObject
	}
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, err
	}
	return f, nil
}

// text returns a member that is a string.
func (f fields) text(key string) (string, bool) {
	raw := f[key]
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, true
}

// textOrRaw returns a member that is a string, and one that is anything else but null as it stands in the file.
func (f fields) textOrRaw(key string) (string, bool) {
	if s, ok := f.text(key); ok || !f.present(key) {
		return s, ok
	}
	return string(f[key]), true
}

// firstText returns the first of the members that is a non-empty string.
func (f fields) firstText(keys ...string) string {
	for _, k := range keys {
		if s, ok := f.text(k); ok && s != "" {
			return s
		}
	}
	return ""
}

func (f fields) object(key string) fields {
	o, err := parseFields(f[key])
	if err != nil {
		return nil
	}
	return o
}

// whole returns a member that is a number, rounded to a whole one; else 0. Negative ones are 0, too.
func (f fields) whole(key string) int64 {
	n, err := strconv.ParseFloat(string(f[key]), 64)
	if err != nil || !(n > 0) || n >= math.MaxInt64 {
		return 0
	}
	return int64(math.Round(n))
}

// number returns a member that is a number; else nil.
func (f fields) number(key string) *float64 {
	n, err := strconv.ParseFloat(string(f[key]), 64)
	if err != nil {
		return nil
	}
	return &n
}

// seconds returns a member that is a number of seconds as milliseconds.
func (f fields) seconds(key string) int64 {
	n, err := strconv.ParseFloat(string(f[key]), 64)
	if err != nil || !(n > 0) || n >= math.MaxInt64/1000 {
		return 0
	}
	return int64(math.Round(n * 1000))
}

// present says that a member is there and not null.
func (f fields) present(key string) bool {
	raw, ok := f[key]
	return ok && string(raw) != "null"
}

// keys returns the keys, sorted.
func (f fields) keys() []string { return slices.Sorted(maps.Keys(f)) }

// without returns a copy that lacks the keys.
func (f fields) without(keys ...string) fields {
	rest := maps.Clone(f)
	for _, k := range keys {
		delete(rest, k)
	}
	return rest
}

// milliseconds is the number from which on a time is taken as milliseconds: as seconds it lies beyond the year 5138.
const milliseconds = 100_000_000_000

// maxSeconds is the end of the times that the graph keeps, in 2262.
const maxSeconds = math.MaxInt64 / int64(time.Second)

// time returns the first of the members that holds a time: RFC 3339 text, or seconds or milliseconds since 1970. What
// is no time, or lies outside the years 1970 to 2262, counts as unknown.
func (f fields) time(keys ...string) *timestamppb.Timestamp {
	for _, k := range keys {
		if s, ok := f.text(k); ok {
			if t, err := time.Parse(time.RFC3339Nano, strings.Replace(s, " ", "T", 1)); err == nil && inRange(t) {
				return timestamppb.New(t)
			}
			continue
		}
		n, err := strconv.ParseFloat(string(f[k]), 64)
		if err != nil || !(n > 0) {
			continue
		}
		if n >= milliseconds {
			n /= 1000
		}
		if n >= float64(maxSeconds) {
			continue
		}
		whole, part := math.Modf(n)
		// Microseconds are what a float64 holds of a present-day time.
		return timestamppb.New(time.Unix(int64(whole), int64(math.Round(part*1e6))*1000))
	}
	return nil
}

func inRange(t time.Time) bool {
	return t.Unix() > 0 && t.Unix() < maxSeconds
}

// timeKeys are the members in which messages and items keep a time.
func timeKeys() []string { return []string{"timestamp", "created_at", "created"} }
