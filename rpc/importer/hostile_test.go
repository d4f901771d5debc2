package importer

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
)

var hostile = flag.Bool("hostile", false, "put every hostile value in every place, which takes minutes")

// hostileValues stand in place of each value of each sample.
func hostileValues() []json.RawMessage {
	return []json.RawMessage{
		json.RawMessage(`null`), json.RawMessage(`true`), json.RawMessage(`-1`), json.RawMessage(`1e400`), json.RawMessage(`""`),
		json.RawMessage(`"\u0000 \ud800"`), json.RawMessage(`{}`), json.RawMessage(`[]`), json.RawMessage(`[null,[],{},"",0]`),
		json.RawMessage(`{"":{"type":[]},"content":null,"id":{}}`),
		json.RawMessage(strings.Repeat("[", 1000) + strings.Repeat("]", 1000)),
		json.RawMessage(strings.Repeat(`{"parts":[`, 500) + strings.Repeat(`]}`, 500)),
		json.RawMessage(`[` + strings.Repeat(`{},`, 2000) + `{}]`),
	}
}

// TestHostileShapes puts values of the wrong kind, of great depth and of great length in place of every value of every
// sample, leaves each one out, and puts each element of a list there twice. Whatever comes out must be records that the
// graph accepts. Without -hostile each place gets one of these, another one than the place before.
func TestHostileShapes(t *testing.T) {
	samples, _, err := Sources([]string{filepath.Join("testdata", "shapes")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		name := filepath.Base(s.Name)
		raw, err := os.ReadFile(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		lines := [][]byte{raw}
		if hasSuffix(name, lineSuffixes()) {
			lines = bytes.SplitAfter(raw, []byte("\n"))
		}
		t.Run(name, func(t *testing.T) {
			for i, line := range lines {
				for variant := range variants(line) {
					text := slicesJoin(lines[:i], variant, lines[i+1:])
					before := allocated()
					checkedRead(t, besideItself(name, text))
					if took := allocated() - before; took > hostileBytes {
						t.Errorf("reading %d bytes took %d bytes of memory, one after the other:\n%.1000s", len(text), took, variant)
					}
					if t.Failed() {
						t.Fatalf("with line %d:\n%.3000s", i+1, variant)
					}
				}
			}
		})
	}
}

// hostileBytes bounds what is allocated to read and check one sample of a few KiB, whatever stands in it. Work that grows
// faster than its text shows here, on any machine; what does not end, go test ends.
const hostileBytes = 256 << 20

// allocated counts the bytes that were ever allocated.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func slicesJoin(before [][]byte, line []byte, after [][]byte) string {
	return string(bytes.Join(before, nil)) + string(line) + "\n" + string(bytes.Join(after, nil))
}

// variants yields the text with one value replaced, left out, or doubled.
func variants(text []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		var whole any
		if json.Unmarshal(text, &whole) != nil {
			return
		}
		places := varying{values: hostileValues()}
		places.vary(whole, func(v any) bool {
			raw, err := json.Marshal(v)
			if err != nil {
				panic(err) // it was decoded from JSON
			}
			return yield(raw)
		})
	}
}

// A varying goes through the places of a value, and counts them.
type varying struct {
	values []json.RawMessage
	places int
}

// vary calls yield with each variant of a value, and says false when yield did.
func (p *varying) vary(v any, yield func(any) bool) bool {
	p.places++
	for i, h := range p.values {
		if (*hostile || p.places%3 == 0 && p.places/3%len(p.values) == i) && !yield(h) {
			return false
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			old := v[k]
			if !p.vary(old, func(n any) bool { v[k] = n; return yield(v) }) {
				return false
			}
			delete(v, k)
			goOn := !*hostile && p.places%3 != 1 || yield(v)
			if v[k] = old; !goOn {
				return false
			}
		}
	case []any:
		for i, old := range v {
			if !p.vary(old, func(n any) bool { v[i] = n; return yield(v) }) {
				return false
			}
			v[i] = old
			if (*hostile || p.places%3 == 2) && !yield(slices.Insert(slices.Clone(v), i, old)) {
				return false
			}
		}
	}
	return true
}
