package load

import (
	"context"
	"fmt"
)

// fill imports prompts that are known by their number and reads them back. It needs a server without them.
func (b *bench) fill(ctx context.Context) (err error) {
	if len(b.target.conns) < growthStreams {
		return fmt.Errorf("%d connections, the import needs %d", len(b.target.conns), growthStreams)
	}
	g := &Growth{bench: b}
	prompts := int64(max(1, b.Preload))
	w := b.watch()
	if _, err := g.Fill(ctx, prompts); err != nil {
		return err
	}
	w.stop(&b.result)
	r := &b.result
	r.Calls, r.Operations, r.Preload = growthStreams, prompts, int(prompts)
	r.settle()
	r.Acknowledged = prompts
	if r.ReadBack, err = g.ReadBack(ctx); err != nil {
		return fmt.Errorf("no figure: %w", err)
	}
	return nil
}
