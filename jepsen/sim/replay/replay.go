// Package replay runs simulated clusters so that a seed gives the same run again, bit for bit.
//
// It compiles the tests of package sim for wasip1 and runs them on wazero, one goroutine at a time, with a clock that counts and a source of
// chance that the seed decides: then the order in which goroutines take turns, in which maps are walked and channels are chosen is decided,
// too. It promises that a seed with the same program ends in the same trace. It refuses to know what is simulated.
package replay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// simulated is the package whose tests are run.
const simulated = "github.com/globalbusinessadvisors/llm-memory-graph/jepsen/sim"

// Build compiles the program into a file.
func Build(ctx context.Context, file string) error {
	build := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags", "-s -w", "-o", file, simulated)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the simulation for wasip1: %w\n%s", err, said)
	}
	return nil
}

// Program is a simulation that can be run again and again.
type Program struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
}

// Load reads the file that Build has made. Machine code is kept in the folder cache; with none it is made each time.
func Load(ctx context.Context, file, cache string) (*Program, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	config := wazero.NewRuntimeConfig()
	if cache != "" {
		kept, err := wazero.NewCompilationCacheWithDir(cache)
		if err != nil {
			return nil, fmt.Errorf("cache of machine code: %w", err)
		}
		config = config.WithCompilationCache(kept)
	}
	p := &Program{runtime: wazero.NewRuntimeWithConfig(ctx, config)}
	if _, err = wasi_snapshot_preview1.Instantiate(ctx, p.runtime); err == nil {
		p.module, err = p.runtime.CompileModule(ctx, text)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load the simulation: %w", err), p.Close(ctx))
	}
	return p, nil
}

// Close frees the program.
func (p *Program) Close(ctx context.Context) error { return p.runtime.Close(ctx) }

// The clock begins here, in Unix nanoseconds, and goes on by so much whenever it is read.
const (
	beginning = 1_700_000_000_000_000_000
	tick      = 1000
)

// Run runs a test of the program with a seed for everything that is chance, variables of the environment as name and value, and its output
// going to out. A test that fails is an error.
func (p *Program) Run(ctx context.Context, seed uint64, test string, environment [][2]string, out io.Writer) error {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	now := int64(beginning)
	read := func() int64 {
		now += tick
		return now
	}
	config := wazero.NewModuleConfig().WithName("").WithStdout(out).WithStderr(out).
		WithRandSource(rand.NewChaCha8(key)).
		WithWalltime(func() (int64, int32) {
			t := read()
			return t / 1e9, int32(t % 1e9)
		}, sys.ClockResolution(1)).
		WithNanotime(read, sys.ClockResolution(1)).
		WithNanosleep(func(ns int64) { now += max(ns, 0) }).
		WithArgs("sim", "-test.run", "^"+test+"$", "-test.v", "-test.timeout", "0")
	for _, variable := range environment {
		config = config.WithEnv(variable[0], variable[1])
	}
	m, err := p.runtime.InstantiateModule(ctx, p.module, config)
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 {
		err = nil
	}
	if m != nil {
		err = errors.Join(err, m.Close(ctx))
	}
	if err != nil {
		return fmt.Errorf("seed %d: %w", seed, err)
	}
	return nil
}
