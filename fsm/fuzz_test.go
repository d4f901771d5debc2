package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph/samples"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// seeds are the entries of the golden logs, generated ones, and some with real texts.
func seeds(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.hex"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden logs: %v", err)
	}
	for _, file := range files {
		for _, e := range readGolden(f, filepath.Base(file)).entries {
			f.Add(e)
		}
	}
	for i := range 20 {
		stamped := stampedAll(f, generated(3).Example(i))
		f.Add(entryOf(f, stamped[2:]...))
	}
	for _, text := range samples.Texts(f, maxSeedBytes) {
		p, r := aPrompt("n1", "s1"), aResponse("n2", "n1")
		p.GetPrompt().Content, r.GetResponse().Content = string(text), string(text)
		f.Add(entryOf(f, stampedAll(f, []*logpb.Command{createNodes(p, r)})...))
	}
}

// maxSeedBytes is how much of a real text is a seed.
const maxSeedBytes = 400

// FuzzApply feeds entries of any bytes to a machine with something in it. What decodes is applied, and never panics: a
// panic in apply stops every replica at every start. The digest that is kept stays that of the rows.
func FuzzApply(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if !decodes(data) {
			return
		}
		w := small(t)
		w.apply(data)
		w.digest()
		replicated(t, w)
		deleteAll(w)
		nothingRemains(t, w)
	})
}

// FuzzCommands fills commands at random as anyCommands does, by way of coverage. Real texts are as good a source of chance as
// any.
func FuzzCommands(f *testing.F) {
	random := rand.NewChaCha8([32]byte{1})
	for range 8 {
		seed := make([]byte, 16<<10)
		_, _ = random.Read(seed) // never fails
		f.Add(seed)
	}
	for _, text := range samples.Texts(f, 16<<10) {
		f.Add(text)
	}
	f.Fuzz(rapid.MakeFuzz(anyCommands))
}

// FuzzDecodeEntry: no bytes panic, and what decodes is encoded again.
func FuzzDecodeEntry(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		stamped, err := fsm.DecodeEntry(data)
		if err != nil {
			return
		}
		again, err := fsm.DecodeEntry(entryOf(t, stamped...))
		if err != nil || len(again) != len(stamped) {
			t.Fatalf("%d commands became %d: %v", len(stamped), len(again), err)
		}
		for _, s := range stamped {
			c, err := fsm.DecodeCommand(s.Command)
			if err != nil {
				continue
			}
			if _, err := fsm.EncodeCommand(c); err != nil {
				t.Fatalf("%v: %v", c, err)
			}
		}
	})
}

func decodes(data []byte) bool {
	stamped, err := fsm.DecodeEntry(data)
	for _, s := range stamped {
		if _, bad := fsm.DecodeCommand(s.Command); bad != nil {
			return false
		}
	}
	return err == nil
}

// small is a world with one of everything.
func small(t T) *world {
	w := newWorld(t)
	w.must(createSession("s1"))
	w.must(createNodes(aTemplate("m0")))
	w.must(createNodes(aPrompt("p1", "s1"), aPrompt("p2", "s1"), aResponse("r1", "p1"), aTool("t1", "r1"), anAgent("a1")))
	w.must(createEdge(reference("e1", "p1", "a1")))
	return w
}

// TestApplyNeverPanics: see anyCommands.
func TestApplyNeverPanics(t *testing.T) { rapid.Check(t, anyCommands) }

// anyCommands fills commands at random, with the ids of what is there, and leaves out, contradicts and exceeds what it likes.
// None panics; one that is refused leaves no trace but that it was; and a replica comes to the same state.
func anyCommands(t *rapid.T) {
	w := small(t)
	for range rapid.IntRange(1, 6).Draw(t, "commands") {
		c := wildCommand(t)
		b, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		data := entryOf(t, &logpb.Stamped{Stamp: rapid.Int64().Draw(t, "stamp"), Command: b})
		if _, err := fsm.EncodeCommand(c); (err == nil) != decodes(data) {
			t.Fatalf("encoding says %v, decoding does not", err)
		}
		if !decodes(data) {
			continue
		}
		before := traces(t, w)
		if r := w.apply(data)[0]; r.Err != nil {
			if diff := cmp.Diff(before, traces(t, w)); diff != "" {
				t.Fatalf("was refused (%v) and has changed\n%s", r.Err, diff)
			}
		}
	}
	w.digest()
	replicated(t, w)
	deleteAll(w)
	nothingRemains(t, w)
}

func wildCommand(t *rapid.T) *logpb.Command {
	c := &logpb.Command{}
	wild(t, c.ProtoReflect())
	c.Tenant = rapid.SampledFrom([]uint32{1, 1, 1, 1, 0, 2}).Draw(t, "tenant")
	if rapid.IntRange(0, 3).Draw(t, "retry") > 0 {
		c.RequestId = nil
	}
	kinds := operations().Fields()
	kind := kinds.Get(rapid.IntRange(0, kinds.Len()-1).Draw(t, "kind"))
	op := c.ProtoReflect().NewField(kind)
	wild(t, op.Message())
	c.ProtoReflect().Set(kind, op)
	return c
}

