package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// journal keeps a file for each task whose process was started, until the coordinator no longer wants the task. The
// next agent on this node reads it: to kill what is still there, and to know which tasks have had their process.
type journal struct {
	dir string
}

// entry is one file of the journal. Pid alone does not name a process, for pids are used again.
type entry struct {
	ID         string `json:"id"`
	Generation int64  `json:"generation"`
	Replica    bool   `json:"replica"`
	Pid        int    `json:"pid"`
	StartTicks uint64 `json:"start_ticks"` // field 22 of /proc/<pid>/stat
	Exe        string `json:"exe"`         // target of /proc/<pid>/exe
	BootID     string `json:"boot_id"`
}

func (e entry) key() taskKey { return taskKey{e.ID, e.Generation} }

// record notes a process that was just started.
func (j journal) record(key taskKey, replica bool, pid int) error {
	e := entry{ID: key.id, Generation: key.generation, Replica: replica, Pid: pid, BootID: bootID()}
	// A process that is gone already leaves these empty, and matches nothing later.
	e.StartTicks, _ = startTicks(pid)
	e.Exe, _ = os.Readlink(procPath(pid, "exe"))
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode journal entry: %w", err)
	}
	path := filepath.Join(j.dir, fileName(key)+".json")
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// forget removes a task that is no longer wanted.
func (j journal) forget(key taskKey) error {
	err := os.Remove(filepath.Join(j.dir, fileName(key)+".json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("trim journal: %w", err)
	}
	return nil
}

// read returns all entries. A file that cannot be read is of no use and goes.
func (j journal) read() ([]entry, error) {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make journal folder: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(j.dir, "*"))
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var entries []entry
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		e, ok := parseEntry(b)
		if !ok {
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("trim journal: %w", err)
			}
			continue
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// parseEntry reads one file; false when it names no task.
func parseEntry(b []byte) (entry, bool) {
	var e entry
	err := json.Unmarshal(b, &e)
	return e, err == nil && e.ID != ""
}

// killLeftover kills the process of an entry and its group if it is still there, waits until it is gone, and tells
// whether it was there.
func killLeftover(e entry) (bool, error) {
	if e.Pid <= 1 || e.BootID != bootID() {
		return false, nil
	}
	fd, err := unix.PidfdOpen(e.Pid, 0) // from here on the pid cannot come to mean another process unnoticed
	if errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open process %d: %w", e.Pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if !sameProcess(e) {
		return false, nil
	}
	_ = unix.Kill(-e.Pid, unix.SIGKILL) // it leads its group
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return true, fmt.Errorf("kill process %d: %w", e.Pid, err)
	}
	return true, waitGone(fd, e.Pid)
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
	return fmt.Errorf("engine process %d of a former agent does not end: it hangs in the kernel; restart the machine", pid)
}

func sameProcess(e entry) bool {
	ticks, err := startTicks(e.Pid)
	if err != nil || ticks != e.StartTicks {
		return false
	}
	exe, err := os.Readlink(procPath(e.Pid, "exe"))
	return err == nil && strings.TrimSuffix(exe, " (deleted)") == strings.TrimSuffix(e.Exe, " (deleted)")
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

// fileName turns a task's identity, made by the coordinator, into a name without folders.
func fileName(key taskKey) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, key.id)
	return clean + "-g" + strconv.FormatInt(key.generation, 10)
}
