package hostile_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/hostile"
)

// abuses are what is done to a server by the frame. Each returns when it has done it, with its connections open where that is the
// point; a connection that the server closes is no error.
var abuses = []struct {
	name string
	do   func(t *testing.T, a *abuse)
}{
	{"streams are opened and reset", rapidReset},
	{"continuations without end", continuationFlood},
	{"settings flood", func(t *testing.T, a *abuse) {
		a.flood(t, hostile.Frame(hostile.Settings, 0, 0, []byte{0, 4, 0, 0, 255, 255}), 30_000)
	}},
	{"ping flood", func(t *testing.T, a *abuse) { a.flood(t, hostile.Frame(hostile.Ping, 0, 0, make([]byte, 8)), 30_000) }},
	{"reset flood", func(t *testing.T, a *abuse) { a.flood(t, hostile.Frame(hostile.Reset, 0, 1, make([]byte, 4)), 30_000) }},
	{"empty data flood", func(t *testing.T, a *abuse) { a.flood(t, hostile.Frame(hostile.Data, 0, 1, nil), 30_000) }},
	{"window updates of nothing", func(t *testing.T, a *abuse) {
		a.flood(t, hostile.Frame(hostile.WindowUpdate, 0, 0, make([]byte, 4)), 100)
	}},
	{"windows that overflow", func(t *testing.T, a *abuse) {
		a.flood(t, hostile.Frame(hostile.WindowUpdate, 0, 0, []byte{127, 255, 255, 255}), 100)
	}},
	{"header bombs", headerBomb},
	{"headers that never end", endlessHeaders},
	{"data by the byte", bytewise},
	{"prefaces that never end", slowPreface},
	{"HTTP/1", garbage([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))},
	{"no protocol at all", garbage(randomBytes(100_000))},
	{"no frames", garbage(append([]byte(hostile.Preface), randomBytes(100_000)...))},
	{"frames too long", garbage(append([]byte(hostile.Preface), 0xff, 0xff, 0xff, hostile.Settings, 0, 0, 0, 0, 0))},
	{"requests that do not come in full", unfinished},
	{"lists of nothing", emptyLists},
	{"replies that nobody takes", untaken},
	{"calls that ask nothing", asksNothing},
}

// abuse is what a case works with.
type abuse struct {
	node    *cluster.Node
	graph   graphgrpc.MemoryGraphServiceClient
	session string // its pages are large
	peers   []net.Conn
}

// TestAbuse does each of them to one server, while a client that means well is served, and looks at what the server holds
// during it and after it.
func TestAbuse(t *testing.T) {
	node := start(t, "--request-memory", "32MiB", "--partial-request-memory", "32MiB", "--request-timeout", "5s", "--stall-timeout", "2s")
	conn, err := node.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	graph := graphgrpc.NewMemoryGraphServiceClient(conn)
	session := furnished(t, graph)
	calm, err := hostile.ReadVitals(t.Context(), node.MetricsAddress())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range abuses {
		t.Run(c.name, func(t *testing.T) {
			a := &abuse{node: node, graph: graph, session: session}
			served := serve(t, graph)
			c.do(t, a)
			now, err := hostile.ReadVitals(t.Context(), node.MetricsAddress())
			if err != nil {
				t.Fatal(err)
			}
			if now.Heap > calm.Heap+maxAbusedHeap {
				t.Errorf("the server holds %.0f bytes, %.0f before", now.Heap, calm.Heap)
			}
			for _, p := range a.peers {
				_ = p.Close() // the server may have been faster
			}
			ctx, cancel := context.WithTimeout(t.Context(), calmWithin)
			defer cancel()
			if _, err := hostile.AwaitCalm(ctx, node.MetricsAddress(), calm); err != nil {
				t.Errorf("it does not let go: %v", err)
			}
			calls, slowest := served()
			t.Logf("%d calls were served, the slowest in %v; at the worst %+v", calls, slowest, now)
		})
	}
}

// maxAbusedHeap is more than the budgets of the server take, with a record of each call that is read to find that there is no
// room for it, what is decoded, and what is garbage.
const maxAbusedHeap = 600 << 20

// furnished makes a session whose pages are large.
func furnished(t *testing.T, g graphgrpc.MemoryGraphServiceClient) string {
	t.Helper()
	s, err := g.CreateSession(t.Context(), &graphpb.CreateSessionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := g.AddPrompt(t.Context(), &graphpb.AddPromptRequest{SessionId: s.GetId(), Content: strings.Repeat("x", 900_000)}); err != nil {
			t.Fatal(err)
		}
	}
	return s.GetId()
}

