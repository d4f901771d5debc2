package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// TestTheGraphTakesLittleRoom: compacted, the keyspaces of the graph take at most 1.5 times the bytes of the content and of
// the ids of nodes and edges. The content is 6 bits a byte: language takes a third of that.
func TestTheGraphTakesLittleRoom(t *testing.T) {
	const prompts, perEntry, contentBytes, idBytes = 16_384, 256, 256, 36
	s, err := store.OpenPebble(t.TempDir(), store.Options{MemTableBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := onStore(t, s)
	for i := range 16 {
		w.must(createSession(fmt.Sprint("s", i+1)))
	}
	chance := rand.New(rand.NewPCG(1, 2))
	for range prompts / perEntry {
		var commands []*logpb.Command
		for i := range perEntry {
			p := aPrompt(fmt.Sprintf("%08x-%04x-7%03x-8%03x-%012x", chance.Uint32(), chance.Uint32()>>16, chance.Uint32()>>20, chance.Uint32()>>20, chance.Uint64()>>16), fmt.Sprint("s", i%16+1))
			p.GetPrompt().Content = babble(chance, contentBytes)
			commands = append(commands, createNodes(p))
		}
		for _, r := range w.do(commands...) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	if err := s.CompactAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	spaces, err := s.DiskUsage(tenant)
	if err != nil {
		t.Fatal(err)
	}
	var got uint64
	for _, space := range spaces {
		if space.Graph {
			got += space.Bytes
		}
	}
	told := uint64(prompts * (contentBytes + 3*idBytes)) // a prompt has two edges
	if got > told*3/2 {
		t.Errorf("the graph takes %d bytes, %.2f times the %d of its content and ids", got, float64(got)/float64(told), told)
	}
	t.Logf("%.2f times the bytes of content and ids", float64(got)/float64(told))
}

// babble is text of 64 letters at random.
func babble(chance *rand.Rand, size int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ."
	b := make([]byte, size)
	for i := range b {
		b[i] = letters[chance.IntN(len(letters))]
	}
	return string(b)
}
