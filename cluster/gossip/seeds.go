//go:build !wasip1

package gossip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// keepJoining goes to seeds and to nodes that were lost, again and again: memberlist forgets whom it has found dead, and
// after a partition both sides have.
func (g *Gossip) keepJoining() {
	told := ""
	for {
		err := g.joinAll()
		switch {
		case g.life.Err() != nil:
			return
		case err == nil:
			told = ""
		case err.Error() != told:
			told = err.Error()
			g.config.Logger.Info("a node does not answer gossip yet, it is tried again", "error", err)
		}
		pause := RejoinInterval
		if g.alone() {
			pause = AloneInterval
		}
		if !wait(g.life, pause, g.wish) || !wait(g.life, settle, nil) {
			return
		}
	}
}

func (g *Gossip) alone() bool { return len(g.Members()) < 2 }

// joinAll tries everybody who is not known to be there. The error is that of the last one who could not be reached.
func (g *Gossip) joinAll() error {
	g.mu.Lock()
	seeds := slices.Clone(g.seeds)
	var targets []netip.AddrPort
	for id, at := range g.claims {
		if _, alive := g.members[id]; !alive {
			targets = append(targets, at)
		}
	}
	g.mu.Unlock()
	var last error
	for _, s := range seeds {
		ctx, cancel := context.WithTimeout(g.life, lookUpTimeout)
		found, err := resolve(ctx, s, DefaultPort, g.config.LookUp)
		cancel()
		if err != nil {
			last = err
		}
		targets = append(targets, found...)
	}
	for _, m := range g.Departed() {
		if at, err := netip.ParseAddrPort(m.GossipAddr); err == nil && m.State == Dead {
			targets = append(targets, at)
		}
	}
	for i, at := range targets {
		if g.life.Err() != nil || slices.Contains(targets[:i], at) || g.isThere(at) {
			continue
		}
		if _, err := g.list.Join([]string{at.String()}); err != nil {
			last = unwrapped(err)
		}
	}
	return last
}

// unwrapped takes the error about one address out of memberlist's list of them, which prints over several lines, and says what its
// complaint about keys means.
func unwrapped(err error) error {
	var list interface{ WrappedErrors() []error }
	if errors.As(err, &list) && len(list.WrappedErrors()) == 1 {
		err = list.WrappedErrors()[0]
	}
	if strings.Contains(err.Error(), "no installed keys") {
		return fmt.Errorf("%w (have both nodes the same secret?)", err)
	}
	return err
}

// isThere: it is this node, or one that is alive, of whichever cluster.
func (g *Gossip) isThere(at netip.AddrPort) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at == g.self {
		return true
	}
	for _, m := range g.members {
		if m.GossipAddr == at.String() {
			return true
		}
	}
	return false
}
