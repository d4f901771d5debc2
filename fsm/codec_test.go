package fsm_test

import (
	"bytes"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

func TestRepeatable(t *testing.T) {
	sweep := &logpb.Command_Sweep{Sweep: &logpb.Sweep{Limit: 1}}
	for _, c := range []struct {
		name    string
		command *logpb.Command
		want    bool
	}{
		{"with an id", &logpb.Command{Tenant: 7, RequestId: bytes.Repeat([]byte{1}, fsm.RequestIDBytes), Operation: sweep}, true},
		{"without a tenant", &logpb.Command{RequestId: make([]byte, fsm.RequestIDBytes), Operation: sweep}, true},
		{"without an id", &logpb.Command{Tenant: 7, Operation: sweep}, false},
	} {
		b, err := fsm.EncodeCommand(c.command)
		if err != nil {
			t.Fatal(err)
		}
		if got := fsm.Repeatable(b); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
		if c.want && fsm.Repeatable(b[:10]) {
			t.Errorf("%s, cut short: got true", c.name)
		}
	}
	for _, b := range [][]byte{nil, {0xff}, {0x08}, {0x12, 0x02, 1, 2}, {0x10, 1}} {
		if fsm.Repeatable(b) {
			t.Errorf("%x: got true", b)
		}
	}
}
