// Command pgbench measures PostgreSQL doing what AddPrompt does: the row of a node and the rows of its two edges, in one
// transaction, one stored function a call.
//
// It starts a PostgreSQL of its own in a folder that it removes, with the defaults of the package but for max_connections,
// and prints one JSON object in the words of `memory-graph bench -o json`. It exits with 3 when PostgreSQL is not installed.
// All that was acknowledged is read back and compared; else there is no figure.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/jackc/pgx/v5/pgxpool"
)

// exitAbsent says that there is no PostgreSQL here.
const exitAbsent = 3

func main() {
	log.SetFlags(0)
	var o options
	flag.IntVar(&o.clients, "clients", 64, "clients, each with a connection and a session of its own")
	flag.IntVar(&o.size, "size", 256, "bytes of content")
	flag.DurationVar(&o.warmUp, "warm-up", 2*time.Second, "how long to run before measuring")
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "how long to measure")
	flag.StringVar(&o.parent, "data-dir", "", "folder in which the server gets its own; none: that for temporary files")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := run(ctx, o)
	switch {
	case errors.Is(err, errAbsent):
		log.Print(err)
		os.Exit(exitAbsent)
	case err != nil:
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		log.Fatal(err)
	}
}

type options struct {
	clients, size    int
	warmUp, duration time.Duration
	parent           string
}

// A report has the names of memory-graph's.
type report struct {
	System       string             `json:"system"`
	Clients      int                `json:"clients"`
	Size         int                `json:"size"`
	Seconds      float64            `json:"seconds"`
	Operations   int64              `json:"operations"`
	PerSecond    float64            `json:"operations_per_second"`
	Latency      map[string]float64 `json:"latency_ms"`
	Acknowledged int64              `json:"acknowledged"`
	ReadBack     int64              `json:"read_back"`
	ServerCores  float64            `json:"server_cpu_cores"`
	ClientCores  float64            `json:"client_cpu_cores"`
}

func run(ctx context.Context, o options) (_ report, err error) {
	s, err := start(ctx, o)
	if err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	pool, err := s.connect(ctx, o.clients)
	if err != nil {
		return report{}, err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, schema); err != nil {
		return report{}, fmt.Errorf("schema: %w", err)
	}
	writers := make([]*writer, o.clients)
	for i := range writers {
		writers[i] = newWriter(uint64(i+1)<<40, o.size)
		if _, err := pool.Exec(ctx, "insert into sessions (id, created_at, updated_at) values ($1, now(), now())", writers[i].session); err != nil {
			return report{}, fmt.Errorf("open a session: %w", err)
		}
	}
	r := report{Clients: o.clients, Size: o.size}
	if err := pool.QueryRow(ctx, "select 'PostgreSQL ' || current_setting('server_version')").Scan(&r.System); err != nil {
		return report{}, err
	}
	if err := measure(ctx, o, s, pool, writers, &r); err != nil {
		return report{}, err
	}
	if r.ReadBack, err = readBack(ctx, pool, writers); err != nil {
		return report{}, fmt.Errorf("no figure: %w", err)
	}
	return r, nil
}

// measure has every writer write for the warm-up and the duration.
func measure(ctx context.Context, o options, s *server, pool *pgxpool.Pool, writers []*writer, r *report) error {
	from := time.Now().Add(o.warmUp)
	to := from.Add(o.duration)
	errs := make([]error, len(writers))
	var working sync.WaitGroup
	for i, w := range writers {
		working.Go(func() { errs[i] = w.run(ctx, pool, from, to) })
	}
	time.Sleep(time.Until(from))
	server, client := s.cpu(), ownCPU()
	time.Sleep(time.Until(to))
	r.ServerCores = (s.cpu() - server).Seconds() / o.duration.Seconds()
	r.ClientCores = (ownCPU() - client).Seconds() / o.duration.Seconds()
	working.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	sum := newHistogram()
	for _, w := range writers {
		sum.Merge(w.latency)
		r.Acknowledged += int64(len(w.written))
	}
	r.Seconds, r.Operations = o.duration.Seconds(), sum.TotalCount()
	r.PerSecond = float64(r.Operations) / r.Seconds
	at := func(q float64) float64 { return float64(sum.ValueAtQuantile(q)) / 1000 }
	r.Latency = map[string]float64{"p50": at(50), "p95": at(95), "p99": at(99), "p99_9": at(99.9), "max": float64(sum.Max()) / 1000}
	return nil
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
}
