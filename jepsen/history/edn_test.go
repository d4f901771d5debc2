package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestEDN(t *testing.T) {
	for _, c := range []struct {
		op   Op
		want string
	}{
		{
			Op{Index: 12, Type: Invoke, Process: 3, Time: 1, F: "txn", Value: json.RawMessage(`[["append",5,17],["r",5,null]]`)},
			`{:index 12, :type :invoke, :process 3, :time 1, :f :txn, :value [[:append 5 17] [:r 5 nil]]}`,
		},
		{
			Op{Type: OK, Process: 3, F: "txn", Value: json.RawMessage(`[["r",5,[17,"a",["b"]]]]`), Node: "n2", Revision: 331, RPC: "CreateEdge", Request: "q"},
			`{:index 0, :type :ok, :process 3, :time 0, :f :txn, :value [[:r 5 [17 "a" ["b"]]]], :node "n2", :rpc "CreateEdge", :req "q", :revision 331}`,
		},
		{
			Op{Type: Info, Process: Nemesis, F: "kill-all", Value: json.RawMessage(`{"a b":1,"c":{"_":[]},"d_2":{}}`), Error: "E: \"x\"\\\n\t\r\x01é"},
			`{:index 0, :type :info, :process :nemesis, :time 0, :f :kill-all, :value {"a b" 1, :c {"_" []}, :d_2 {}}, :error "E: \"x\"\\\n\t\r\u0001é"}`,
		},
		{
			Op{Type: OK, F: "x", Value: json.RawMessage(`[1.5,1e3,-7,9223372036854775808,true,false]`), Revision: 1<<64 - 1},
			`{:index 0, :type :ok, :process 0, :time 0, :f :x, :value [1.5 1e3 -7 9223372036854775808N true false], :revision 18446744073709551615N}`,
		},
	} {
		var got bytes.Buffer
		if err := WriteEDN(&got, []Op{c.op}); err != nil || got.String() != c.want+"\n" {
			t.Errorf("got\n%swant\n%s\n%v", got.String(), c.want, err)
		}
	}
}

func TestWhatEDNCannotSay(t *testing.T) {
	for _, c := range []struct{ f, value, want string }{
		{"two words", `1`, "no keyword"},
		{"txn", `[[7,1,1]]`, "micro-operation begins with 7"},
		{"txn", `[["a b",1,1]]`, "micro-operation begins with a b"},
		{"x", `[1`, "EOF"},
		{"x", `{"a":1`, "EOF"},
		{"x", `{"a":}`, "invalid character"},
		{"x", `[x]`, "invalid character"},
		{"x", `{1:1}`, ""},
		{"x", ``, "EOF"},
	} {
		err := WriteEDN(&bytes.Buffer{}, []Op{{Index: 4, F: c.f, Value: json.RawMessage(c.value)}})
		if !errors.Is(err, ErrEDN) || !strings.HasPrefix(err.Error(), "operation 4: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.f, c.value, err, c.want)
		}
	}
}
