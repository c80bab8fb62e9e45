package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"tandem.dev/worker/cgroup"
)

// firstToDie is how much sooner than others the kernel's out-of-memory killer takes an engine, of 1000: it must not take the agent.
const firstToDie = 500

// DieFirst makes a process one that the kernel kills before others when memory runs out. Its limits it sets itself (worker/seal), for an agent
// in a container may have no right to set those of another user.
func DieFirst(pid int) error {
	path := "/proc/" + strconv.Itoa(pid) + "/oom_score_adj"
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
		if now, err := strconv.Atoi(string(b[:len(b)-1])); err == nil && now >= firstToDie {
			return nil // the agent's own is that high
		}
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(firstToDie)), 0); err != nil {
		return fmt.Errorf("%w: %w", ErrConfine, err)
	}
	return nil
}

// Check says what of the policy does not hold for a process that is about to get its task; nil: all holds that /proc tells of.
func (p Policy) Check(pid int) error {
	s, err := ReadStatus(pid)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfine, err)
	}
	if p.Cgroup.Memory > 0 {
		if s.Memory, err = cgroup.MemoryOf(pid); err != nil {
			return fmt.Errorf("%w: %w", ErrConfine, err)
		}
	}
	return p.check(s)
}

func (p Policy) check(s Status) error {
	var wrong []error
	say := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	say(p.User != Own && s.User != p.User, "it runs as user %d and not as %d", s.User, p.User)
	say(s.Capabilities|s.Permitted != 0, "it has capabilities (%x)", s.Capabilities|s.Permitted)
	say(!s.NoNewPrivs, "it may get new privileges")
	say(p.Cgroup.Memory > 0 && (s.Memory == 0 || s.Memory > p.Cgroup.Memory), "its cgroup does not bound its memory")
	say(p.Features.Seccomp && !s.Seccomp, "it has no filter of system calls: is tandem-engine of the same version as tandem?")
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfine, errors.Join(wrong...))
}

// MachineMemory is how much memory this machine has, in bytes; 0: not known.
func MachineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}
