package importer

import (
	"encoding/json"
	"os"
	"testing"
	"sort"

	"github.com/google/go-cmp/cmp"
)

func TestX(t *testing.T) {
	raw, _ := os.ReadFile("/tmp/a3/free.json")
	var m map[string]struct {
		Jinja string
		Free  []string
	}
	json.Unmarshal(raw, &m)
	n := 0
	for k, v := range m {
		got := freeNames(v.Jinja)
		n += len(got)
		sort.Strings(got)
		if d := cmp.Diff(v.Free, got); d != "" {
			t.Errorf("%s: %s\n%s", k, d, v.Jinja)
		}
	}
	t.Log(n)
}
