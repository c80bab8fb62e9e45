package child

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process names a process for who may find it later. Pid alone does not, for pids are used again.
type Process struct {
	Pid        int    `json:"pid"`
	StartTicks uint64 `json:"start_ticks"` // field 22 of /proc/<pid>/stat
	Exe        string `json:"exe"`         // target of /proc/<pid>/exe
	BootID     string `json:"boot_id"`
}

// Identify names a process that was just started.
func Identify(pid int) Process {
	p := Process{Pid: pid, BootID: bootID()}
	// A process that is gone already leaves these empty, and matches nothing later.
	p.StartTicks, _ = startTicks(pid)
	p.Exe, _ = os.Readlink(procPath(pid, "exe"))
	return p
}

// Kill kills the process and its group if it is still there, waits until it is gone, and tells whether it was there.
func (p Process) Kill() (bool, error) {
	if p.Pid <= 1 || p.BootID != bootID() {
		return false, nil
	}
	fd, err := unix.PidfdOpen(p.Pid, 0) // from here on the pid cannot come to mean another process unnoticed
	if errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open process %d: %w", p.Pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if !p.same() {
		return false, nil
	}
	_ = unix.Kill(-p.Pid, unix.SIGKILL) // it leads its group
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return true, fmt.Errorf("kill process %d: %w", p.Pid, err)
	}
	return true, waitGone(fd, p.Pid)
}

// waitGone waits at most 10 s; a process that the kernel cannot end holds its device and memory.
func waitGone(fd, pid int) error {
	deadline := time.Now().Add(10 * time.Second)
	for left := time.Until(deadline); left > 0; left = time.Until(deadline) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
	}
	return fmt.Errorf("process %d of a former agent does not end: it hangs in the kernel; restart the machine", pid)
}

func (p Process) same() bool {
	ticks, err := startTicks(p.Pid)
	if err != nil || ticks != p.StartTicks {
		return false
	}
	exe, err := os.Readlink(procPath(p.Pid, "exe"))
	return err == nil && strings.TrimSuffix(exe, " (deleted)") == strings.TrimSuffix(p.Exe, " (deleted)")
}

func procPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// startTicks is when a process started, in clock ticks since boot.
func startTicks(pid int) (uint64, error) {
	b, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return 0, err
	}
	return parseStartTicks(string(b))
}

// parseStartTicks reads field 22 of /proc/<pid>/stat. The second field, the name, may hold anything but ends at the
// last closing bracket.
func parseStartTicks(stat string) (uint64, error) {
	i := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[i+1:])
	const field = 22 - 3 // the state, field 3, comes first
	if i < 0 || len(fields) <= field {
		return 0, fmt.Errorf("read /proc stat: %d fields", len(fields))
	}
	n, err := strconv.ParseUint(fields[field], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read /proc stat: %w", err)
	}
	return n, nil
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
