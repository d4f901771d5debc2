package history

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

const (
	begin = `{"index":0,"type":"invoke","process":0,"time":5,"f":"add","value":1}` + "\n"
	ok    = `{"index":1,"type":"ok","process":0,"time":6,"f":"add","value":1}` + "\n"
	info  = `{"index":1,"type":"info","process":0,"time":6,"f":"add","value":1}` + "\n"
)

func TestWhatIsNoHistoryIsRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"x\n", "h:1: not a history: invalid character"},
		{"\n", "h:1: not a history: EOF"},
		{begin + `{"index":1`, "h:2: the line is cut short"},
		{begin + begin, "h:2: not a history: index is 0, want 1"},
		{begin + strings.Replace(ok, "6", "4", 1), "h:2: not a history: time is 4, before that of the line above, 5"},
		{strings.Replace(begin, "add", "", 1), "h:1: not a history: f is empty"},
		{strings.Replace(begin, "invoke", "began", 1), `h:1: not a history: type is "began"`},
		{strings.Replace(begin, `"process":0`, `"process":-1`, 1), `process -1 is neither a number from 0 nor "nemesis"`},
		{strings.Replace(begin, `"process":0`, `"process":"me"`, 1), `process "me" is neither`},
		{strings.Replace(begin, `"f"`, `"g"`, 1), `h:1: not a history: json: unknown field "g"`},
		{strings.TrimSpace(begin) + "{}\n", "h:1: not a history: { after the object"},
		{begin + strings.Replace(begin, `"index":0`, `"index":1`, 1), "h:2: not a history: process 0 begins add while its add is open"},
		{strings.Replace(ok, `"index":1`, `"index":0`, 1), "h:1: not a history: process 0 ends add, which it did not begin"},
		{begin + strings.Replace(ok, "add", "read", 1), "h:2: not a history: process 0 ends read, but add is what it began"},
		{begin + info + strings.NewReplacer(`"index":0`, `"index":2`, `"time":5`, `"time":7`).Replace(begin), "h:3: not a history: process 0 goes on after a call whose outcome"},
	} {
		ops, err := Read(strings.NewReader(c.text), "h")
		if err == nil || !strings.Contains(err.Error(), c.want) || ops != nil {
			t.Errorf("%s\ngot %v, want %s", c.text, err, c.want)
		}
		if err != nil && !errors.Is(err, ErrForm) && !strings.Contains(c.want, "cut short") {
			t.Errorf("%v is not ErrForm", err)
		}
	}
}

func TestAReaderThatFails(t *testing.T) {
	broken := errors.New("bad sector")
	if _, err := Read(iotest.ErrReader(broken), "h"); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "h:1: ") {
		t.Errorf("%v, want %v in line 1", err, broken)
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that there is no such file", err)
	}
}

func TestAFileIsRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "h")
	if err := os.WriteFile(name, []byte(begin+strings.Replace(ok, `,"value":1`, "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	ops, err := ReadFile(name)
	if err != nil || len(ops) != 2 || string(ops[1].Value) != "null" {
		t.Errorf("%v %v", ops, err)
	}
	var n int
	if err := ops[0].Decode(&n); err != nil || n != 1 {
		t.Errorf("value %d, %v", n, err)
	}
	var s string
	if err := ops[0].Decode(&s); err == nil || !strings.Contains(err.Error(), "operation 0 (invoke add): value 1: ") {
		t.Errorf("%v, want it to name the operation", err)
	}
}

// FuzzRead: what is read can be written and read again, paired, and said in EDN or refused.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", begin, begin + ok, begin + info,
		`{"index":0,"type":"ok","process":"nemesis","time":0,"f":"inject","value":{"a b":[1e9,-0.5,18446744073709551615,true,null,"\u0000\"\\"]},"node":"n","error":"E: x","revision":1,"rpc":"R","req":"q"}` + "\n",
		`{"index":0,"type":"invoke","process":1,"time":0,"f":"txn","value":[["append",5,17],["r",5,null]]}` + "\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ops, err := Read(bytes.NewReader(text), "h")
		if err != nil {
			return
		}
		var once, twice bytes.Buffer
		if err := Write(&once, ops); err != nil {
			t.Fatal(err)
		}
		written := once.String()
		again, err := Read(&once, "again")
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if err := Write(&twice, again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(written, twice.String()); diff != "" {
			t.Errorf("written twice (-once +twice):\n%s", diff)
		}
		for _, c := range Calls(ops) {
			if c.End() <= c.Begin() {
				t.Errorf("a call ends before it begins: %+v", c)
			}
		}
		var edn bytes.Buffer
		if err := WriteEDN(&edn, ops); err != nil && !errors.Is(err, ErrEDN) {
			t.Error(err)
		} else if err == nil && strings.Count(edn.String(), "\n") != len(ops) {
			t.Errorf("%d operations are %d lines of EDN", len(ops), strings.Count(edn.String(), "\n"))
		}
	})
}
