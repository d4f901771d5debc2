package importer

import (
	"fmt"
	"strings"
	"testing"
)

// TestTreesAreBounded reads a tree that is too deep and one that has too many nodes: what lies within the bounds is there.
func TestTreesAreBounded(t *testing.T) {
	deep := strings.Repeat(`{"n":1,"below":[`, 4000) + strings.Repeat("]}", 4000)
	wide := `{"below":[` + strings.Repeat("{},", maxTreeBranches+5) + `{}]}`
	tests := []struct {
		name, text, want string
		size             int
	}{
		{"deep", deep, "more than 1000 deep", maxTreeDepth},
		{"wide", wide, "more than 100000 nodes", maxTreeBranches},
		{"members in another order", `{"below":[{"below":[],"n":2},{"n":3}],"n":1,"below":[{}]}`, "", 4},
		{"no lists", `{"below":null,"a":1}`, "", 1},
		{"objects in place of lists", `{"below":{"below":[{"a":[1,{}]}]},"a":1}`, "below is no list", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var problems []string
			root, err := readTree([]byte(tt.text), "below", func(where, format string, args ...any) {
				problems = append(problems, where+": "+fmt.Sprintf(format, args...))
			})
			if err != nil || root.size() != tt.size {
				t.Fatalf("%v, %d nodes, want %d", err, root.size(), tt.size)
			}
			if tt.want == "" && len(problems) > 0 || tt.want != "" && (len(problems) == 0 || !strings.Contains(problems[0], tt.want)) {
				t.Errorf("problems %.300q, want %q", problems, tt.want)
			}
		})
	}
	if _, err := readTree([]byte("[]"), "below", nil); err == nil {
		t.Error("a list is a tree")
	}
}
