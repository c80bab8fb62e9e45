package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNone means that this process has no cgroup that it may divide.
var ErrNone = errors.New("no cgroup to divide")

// Files of a cgroup.
const (
	fileType        = "cgroup.type"
	fileControllers = "cgroup.controllers"
	fileControl     = "cgroup.subtree_control"
	fileProcesses   = "cgroup.procs"
	fileKill        = "cgroup.kill"
	fileEvents      = "cgroup.events"
	fileMemory      = "memory.max"
	fileTolls       = "memory.events"
)

// mounts are where the hierarchy is: alone, or beside those of version 1.
var mounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// needed are the controllers that bound what engines take.
var needed = []string{"memory", "pids"}

// Find returns the folder of the cgroup of this process if it may be divided. If not, the error says why.
func Find() (string, error) {
	dir, err := of("self")
	if err != nil {
		return "", err
	}
	if err := fit(os.DirFS(dir), os.Getpid()); err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrNone, dir, err)
	}
	for _, name := range []string{".", fileProcesses, fileControl} {
		if err := unix.Access(filepath.Join(dir, name), unix.W_OK); err != nil {
			return "", fmt.Errorf("%w: write to %s: %w", ErrNone, filepath.Join(dir, name), err)
		}
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); errno == unix.ENOSYS { // else it misses its arguments
		return "", fmt.Errorf("%w: clone3, which starts a process in another cgroup, is not allowed here", ErrNone)
	}
	return dir, nil
}

// of is the folder of the cgroup of a process.
func of(pid string) (string, error) {
	b, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNone, err)
	}
	path, ok := parsePath(string(b))
	if !ok {
		return "", fmt.Errorf("%w: the kernel has no cgroups of version 2, or they are not visible here", ErrNone)
	}
	for _, mount := range mounts {
		var s unix.Statfs_t
		if unix.Statfs(mount, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC {
			return filepath.Join(mount, path), nil
		}
	}
	return "", fmt.Errorf("%w: cgroups of version 2 are not mounted at %s", ErrNone, strings.Join(mounts, " or "))
}

// parsePath finds the path of version 2 in /proc/<pid>/cgroup. One that is outside of the namespace has none.
func parsePath(text string) (string, bool) {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path, strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/..")
		}
	}
	return "", false
}

// fit says why a cgroup cannot be divided by a process; nil: it can, if the process may write there.
func fit(group fs.FS, pid int) error {
	read := func(name string) []string {
		b, _ := fs.ReadFile(group, name) // what cannot be read lacks everything
		return strings.Fields(string(b))
	}
	kind := strings.Join(read(fileType), " ")
	controllers, processes := read(fileControllers), read(fileProcesses)
	switch {
	case kind == "":
		return errors.New("it is the root of all cgroups, which is not divided, or is not visible here")
	case kind != "domain":
		return fmt.Errorf("its type is %q, and not \"domain\"", kind)
	case !slices.Equal(processes, []string{strconv.Itoa(pid)}):
		return fmt.Errorf("other processes are in it too (%d in all)", len(processes))
	}
	for _, name := range needed {
		if !slices.Contains(controllers, name) {
			return fmt.Errorf("it has no controller %q", name)
		}
	}
	if _, err := fs.Stat(group, fileKill); err != nil {
		return errors.New("the kernel is older than Linux 5.14")
	}
	return nil
}

// MemoryOf is how many bytes of memory the cgroup of a process may have; 0: any number.
func MemoryOf(pid int) (int64, error) {
	dir, err := of(strconv.Itoa(pid))
	if err != nil {
		return 0, err
	}
	b, err := os.ReadFile(filepath.Join(dir, fileMemory))
	if err != nil {
		return 0, fmt.Errorf("read the limit of process %d: %w", pid, err)
	}
	text := strings.TrimSpace(string(b))
	if text == "max" {
		return 0, nil
	}
	return strconv.ParseInt(text, 10, 64)
}
