package importer

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// jsonLines decodes the lines of a file.
func jsonLines[T any](t *testing.T, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var all []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var one T
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func sameTexts(t *testing.T, path string, want []texts) {
	t.Helper()
	if diff := cmp.Diff(want, importedTexts(t, path)); diff != "" {
		t.Errorf("%s: texts (-file +records):\n%s", path, diff)
	}
}

func TestAnthropicTextsAreByteIdentical(t *testing.T) {
	path := filepath.Join(dataDir(t, "anthropic-cookbook-json-mode"), "json_mode_dataset.jsonl")
	var want []texts
	for _, line := range jsonLines[struct {
		System   string
		Messages []struct{ Role, Content string }
	}](t, path) {
		want = append(want, texts{System: []string{line.System}, Prompts: []string{line.Messages[0].Content}, Responses: []string{line.Messages[1].Content}})
	}
	sameTexts(t, path, want)
}
