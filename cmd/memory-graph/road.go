package main

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/membership"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/telemetry"
)

// road makes the replicated log what the API writes through.
type road struct{ node *cluster.Node }

func (r *road) Propose(ctx context.Context, command []byte) (fsm.Result, error) {
	result, err := r.node.Propose(ctx, command)
	return result, logError(err)
}

func (r *road) Barrier(ctx context.Context, staleness time.Duration) error {
	return logError(r.node.Barrier(ctx, staleness))
}

func (r *road) Ready() error { return logError(r.node.Ready()) }

// logError says in the API's words why the log gave no result.
func logError(err error) error {
	var failed *cluster.Error
	if !errors.As(err, &failed) {
		return err
	}
	return &rpc.LogError{Kind: logKind(failed.Kind), NotProposed: failed.NotProposed, Err: err}
}

func logKind(k cluster.Kind) rpc.LogKind {
	switch k {
	case cluster.NoLeader:
		return rpc.NoLeader
	case cluster.Overloaded:
		return rpc.Overloaded
	case cluster.NoRoom:
		return rpc.DiskReserve
	case cluster.Stopping, cluster.Failed:
		return rpc.Stopping
	case cluster.Quarantined:
		return rpc.Quarantined
	case cluster.Interrupted:
		return rpc.Interrupted
	}
	panic("a kind of log error has no name in the API: " + k.Error())
}

// measureRaft makes Raft and its log report what they measure, and returns it for the metrics of a server. Raft reports to one
// place in a process, and from its start: this comes before a node is opened.
func measureRaft() (prometheus.Collector, error) {
	registry := prometheus.NewRegistry()
	sink, err := telemetry.NewRaftSink(registry)
	if err != nil {
		return nil, err
	}
	return registry, telemetry.MeasureRaft(sink)
}

// diskOf tells the metrics how full the disk of a node is.
func diskOf(node *cluster.Node) func() telemetry.Disk {
	return func() telemetry.Disk {
		d := node.Disk()
		return telemetry.Disk{Free: d.Free, Reserve: d.Reserve, Ballast: d.Ballast, Refusing: d.Refusing, DamagedStores: node.DamagedStores()}
	}
}

// eventsOf counts what a node tells.
func eventsOf(count *telemetry.NodeEvents) cluster.Events {
	return cluster.Events{
		LeaderChanged: func(string) { count.LeaderChanged() },
		Stood:         count.Elected,
		ReadIndex:     count.ReadIndex,
		Clock:         func(ahead time.Duration, _ bool) { count.Clock(ahead) },
		Compared:      count.Compared,
	}
}

// memberError says in the API's words why a change of the members was not made.
func memberError(nodeID string, err error) error {
	var log *cluster.Error
	reason := rpc.ReasonMemberState
	switch {
	case errors.As(err, &log):
		return logError(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, membership.ErrNotLeader):
		return notLeader()
	case errors.Is(err, membership.ErrUnknown):
		reason = rpc.ReasonUnknownMember
	case errors.Is(err, membership.ErrChanging):
		reason = rpc.ReasonChanging
	case errors.Is(err, membership.ErrQuorum):
		reason = rpc.ReasonQuorum
	}
	return &rpc.MemberError{Reason: reason, NodeID: nodeID, Err: err}
}

// standingOf tells the metrics where a node stands in its cluster.
func standingOf(node *cluster.Node, expires func() time.Time) func() (telemetry.Members, error) {
	return func() (telemetry.Members, error) {
		s, err := node.Status()
		voters := s.Members.Voters()
		var others []telemetry.Member
		for _, p := range node.Progress() {
			silence := time.Duration(-1)
			if !p.LastSent.IsZero() {
				silence = time.Since(p.LastSent)
			}
			others = append(others, telemetry.Member{ID: p.NodeID, Lag: s.LastLog - min(s.LastLog, p.Match), Silence: silence})
		}
		return telemetry.Members{
			Forwarded: s.CommandsForwarded, ReadIndexes: s.ReadIndexesAnswered, Quarantined: node.Fit().Err() != nil, Others: others, CertificateExpires: expires(),
			Leads: s.Leader.NodeID == s.NodeID, HasLeader: s.Leader.NodeID != "", Term: s.Term, Committed: s.Committed, Applied: s.Applied,
			Contact: s.LastContact, Voters: voters, NonVoters: len(s.Members.Servers) - voters,
		}, err
	}
}
