package sandbox

import (
	"os"
	"slices"
	"strconv"
	"strings"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/cgroup"
)

// Features are the means that a node has to confine engines.
type Features struct {
	User     bool // engines run as another user than the agent
	Landlock int  // version of its interface; 0: none
	Seccomp  bool // filters of system calls
	Memory   bool // a cgroup for each engine
}

// Versions of Landlock's interface that brought something.
const (
	landlockFiles = 3 // with truncation
	landlockPorts = 4
	landlockScope = 6
)

// parts lists what can be had, and whether f has it.
func (f Features) parts() map[tandemv1.SandboxPart]bool {
	return map[tandemv1.SandboxPart]bool{
		tandemv1.SandboxPart_SANDBOX_PART_USER:    f.User,
		tandemv1.SandboxPart_SANDBOX_PART_FILES:   f.Landlock >= landlockFiles,
		tandemv1.SandboxPart_SANDBOX_PART_PORTS:   f.Landlock >= landlockPorts,
		tandemv1.SandboxPart_SANDBOX_PART_SIGNALS: f.Landlock >= landlockScope,
		tandemv1.SandboxPart_SANDBOX_PART_CALLS:   f.Seccomp,
		tandemv1.SandboxPart_SANDBOX_PART_MEMORY:  f.Memory,
	}
}

// Has lists the parts of the sandbox that are in force.
func (f Features) Has() []tandemv1.SandboxPart { return f.list(true) }

// Lacks lists those that are missing.
func (f Features) Lacks() []tandemv1.SandboxPart { return f.list(false) }

func (f Features) list(has bool) (list []tandemv1.SandboxPart) {
	for part, here := range f.parts() {
		if here == has {
			list = append(list, part)
		}
	}
	slices.Sort(list)
	return list
}

// Without takes parts away that the operator does not want.
func (f Features) Without(parts []tandemv1.SandboxPart) Features {
	for _, part := range parts {
		switch part {
		case tandemv1.SandboxPart_SANDBOX_PART_USER:
			f.User = false
		case tandemv1.SandboxPart_SANDBOX_PART_FILES:
			f.Landlock = 0
		case tandemv1.SandboxPart_SANDBOX_PART_PORTS:
			f.Landlock = min(f.Landlock, landlockPorts-1)
		case tandemv1.SandboxPart_SANDBOX_PART_SIGNALS:
			f.Landlock = min(f.Landlock, landlockScope-1)
		case tandemv1.SandboxPart_SANDBOX_PART_CALLS:
			f.Seccomp = false
		case tandemv1.SandboxPart_SANDBOX_PART_MEMORY:
			f.Memory = false
		}
	}
	return f
}

// Detect finds out what this kernel and this process's user can do.
func Detect() Features {
	version, err := ll.LandlockGetABIVersion()
	if err != nil || version < landlockFiles { // a file that may be truncated is not safe
		version = 0
	}
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, err = cgroup.Find()
	return Features{User: mayChangeUser(), Landlock: version, Seccomp: seccompHas(&action), Memory: err == nil}
}

// mayChangeUser tells whether this process may start others as another user and give them a folder.
func mayChangeUser() bool {
	status, err := ReadStatus(os.Getpid())
	if err != nil {
		return false
	}
	const needed = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_CHOWN | 1<<unix.CAP_KILL
	return status.Capabilities&needed == needed
}

// Status is what /proc says of how a process is confined.
type Status struct {
	User         int
	Capabilities uint64 // effective
	Permitted    uint64
	NoNewPrivs   bool
	Seccomp      bool // a filter is in force
	// Memory is how many bytes its cgroup may have; 0: any number. Policy.Check reads it where there is a limit.
	Memory int64
}

// ReadStatus reads the status of a process.
func ReadStatus(pid int) (Status, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return Status{}, err
	}
	return parseStatus(string(b)), nil
}

func parseStatus(text string) (s Status) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		switch name {
		case "Uid":
			s.User, _ = strconv.Atoi(fields[0])
		case "CapEff":
			s.Capabilities, _ = strconv.ParseUint(fields[0], 16, 64)
		case "CapPrm":
			s.Permitted, _ = strconv.ParseUint(fields[0], 16, 64)
		case "NoNewPrivs":
			s.NoNewPrivs = fields[0] == "1"
		case "Seccomp":
			s.Seccomp = fields[0] == "2"
		}
	}
	return s
}
