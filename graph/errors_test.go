package graph

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestARefusalNamesTheFieldOfTheRequest(t *testing.T) {
	refusal := invalid("node.id", "is %d bytes", 0)
	moved := Moved(Moved(refusal, "node.", element("nodes", 3)), "edge.", "x")
	want := &Error{Kind: Invalid, Field: "nodes[3].id", Message: "nodes[3].id: is 0 bytes"}
	if diff := cmp.Diff(error(want), moved); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if refusal.Field != "node.id" {
		t.Errorf("the refusal itself now blames %s", refusal.Field)
	}
	if other := errors.New("node.id"); Moved(other, "node.", "x") != other || Moved(nil, "", "x") != nil {
		t.Error("what is no refusal was moved")
	}
}
