package check

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
	"github.com/google/go-cmp/cmp"
)

// testLimits are those that testdata/progress.txt speaks of.
func testLimits() Limits {
	return Limits{Search: time.Minute, Resume: 2 * time.Second, Election: 3 * time.Second, Window: time.Second, Share: 0.9}
}

// TestEveryRuleIsNeeded: for each rule of each checker there is a history in which something is found with it, and nothing without it.
func TestEveryRuleIsNeeded(t *testing.T) {
	for _, j := range judges(testLimits()) {
		t.Run(j.title(), func(t *testing.T) {
			shown := map[string]bool{}
			for _, s := range sections(t, "testdata/"+j.title()+".txt") {
				shown[s.rule] = true
				v := j.check(s.ops)
				sound(t, s, v)
				switch s.rule {
				case "valid":
					if !v.Passed() || !j.about(s.ops) {
						t.Errorf("line %d: %s: %v %+v", s.line, s.title, v, v.Anomalies)
					}
					continue
				case "unknown":
					if v.Unknown == "" || !v.Valid {
						t.Errorf("line %d: %s: %v, want unknown", s.line, s.title, v)
					}
					continue
				}
				if !slices.Contains(j.names(), s.rule) {
					t.Fatalf("line %d: %s has no rule %s", s.line, j.title(), s.rule)
				}
				if v.Passed() {
					t.Errorf("line %d: %s: %s finds nothing", s.line, s.title, s.rule)
				}
				if v := j.check(s.ops, s.rule); !v.Passed() {
					t.Errorf("line %d: %s: without %s something else finds it: %v %+v", s.line, s.title, s.rule, v, v.Anomalies)
				}
			}
			for _, name := range append(j.names(), "valid", "unknown") {
				if !shown[name] {
					t.Errorf("no history shows what %s is there for", name)
				}
			}
		})
	}
}

// sound holds what every verdict promises.
func sound(t *testing.T, s section, v Verdict) {
	t.Helper()
	if v.Valid != (len(v.Anomalies) == 0) || v.Valid != (len(v.Found) == 0) {
		t.Errorf("line %d: valid is %v with %d anomalies of %d rules", s.line, v.Valid, len(v.Anomalies), len(v.Found))
	}
	for _, a := range v.Anomalies {
		if len(a.Proof) == 0 || !slices.IsSorted(a.Proof) || a.Proof[0] < 0 || a.Proof[len(a.Proof)-1] >= len(s.ops) {
			t.Errorf("line %d: %s is proven by operations %v of %d", s.line, a.Rule, a.Proof, len(s.ops))
		}
	}
}

func TestAVerdictIsTheSameEachTime(t *testing.T) {
	for _, j := range judges(testLimits()) {
		for _, s := range sections(t, "testdata/"+j.title()+".txt") {
			first := j.check(s.ops)
			for range 3 {
				if diff := cmp.Diff(first.Anomalies, j.check(s.ops).Anomalies); diff != "" {
					t.Errorf("%s.txt:%d: two verdicts (-one +other):\n%s", j.title(), s.line, diff)
				}
			}
		}
	}
}

func TestAllAsksWhoIsConcerned(t *testing.T) {
	var ops []history.Op
	for _, j := range judges(testLimits()) {
		if verdicts := All(sections(t, "testdata/"+j.title()+".txt")[0].ops, testLimits()); len(verdicts) == 0 {
			t.Errorf("nobody is concerned by the history of %s", j.title())
		} else if !slices.ContainsFunc(verdicts, func(v Verdict) bool { return v.Checker == j.title() }) {
			t.Errorf("%s is not concerned by its own history", j.title())
		}
	}
	if verdicts := All(ops, DefaultLimits()); verdicts != nil {
		t.Errorf("somebody is concerned by nothing: %v", verdicts)
	}
}

