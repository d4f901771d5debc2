package cluster

import (
	"context"
	"time"
)

// roomPause is how often a leader without room looks for a voter that has some.
const roomPause = 5 * time.Second

// duties does what a leader among others owes them, for as long as this node leads.
func (n *Node) duties(ctx context.Context) {
	for {
		term, changed := n.gate.state()
		if term == 0 {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		n.leadDutifully(ctx, changed)
		if ctx.Err() != nil {
			return
		}
	}
}

// leadDutifully compares clocks now and then, and gives way when this node has no room, until the gate moves.
func (n *Node) leadDutifully(ctx context.Context, changed <-chan struct{}) {
	clocks, room := time.NewTicker(clockInterval), time.NewTicker(roomPause)
	defer clocks.Stop()
	defer room.Stop()
	for {
		select {
		case <-changed:
			return
		case <-ctx.Done():
			return
		case <-clocks.C:
			n.actOnClocks(ctx, n.checkClocks(ctx))
			n.forgetStrangers()
		case <-n.clock.suspects:
			n.actOnClocks(ctx, n.checkClocks(ctx))
		case <-n.roomMoved:
			n.giveWayForRoom(ctx)
		case <-room.C:
			n.giveWayForRoom(ctx)
		}
	}
}

// giveWayForRoom hands leadership to a voter that has room, when this node has none (DECISIONS.md D11).
func (n *Node) giveWayForRoom(ctx context.Context) {
	if n.room.Refusal() == nil || n.otherVoters() == 0 {
		return
	}
	roomy := furthest(n.askVoters(ctx, nil), func(v voterStatus) bool { return v.reply.HasRoom })
	if roomy == nil {
		n.logger.Warn("disk is full, and no other voter is known to have room: this node goes on leading, without writes")
		return
	}
	err := n.TransferLeadership(ctx, string(roomy.server.ID))
	n.logger.Warn("disk is full: leadership goes to a voter with room", "to", roomy.server.ID, "error", err)
}

func (n *Node) forgetStrangers() {
	if err := n.peers.forget(n.members()); err != nil {
		n.logger.Debug("connections to nodes that are no members", "error", err)
	}
}
