package memorygraph_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What people copy from the README compiles: it is the body of Example.
func TestTheGoProgramInTheReadmeIsTheExample(t *testing.T) {
	readme := read(t, "README.md")
	block := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(readme)
	if block == nil {
		t.Fatal("README.md has no Go program")
	}
	_, body, found := strings.Cut(read(t, "example_test.go"), "func Example() {\n")
	if !found {
		t.Fatal("example_test.go has no Example")
	}
	body = strings.TrimSuffix(strings.TrimSpace(body), "}")
	body = strings.ReplaceAll("\n"+strings.TrimRight(body, "\n"), "\n\t", "\n")
	if got, want := strings.TrimSpace(block[1]), strings.TrimSpace(body); got != want {
		t.Errorf("README.md shows\n%s\nbut example_test.go compiles\n%s", got, want)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
