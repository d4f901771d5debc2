package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

// Members compare the digests of their states at marks (DECISIONS.md D21). A leader makes a mark now and then while the state moves; at each
// mark every node asks all others, and judges itself: nobody else can put it into quarantine.
const (
	markInterval = 30 * time.Second
	// comparePause lets the others get to the mark, and one comparison do for several marks that come together.
	comparePause = time.Second
	compareTime  = 10 * time.Second
)

// MarkState makes a mark, a place in the log where every node takes the digest of its state, and returns this node's. Only the leader can: the
// error is an [*Error].
func (n *Node) MarkState(ctx context.Context) (Mark, error) {
	if err := n.gone(); err != nil {
		return Mark{}, err
	}
	if term, _ := n.gate.state(); term == 0 {
		return Mark{}, surely(NoLeader, errors.New("mark the state: this node does not lead"))
	}
	index, err := n.putMark()
	if err != nil {
		return Mark{}, applyError(err)
	}
	return n.marks.wait(ctx, index)
}

// MarkAt is the digest of this node's state at a revision where the cluster has a mark, once it has that revision. The error is that of
// ctx, or an [*ErrNoMark].
func (n *Node) MarkAt(ctx context.Context, revision uint64) (Mark, error) {
	base := n.machine.Store().System().Base
	if revision <= base {
		return Mark{}, &ErrNoMark{}
	}
	return n.marks.wait(ctx, revision-base)
}

// Digest is that of this node's state after an entry.
func (s *peerServer) Digest(ctx context.Context, request *peerpb.DigestRequest) (*peerpb.DigestReply, error) {
	reply := &peerpb.DigestReply{Format: store.DigestFormat}
	mark, err := s.node.marks.wait(ctx, request.Index)
	var none *ErrNoMark
	switch {
	case errors.As(err, &none):
		return reply, nil
	case err != nil:
		return nil, err
	}
	reply.Digest = mark.Digest[:]
	return reply, nil
}

// watchDigests makes marks while this node leads, and compares at each.
func (n *Node) watchDigests(ctx context.Context) {
	due := time.NewTicker(markInterval)
	defer due.Stop()
	compared := uint64(0)
	for {
		newest, moved := n.marks.newest()
		if newest.Index > compared {
			if !n.pauseBeforeComparing(ctx) {
				return
			}
			newest, _ = n.marks.newest()
			n.compareAt(ctx, newest)
			compared = newest.Index
			continue
		}
		select {
		case <-moved:
		case <-due.C:
			n.markIfMoved(newest)
		case <-n.isolation.fit.Done():
			n.giveWay(ctx)
			return
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) pauseBeforeComparing(ctx context.Context) bool {
	select {
	case <-time.After(comparePause):
		return true
	case <-ctx.Done():
		return false
	}
}

// markIfMoved makes a mark when this node leads others and the state has moved since the newest.
func (n *Node) markIfMoved(newest Mark) {
	if term, _ := n.gate.state(); term == 0 || n.machine.Applied() == newest.Index || len(n.members().Servers) < 2 {
		return
	}
	if _, err := n.putMark(); err != nil {
		n.logger.Debug("mark the state", "error", err)
	}
}

// A testimony is the digest of one member.
type testimony struct {
	id     raft.ServerID
	voter  bool
	digest [32]byte
}

// A finding is what a comparison came to.
type finding struct {
	// wrong are the members whose state is not that of the majority of all voters, in the order of their ids.
	wrong []raft.ServerID
	// disputed: there are several states, and none has that majority.
	disputed bool
}

// judge finds who is wrong: whoever differs from what a majority of all the voters has, of which some may have said nothing.
func judge(voters int, said []testimony) finding {
	votes := map[[32]byte]int{}
	for _, t := range said {
		votes[t.digest] += 0
		if t.voter {
			votes[t.digest]++
		}
	}
	var f finding
	for _, t := range said {
		if votes[t.digest] > voters/2 {
			for _, other := range said {
				if other.digest != t.digest {
					f.wrong = append(f.wrong, other.id)
				}
			}
			slices.Sort(f.wrong)
			return f
		}
	}
	f.disputed = len(votes) > 1
	return f
}

// compareAt compares the digests of all members at a mark, and acts upon what it finds.
func (n *Node) compareAt(ctx context.Context, at Mark) {
	members, self := n.members(), raft.ServerID(n.Identity().NodeID)
	voters := 0
	for _, s := range members.Servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	said := n.askDigests(ctx, members, self, at)
	if len(said) < 2 || ctx.Err() != nil {
		return
	}
	f := judge(voters, said)
	n.config.Events.compared(len(f.wrong), f.disputed)
	switch {
	case slices.Contains(f.wrong, self):
		why := fmt.Errorf("its state at revision %d is not that of the majority of the voters", at.Revision)
		n.noteQuarantine(why)
		n.isolate(why)
	case len(f.wrong) > 0:
		n.logger.Error("the state of members is not that of the majority: they put themselves into quarantine", "members", idsOf(f.wrong), "revision", at.Revision)
	case f.disputed:
		n.logger.Error("members have different states, and no majority of the voters has the same: nobody can tell which is right until more of them answer",
			"revision", at.Revision, "answered", len(said), "voters", voters)
	}
}

func idsOf(ids []raft.ServerID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	return strings.Join(texts, ", ")
}

// askDigests asks all members for their digests at a mark, and returns what they and this node say. Who has none there is not among them,
// nor is a release that makes digests in another way.
func (n *Node) askDigests(ctx context.Context, members raft.Configuration, self raft.ServerID, at Mark) []testimony {
	ctx, cancel := context.WithTimeout(ctx, compareTime)
	defer cancel()
	var mu sync.Mutex
	var said []testimony
	var asking sync.WaitGroup
	for _, s := range members.Servers {
		voter := s.Suffrage == raft.Voter
		if s.ID == self {
			mu.Lock()
			said = append(said, testimony{id: self, voter: voter, digest: at.Digest})
			mu.Unlock()
			continue
		}
		asking.Go(func() {
			digest, err := n.askDigest(ctx, s, at.Index)
			if err != nil {
				n.logger.Debug("digest of a member", "member", s.ID, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			said = append(said, testimony{id: s.ID, voter: voter, digest: digest})
		})
	}
	asking.Wait()
	return said
}

func (n *Node) askDigest(ctx context.Context, s raft.Server, index uint64) (digest [32]byte, err error) {
	conn, err := n.Connect(string(s.ID), string(s.Address))
	if err != nil {
		return digest, err
	}
	reply, err := graphgrpc.NewPeerServiceClient(conn).Digest(ctx, &peerpb.DigestRequest{Index: index})
	switch {
	case err != nil:
		return digest, err
	case reply.Format != store.DigestFormat:
		return digest, fmt.Errorf("digest of format %d, this release makes %d", reply.Format, store.DigestFormat)
	case len(reply.Digest) != len(digest):
		return digest, &ErrNoMark{Index: index}
	}
	copy(digest[:], reply.Digest)
	return digest, nil
}
