package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/grpc"
)

// ImportConfig says how to kill a server that imports.
type ImportConfig struct {
	// Binary is the server and its client, Folder where data folders are made, one a round.
	Binary, Folder string
	// Paths are what is imported.
	Paths []string
	// Seed decides on the load beside the import and on the moments of the crashes.
	Seed uint64
	// Rounds is the number of imports, each of which is killed once or more often; Writers that of those who write beside it. There are
	// more rounds, up to four times as many, when no crash has come in the middle of an import by then.
	Rounds, Writers int
	// Logf tells what happens; it may be nil.
	Logf func(format string, args ...any)
}

// ImportReport counts what a run of imports did.
type ImportReport struct {
	Rounds, Crashes int
	// Partial is how many crashes left a part of the import behind, neither nothing nor all.
	Partial int
	// Records are those of one import; Seen those that a subscriber was told of before a crash, over all rounds.
	Records, Seen int
	// Acknowledged single writes beside the imports, and those whose outcome was unknown at first.
	Acknowledged, Unknown int
	Checks                int
}

var (
	errImport = errors.New("import did not come to what it should")
	errCheck  = errors.New("check of the folder")
)

// mostCrashes is how often one import is killed at the most.
const mostCrashes = 3

// Snapshotting are the arguments of a server that makes its store durable every few entries, and keeps its log whole so that
// it can be replayed.
func snapshotting() []string {
	return []string{"--snapshot-threshold", "4", "--snapshot-interval", "20ms"}
}

// importRun is a run under way.
type importRun struct {
	config ImportConfig
	random *rand.Rand
	report ImportReport
	// reference is what an import that nobody disturbs makes, took how long that is.
	reference records
	took      time.Duration
}

// RunImports kills servers during imports until the rounds are over. Its error names the seed, the round and what is wrong.
func RunImports(ctx context.Context, config ImportConfig) (ImportReport, error) {
	r := &importRun{config: config, random: rand.New(rand.NewPCG(config.Seed, 1))}
	if err := r.undisturbed(ctx); err != nil {
		return r.report, fmt.Errorf("import without a crash: %w", err)
	}
	inTheMiddle := func() bool { return r.report.Partial > 0 && r.report.Seen > 0 }
	for r.report.Rounds < config.Rounds || !inTheMiddle() && r.report.Rounds < 4*config.Rounds {
		r.report.Rounds++
		if err := r.round(ctx); err != nil {
			return r.report, fmt.Errorf("seed %d, round %d: %w", config.Seed, r.report.Rounds, err)
		}
	}
	return r.report, nil
}

func (r *importRun) folder(name string) string { return filepath.Join(r.config.Folder, name) }

// undisturbed imports once and keeps what came of it.
func (r *importRun) undisturbed(ctx context.Context) (err error) {
	life := r.newLife("reference", nil)
	defer func() { err = errors.Join(err, life.end()) }()
	if err := life.node.Start(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := r.imports(ctx, life.node.Address()); err != nil {
		return err
	}
	r.took = time.Since(began)
	if r.reference, err = life.read(ctx); err != nil {
		return err
	}
	r.report.Records = len(r.reference)
	if err := life.node.Stop(ctx); err != nil {
		return err
	}
	return r.check(ctx, life.node.DataDir())
}

// imports runs the client to its end.
func (r *importRun) imports(ctx context.Context, address string) error {
	args := append([]string{"import", "--address", address}, r.config.Paths...)
	out, err := exec.CommandContext(ctx, r.config.Binary, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("memory-graph %q: %w\n%s", args, err, out)
	}
	return nil
}

// check runs `memory-graph check --replay` on a folder that nobody uses.
func (r *importRun) check(ctx context.Context, folder string) error {
	r.report.Checks++
	out, err := exec.CommandContext(ctx, r.config.Binary, "check", "--data-dir", folder, "--replay", "-o", "json", "--scratch", r.config.Folder).Output()
	var result struct {
		Total          int             `json:"total_findings"`
		Findings       json.RawMessage `json:"findings"`
		Replay         string          `json:"replay"`
		Digest         string          `json:"digest"`
		ReplayedDigest string          `json:"replayed_digest"`
		Applied        uint64          `json:"applied"`
		Replayed       uint64          `json:"replayed"`
	}
	if parsing := json.Unmarshal(out, &result); err != nil || parsing != nil || result.Total != 0 || result.Replay != "the same state" {
		return fmt.Errorf("%w %s: %w\n%s", errCheck, folder, errors.Join(err, parsing, errReplay(result.Replay)), out)
	}
	if result.Applied == result.Replayed && result.Digest != result.ReplayedDigest {
		return fmt.Errorf("%w %s: digest %s, replayed %s", errCheck, folder, result.Digest, result.ReplayedDigest)
	}
	return nil
}

func errReplay(outcome string) error { return fmt.Errorf("replay gives %q", outcome) }

// round imports into an empty folder, with crashes, looks at what each has left, and lets the import be completed.
func (r *importRun) round(ctx context.Context) (err error) {
	var writers []*writer
	for i := range r.config.Writers {
		writers = append(writers, newWriter(r.config.Seed+uint64(r.report.Rounds)<<8, i))
	}
	life := r.newLife(fmt.Sprint("round-", r.report.Rounds), writers)
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nserver printed:\n%s", err, life.node.Logs())
		}
		for _, w := range writers {
			r.report.Acknowledged += w.acknowledged
			r.report.Unknown += w.unknown
		}
		err = errors.Join(err, life.end())
	}()
	for range 1 + r.random.IntN(mostCrashes) {
		if err := r.crash(ctx, life); err != nil {
			return err
		}
	}
	return r.complete(ctx, life)
}

