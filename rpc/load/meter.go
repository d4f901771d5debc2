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
	// RSS is the memory that it has in use now, PeakRSS the most so far, bytes; 0 when unknown.
	RSS, PeakRSS int64
}

// Process is the meter of a process of this machine, by its id. It knows Linux alone.
type Process int

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
		RSS: kilobytes(status, "VmRSS:"), PeakRSS: kilobytes(status, "VmHWM:"),
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
