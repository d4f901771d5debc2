package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/grpc"
)

// Config says how to run.
type Config struct {
	// Binary is the server.
	Binary string
	// Folder is the root of a file system that nobody else uses; the data and a file that fills it are in it.
	Folder string
	// Reserve is what the server keeps free, bytes; 0 for nothing, so that the disk itself says no.
	Reserve uint64
	// Seed decides on the load and on the moments.
	Seed uint64
	// Rounds is how often the disk is filled, Writers the number of concurrent writers.
	Rounds, Writers int
	// Args are added to those of the server.
	Args []string
	// Free measures what is free in Folder.
	Free func() (uint64, error)
}

// Report counts what a run did.
type Report struct {
	Acknowledged, Refused      int
	Filled, KilledFull, Killed int
	// Ended is how often the server ended because its store had no room.
	Ended int
}

const (
	mib = 1 << 20
	// Between these is left for the writers of a round.
	leastLeft, mostLeft = 2 * mib, 12 * mib
	// So long may a change take to show.
	showsWithin = 5 * time.Minute
	askAgain    = 50 * time.Millisecond
)

type run struct {
	config  Config
	random  *rand.Rand
	node    *cluster.Node
	conn    *grpc.ClientConn
	client  graphgrpc.MemoryGraphServiceClient
	writers []*writer
	report  Report
}

// Run fills the disk until the rounds are over. Its error names the seed and what was wrong.
func Run(ctx context.Context, config Config) (Report, error) {
	args := append(slices.Clone(config.Args), "--disk-reserve", fmt.Sprint(config.Reserve))
	r := &run{
		config: config, random: rand.New(rand.NewPCG(config.Seed, 1)),
		node: cluster.New(cluster.Options{Binary: config.Binary, DataDir: filepath.Join(config.Folder, "data"), Args: args}),
	}
	for i := range config.Writers {
		r.writers = append(r.writers, newWriter(config.Seed, i))
	}
	err := r.all(ctx)
	for _, w := range r.writers {
		r.report.Acknowledged += len(w.kept)
		r.report.Refused += len(w.refused)
	}
	if err != nil {
		err = fmt.Errorf("seed %d, filled %d times: %w\nserver printed:\n%s", config.Seed, r.report.Filled, err, r.node.Logs())
	}
	return r.report, errors.Join(err, r.hangUp(), r.node.Kill())
}

func (r *run) all(ctx context.Context) error {
	if err := r.start(ctx); err != nil {
		return err
	}
	for _, w := range r.writers {
		if err := w.open(ctx, r.client); err != nil {
			return err
		}
	}
	for i := range r.config.Rounds {
		if err := r.round(ctx); err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
	}
	if err := r.hangUp(); err != nil {
		return err
	}
	if err := r.node.Stop(ctx); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.verify(ctx); err != nil {
		return fmt.Errorf("after a graceful restart: %w", err)
	}
	return errors.Join(r.hangUp(), r.node.Stop(ctx))
}

// round fills the disk, looks, perhaps kills, makes room and goes on.
func (r *run) round(ctx context.Context) error {
	left := leastLeft + r.random.Uint64N(mostLeft-leastLeft)
	if err := r.fill(r.config.Reserve + left); err != nil {
		return err
	}
	r.report.Filled++
	if err := r.writeUntilRefused(ctx); err != nil {
		return err
	}
	if err := r.unlessEnded(ctx, r.whileFull); err != nil {
		return fmt.Errorf("on the full disk: %w", err)
	}
	if err := os.Remove(r.filler()); err != nil {
		return err
	}
	if err := r.unlessEnded(ctx, r.recover); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if r.conn == nil { // it ended late
		if err := r.recover(ctx); err != nil {
			return fmt.Errorf("started with room again: %w", err)
		}
	}
	return r.perhapsKill(ctx)
}

// unlessEnded does something that may fail when the server ends for want of room meanwhile, as one without a reserve may: its store
// finds that out in the background.
func (r *run) unlessEnded(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	if err == nil || r.conn == nil {
		return err
	}
	if ended, why := r.hasEnded(ctx); ended || why != nil {
		return why
	}
	return err
}

// whileFull: reads go on and the state shows, unless the server has ended, which only one without a reserve may. One with a
// reserve is killed half of the times, and starts on the full disk.
func (r *run) whileFull(ctx context.Context) error {
	if ended, err := r.hasEnded(ctx); ended || err != nil {
		return err
	}
	if err := r.shows(ctx, true); err != nil {
		return err
	}
	if err := r.verify(ctx); err != nil {
		return err
	}
	if r.config.Reserve == 0 {
		return nil
	}
	if r.random.IntN(2) == 0 {
		return nil
	}
	r.report.KilledFull++
	if err := r.crash(); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.shows(ctx, true); err != nil {
		return err
	}
	return r.verify(ctx)
}

