package sandbox

import (
	"path/filepath"
	"slices"

	"tandem.dev/worker/cgroup"
)

// Host is what is the same for all engines of a node.
type Host struct {
	Features  Features
	Program   string   // tandem-engine
	Libraries []string // folders of what it is linked to
	Read      []string // what the operator lets engines read besides
	Write     []string // and write
	Limits    Limits
}

// Need is what one engine needs.
type Need struct {
	Home  string // folder for its temporary files, absolute
	User  int    // user and group it runs as; Own: those of the agent
	CUDA  bool   // it computes on a device
	Group bool   // it may meet ranks on other hosts, whose ports the system chooses
}

// Own is the user of the agent.
const Own = -1

// Limits of one engine. 0: none.
type Limits struct {
	Memory  int64 // bytes
	Threads int64 // processes and threads of its user
	Files   int64 // descriptors
	Disk    int64 // bytes of its temporary files, which the agent measures (MeasureDisk)
}

// Policy is what one process may do. Whatever is not named it may not.
type Policy struct {
	Features Features
	Home     string // working folder, to read and write
	User     int    // or Own
	Read     []string
	Write    []string
	Execute  []string // files, to read too
	Devices  []string // files, to read, write and control
	AnyPort  bool     // it may connect to TCP ports, any of them, and listen on those that the system chooses
	Abstract bool     // it may use abstract unix sockets of others
	Limits   Limits   // that the process sets itself
	Cgroup   cgroup.Limits
}

// System files that an engine reads. Those of them that a machine has not are left out.
var (
	systemFolders = []string{
		"/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store",
		"/etc/alternatives", "/etc/ld.so.conf.d",
		"/sys", "/proc",
	}
	systemFiles = []string{
		"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/localtime", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/resolv.conf",
		"/run/systemd/resolve", "/run/resolvconf", // what resolv.conf is a link to
		"/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/services", "/etc/protocols",
		"/dev/zero", "/dev/random", "/dev/urandom",
	}
	sharedMemory = "/dev/shm" // NCCL's
	cudaDevices  = []string{
		"/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri/*", "/dev/infiniband/*",
	}
)

// interpreters are the programs that the kernel starts for a dynamically linked one.
var interpreters = []string{"/lib64/ld-linux-*.so.*", "/lib/ld-linux-*.so.*", "/lib/ld-musl-*.so.*"}

// Policy says what an engine may do. glob lists the files of a pattern.
func (h Host) Policy(n Need, glob func(pattern string) []string) Policy {
	all := func(patterns []string) (found []string) {
		for _, p := range patterns {
			found = append(found, glob(p)...)
		}
		return found
	}
	p := Policy{
		Features: h.Features, Home: n.Home, User: n.User, Limits: h.Limits,
		Read:    slices.Concat(systemFolders, systemFiles, h.Libraries, h.Read),
		Write:   slices.Concat([]string{n.Home, "/dev/null"}, h.Write),
		Execute: append([]string{h.Program}, all(interpreters)...),
		AnyPort: n.Group,
	}
	switch {
	case h.Features.Memory:
		// The kernel counts what the engine uses. Its own limits would count what it reserves, and what others of its user run.
		p.Cgroup = cgroup.Limits{Memory: h.Limits.Memory, Processes: h.Limits.Threads}
		p.Limits.Memory, p.Limits.Threads = 0, 0
	case n.User == Own:
		p.Limits.Threads = 0 // they are counted with all else that the user runs
	}
	if n.CUDA {
		p.Devices = all(cudaDevices)
		p.Write = append(p.Write, sharedMemory)
		p.Abstract = true // NCCL's proxies talk so
	}
	return p
}

// Glob lists the files of a pattern.
func Glob(pattern string) []string {
	found, _ := filepath.Glob(pattern) // the patterns are right
	return found
}
