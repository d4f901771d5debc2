package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/check"
)

// call runs a command line.
func call(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

func TestAGoodHistoryPasses(t *testing.T) {
	code, out, errs := call(t, "check", "testdata/good.jsonl")
	if code != 0 || errs != "" {
		t.Errorf("exit code %d, %s", code, errs)
	}
	for _, want := range []string{"valid   list-append answered=1 transactions=1", "valid   progress"} {
		if !strings.Contains(out, want) {
			t.Errorf("the verdicts do not say %q:\n%s", want, out)
		}
	}
}

func TestABadHistoryIsProvenAndDrawn(t *testing.T) {
	dir := t.TempDir()
	code, out, errs := call(t, "check", "-pictures", dir, "testdata/stale.jsonl")
	if code != 1 || errs != "" {
		t.Errorf("exit code %d, %s", code, errs)
	}
	for _, want := range []string{"INVALID register", `linearizable: record "k"`, `"index":3,"type":"ok"`, `"node":"n2","revision":6`} {
		if !strings.Contains(out, want) {
			t.Errorf("the verdict does not say %q:\n%s", want, out)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "stale.jsonl.register-1.html"))
	if err != nil || !bytes.Contains(page, []byte("<html")) {
		t.Errorf("the picture is no page: %v", err)
	}
}

func TestPicturesGoBesideTheHistory(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile("testdata/stale.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "h.jsonl")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := call(t, "check", file); code != 1 || errs != "" {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	if _, err := os.Stat(file + ".register-1.html"); err != nil {
		t.Error(err)
	}
	if code, _, errs := call(t, "check", "-pictures", filepath.Join(dir, "none"), file); code != 1 || !strings.Contains(errs, "write a picture") {
		t.Errorf("exit code %d, %q for a folder that is not there", code, errs)
	}
}

func TestVerdictsAsJSON(t *testing.T) {
	code, out, _ := call(t, "check", "-json", "-pictures", t.TempDir(), "testdata/stale.jsonl")
	var v check.Verdict
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	if code != 1 || v.Checker != "register" || v.Valid || v.Found["linearizable"] != 1 || v.Counts["operations"] != 2 {
		t.Errorf("exit code %d, %+v", code, v)
	}
}

func TestExport(t *testing.T) {
	code, out, errs := call(t, "export-edn", "testdata/good.jsonl")
	want := `{:index 0, :type :invoke, :process :nemesis, :time 10, :f :inject, :value {:fault "kill"}}
{:index 1, :type :ok, :process :nemesis, :time 20, :f :inject, :value {:fault "kill"}}
{:index 2, :type :invoke, :process 0, :time 1000, :f :txn, :value [[:append "x" 1] [:r "x" nil]]}
{:index 3, :type :ok, :process 0, :time 2000, :f :txn, :value [[:append "x" 1] [:r "x" [1]]], :node "n1"}
{:index 4, :type :invoke, :process :nemesis, :time 2010, :f :heal, :value {:fault "kill"}}
{:index 5, :type :ok, :process :nemesis, :time 2020, :f :heal, :value {:fault "kill"}}
`
	if code != 0 || errs != "" || out != want {
		t.Errorf("exit code %d, %s, got\n%swant\n%s", code, errs, out, want)
	}
}

func TestWhatIsNoHistory(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	broken := write("broken", "{}\n")
	strange := write("strange", `{"index":0,"type":"invoke","process":0,"time":1,"f":"dance","value":null}`+"\n")
	unsaid := write("unsaid", `{"index":0,"type":"invoke","process":0,"time":1,"f":"two words","value":null}`+"\n")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "no command"},
		{[]string{"dance"}, 2, `no command "dance"`},
		{[]string{"check"}, 2, "0 files"},
		{[]string{"check", "-colour", broken}, 2, "colour"},
		{[]string{"check", broken}, 1, "broken:1: "},
		{[]string{"check", strange}, 1, "none of its 1 operations"},
		{[]string{"check", filepath.Join(dir, "none")}, 1, "no such file"},
		{[]string{"export-edn"}, 2, "want one file"},
		{[]string{"export-edn", "-x"}, 2, "want one file"},
		{[]string{"export-edn", broken}, 1, "broken:1: "},
		{[]string{"export-edn", unsaid}, 1, "no keyword"},
	} {
		if code, out, errs := call(t, c.args...); code != c.code || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%v: exit code %d, %q, %q, want %d and %q", c.args, code, out, errs, c.code, c.want)
		}
	}
}

func TestHelp(t *testing.T) {
	if code, out, errs := call(t, "help"); code != 0 || errs != "" || out != usage {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}

// full is a disk without room.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWhatCannotBeWritten(t *testing.T) {
	for _, args := range [][]string{{"check", "testdata/good.jsonl"}, {"check", "-json", "testdata/good.jsonl"}, {"export-edn", "testdata/good.jsonl"}} {
		var errs bytes.Buffer
		if code := run(t.Context(), args, full{}, &errs); code != 1 || !strings.Contains(errs.String(), errFull.Error()) {
			t.Errorf("%v: exit code %d, %q", args, code, errs.String())
		}
	}
}

func TestNothingSteersTheTerminal(t *testing.T) {
	if got, want := printable("a\x1b[2Jb\u009bc\u202ed é"), "a\ufffd[2Jb\ufffdc\ufffdd é"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