// The exported functions are the judges.
func TestTheFunctionsAreTheCheckers(t *testing.T) {
	functions := map[string]func([]history.Op) Verdict{
		"register":    func(ops []history.Op) Verdict { return Registers(ops, time.Minute) },
		"list-append": ListAppend, "set": Set, "counter": Counter, "events": Events, "session": Sessions, "replica": Replicas, "graph": Graph, "once": Once,
		"progress": func(ops []history.Op) Verdict { return Progress(ops, testLimits()) },
	}
	for _, j := range judges(testLimits()) {
		f := functions[j.title()]
		if f == nil {
			t.Errorf("no function asks %s", j.title())
			continue
		}
		for _, s := range sections(t, "testdata/"+j.title()+".txt") {
			if got, want := f(s.ops).String(), j.check(s.ops).String(); got != want {
				t.Errorf("%s.txt:%d: the function says %q, the checker %q", j.title(), s.line, got, want)
			}
		}
	}
}

func TestAVerdictIsOneLine(t *testing.T) {
	v := Verdict{Checker: "set", Valid: true, Counts: map[string]int{"reads": 2, "adds": 1}}
	if got, want := v.String(), "valid   set adds=1 reads=2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	v.Unknown = "nothing to judge by"
	if got, want := v.String(), "UNKNOWN set adds=1 reads=2 (nothing to judge by)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	v.Valid, v.Found = false, map[string]int{"lost": 3}
	if got, want := v.String(), "INVALID set adds=1 reads=2 lost:3 (nothing to judge by)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAVerdictIsBounded: a history that is wrong everywhere gives a verdict that can be read.
func TestAVerdictIsBounded(t *testing.T) {
	var w scriptWriter
	w.open = map[history.Process]bool{}
	const n = 100
	for range n {
		if err := w.line(`0 ok count-add "k"`); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		if err := w.line(`0 ok count-read {"key":"k","value":0}`); err != nil {
			t.Fatal(err)
		}
	}
	v := Counter(w.ops)
	if v.Found["below"] != n || len(v.Anomalies) != maxAnomalies || len(v.Anomalies[0].Proof) != maxProof {
		t.Errorf("%d found, %d shown, %d operations as proof", v.Found["below"], len(v.Anomalies), len(v.Anomalies[0].Proof))
	}
}

// TestARegisterThatTakesTooLong has many writes of unknown outcome at once and a read of what nobody wrote: every subset of the writes has
// to be tried, which nobody lives to see.
func TestARegisterThatTakesTooLong(t *testing.T) {
	w := scriptWriter{open: map[history.Process]bool{}}
	for n := range 40 {
		if err := w.line(fmt.Sprintf(`%d info write {"key":"k","value":"%d"}`, n+1, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.line(`0 ok read {"key":"k","value":"nobody's"}`); err != nil {
		t.Fatal(err)
	}
	if v := Registers(w.ops, 50*time.Millisecond); v.Unknown == "" || !v.Valid || v.Passed() {
		t.Errorf("%v, want unknown", v)
	}
}

// What a client wrote stands in a page that people open in a browser.
func TestPicturesEscapeWhatTheyShow(t *testing.T) {
	w := scriptWriter{open: map[history.Process]bool{}}
	for _, line := range []string{
		`0 ok create {"key":"<b>","value":"<script>alert(1)</script>&"}`,
		`0 ok cas {"key":"<b>","value":"<i>","from":"</script>"}`,
		`0 ok read {"key":"<b>","value":null}`,
	} {
		if err := w.line(line); err != nil {
			t.Fatal(err)
		}
	}
	v := Registers(w.ops, time.Minute)
	if len(v.Pictures) != 1 {
		t.Fatalf("%d pictures, want 1: %v", len(v.Pictures), v)
	}
	page := v.Pictures[0].HTML
	for _, bad := range []string{"<script>alert", "<i>", "</script>\"", `\u003cscript`} {
		if bytes.Contains(page, []byte(`"`+bad)) || bad != `\u003cscript` && bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page has %s as it came", bad)
		}
	}
	if !bytes.Contains(page, []byte(`\\u003cscript\\u003ealert(1)`)) {
		t.Error("the page does not show the value")
	}
}
