package load

import "context"

// Pages that workloads ask for.
const (
	pageLimit      = 100
	smallPageLimit = 20
)

// each makes a script for every client.
func (b *bench) each(make func() script) []script {
	scripts := []script{}
	for range b.Clients {
		scripts = append(scripts, make())
	}
	return scripts
}

func (b *bench) newWriter() *writer {
	l := b.newLedger()
	return &writer{ledger: l, seed: b.seedOf(), turn: len(b.ledgers)}
}

// any picks from what was preloaded, at random.
func (b *bench) any() func() acknowledged {
	random, from := b.random(), b.preloaded.written
	return func() acknowledged { return from[random.IntN(len(from))] }
}

func (b *bench) write(ctx context.Context) error {
	if err := b.found(ctx); err != nil {
		return err
	}
	return b.measure(ctx, b.each(func() script { return b.newWriter() }))
}

func (b *bench) batches(ctx context.Context) error {
	if err := b.found(ctx); err != nil {
		return err
	}
	return b.measure(ctx, b.each(func() script { return &batcher{writer: *b.newWriter(), each: b.Batch, left: -1} }))
}

// reading is a workload of calls that change nothing.
func (b *bench) reading(ctx context.Context, make func() script) error {
	if err := b.load(ctx, max(1, b.Preload)); err != nil {
		return err
	}
	if b.Local {
		if err := b.readLocally(ctx); err != nil {
			return err
		}
	}
	return b.measure(ctx, b.each(make))
}

// readLocally waits until each node has all that was preloaded, and from then on asks no node for more than it has.
func (b *bench) readLocally(ctx context.Context) error {
	last := &ledger{size: b.Size, sessions: b.sessions, written: b.preloaded.written[len(b.preloaded.written)-1:]}
	var scripts []script
	for range b.target.conns {
		scripts = append(scripts, &reader{ledger: last})
	}
	if err := b.target.exhaust(ctx, scripts); err != nil { // linearizable: it is there, and so is all before it
		return err
	}
	for _, c := range b.target.conns {
		c.mu.Lock()
		c.local = true
		c.mu.Unlock()
	}
	return nil
}

func (b *bench) read(ctx context.Context) error {
	return b.reading(ctx, func() script { return &getter{pick: b.any(), size: b.Size} })
}

func (b *bench) edges(ctx context.Context) error {
	return b.reading(ctx, func() script { return &edger{pick: b.any()} })
}

func (b *bench) query(ctx context.Context) error {
	return b.reading(ctx, func() script { return &pager{random: b.random(), sessions: b.sessions, limit: pageLimit} })
}

func (b *bench) queryAll(ctx context.Context) error {
	return b.reading(ctx, func() script { return &pager{limit: pageLimit} })
}

func (b *bench) listSessions(ctx context.Context) error {
	return b.reading(ctx, func() script { return &lister{limit: pageLimit} })
}

func (b *bench) mixed(ctx context.Context) error {
	return b.reading(ctx, func() script {
		return &mixer{random: b.random(), parts: []portion{
			{70, &getter{pick: b.any(), size: b.Size}},
			{5, &edger{pick: b.any()}},
			{5, &pager{random: b.random(), sessions: b.sessions, limit: smallPageLimit}},
			{20, b.newWriter()},
		}}
	})
}

// crowd is many connections with a call now and then.
func (b *bench) crowd(ctx context.Context) error {
	return b.reading(ctx, func() script {
		return &mixer{random: b.random(), parts: []portion{
			{90, &getter{pick: b.any(), size: b.Size}},
			{10, b.newWriter()},
		}}
	})
}
