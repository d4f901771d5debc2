package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// cpuPeriod is in which a share of a processor is given, microseconds: short, so that a node that has used it up is not away for
// long.
const cpuPeriod = 20_000

// A share holds a process to a part of one processor by a cgroup of its own.
type share struct{ folder string }

// holdTo puts a process into a new cgroup, of version 1 or 2. Without the right to it, the error is errSkipped.
func holdTo(pid int, part float64, name string) (*share, error) {
	quota := int(part * cpuPeriod)
	for _, v := range []struct {
		root  string
		files [][2]string
	}{
		{"/sys/fs/cgroup/cpu", [][2]string{{"cpu.cfs_period_us", strconv.Itoa(cpuPeriod)}, {"cpu.cfs_quota_us", strconv.Itoa(quota)}}},
		{"/sys/fs/cgroup", [][2]string{{"cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod)}}},
	} {
		folder := filepath.Join(v.root, fmt.Sprintf("memory-graph-%s-%d", name, pid))
		if err := os.Mkdir(folder, 0o755); err != nil {
			continue
		}
		s := &share{folder}
		var errs []error
		for _, f := range append(v.files, [2]string{"cgroup.procs", strconv.Itoa(pid)}) {
			path := filepath.Join(folder, f[0])
			if _, err := os.Stat(path); err != nil { // a file system that takes any file is no cgroup
				errs = append(errs, err)
				break
			}
			errs = append(errs, os.WriteFile(path, []byte(f[1]), 0))
		}
		if err := errors.Join(errs...); err == nil {
			return s, nil
		}
		_ = s.end()
	}
	return nil, fmt.Errorf("no cgroup for a share of a processor (it takes root and the cpu controller): %w", errSkipped)
}

// end removes the cgroup, whose process has ended.
func (s *share) end() error { return os.Remove(s.folder) }
