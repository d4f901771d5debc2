package importer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

const (
	// maxValueBytes is how much of one value of the file goes into metadata.
	maxValueBytes = 4 << 10
	// maxDepth is how far objects are taken apart into dotted keys; what is deeper is kept as JSON text.
	maxDepth = 4
	// truncatedKey tells what did not fit. reservedBytes is the room that it takes at the most.
	truncatedKey  = "import_truncated"
	reservedBytes = 128
)

// A pair is one entry of metadata.
type pair struct {
	key, value string
	depth      int
}

// entry is a pair for metadata.
func entry(key, value string) pair { return pair{key: key, value: value} }

// flatten returns the members as pairs with dotted keys, the shallow ones first and then by key.
func flatten(f fields) []pair {
	pairs := appendPairs(nil, f, "", 0)
	slices.SortFunc(pairs, func(a, b pair) int {
		if a.depth != b.depth {
			return a.depth - b.depth
		}
		return strings.Compare(a.key, b.key)
	})
	return pairs
}

func appendPairs(pairs []pair, f fields, prefix string, depth int) []pair {
	for _, k := range f.keys() {
		if !f.present(k) {
			continue
		}
		if below := f.object(k); below != nil && depth+1 < maxDepth {
			pairs = appendPairs(pairs, below, prefix+k+".", depth+1)
			continue
		}
		value, ok := f.text(k)
		if !ok {
			value = compact(f[k])
		}
		pairs = append(pairs, pair{prefix + k, value, depth})
	}
	return pairs
}

// compact returns JSON text without white space between its tokens; numbers keep their spelling.
func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return string(raw)
	}
	return b.String()
}

// addMetadata adds the pairs to m as far as they fit into the limits of metadata, in order. The same pairs always give
// the same result; the entry import_truncated says how many values were cut and how many were left out.
func addMetadata(m map[string]string, pairs []pair) {
	size := reservedBytes
	for k, v := range m {
		size += len(k) + len(v)
	}
	cut, left := 0, 0
	for _, p := range pairs {
		p.key, p.value = strings.ToValidUTF8(p.key, "\ufffd"), strings.ToValidUTF8(p.value, "\ufffd")
		value := cutText(p.value, maxValueBytes)
		_, taken := m[p.key]
		grown := size + len(p.key) + len(value)
		if taken || p.key == "" || len(p.key) > graph.MaxMetadataKeyBytes || len(m)+1 >= graph.MaxMetadataEntries || grown > graph.MaxMetadataBytes {
			left++
			continue
		}
		if len(value) < len(p.value) {
			cut++
		}
		m[p.key], size = value, grown
	}
	if cut+left > 0 {
		m[truncatedKey] = fmt.Sprintf("%d cut, %d left out", cut, left)
	}
}

// cutText returns the longest prefix of s of at most limit bytes that ends between characters.
func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
