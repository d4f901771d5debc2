package load

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// asked is a fake that remembers at which of its addresses it was asked for prompts, and how fresh they had to be.
type asked struct {
	*fake
	mu     sync.Mutex
	levels map[string]map[string]int
}

func (a *asked) note(ctx context.Context) {
	p, _ := peer.FromContext(ctx)
	md, _ := metadata.FromIncomingContext(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	at := p.LocalAddr.String()
	if a.levels[at] == nil {
		a.levels[at] = map[string]int{}
	}
	a.levels[at][strings.Join(md.Get("memory-graph-consistency"), ",")]++
}

func (a *asked) GetNode(ctx context.Context, r *pb.GetNodeRequest) (*pb.Node, error) {
	a.note(ctx)
	return a.fake.GetNode(ctx, r)
}

func TestAllNodesAreAskedForWhatTheyHave(t *testing.T) {
	for _, local := range []bool{false, true} {
		a := &asked{fake: &fake{}, levels: map[string]map[string]int{}}
		addresses := []string{serveAs(t, a.fake, a), serveAs(t, a.fake, a)}
		slices.Sort(addresses)
		o := options(strings.Join(addresses, ","), "read")
		o.Local = local
		r := untilAnswered(t, o)
		for len(a.levels) < len(addresses) && o.Duration < time.Minute { // on a busy machine one may be asked first, and alone
			o.Duration *= 4
			r = untilAnswered(t, o)
		}
		if r.Nodes != 2 || r.Local != local {
			t.Errorf("%+v", r)
		}
		if got := slices.Sorted(maps.Keys(a.levels)); !slices.Equal(got, addresses) {
			t.Errorf("asked at %v of %v", got, addresses)
		}
		for at, levels := range a.levels {
			if levels["local"] > 0 != local || levels[""] > 0 == local {
				t.Errorf("local %v: %s was asked %v", local, at, levels)
			}
		}
	}
}

func TestEachAddressNeedsAConnection(t *testing.T) {
	o := options("a:1,b:1,c:1", "write")
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "each of 3 addresses") {
		t.Error(err)
	}
	o.Clients, o.Connections = 64, 0
	if _, err := o.fill(); err != nil || o.Connections != 3 {
		t.Errorf("%d connections, %v", o.Connections, err)
	}
}
