package seal

import (
	"errors"
	"fmt"
	"os"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// ErrSeal means that the process could not give up its system calls.
var ErrSeal = errors.New("cannot give up system calls")

// Options of Close.
type Options struct {
	// Devices: the process computes on CUDA devices, whose libraries talk over unix sockets.
	Devices bool
	// Unfiltered: the kernel has no filters of system calls, so that all stay; the limits are set all the same.
	Unfiltered bool
	// Limits of the process. 0: as they are. None of them can be raised again.
	Memory  int64 // bytes of private memory
	Threads int64 // processes and threads of its user
	Files   int64 // descriptors
}

// Close gives the calls up, in all threads of the process. It cannot be undone.
func Close(o Options) error {
	if err := o.limit(); err != nil {
		return fmt.Errorf("%w: %w", ErrSeal, err)
	}
	if o.Unfiltered {
		return nil
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSeal, err)
	}
	known := func(name string) bool {
		_, ok := info.SyscallNames[name]
		return ok
	}
	for _, p := range policies(o, os.Getpid(), known) {
		if err := seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: p}); err != nil {
			return fmt.Errorf("%w: %w", ErrSeal, err)
		}
	}
	return nil
}

// limit lowers the limits of the process, and lets it leave no core dump.
func (o Options) limit() error {
	for _, l := range []struct {
		name  string
		what  int
		value int64
		unset bool
	}{
		{"core dumps", unix.RLIMIT_CORE, 0, false},
		{"memory", unix.RLIMIT_DATA, o.Memory, o.Memory == 0},
		{"threads", unix.RLIMIT_NPROC, o.Threads, o.Threads == 0},
		{"files", unix.RLIMIT_NOFILE, o.Files, o.Files == 0},
	} {
		if l.unset {
			continue
		}
		var old unix.Rlimit
		if err := unix.Prlimit(0, l.what, nil, &old); err != nil {
			return fmt.Errorf("read the limit of %s: %w", l.name, err)
		}
		n := min(uint64(l.value), old.Max)
		if err := unix.Prlimit(0, l.what, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil {
			return fmt.Errorf("limit %s to %d: %w", l.name, n, err)
		}
	}
	return nil
}

// policies are the filters of a process, each of which must allow a call; the last one takes away the right to load more. known tells which
// calls the architecture has.
//
// Each limited call has a filter of its own: the library compares the number of a call once more after it has loaded an argument over
// it, so that in one filter the argument of a call could be taken for the number of another.
func policies(o Options, pid int, known func(string) bool) []seccomp.Policy {
	missing := func(name string) bool { return !known(name) }
	open := slices.Clone(allowed)
	if o.Devices {
		open = append(open, onDevices...)
	}
	var list []seccomp.Policy
	for _, c := range limited(o, pid) {
		if known(c.Name) {
			open = append(open, c.Name)
			list = append(list, seccomp.Policy{
				DefaultAction: seccomp.ActionAllow,
				Syscalls:      []seccomp.SyscallGroup{{Action: seccomp.ActionErrno, NamesWithCondtions: []seccomp.NameWithConditions{c}}},
			})
		}
	}
	slices.Sort(open)
	open = slices.Compact(open)
	return append(list, seccomp.Policy{
		DefaultAction: seccomp.ActionErrno, // EPERM; for the calls of other architectures too
		Syscalls: []seccomp.SyscallGroup{
			{Action: seccomp.ActionAllow, Names: slices.DeleteFunc(open, missing)},
			{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: slices.DeleteFunc(slices.Clone(absent), missing)},
		},
	})
}

// limited are calls that are allowed with some arguments only, with the conditions, all of them, under which they fail.
func limited(o Options, pid int) []seccomp.NameWithConditions {
	refuse := func(name string, when ...seccomp.Condition) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: when}
	}
	not := func(argument uint32, value int) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.NotEqual, Value: uint64(value)}
	}
	is := func(argument uint32, value int) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.Equal, Value: uint64(value)}
	}
	families := []seccomp.Condition{not(0, unix.AF_INET), not(0, unix.AF_INET6), not(0, unix.AF_NETLINK)}
	if o.Devices {
		families = append(families, not(0, unix.AF_UNIX))
	}
	return []seccomp.NameWithConditions{
		refuse("clone", seccomp.Condition{Argument: 0, Operation: seccomp.BitsNotSet, Value: unix.CLONE_THREAD}), // no thread but a process
		refuse("tgkill", not(0, pid)),
		refuse("kill", not(0, pid), not(1, 0)), // 0: whether a process is there
		refuse("rt_sigqueueinfo", not(0, pid)),
		refuse("rt_tgsigqueueinfo", not(0, pid)),
		refuse("prlimit64", not(0, pid), not(0, 0)),
		refuse("prctl", is(0, unix.PR_SET_PDEATHSIG)), // it ends with its agent
		refuse("socket", families...),
		refuse("socket", not(0, unix.AF_NETLINK), not(2, 0), not(2, unix.IPPROTO_TCP), not(2, unix.IPPROTO_UDP)), // Landlock knows no MPTCP
		refuse("socket", is(0, unix.AF_NETLINK), not(2, unix.NETLINK_ROUTE)),                                     // which lists addresses
	}
}
