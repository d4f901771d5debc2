package graph

import (
	"errors"
	"strings"
	"testing"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// RE2 is linear in the value, but not free: pattern and value together must not hold a processor.
func TestPatternsAreBoundedByTheirWork(t *testing.T) {
	for _, pattern := range []string{`a{0,1000}a{0,1000}a{0,1000}`, strings.Repeat(`a{0,1000}`, 100) + "b", `(x+x+)+y` + strings.Repeat("z{99}", 30)} {
		if err := checkPattern(pattern); err == nil || !strings.Contains(err.Error(), "repeats too much") {
			t.Errorf("pattern of %d bytes: %v, want it refused for its size when compiled", len(pattern), err)
		}
	}
	spec := func(name string) *pb.VariableSpec {
		pattern := `^(a{0,900}b?)+$`
		return &pb.VariableSpec{Name: name, ValidationPattern: &pattern}
	}
	size := programSize(spec("").GetValidationPattern())
	if size < 900 {
		t.Fatalf("the pattern compiles to %d instructions, too few for this test", size)
	}
	long := strings.Repeat("a", MaxPatternWork/size+1)
	_, _, err := Render(&pb.TemplateNode{TemplateText: "{{v}}", Variables: []*pb.VariableSpec{spec("v")}}, map[string]string{"v": long})
	wantTooLong(t, err)

	// What one value may do, many may not do together.
	text, values := "", map[string]string{}
	var specs []*pb.VariableSpec
	for _, name := range []string{"a", "b", "c"} {
		text += "{{" + name + "}}"
		specs = append(specs, spec(name))
		values[name] = long[:len(long)/2]
	}
	_, _, err = Render(&pb.TemplateNode{TemplateText: text, Variables: specs}, values)
	wantTooLong(t, err)
}

func wantTooLong(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, Invalid) || !strings.Contains(err.Error(), "too long for its pattern") {
		t.Errorf("got %v, want INVALID: too long for its pattern", err)
	}
}

func TestNumbersAreDecimal(t *testing.T) {
	for value, want := range map[string]bool{"1.5": true, "-2e3": true, "0x1p-2": false, "1_000": false, "inf": false, "NaN": false, "": false} {
		if got := fitsHint("number", value); got != want {
			t.Errorf("%q fits number: %v, want %v", value, got, want)
		}
	}
}
