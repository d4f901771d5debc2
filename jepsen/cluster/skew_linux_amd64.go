//go:build linux && amd64

package cluster

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// clock is the wall clock of one process, which can be set apart from that of the machine.
//
// Programs read the time in the vDSO, code of the kernel's in their own memory. Before the first instruction of the program
// runs, its clock_gettime is written over with one that asks the kernel and adds an offset to the wall clock. The monotonic
// clock stays as it is.
type clock struct {
	mem *os.File
	// offset is where the seconds and the nanoseconds are that are added, 16 bytes.
	offset int64
}

const (
	symbolClock = "__vdso_clock_gettime"
	// Where in the code the length of the jump to its end, and the distances to seconds and nanoseconds, are filled in.
	jumpAt, secondsAt, nanosecondsAt = 10, 14, 24
)

// clockCode is the function; data follows it.
func clockCode() []byte {
	return []byte{
		0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228: clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi: is it the wall clock?
		0x75, 0x00, // jnz done
		0x48, 0x8b, 0x0d, 0, 0, 0, 0, // mov rcx, [rip+seconds]
		0x48, 0x01, 0x0e, // add [rsi], rcx
		0x48, 0x8b, 0x0d, 0, 0, 0, 0, // mov rcx, [rip+nanoseconds]
		0x48, 0x03, 0x4e, 0x08, // add rcx, [rsi+8]
		0x48, 0x81, 0xf9, 0x00, 0xca, 0x9a, 0x3b, // cmp rcx, 1e9
		0x7c, 0x0a, // jl store
		0x48, 0x81, 0xe9, 0x00, 0xca, 0x9a, 0x3b, // sub rcx, 1e9
		0x48, 0xff, 0x06, // inc qword [rsi]
		0x48, 0x89, 0x4e, 0x08, // store: mov [rsi+8], rcx
		0xc3, // done: ret
	}
}

// startSkewed starts a process, on this very thread, with a clock that can be set.
func startSkewed(cmd *exec.Cmd, start func() error) (*clock, error) {
	runtime.LockOSThread() // only the thread that started it may trace it
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr.Ptrace = true
	if err := start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	made, err := replaceClock(pid)
	if err != nil {
		_, _ = cmd.Process.Kill(), cmd.Wait() // the error says enough
		return nil, fmt.Errorf("%w: %w", ErrNoSkew, err)
	}
	return made, nil
}

func replaceClock(pid int) (*clock, error) {
	var state syscall.WaitStatus
	for { // it stops at its first instruction
		_, err := syscall.Wait4(pid, &state, 0, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EINTR) {
			return nil, fmt.Errorf("wait for the first instruction: %w", err)
		}
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	at, err := findClock(pid, mem)
	if err != nil {
		return nil, errors.Join(err, mem.Close())
	}
	code := clockCode()
	end := at + int64(len(code))
	data := (end + 15) &^ 7
	code[jumpAt] = byte(len(code) - 1 - (jumpAt + 1))
	binary.LittleEndian.PutUint32(code[secondsAt:], uint32(data-(at+secondsAt+4)))
	binary.LittleEndian.PutUint32(code[nanosecondsAt:], uint32(data+8-(at+nanosecondsAt+4)))
	if _, err := mem.WriteAt(append(code, make([]byte, data+16-end)...), at); err != nil {
		return nil, errors.Join(fmt.Errorf("write over the clock: %w", err), mem.Close())
	}
	if err := syscall.PtraceDetach(pid); err != nil {
		return nil, errors.Join(fmt.Errorf("let it run: %w", err), mem.Close())
	}
	return &clock{mem: mem, offset: data}, nil
}

// findClock is the address of the function in a process.
func findClock(pid int, mem *os.File) (int64, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	var low, high int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &low, &high); err != nil {
				return 0, fmt.Errorf("map of the memory, %q: %w", line, err)
			}
		}
	}
	if low == 0 {
		return 0, errors.New("the process has no vDSO")
	}
	image := make([]byte, high-low)
	if _, err := mem.ReadAt(image, low); err != nil {
		return 0, fmt.Errorf("read the vDSO: %w", err)
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, fmt.Errorf("read the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, fmt.Errorf("read the vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name == symbolClock {
			return low + int64(s.Value), nil
		}
	}
	return 0, fmt.Errorf("the vDSO has no %s", symbolClock)
}

// set puts the clock so far ahead of the machine's, or behind it when negative.
func (c *clock) set(ahead time.Duration) error {
	seconds := int64(ahead / time.Second)
	nanoseconds := int64(ahead % time.Second)
	if nanoseconds < 0 {
		seconds, nanoseconds = seconds-1, nanoseconds+int64(time.Second)
	}
	var data [16]byte
	binary.LittleEndian.PutUint64(data[:], uint64(seconds))
	binary.LittleEndian.PutUint64(data[8:], uint64(nanoseconds))
	if _, err := c.mem.WriteAt(data[:], c.offset); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

func (c *clock) close() error { return c.mem.Close() }