// serve makes small calls until the function that it returns is called, which waits for one more and tells how they went.
func serve(t *testing.T, g graphgrpc.MemoryGraphServiceClient) func() (calls int, slowest time.Duration) {
	t.Helper()
	session, err := g.CreateSession(t.Context(), &graphpb.CreateSessionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	calls, slowest := 0, time.Duration(0)
	go func() {
		defer close(done)
		for last := false; !last; calls++ {
			select {
			case <-stop:
				last = true
			default:
			}
			begun := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			_, err := g.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session.GetId(), Content: "q"})
			for status.Code(err) == codes.DeadlineExceeded && ctx.Err() == nil { // the server gives a call five seconds
				_, err = g.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session.GetId(), Content: "q"})
			}
			cancel()
			if err != nil {
				t.Errorf("a call of somebody else: %v", err)
				return
			}
			slowest = max(slowest, time.Since(begun))
		}
	}()
	end := sync.OnceFunc(func() {
		close(stop)
		<-done
	})
	t.Cleanup(end)
	return func() (int, time.Duration) {
		end()
		return calls, slowest
	}
}

// patience is how long others may have to wait for a call of theirs, on a machine that does all of this at once.
const patience = 3 * time.Minute

func (a *abuse) connect(t *testing.T, settings ...byte) *hostile.Peer {
	t.Helper()
	p, err := hostile.Connect(t.Context(), a.node.Address(), settings)
	if err != nil {
		t.Fatal(err)
	}
	a.peers = append(a.peers, p)
	return p
}

// raw opens a connection and says something on it.
func (a *abuse) raw(t *testing.T, b []byte) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", a.node.Address())
	if err != nil {
		t.Fatal(err)
	}
	a.peers = append(a.peers, conn)
	_, _ = conn.Write(b) // it may be closed half way
	return conn
}

func (a *abuse) flood(t *testing.T, frame []byte, times int) {
	p := a.connect(t)
	batch := bytes.Repeat(frame, 100)
	for range times / 100 {
		if _, err := p.Write(batch); err != nil {
			return
		}
	}
}

const getNode = graphgrpc.MemoryGraphService_GetNode_FullMethodName

func rapidReset(t *testing.T, a *abuse) {
	p := a.connect(t)
	call := hostile.Call(getNode)
	for i := range uint32(10_000) {
		b := append(hostile.Frame(hostile.Headers, hostile.EndHeaders, 2*i+1, call), hostile.Frame(hostile.Reset, 0, 2*i+1, []byte{0, 0, 0, 8})...)
		if _, err := p.Write(b); err != nil {
			return
		}
	}
}

func continuationFlood(t *testing.T, a *abuse) {
	p := a.connect(t)
	if p.Send(hostile.Headers, 0, 1, hostile.Call(getNode)) != nil {
		return
	}
	a.more(p, hostile.Frame(hostile.Continuation, 0, 1, hostile.Call(getNode, "x", strings.Repeat("y", 8000))), 20_000)
}

// more writes the same again and again until the server has had enough.
func (a *abuse) more(p *hostile.Peer, b []byte, times int) {
	for range times {
		if _, err := p.Write(b); err != nil {
			return
		}
	}
}

// headerBomb refers a thousand times to a field of 4,000 bytes that was sent once.
func headerBomb(t *testing.T, a *abuse) {
	name, value := "bomb", strings.Repeat("b", 3900)
	field := append([]byte{0x40, byte(len(name))}, name...) // literal, to be indexed
	field = append(field, 127, byte((len(value)-127)&127|128), byte((len(value)-127)>>7))
	field = append(field, value...)
	block := slices.Concat(hostile.Call(getNode), field, bytes.Repeat([]byte{0x80 | 62}, 10_000)) // 62 is the newest of the dynamic table
	for range 20 {
		p := a.connect(t)
		for i := range uint32(100) {
			if p.Send(hostile.Headers, hostile.EndHeaders|hostile.EndStream, 2*i+1, block) != nil {
				break
			}
		}
	}
}

func endlessHeaders(t *testing.T, a *abuse) {
	for range 200 {
		p := a.connect(t)
		if err := p.Send(hostile.Headers, 0, 1, hostile.Call(getNode)[:20]); err != nil {
			t.Error(err)
		}
	}
}

// bytewise sends a message in frames of one byte, as long as the server takes them.
func bytewise(t *testing.T, a *abuse) {
	p := a.connect(t)
	if p.Send(hostile.Headers, hostile.EndHeaders, 1, hostile.Call(getNode)) != nil {
		return
	}
	if p.Send(hostile.Data, 0, 1, hostile.Message(4<<20, nil)) != nil {
		return
	}
	a.more(p, bytes.Repeat(hostile.Frame(hostile.Data, 0, 1, []byte{0}), 100), 600)
}

