package history

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// clock counts milliseconds, one at each look.
func clock() func() time.Duration {
	var mu sync.Mutex
	var now time.Duration
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		now += time.Millisecond
		return now
	}
}

// read reads what a recorder wrote.
func read(t *testing.T, file *bytes.Buffer) []Op {
	t.Helper()
	ops, err := Read(file, "history")
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

func TestWhatIsRecordedIsRead(t *testing.T) {
	var file bytes.Buffer
	r := NewRecorder(&file, clock())
	w := r.Worker()
	r.Nemesis(Invoke, "inject", map[string]string{"fault": "kill"})
	if got := w.Call(What{F: "add", Value: "a", Node: "n1", RPC: "CreateNode", Request: "r1"}).Wrote(Reply{Node: "n2", Revision: 7}, nil); got != OK {
		t.Errorf("%s, want ok", got)
	}
	if got := w.Call(What{F: "read", Node: "n1"}).Answered(Reply{Value: []int{1}}, nil); got != OK {
		t.Errorf("%s, want ok", got)
	}
	if got := w.Call(What{F: "read", Node: "n1"}).Answered(Reply{}, status.Error(codes.Unavailable, "gone")); got != Fail {
		t.Errorf("%s, want fail", got)
	}
	if got := w.Call(What{F: "add", Value: "b"}).Wrote(Reply{}, status.Error(codes.NotFound, "no prompt")); got != Fail {
		t.Errorf("%s, want fail", got)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	want := `{"index":0,"type":"invoke","process":"nemesis","time":1000000,"f":"inject","value":{"fault":"kill"}}
{"index":1,"type":"invoke","process":0,"time":2000000,"f":"add","value":"a","node":"n1","rpc":"CreateNode","req":"r1"}
{"index":2,"type":"ok","process":0,"time":3000000,"f":"add","value":"a","node":"n2","revision":7,"rpc":"CreateNode","req":"r1"}
{"index":3,"type":"invoke","process":0,"time":4000000,"f":"read","value":null,"node":"n1"}
{"index":4,"type":"ok","process":0,"time":5000000,"f":"read","value":[1],"node":"n1"}
{"index":5,"type":"invoke","process":0,"time":6000000,"f":"read","value":null,"node":"n1"}
{"index":6,"type":"fail","process":0,"time":7000000,"f":"read","value":null,"node":"n1","error":"UNAVAILABLE: gone"}
{"index":7,"type":"invoke","process":0,"time":8000000,"f":"add","value":"b"}
{"index":8,"type":"fail","process":0,"time":9000000,"f":"add","value":"b","error":"NOT_FOUND: no prompt"}
`
	if diff := cmp.Diff(want, file.String()); diff != "" {
		t.Errorf("the file (-want +got):\n%s", diff)
	}
	ops := read(t, &file)
	var again bytes.Buffer
	if err := Write(&again, ops); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again.String()); diff != "" {
		t.Errorf("read and written again (-want +got):\n%s", diff)
	}
}

// TestManyRecordAtOnce: whatever the order in which goroutines come, the history is well formed and has each operation once.
func TestManyRecordAtOnce(t *testing.T) {
	const workers, calls = 16, 50
	var file bytes.Buffer
	r := NewRecorder(&file, clock())
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			w := r.Worker()
			for n := range calls {
				p := w.Call(What{F: "add", Value: n})
				switch n % 5 {
				case 0:
					p.Wrote(Reply{}, context.DeadlineExceeded)
				case 1:
					p.Wrote(Reply{}, status.Error(codes.NotFound, ""))
				default:
					p.Wrote(Reply{}, nil)
				}
			}
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	count := map[Type]int{}
	processes := map[Process]bool{}
	for _, c := range Calls(read(t, &file)) {
		count[c.Type()]++
		processes[c.Invoke.Process] = true
	}
	if want := (map[Type]int{OK: 480, Fail: 160, Info: 160}); !cmp.Equal(count, want) {
		t.Errorf("%v, want %v", count, want)
	}
	// Each call of unknown outcome retires a process; the last number of each worker has calls, too.
	if want := workers + 160; len(processes) != want {
		t.Errorf("%d processes, want %d", len(processes), want)
	}
}

func TestAProcessRetires(t *testing.T) {
	var file bytes.Buffer
	r := NewRecorder(&file, clock())
	a, b := r.Worker(), r.Worker()
	a.Call(What{F: "add"}).Wrote(Reply{}, context.Canceled)
	if a.Process() != 2 || b.Process() != 1 {
		t.Errorf("the workers go on as %d and %d, want 2 and 1", a.Process(), b.Process())
	}
	a.Call(What{F: "add"}).Wrote(Reply{}, nil)
	b.Call(What{F: "add"}) // never ends
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	calls := Calls(read(t, &file))
	if len(calls) != 3 || calls[0].End() != Never || calls[1].Invoke.Process != 2 || calls[2].Type() != Info || calls[2].End() != Never {
		t.Errorf("%+v", calls)
	}
	if !calls[1].Before(calls[2]) || calls[0].Before(calls[1]) || calls[2].Before(calls[0]) {
		t.Error("only the second call had ended when another began")
	}
	if diff := cmp.Diff([][]int{{0, 1}, {2, 3}, {4}}, [][]int{calls[0].Proof(), calls[1].Proof(), calls[2].Proof()}); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestAWorkerDoesOneThingAtATime(t *testing.T) {
	w := NewRecorder(&bytes.Buffer{}, clock()).Worker()
	p := w.Call(What{F: "add"})
	panics(t, "calls read while its add is open", func() { w.Call(What{F: "read"}) })
	p.Wrote(Reply{}, nil)
	panics(t, "add ends twice", func() { p.Wrote(Reply{}, nil) })
}

func panics(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		if said, ok := recover().(string); !ok || !strings.Contains(said, want) {
			t.Errorf("panic %q, want %q", said, want)
		}
	}()
	f()
}

// full is a disk without room.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestAnIncompleteHistorySaysSo(t *testing.T) {
	r := NewRecorder(full{}, clock())
	r.Nemesis(Invoke, "inject", nil)
	if err := r.Close(); !errors.Is(err, errFull) {
		t.Errorf("%v, want %v", err, errFull)
	}
	var file bytes.Buffer
	r = NewRecorder(&file, clock())
	for range 2 * maxRecorderErrors {
		r.Worker().Call(What{F: "add", Value: func() {}})
	}
	if err := r.Close(); err == nil || strings.Count(err.Error(), "value of add") != maxRecorderErrors {
		t.Errorf("%v, want it to speak of a value that cannot be written, a bounded number of times", err)
	}
	if ops := read(t, &file); len(ops) != 2*maxRecorderErrors {
		t.Errorf("%d lines of calls whose value cannot be written, want all", len(ops))
	}
	r = NewRecorder(full{}, clock())
	r.Nemesis(Invoke, "inject", strings.Repeat("x", 1<<16)) // more than the buffer
	if err := r.Close(); !errors.Is(err, errFull) {
		t.Errorf("%v, want %v", err, errFull)
	}
	if err := Write(full{}, []Op{{F: "x"}}); !errors.Is(err, errFull) {
		t.Errorf("%v, want %v", err, errFull)
	}
	if err := WriteEDN(full{}, []Op{{F: "x", Value: []byte("1"), Error: strings.Repeat("x", 1<<16)}, {F: "x", Value: []byte("1")}}); !errors.Is(err, errFull) {
		t.Errorf("%v, want %v", err, errFull)
	}
}
