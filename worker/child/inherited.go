package child

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// KeepInherited keeps the descriptors that this program was started with, but for input, output and errors, from the programs that it
// starts: a shell or a service manager may have left any file open, and what is open already no sandbox looks at. Call it before anything
// else is started. What is handed over on purpose (exec.Cmd.ExtraFiles) is not touched.
func KeepInherited() error {
	const first = 3
	err := unix.CloseRange(first, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	open, err := os.ReadDir("/proc/self/fd") // a kernel before 5.11
	if err != nil {
		return fmt.Errorf("find the open descriptors: %w", err)
	}
	for _, e := range open {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < first {
			continue
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil && !errors.Is(err, unix.EBADF) { // ReadDir's own is closed
			return fmt.Errorf("keep descriptor %d from children: %w", fd, err)
		}
	}
	return nil
}