// hasEnded waits a moment for a server that is going down for want of room, and looks whether it says so.
func (r *run) hasEnded(ctx context.Context) (bool, error) {
	if r.config.Reserve > 0 || !r.goingDown(ctx) {
		return false, nil
	}
	select {
	case <-r.node.Exited():
	case <-time.After(showsWithin):
		return false, errors.New("server is going down and does not end")
	case <-ctx.Done():
		return false, ctx.Err()
	}
	logs := r.node.Logs()
	r.report.Ended++
	if !strings.Contains(logs, "no space left on device") || !strings.Contains(logs, r.node.DataDir()) {
		return true, errors.New("server ended on a full disk and did not say so")
	}
	return true, errors.Join(r.hangUp(), r.node.Kill())
}

// goingDown: a server that cannot go on says so at once, before it has ended.
func (r *run) goingDown(ctx context.Context) bool {
	code, _, err := r.get(ctx, "/health")
	return err != nil || code != http.StatusOK
}

// writeUntilRefused lets all writers write until each was refused, or the server is gone.
func (r *run) writeUntilRefused(ctx context.Context) error {
	errs := make([]error, len(r.writers))
	var writing sync.WaitGroup
	for i, w := range r.writers {
		writing.Go(func() {
			for errs[i] == nil {
				errs[i] = w.write(ctx, r.client, r.node.DataDir())
			}
		})
	}
	writing.Wait()
	for i, err := range errs {
		if !errors.Is(err, errRefused) && (r.config.Reserve > 0 || !r.writers[i].pending) {
			return fmt.Errorf("writer %d: %w", i, err)
		}
	}
	return nil
}

// recover waits until writes are taken, and settles what is not known.
func (r *run) recover(ctx context.Context) error {
	if r.conn == nil {
		if err := r.start(ctx); err != nil {
			return err
		}
	}
	if err := r.shows(ctx, false); err != nil {
		return err
	}
	for _, w := range r.writers {
		for pending := true; pending; pending = w.pending {
			if err := w.write(ctx, r.client, r.node.DataDir()); err != nil {
				return err
			}
		}
	}
	return r.verify(ctx)
}

// perhapsKill lets writers write for a moment and kills the server in the middle, in half of the rounds.
func (r *run) perhapsKill(ctx context.Context) error {
	if r.random.IntN(2) == 0 {
		return nil
	}
	r.report.Killed++
	moment := time.After(time.Duration(50+r.random.IntN(400)) * time.Millisecond)
	errs := make([]error, len(r.writers))
	var writing sync.WaitGroup
	for i, w := range r.writers {
		writing.Go(func() {
			for errs[i] == nil {
				errs[i] = w.write(ctx, r.client, r.node.DataDir())
			}
		})
	}
	<-moment
	killed := r.node.Kill()
	writing.Wait()
	for i, w := range r.writers {
		if !w.pending && !errors.Is(errs[i], errRefused) {
			return fmt.Errorf("writer %d when the server was killed: %w", i, errs[i])
		}
	}
	if err := errors.Join(killed, r.hangUp()); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	return r.recover(ctx)
}

func (r *run) verify(ctx context.Context) error {
	for _, w := range r.writers {
		if err := w.verify(ctx, r.client); err != nil {
			return fmt.Errorf("writer %s: %w", w.name, err)
		}
	}
	return nil
}

// shows waits until health and metrics tell that the server refuses writes, or that it does not.
func (r *run) shows(ctx context.Context, refusing bool) error {
	deadline := time.Now().Add(showsWithin)
	for {
		code, health, err := r.get(ctx, "/health")
		if err != nil {
			return err
		}
		_, metrics, err := r.get(ctx, "/metrics")
		if err != nil {
			return err
		}
		gauge := "memory_graph_disk_refusing 0\n"
		if refusing {
			gauge = "memory_graph_disk_refusing 1\n"
		}
		if code == http.StatusOK && strings.Contains(health, r.node.DataDir()) == refusing && strings.Contains(metrics, gauge) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("want refusing %t to show, health is %d %s", refusing, code, health)
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *run) get(ctx context.Context, path string) (code int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.node.MetricsAddress()+path, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

func (r *run) start(ctx context.Context) (err error) {
	if err := r.node.Start(ctx); err != nil {
		return err
	}
	if r.conn, err = r.node.Dial(); err != nil {
		return err
	}
	r.client = graphgrpc.NewMemoryGraphServiceClient(r.conn)
	return nil
}

func (r *run) crash() error { return errors.Join(r.node.Kill(), r.hangUp()) }

func (r *run) hangUp() error {
	if r.conn == nil {
		return nil
	}
	err := r.conn.Close()
	r.conn = nil
	return err
}

func (r *run) filler() string { return filepath.Join(r.config.Folder, "filler") }

// fill writes a file that leaves so much.
func (r *run) fill(left uint64) error {
	free, err := r.config.Free()
	if err != nil {
		return err
	}
	if free < left {
		return fmt.Errorf("only %d bytes are free before anything is filled, want %d: the file system is too small", free, left)
	}
	f, err := os.Create(r.filler())
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, zeros{}, int64(free-left))
	return errors.Join(err, f.Close())
}

// zeros are as many as are read.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
