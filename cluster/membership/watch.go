package membership

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// view asks everybody and takes down what the leader knows. On a node that does not lead nobody is asked.
func (k *Keeper) view(ctx context.Context) (View, error) {
	configuration, err := k.config.Raft.Configuration()
	if err != nil {
		return View{}, fmt.Errorf("configuration: %w", err)
	}
	self := k.config.Raft.Report()
	v := View{
		Self: k.config.Self, Cluster: self.Cluster, Level: k.config.Raft.Level(),
		Configuration: configuration, Live: k.config.Gossip.Servers(),
	}
	if k.config.Removals != nil {
		v.Removed = map[NodeID]bool{}
		for _, id := range k.config.Removals.Removed() {
			v.Removed[id] = true
		}
	}
	term, leading := k.config.Raft.Leading()
	if !leading || v.Cluster.ID == "" {
		return v, nil
	}
	answers := k.ask(ctx, v)
	answers[k.config.Self] = answer{report: self}
	v.Live = freshened(v.Live, answers)
	v.Health = k.note(v, term, self, answers)
	return v, nil
}

// An answer is what became of a question to a server.
type answer struct {
	report Report
	err    error
}

// ask asks the members, and whoever might become one.
func (k *Keeper) ask(ctx context.Context, v View) map[NodeID]answer {
	var asked []Server
	for _, m := range v.Configuration.Members {
		server, live := byID(v.Live, m.ID)
		if !live {
			server = Server{ID: m.ID, Address: m.Address, ClusterID: v.Cluster.ID}
		}
		asked = append(asked, server)
	}
	for _, live := range v.Live {
		if _, member := v.Configuration.Find(live.ID); !member && Obstacle(v, live) == "" {
			asked = append(asked, live)
		}
	}
	return askAll(ctx, k.config.Peers, k.config.Settings.AskTimeout, k.config.Self, asked)
}

// freshened are the live servers with what they said themselves just now: gossip is slow to tell of a role that was changed.
func freshened(live []Server, answers map[NodeID]answer) []Server {
	live = slices.Clone(live)
	for i, s := range live {
		a, asked := answers[s.ID]
		if !asked || a.err != nil {
			continue
		}
		r := a.report
		s.ClusterID, s.Role, s.Expect, s.Founded = r.Cluster.ID, r.Role, r.Expect, r.Configured
		s.MinLevel, s.MaxLevel, s.Version = r.MinLevel, r.MaxLevel, r.Version
		live[i] = s
	}
	return live
}

// askAll asks servers for their reports, a bounded number at a time, all but this one.
func askAll(ctx context.Context, peers Peers, timeout time.Duration, self NodeID, servers []Server) map[NodeID]answer {
	var mu sync.Mutex
	answers := map[NodeID]answer{}
	var waiting sync.WaitGroup
	slots := make(chan struct{}, maxAsked)
	for _, s := range servers {
		if s.ID == self {
			continue
		}
		slots <- struct{}{}
		waiting.Go(func() {
			defer func() { <-slots }()
			ask, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			r, err := peers.Ask(ask, s)
			if err == nil && r.ID != s.ID {
				err = fmt.Errorf("%s answers there", r.ID)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[s.ID] = answer{report: r, err: err}
		})
	}
	waiting.Wait()
	return answers
}

// note takes down the answers of one round. The self report was made before the questions were asked.
func (k *Keeper) note(v View, term uint64, self Report, answers map[NodeID]answer) map[NodeID]Health {
	now, left := k.config.Clock(), k.config.Gossip.Left()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.term != term {
		k.term, k.seen = term, map[NodeID]*sighting{}
	}
	health := map[NodeID]Health{}
	for id, a := range answers {
		seen := k.seen[id]
		if seen == nil {
			seen = &sighting{there: now}
			k.seen[id] = seen
		}
		if a.err == nil {
			seen.report, seen.reported = a.report, true
		}
		_, member := v.Configuration.Find(id)
		_, live := byID(v.Live, id)
		seen.health = Health{Why: k.illness(v.Cluster, self, member, a)}
		seen.health.Healthy = seen.health.Why == ""
		switch {
		case !seen.health.Healthy || !member: // to answer is not yet to follow
			seen.healthySince = time.Time{}
		case seen.healthySince.IsZero():
			seen.healthySince = now
		default:
			seen.health.HealthyFor = now.Sub(seen.healthySince)
		}
		if live || a.err == nil {
			seen.there = now
		} else {
			seen.health.Left = slices.Contains(left, id)
			seen.health.GoneFor = max(now.Sub(seen.there), 1)
		}
		health[id] = seen.health
	}
	for id := range k.seen {
		if _, asked := health[id]; !asked {
			delete(k.seen, id)
		}
	}
	return health
}

// illness says why a server is not healthy, empty for a healthy one. One that is no member need only answer.
func (k *Keeper) illness(cluster Cluster, leader Report, member bool, a answer) string {
	s, r := k.config.Settings, a.report
	switch {
	case a.err != nil:
		return "it does not answer: " + a.err.Error()
	case r.Problem != "":
		return r.Problem
	case !member:
		return ""
	case r.Cluster.ID == "":
		return "it has not been told of its cluster yet"
	case r.Cluster.ID != cluster.ID:
		return "it belongs to cluster " + r.Cluster.ID
	case r.LastContact < 0:
		return "it has not heard from the leader"
	case r.LastContact > s.LastContactThreshold:
		return fmt.Sprintf("it last heard from the leader %v ago", r.LastContact.Round(time.Millisecond))
	case r.Term != leader.Term:
		return fmt.Sprintf("it is in term %d, the leader in %d", r.Term, leader.Term)
	case r.LastIndex+s.MaxTrailingLogs < leader.LastIndex:
		return fmt.Sprintf("it lacks %d log entries", leader.LastIndex-r.LastIndex)
	}
	return ""
}

// target is the highest feature level that every member has reported that it can apply. The error names those that have not
// reported to this leader.
func (k *Keeper) target(v View) (uint32, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var silent []NodeID
	target := uint32(0)
	for _, m := range v.Configuration.Members {
		seen := k.seen[m.ID]
		if seen == nil || !seen.reported {
			silent = append(silent, m.ID)
			continue
		}
		if target == 0 || seen.report.MaxLevel < target {
			target = seen.report.MaxLevel
		}
	}
	if len(silent) > 0 {
		return 0, fmt.Errorf("%s: no report of what it can apply has come since this node leads: start it, or remove it", idList(silent))
	}
	return target, nil
}
