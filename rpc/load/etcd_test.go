package load

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// An etcdFake keeps keys in a map. It knows puts, transactions of puts, and ranges without options but the limit.
type etcdFake struct {
	mu     sync.Mutex
	keys   map[string]string
	sorted []string // the keys of the last range
	// lose makes it forget every other call that it has acknowledged, spoil changes values.
	lose, spoil bool
	calls       int
}

// pageOfFake is less than what is asked for, so that there are pages.
const pageOfFake = 50

// rawCodec leaves messages as bytes.
type rawCodec struct{}

func (rawCodec) Name() string                    { return "raw" }
func (rawCodec) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(b []byte, v any) error { *v.(*[]byte) = slices.Clone(b); return nil }

func (f *etcdFake) handle(_ any, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	name, _ := grpc.MethodFromServerStream(stream)
	reply, err := f.answer(method(name), request)
	if err != nil {
		return err
	}
	return stream.SendMsg(&reply)
}

func (f *etcdFake) answer(m method, request []byte) (reply []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	switch m {
	case methodEtcdPut:
		return nil, f.put(request)
	case methodEtcdTxn:
		return nil, eachField(request, func(_ protowire.Number, operation []byte) error {
			put, err := bytesField(operation, etcdRequestPut)
			return errors.Join(err, f.put(put))
		})
	case methodEtcdRange:
		return f.find(request)
	}
	return nil, errors.New("unknown")
}

func (f *etcdFake) put(put []byte) error {
	key, err := bytesField(put, etcdKey)
	value, err2 := bytesField(put, etcdValue)
	if f.spoil {
		value = append(slices.Clone(value), '!')
	}
	if !f.lose || f.calls%2 == 0 {
		f.keys[string(key)] = string(value)
	}
	return errors.Join(err, err2)
}

func (f *etcdFake) find(request []byte) (reply []byte, err error) {
	from, err := bytesField(request, etcdKey)
	end, err2 := bytesField(request, etcdRangeEnd)
	found := []string{string(from)}
	if len(end) > 0 {
		if len(f.sorted) != len(f.keys) {
			f.sorted = slices.Sorted(maps.Keys(f.keys))
		}
		first, _ := slices.BinarySearch(f.sorted, string(from))
		last, _ := slices.BinarySearch(f.sorted, string(end))
		found = f.sorted[first:min(last, first+pageOfFake)]
	}
	for _, key := range found {
		pair := appendBytesField(nil, etcdFoundKey, []byte(key))
		reply = appendBytesField(reply, etcdPairs, appendBytesField(pair, etcdHas, []byte(f.keys[key])))
	}
	return reply, errors.Join(err, err2)
}

func serveEtcd(t *testing.T, f *etcdFake) string {
	t.Helper()
	f.keys = map[string]string{}
	var lc net.ListenConfig
	lis, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(f.handle))
	done := make(chan error, 1)
	go func() { done <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return lis.Addr().String()
}

func TestEtcdIsReadBackToo(t *testing.T) {
	for _, w := range EtcdWorkloads() {
		f := &etcdFake{}
		o := options(serveEtcd(t, f), w.Name)
		o.Batch = 0
		r := untilAnswered(t, o)
		if r.Acknowledged == 0 || r.ReadBack != r.Acknowledged || r.Latency.P50 <= 0 {
			t.Errorf("%s: %+v", w.Name, r)
		}
		keys := int64(w.batch)
		if w.batch == 0 {
			keys = etcdLoad
		}
		if int64(len(f.keys)) < keys*r.Acknowledged {
			t.Errorf("%s: %d keys for %d calls", w.Name, len(f.keys), r.Acknowledged)
		}
	}
}

func TestNoFigureOfEtcdWithoutWhatWasAcknowledged(t *testing.T) {
	for _, workload := range []string{"etcd-put", "etcd-txn"} {
		for _, f := range []*etcdFake{{lose: true}, {spoil: true}} {
			o := options(serveEtcd(t, f), workload)
			o.Batch = 0
			if err := untilItFails(t, o); err == nil || !strings.Contains(err.Error(), "read back") {
				t.Errorf("%s, lose %v: %v", workload, f.lose, err)
			}
		}
	}
}