func slowPreface(t *testing.T, a *abuse) {
	for i := range 300 {
		a.raw(t, []byte(hostile.Preface[:i%len(hostile.Preface)]))
	}
	for _, p := range a.peers {
		if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, p); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			t.Fatal("a connection without a preface stays open")
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func garbage(b []byte) func(*testing.T, *abuse) {
	return func(t *testing.T, a *abuse) {
		for range 20 {
			a.raw(t, b)
		}
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b) // never fails
	return b
}

// unfinished leaves three quarters of the largest request on each of 20 streams of 5 connections: 300 MiB.
func unfinished(t *testing.T, a *abuse) {
	most := hostile.Message(4<<20-1, make([]byte, 3<<20))
	done := make(chan error)
	for range 5 {
		p := a.connect(t)
		go func() {
			for i := range uint32(20) {
				if p.Send(hostile.Headers, hostile.EndHeaders, 2*i+1, hostile.Call(graphgrpc.MemoryGraphService_AddPrompt_FullMethodName)) != nil {
					break
				}
				if p.SendData(2*i+1, most) != nil {
					break
				}
			}
			done <- nil
		}()
	}
	for range 5 {
		<-done
	}
	await(t, func() bool {
		return slices.ContainsFunc(a.peers, func(c net.Conn) bool {
			p := c.(*hostile.Peer)
			return gone(p) || p.Ended() > 0
		})
	}, "the server does not keep all of 300 MiB")
}

// emptyLists sends 4 MiB of nodes without anything, 40 times at once.
func emptyLists(t *testing.T, a *abuse) {
	most := hostile.Message(4<<20-2, bytes.Repeat([]byte{0x0a, 0}, 2<<20-1))
	var wg sync.WaitGroup
	for range 4 {
		p := a.connect(t)
		for i := range uint32(10) {
			if p.Send(hostile.Headers, hostile.EndHeaders, 2*i+1, hostile.Call(graphgrpc.MemoryGraphService_BatchCreateNodes_FullMethodName)) != nil {
				return
			}
		}
		for i := range uint32(10) {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if p.SendData(2*i+1, most) == nil {
					_ = p.Send(hostile.Data, hostile.EndStream, 2*i+1, nil) // the server may have closed the connection
				}
			}()
		}
	}
	wg.Wait()
	for _, p := range a.peers {
		p := p.(*hostile.Peer)
		await(t, func() bool { return p.Ended() == 10 || gone(p) }, "all are answered")
	}
}

func gone(p *hostile.Peer) bool {
	select {
	case <-p.Gone():
		return true
	default:
		return false
	}
}

// untaken asks for pages of 3.6 MB on 50 streams of 4 connections and opens no window for them. Others get such pages again when the
// server has had enough of it.
func untaken(t *testing.T, a *abuse) {
	noWindow := binary.BigEndian.AppendUint32([]byte{0, 4}, 0) // SETTINGS_INITIAL_WINDOW_SIZE
	body := append([]byte{0x0a, byte(len(a.session))}, a.session...)
	for range 4 {
		p := a.connect(t, noWindow...)
		for i := range uint32(50) {
			call := hostile.Call(graphgrpc.MemoryGraphService_Query_FullMethodName, "grpc-timeout", "1H")
			b := slices.Concat(
				hostile.Frame(hostile.Headers, hostile.EndHeaders, 2*i+1, call),
				hostile.Frame(hostile.Data, hostile.EndStream, 2*i+1, hostile.Message(len(body), body)),
			)
			if _, err := p.Write(b); err != nil {
				break // the server has had enough already
			}
		}
	}
	ended := func() (n int) {
		for _, c := range a.peers {
			if p := c.(*hostile.Peer); gone(p) {
				n += 50
			} else {
				n += p.Ended()
			}
		}
		return n
	}
	const room = 12 // for such pages, at the most
	await(t, func() bool { return ended() >= 4*50-room }, "most are refused")
	await(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := a.graph.Query(ctx, &graphpb.QueryRequest{SessionId: &a.session})
		return err == nil
	}, "somebody else gets a page")
}

// asksNothing opens calls on 20 connections and sends nothing; the server ends them.
func asksNothing(t *testing.T, a *abuse) {
	for range 20 {
		p := a.connect(t)
		for i, path := range []string{getNode, graphgrpc.MemoryGraphService_StreamQuery_FullMethodName, graphgrpc.GraphTransferService_Import_FullMethodName} {
			if err := p.Send(hostile.Headers, hostile.EndHeaders, uint32(2*i+1), hostile.Call(path)); err != nil {
				t.Error(err)
			}
		}
	}
	for _, p := range a.peers {
		await(t, func() bool { return p.(*hostile.Peer).Ended() == 3 }, "all have ended")
	}
}

// await asks until it is so.
func await(t *testing.T, so func() bool, what string) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for begun := time.Now(); !so(); <-look.C {
		if time.Since(begun) > patience {
			t.Fatal(fmt.Sprint("it is never so that ", what))
		}
	}
}
