package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

var errAbsent = errors.New("PostgreSQL is not installed: apt-get install postgresql")

const (
	startTimeout = 30 * time.Second
	// spareConnections are those that the default setting of PostgreSQL leaves for others.
	spareConnections = 20
)

// A server is a PostgreSQL of our own.
type server struct {
	folder  string
	command *exec.Cmd
	log     bytes.Buffer
}

// account is who PostgreSQL runs as: it refuses to be root.
type account struct {
	name     string
	uid, gid int
}

func currentAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return account{}, fmt.Errorf("who should PostgreSQL run as: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return account{name: u.Username, uid: uid, gid: gid}, errors.Join(err, err2)
}

// as makes a command run as the account.
func (a account) as(cmd *exec.Cmd) *exec.Cmd {
	if a.name != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}}
	}
	return cmd
}

// programs is the folder with initdb and postgres: on the path, else where Debian puts them.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.Join(errAbsent, err)
	}
	return filepath.Dir(slices.Max(found)), nil
}

// start makes a database cluster and starts it, on a socket in its own folder.
func start(ctx context.Context, o options) (_ *server, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	who, err := currentAccount()
	if err != nil {
		return nil, err
	}
	s := &server{}
	if s.folder, err = os.MkdirTemp(o.parent, "pgbench-"); err != nil {
		return nil, err
	}
	if s.folder, err = filepath.Abs(s.folder); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.folder))
		}
	}()
	if who.name != "" {
		if err := os.Chown(s.folder, who.uid, who.gid); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(s.folder, "data")
	init := who.as(exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "bench", "--auth=trust", "--encoding=UTF8"))
	init.Dir = s.folder
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	s.command = who.as(exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", s.folder, "-c", "listen_addresses=",
		"-c", "max_connections="+strconv.Itoa(max(100, o.clients+spareConnections))))
	s.command.Dir, s.command.Stdout, s.command.Stderr = s.folder, &s.log, &s.log
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return s, nil
}

// connect waits until the server answers, and opens the connections.
func (s *server) connect(ctx context.Context, connections int) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(fmt.Sprintf("host=%s user=bench dbname=postgres pool_max_conns=%d", s.folder, connections))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	for {
		if err = pool.Ping(ctx); err == nil {
			return pool, nil
		}
		select {
		case <-ctx.Done():
			pool.Close()
			return nil, fmt.Errorf("postgres does not answer: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stop ends the server and removes its folder.
func (s *server) stop() error {
	err := s.command.Process.Signal(syscall.SIGINT) // a fast shutdown
	if wait := s.command.Wait(); wait != nil {
		err = errors.Join(err, fmt.Errorf("postgres: %w: %s", wait, s.log.String()))
	}
	return errors.Join(err, os.RemoveAll(s.folder))
}

// cpu is processor time of the server and all its processes, as far as they live.
func (s *server) cpu() time.Duration {
	postmaster := s.command.Process.Pid
	sum := cpuOf(postmaster, -1)
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range all {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			sum += cpuOf(pid, postmaster)
		}
	}
	return sum
}

func ownCPU() time.Duration { return cpuOf(os.Getpid(), -1) }

// cpuOf is the processor time of a process, if it is a child of the parent; -1: whoever that is.
func cpuOf(pid, parent int) time.Duration {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 || parent >= 0 && fields[1] != strconv.Itoa(parent) {
		return 0
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err != nil || err2 != nil {
		return 0
	}
	const ticksPerSecond = 100
	return time.Duration(user+system) * (time.Second / ticksPerSecond)
}
