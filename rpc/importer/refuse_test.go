package importer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// export is an export of these records, which says how many there are.
func export(nodes ...string) Source {
	var b strings.Builder
	b.WriteString(`{"memory_graph_export":{"version":1,"lineage":"","revision":1}}` + "\n")
	for _, n := range nodes {
		fmt.Fprintf(&b, `{"node":%s}`+"\n", n)
	}
	fmt.Fprintf(&b, `{"end":{"nodes":%d,"edges":0}}`+"\n", len(nodes))
	return textSource("graph.jsonl", b.String())
}

func promptOf(session, id string) string {
	return fmt.Sprintf(`{"id":%q,"prompt":{"session_id":%q,"content":"hi","metadata":{"model":"unknown","temperature":0.7}}}`, id, session)
}

func agent(id string) string { return fmt.Sprintf(`{"id":%q,"agent":{"name":%q}}`, id, id) }

// TestNobodyIsBlamedForAnother imports records that the server takes in one chunk with others that it does not.
func TestNobodyIsBlamedForAnother(t *testing.T) {
	const absent, late = "00000000-0000-4000-8000-0000000000ff", "00000000-0000-4000-8000-000000000003"
	session := fmt.Sprintf(`{"id":%q,"session":{"is_active":true}}`, late)
	tests := []struct {
		name    string
		records []string
		stored  []string
		blamed  []string
	}{
		{"one of two", []string{agent("innocent"), promptOf(absent, "guilty")}, []string{"innocent"}, []string{"line 3"}},
		{"two of three", []string{promptOf(absent, "guilty"), agent("innocent"), promptOf(absent, "guilty, too")}, []string{"innocent"}, []string{"line 2", "line 4"}},
		{"a child before its parent", []string{promptOf(late, "early"), session, promptOf(late, "p"), promptOf(late, "q")},
			[]string{late, "p", "q"}, []string{"line 2"}},
		{"a child before its parent alone", []string{promptOf(late, "early"), session}, []string{late}, []string{"line 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake, client := serve(t)
			var blamed []string
			got, err := Import(t.Context(), client, []Source{export(tt.records...)}, Options{Problem: func(p Problem) { blamed = append(blamed, p.Where) }})
			if err != nil || got.Created != int64(len(tt.stored)) || got.Skipped != int64(len(tt.blamed)) {
				t.Errorf("%+v, %v", got, err)
			}
			slices.Sort(blamed)
			if diff := cmp.Diff(tt.blamed, blamed); diff != "" {
				t.Errorf("blamed (-want +got):\n%s", diff)
			}
			for _, id := range tt.stored {
				if fake.nodes[id] == nil {
					t.Errorf("%s is not stored", id)
				}
			}
		})
	}
}

// TestALateParentIsNotLost: the parent stands in another chunk than the child that came before it.
func TestALateParentIsNotLost(t *testing.T) {
	const late = "00000000-0000-4000-8000-000000000003"
	records := []string{promptOf(late, "early")}
	for i := range 1500 {
		records = append(records, agent(fmt.Sprintf("a%d", i)))
	}
	records = append(records, fmt.Sprintf(`{"id":%q,"session":{"is_active":true}}`, late), promptOf(late, "p"))
	fake, client := serve(t)
	got, err := Import(t.Context(), client, []Source{export(records...)}, Options{})
	if err != nil || got.Skipped != 1 || got.Created != int64(len(records)-1) || fake.nodes["p"] == nil {
		t.Errorf("%+v, %v", got, err)
	}
}
