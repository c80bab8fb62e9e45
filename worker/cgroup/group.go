package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Group is the cgroup of one child. Make it with Tree.Make.
type Group struct {
	dir string
	fd  int
}

// Enter makes a process start in the group.
func (g *Group) Enter(attributes *syscall.SysProcAttr) {
	attributes.UseCgroupFD, attributes.CgroupFD = true, g.fd
}

// Toll is what limits cost a group.
type Toll struct {
	Killed bool // the kernel killed it when memory ran out
	Own    bool // and that was the group's own limit, not that of the machine or a cgroup above
}

// End kills what is left in the group, waits until it is gone, and removes the group. It says what became of it even if that fails.
func (g *Group) End() (Toll, error) {
	_ = unix.Close(g.fd)
	err := write(g.dir, fileKill, "1")
	if err == nil {
		err = g.empty()
	}
	b, readErr := os.ReadFile(filepath.Join(g.dir, fileTolls))
	if err = errors.Join(err, readErr, unix.Rmdir(g.dir)); err != nil {
		err = fmt.Errorf("remove the cgroup %s: %w", g.dir, err)
	}
	return tollOf(string(b)), err
}

// tollOf reads memory.events.
func tollOf(events string) Toll {
	return Toll{Killed: count(events, "oom_kill") > 0, Own: count(events, "oom") > 0}
}

// count is the value of a key in a file of the kernel's that has a key and a number in each line.
func count(text, key string) int64 {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}

// patience is how long the kernel may take to end what was killed.
const patience = 10 * time.Second

// empty waits until nothing is in the group. The kernel says when that changes.
func (g *Group) empty() error {
	fd, err := unix.Open(filepath.Join(g.dir, fileEvents), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 256)
	for end := time.Now().Add(patience); ; {
		n, err := unix.Pread(fd, buf, 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if err == nil && count(string(buf[:n]), "populated") == 0 {
			return nil
		}
		left := time.Until(end)
		if left <= 0 {
			return errors.New("a process in it does not end: it hangs in the kernel")
		}
		changes := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		if _, err := unix.Poll(changes, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
