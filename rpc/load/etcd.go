package load

import (
	"bytes"
	"context"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The calls of etcd that are compared with ours, and the numbers of the fields that they have: etcdserverpb, version 3.
const (
	methodEtcdPut   method = "/etcdserverpb.KV/Put"
	methodEtcdTxn   method = "/etcdserverpb.KV/Txn"
	methodEtcdRange method = "/etcdserverpb.KV/Range"

	etcdKey, etcdValue               protowire.Number = 1, 2 // of a put
	etcdRangeEnd, etcdLimit          protowire.Number = 2, 3 // of a range, whose key is 1
	etcdSuccess, etcdRequestPut      protowire.Number = 2, 2 // of a transaction and of one of its operations
	etcdPairs, etcdFoundKey, etcdHas protowire.Number = 2, 1, 5
)

const (
	// etcdRows is how many rows one AddPrompt writes, without the one that all commands of a batch share: the node with its
	// id and index entries, its edges with theirs, the session, counters, events and the outcome for its request id.
	etcdRows = 23
	// etcdRowBytes is the length of a value of a transaction beside the first, which has the size of the content.
	etcdRowBytes = 32
	etcdPage     = 1000
	etcdLoad     = 100
)

// EtcdWorkloads ask an etcd, version 3, for what is compared with ours: by the same client, with the same clocks, read back
// like ours.
func EtcdWorkloads() []Workload {
	return []Workload{
		{Name: "etcd-put", Short: "Put of one key", clients: 256, batch: 1, run: (*bench).etcdPuts},
		{Name: "etcd-txn", Short: "Txn that puts as many keys as AddPrompt writes rows", clients: 256, batch: etcdRows, run: (*bench).etcdPuts},
		{Name: "etcd-get", Short: "Range of one key, linearizable", clients: 64, run: (*bench).etcdGets},
	}
}

// An etcdWriter writes new keys, one or more a call, and remembers what was acknowledged.
type etcdWriter struct {
	client  int
	size    int // bytes of the first value, and of all when same
	keys    int
	same    bool
	left    int // calls to make, -1 for no end
	asked   uint64
	written []uint64
	key     []byte
	part    []byte
}

// etcdKeyOf is the name of the n-th key of a call, in ascending order for each client.
func etcdKeyOf(b []byte, client int, call uint64, n int) []byte {
	return fmt.Appendf(b, "c%05d/%012d/%03d", client, call, n)
}

// seedOfCall keeps contents apart.
func (w *etcdWriter) seedOfCall(call uint64, n int) uint64 {
	return uint64(w.client)<<40 | call<<8 | uint64(n)
}

func (w *etcdWriter) sizeOf(n int) int {
	if n == 0 || w.same {
		return w.size
	}
	return min(w.size, etcdRowBytes)
}

func (w *etcdWriter) put(b []byte, n int) []byte {
	w.key = etcdKeyOf(w.key[:0], w.client, w.asked, n)
	b = appendBytesField(b, etcdKey, w.key)
	return appendTextField(b, etcdValue, w.seedOfCall(w.asked, n), w.sizeOf(n))
}

func (w *etcdWriter) next(b []byte) (method, []byte) {
	w.asked++
	if w.keys == 1 {
		return methodEtcdPut, w.put(b, 0)
	}
	for n := range w.keys {
		w.part = w.put(w.part[:0], n)
		b = protowire.AppendTag(b, etcdSuccess, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(1+protowire.SizeBytes(len(w.part))))
		b = appendBytesField(b, etcdRequestPut, w.part)
	}
	return methodEtcdTxn, b
}

func (w *etcdWriter) took([]byte) error {
	w.written = append(w.written, w.asked)
	if w.left > 0 {
		w.left--
	}
	return nil
}

func (w *etcdWriter) operations() int64 { return 1 }

func (w *etcdWriter) more() bool { return w.left != 0 }

// An etcdReader reads back what a writer was told is written, page by page.
type etcdReader struct {
	of   *etcdWriter
	call int // which of of.written comes next, and which key of it
	key  int
	from []byte
	text []byte
}

func (r *etcdReader) next(b []byte) (method, []byte) {
	if r.from == nil {
		r.from = fmt.Appendf(nil, "c%05d/", r.of.client)
	}
	b = appendBytesField(b, etcdKey, r.from)
	b = appendBytesField(b, etcdRangeEnd, fmt.Appendf(nil, "c%05d0", r.of.client)) // '0' comes after '/'
	return methodEtcdRange, appendVarintField(b, etcdLimit, etcdPage)
}

func (r *etcdReader) took(reply []byte) error {
	found := 0
	err := eachField(reply, func(field protowire.Number, pair []byte) error {
		if field != etcdPairs {
			return nil
		}
		found++
		return r.pair(pair)
	})
	if err == nil && found == 0 && r.more() {
		err = fmt.Errorf("read back: of %d acknowledged calls to etcd, those from %d on are not there", len(r.of.written), r.call+1)
	}
	return err
}

// pair compares a key and its value with those that come next. What was written and never acknowledged may be there, too.
func (r *etcdReader) pair(pair []byte) error {
	key, err := bytesField(pair, etcdFoundKey)
	if err != nil {
		return err
	}
	r.from = append(append(r.from[:0], key...), 0)
	if !r.more() {
		return nil
	}
	call := r.of.written[r.call]
	want := etcdKeyOf(nil, r.of.client, call, r.key)
	switch order := bytes.Compare(key, want); {
	case order < 0:
		return nil
	case order > 0:
		return fmt.Errorf("read back: key %s was acknowledged and is not there", want)
	}
	value, err := bytesField(pair, etcdHas)
	if err != nil {
		return err
	}
	r.text = appendText(r.text[:0], r.of.seedOfCall(call, r.key), r.of.sizeOf(r.key))
	if !bytes.Equal(value, r.text) {
		return fmt.Errorf("read back: key %s has another value than was written", want)
	}
	if r.key++; r.key == r.of.keys {
		r.call, r.key = r.call+1, 0
	}
	return nil
}

func (r *etcdReader) operations() int64 { return 1 }

func (r *etcdReader) more() bool { return r.call < len(r.of.written) }

// An etcdGetter reads keys at random and compares their values.
type etcdGetter struct {
	pick func() (w *etcdWriter, call uint64, n int)
	want []byte
	key  []byte
}

func (g *etcdGetter) next(b []byte) (method, []byte) {
	w, call, n := g.pick()
	g.key = etcdKeyOf(g.key[:0], w.client, call, n)
	g.want = appendText(g.want[:0], w.seedOfCall(call, n), w.sizeOf(n))
	return methodEtcdRange, appendBytesField(b, etcdKey, g.key)
}

func (g *etcdGetter) took(reply []byte) error {
	pair, err := bytesField(reply, etcdPairs)
	if err != nil {
		return err
	}
	value, err := bytesField(pair, etcdHas)
	if err != nil {
		return err
	}
	if !bytes.Equal(value, g.want) {
		return fmt.Errorf("key %s is not what was written", g.key)
	}
	return nil
}

func (g *etcdGetter) operations() int64 { return 1 }

func (b *bench) etcdPuts(ctx context.Context) error {
	var writers []*etcdWriter
	scripts := b.each(func() script {
		w := &etcdWriter{client: len(writers), size: b.Size, keys: b.Batch, left: -1}
		writers = append(writers, w)
		return w
	})
	if err := b.measure(ctx, scripts); err != nil {
		return err
	}
	return b.etcdReadBack(ctx, writers)
}

func (b *bench) etcdGets(ctx context.Context) error {
	const at = 4
	var writers []*etcdWriter
	var scripts []script
	for i := range at {
		w := &etcdWriter{client: i, size: b.Size, keys: etcdLoad, same: true, left: max(1, b.Preload/at/etcdLoad)}
		writers, scripts = append(writers, w), append(scripts, w)
	}
	if err := b.target.exhaust(ctx, scripts); err != nil {
		return fmt.Errorf("write what is to be read: %w", err)
	}
	for _, w := range writers {
		b.result.Preload += len(w.written) * w.keys
	}
	scripts = b.each(func() script {
		random := b.random()
		return &etcdGetter{pick: func() (*etcdWriter, uint64, int) {
			w := writers[random.IntN(len(writers))]
			return w, w.written[random.IntN(len(w.written))], random.IntN(w.keys)
		}}
	})
	if err := b.measure(ctx, scripts); err != nil {
		return err
	}
	return b.etcdReadBack(ctx, writers)
}

// etcdReadBack reads everything that was acknowledged and compares it. What is counted are calls.
func (b *bench) etcdReadBack(ctx context.Context, writers []*etcdWriter) error {
	const atOnce = 8
	for len(writers) > 0 {
		n := min(atOnce, len(writers))
		var scripts []script
		for _, w := range writers[:n] {
			if len(w.written) > 0 {
				scripts = append(scripts, &etcdReader{of: w})
			}
			b.result.Acknowledged += int64(len(w.written))
		}
		if len(scripts) > 0 {
			if err := b.target.exhaust(ctx, scripts); err != nil {
				return err
			}
		}
		for _, s := range scripts {
			b.result.ReadBack += int64(s.(*etcdReader).call)
		}
		writers = writers[n:]
	}
	return nil
}
