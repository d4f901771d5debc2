package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// A Meter tells what a process has used so far.
type Meter interface {
	// Usage may fail where there is no way to know.
	Usage() (Usage, error)
}

// Usage is what a process has used.
type Usage struct {
	// CPU is processor time of all its threads.
	CPU time.Duration
	// RSS is the memory that it has in use now, bytes; 0 when unknown.
	RSS int64
}

// Process is the meter of a process of this machine, by its id. It knows Linux alone.
type Process int

// Processes are the meter of several: their sum.
type Processes []Process

// Usage is what all have used together.
func (p Processes) Usage() (sum Usage, err error) {
	for _, one := range p {
		u, err := one.Usage()
		if err != nil {
			return Usage{}, err
		}
		sum.CPU += u.CPU
		sum.RSS += u.RSS
	}
	return sum, nil
}

// ticksPerSecond is the unit of CPU time in /proc: USER_HZ, 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// Usage reads /proc.
func (p Process) Usage() (Usage, error) {
	folder := "/proc/" + strconv.Itoa(int(p))
	stat, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return Usage{}, err
	}
	// The name of the program, in parentheses, may hold blanks.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return Usage{}, fmt.Errorf("%s/stat has %d fields", folder, len(fields))
	}
	user, err := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	status, err3 := os.ReadFile(folder + "/status")
	if err := errors.Join(err, err2, err3); err != nil {
		return Usage{}, err
	}
	return Usage{
		CPU: time.Duration(user+system) * (time.Second / ticksPerSecond),
		RSS: kilobytes(status, "VmRSS:"),
	}, nil
}

// kilobytes is the value of a line of /proc/…/status, in bytes.
func kilobytes(status []byte, name string) int64 {
	_, rest, found := bytes.Cut(status, []byte("\n"+name))
	fields := bytes.Fields(rest)
	if !found || len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// A watch measures the processes of server and client while something is measured.
type watch struct {
	server, client Meter
	began          time.Time
	before         [2]Usage
	parts          []Usage
	most           int64
	over, done     chan struct{}
}

// lookEvery is how often memory is looked at.
const lookEvery = 100 * time.Millisecond

// watch begins to watch.
func (b *bench) watch() *watch {
	w := &watch{server: b.Server, client: Process(os.Getpid()), began: time.Now(), over: make(chan struct{}), done: make(chan struct{})}
	w.before = [2]Usage{usage(w.server), usage(w.client)}
	w.most = w.before[0].RSS
	w.parts = partsOf(w.server)
	go w.look()
	return w
}

func (w *watch) look() {
	defer close(w.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.most = max(w.most, usage(w.server).RSS)
		case <-w.over:
			return
		}
	}
}

// stop ends it and tells what it saw.
func (w *watch) stop(r *Result) {
	server, client, parts := usage(w.server), usage(w.client), partsOf(w.server)
	r.Seconds = time.Since(w.began).Seconds()
	close(w.over)
	<-w.done
	r.ServerCores = (server.CPU - w.before[0].CPU).Seconds() / r.Seconds
	r.NodeCores = nil
	for i, u := range parts {
		r.NodeCores = append(r.NodeCores, (u.CPU-w.parts[i].CPU).Seconds()/r.Seconds)
	}
	r.ClientCores = (client.CPU - w.before[1].CPU).Seconds() / r.Seconds
	r.ServerRSS = max(w.most, server.RSS)
	r.ServerGrowth = r.ServerRSS - w.before[0].RSS
}

// partsOf is what each of several processes has used; none when the meter is of one.
func partsOf(m Meter) (parts []Usage) {
	all, _ := m.(Processes)
	for _, p := range all {
		parts = append(parts, usage(p))
	}
	return parts
}

// usage is what a meter knows; nothing when it knows nothing.
func usage(m Meter) Usage {
	if m == nil {
		return Usage{}
	}
	u, err := m.Usage()
	if err != nil {
		return Usage{}
	}
	return u
}