// crash starts the server, imports, writes and listens, kills it at any moment, and looks at what is left.
func (r *importRun) crash(ctx context.Context, l *life) error {
	if err := l.node.Start(ctx); err != nil {
		return err
	}
	address := l.node.Address()
	conn, err := l.node.Dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	load, stop := context.WithCancel(ctx)
	defer stop()
	graph := graphgrpc.NewMemoryGraphServiceClient(conn)
	for _, w := range l.writers {
		if err := w.settle(ctx, graph); err != nil {
			return err
		}
	}
	var busy sync.WaitGroup
	failures := make([]error, len(l.writers)+1)
	for i, w := range l.writers {
		busy.Go(func() { failures[i] = w.write(load, graph) })
	}
	busy.Go(func() { failures[len(l.writers)] = l.watcher.follow(load, graph) })
	imported := make(chan struct{})
	busy.Go(func() {
		defer close(imported)
		_ = r.imports(load, address) // it fails when the server is killed
	})
	r.moment(ctx, l, imported)
	err = l.node.Kill()
	r.report.Crashes++
	busy.Wait()
	if err := errors.Join(append(failures, err)...); err != nil {
		return err
	}
	if err := r.check(ctx, l.node.DataDir()); err != nil {
		return fmt.Errorf("right after the crash: %w", err)
	}
	return r.inspect(ctx, l)
}

// moment waits for the moment of a crash: one in four is any, the others come when a subscriber was told of some of what is imported, so
// that they come in the middle however fast or slow that goes.
func (r *importRun) moment(ctx context.Context, l *life, imported <-chan struct{}) {
	if r.random.IntN(4) == 0 {
		wait(ctx, time.Duration(r.random.Int64N(int64(r.took)*5/4+1)))
		return
	}
	enough := l.watcher.imported.Load() + 1 + r.random.Int64N(int64(max(1, len(r.reference)-len(l.had))))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for l.watcher.imported.Load() < enough {
		select {
		case <-tick.C:
		case <-imported:
			return
		case <-ctx.Done():
			return
		}
	}
}

// inspect starts the killed server and holds what it has against what was told and acknowledged.
func (r *importRun) inspect(ctx context.Context, l *life) error {
	if err := l.node.Start(ctx); err != nil {
		return err
	}
	got, err := l.verify(ctx, r)
	if err != nil {
		return fmt.Errorf("after a crash: %w", err)
	}
	if len(got) > 0 && len(got) < len(r.reference) {
		r.report.Partial++
	}
	seen, err := l.told(got)
	r.report.Seen += seen
	if err != nil {
		return err
	}
	if err := l.kept(got); err != nil {
		return err
	}
	r.logf("round %d: %d of %d records after crash %d, %d were told", r.report.Rounds, len(got), len(r.reference), r.report.Crashes, seen)
	return l.node.Kill()
}

// complete imports again, without a crash, and wants exactly what an import without any makes; and nothing new from another.
func (r *importRun) complete(ctx context.Context, l *life) error {
	if err := l.node.Start(ctx); err != nil {
		return err
	}
	for range 2 {
		if err := r.imports(ctx, l.node.Address()); err != nil {
			return err
		}
		got, err := l.verify(ctx, r)
		if err == nil {
			err = l.kept(got)
		}
		if err != nil {
			return fmt.Errorf("after the import was completed: %w", err)
		}
		for key := range r.reference {
			if _, ok := got[key]; !ok {
				return fmt.Errorf("%w: %s is lacking after it was completed", errImport, key)
			}
		}
	}
	if err := l.node.Stop(ctx); err != nil {
		return err
	}
	return r.check(ctx, l.node.DataDir())
}

func (r *importRun) logf(format string, args ...any) {
	if r.config.Logf != nil {
		r.config.Logf(format, args...)
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// life is one data folder with those who use it.
type life struct {
	node    *cluster.Node
	writers []*writer
	watcher watcher
	// had is what the import had made at the last look.
	had records
}

func (r *importRun) newLife(name string, writers []*writer) *life {
	return &life{
		node:    cluster.New(cluster.Options{Binary: r.config.Binary, DataDir: r.folder(name), Args: snapshotting()}),
		writers: writers, had: records{},
	}
}

// end stops and removes everything.
func (l *life) end() error {
	return errors.Join(l.node.Kill(), os.RemoveAll(l.node.DataDir()))
}

func (l *life) dial() (*grpc.ClientConn, verifier, error) {
	conn, err := l.node.Dial(grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		return nil, verifier{}, err
	}
	return conn, verifier{
		graph: graphgrpc.NewMemoryGraphServiceClient(conn), transfer: graphgrpc.NewGraphTransferServiceClient(conn), writers: l.writers,
	}, nil
}

// kept wants what was there at the last look to be there as it was.
func (l *life) kept(got records) error {
	for key, text := range l.had {
		if got[key] != text {
			return fmt.Errorf("%w: %s was\n%s\nand is\n%s", errLost, key, text, got[key])
		}
	}
	l.had = maps.Clone(got)
	return nil
}
