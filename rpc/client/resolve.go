package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// lookupPause keeps a lost node from having host names looked up all the time.
const lookupPause = time.Second

// A resolver turns the addresses of a client into endpoints, again and again where they are host names.
type resolver struct {
	cfg    Config
	places []place
	pool   *pool
	// last is what each place meant when it was last known.
	last [][]endpoint
}

// names reports that there is something to look up.
func (r *resolver) names() bool {
	return slices.ContainsFunc(r.places, func(p place) bool { return p.name != "" })
}

// run looks names up until ctx ends: at once, from time to time, and when a node is lost.
func (r *resolver) run(ctx context.Context) {
	for {
		r.resolve(ctx)
		if pause(ctx, jitter(lookupPause)) != nil {
			return
		}
		timer := time.NewTimer(jitter(r.cfg.Resolve))
		select {
		case <-timer.C:
		case <-r.pool.lost:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// resolve looks every name up once. One that is not found keeps the addresses that it had.
func (r *resolver) resolve(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ConnectTimeout)
	defer cancel()
	var failed error
	var all []endpoint
	for i, p := range r.places {
		if p.name == "" {
			r.last[i] = []endpoint{p.endpoint}
		} else if found, err := r.cfg.Lookup(ctx, p.name); err != nil {
			failed = errors.Join(failed, fmt.Errorf("look up %s: %w", p.name, err))
		} else if len(found) > 0 {
			slices.Sort(found)
			r.last[i] = nil
			for _, ip := range found {
				r.last[i] = append(r.last[i], endpoint{dial: net.JoinHostPort(ip, p.port), host: p.name})
			}
		}
		all = append(all, r.last[i]...)
	}
	// An endpoint that gRPC does not take is missing, and told with what else is wrong.
	if err := r.pool.set(all, failed); err != nil {
		r.pool.set(all, errors.Join(failed, err)) //nolint:errcheck // the same again
	}
}