// traces are what a refused command must leave as it is: all rows but those that tell of requests, and in the row of the
// system all but the time.
func traces(t T, w *world) []string {
	t.Helper()
	sys := w.system()
	all := []string{fmt.Sprintf("position %d, trimmed %v, lineage %x, level %d, %d events, chain %x", sys.Position, sys.Trimmed, sys.Lineage, sys.FeatureLevel, sys.Events, sys.Chain)}
	for _, row := range rows(t, w.m.Store()) {
		if !strings.HasPrefix(row, "system") && !strings.Contains(row, "outcome") {
			all = append(all, row)
		}
	}
	return all
}

// replicated feeds the entries of a world to a second machine, all at once.
func replicated(t T, w *world) {
	t.Helper()
	again := fsm.New(store.OpenMemory())
	again.Apply(w.fed)
	if got, want := fsm.Digest(again.Store().System()), fsm.Digest(w.system()); got != want {
		t.Fatalf("a replica came to digest %x, not %x", got, want)
	}
}

// wild sets random fields of a message to what is at home in them, or is not.
func wild(t *rapid.T, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if rapid.IntRange(0, 4).Draw(t, "leave out") == 0 {
			continue
		}
		switch {
		case f.ContainingOneof() == operations():
		case f.IsMap():
			entry := m.Mutable(f).Map()
			entry.Set(wildValue(t, f.MapKey()).MapKey(), wildValue(t, f.MapValue()))
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			for range rapid.IntRange(0, 3).Draw(t, "items") {
				item := m.Mutable(f).List().NewElement()
				wild(t, item.Message())
				m.Mutable(f).List().Append(item)
			}
		case f.IsList():
			m.Mutable(f).List().Append(wildValue(t, f))
		case f.Kind() == protoreflect.MessageKind && f.ContainingOneof() != nil && !f.HasOptionalKeyword():
			members := f.ContainingOneof().Fields() // each replaces the one before
			if m.WhichOneof(f.ContainingOneof()) == nil || rapid.IntRange(0, members.Len()-1).Draw(t, "member") == 0 {
				wild(t, m.Mutable(f).Message())
			}
		case f.Kind() == protoreflect.MessageKind:
			wild(t, m.Mutable(f).Message())
		default:
			m.Set(f, wildValue(t, f))
		}
	}
	tame(t, m)
}

// tame mends one message in two, so that many get past the first checks.
func tame(t *rapid.T, m protoreflect.Message) {
	if rapid.Bool().Draw(t, "wild") {
		return
	}
	pick := func(from ...string) string { return rapid.SampledFrom(from).Draw(t, "tame") }
	switch m := m.Interface().(type) {
	case *pb.Node:
		m.Type = 0
		switch {
		case m.GetSession() != nil:
			graph.SetID(m, uuidOf("s2"))
		case m.GetPrompt() != nil:
			m.SessionId = m.GetPrompt().SessionId
			graph.SetID(m, pick("p1", "p2", "n1", "n2"))
		default:
			graph.SetID(m, pick("r1", "t1", "a1", "m0", "n1", "n2"))
		}
	case *pb.Edge:
		m.Id, m.Type = pick("e1", "e2"), pb.EdgeType(rapid.Int32Range(1, 9).Draw(t, "type"))
		m.FromNodeId, m.ToNodeId = pick("p1", "p2", "r1", "t1", "m0"), pick("p1", "t1", "a1", "m0", uuidOf("s1"))
	case *logpb.Instantiate:
		m.TemplateId, m.TemplateRevision = "m0", 3
		if m.Prompt.GetPrompt() == nil {
			m.Prompt = aPrompt(pick("n1", "n2"), "s1")
		}
	case *logpb.UpdateNode:
		m.ExpectedRevision = nil
	case *logpb.DeleteEdge:
		m.EdgeId = "e1"
	}
}

func wildValue(t *rapid.T, f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		pool := []string{
			uuidOf("s1"), uuidOf("s1"), uuidOf("s2"), "p1", "p2", "r1", "t1", "a1", "m0", "e1", "new", "",
			"parent_id", "invocation_order", "4294967295", "2147483647", "\x00", string(make([]byte, 200)),
		}
		return protoreflect.ValueOfString(rapid.SampledFrom(pool).Draw(t, string(f.Name())))
	case protoreflect.BytesKind:
		n := rapid.SampledFrom([]int{0, 16, 16, 32, 5}).Draw(t, string(f.Name()))
		return protoreflect.ValueOfBytes(make([]byte, n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.Float64().Draw(t, "double"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.EnumKind:
		most := rapid.SampledFrom([]int32{9, 9, 9, 300}).Draw(t, "most")
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32Range(-1, most).Draw(t, "enum")))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, "int32"))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "int64"))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, "uint32"))
	default:
		return protoreflect.ValueOfUint64(rapid.SampledFrom([]uint64{0, 1, 3, 4, 5, 1 << 63}).Draw(t, "uint64"))
	}
}
