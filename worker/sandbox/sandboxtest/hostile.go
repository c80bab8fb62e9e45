package sandboxtest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Prey is what a hostile process is shown.
type Prey struct {
	Parent   int
	Secret   string   // a file that everybody may read
	Open     string   // one that everybody may write
	Folder   string   // where everybody may write
	Private  []string // those that only their owner may read
	Ports    []int    // that listen
	Abstract string   // a unix socket that listens
	Home     string   // its own folder, by its path
	// Descriptors is how many it may not have at a time.
	Descriptors int
}

// Try tries everything and lists what the process was able to do.
// unfiltered: its system calls are not filtered.
func Try(p Prey, unfiltered bool) []string {
	able := []string{}
	for _, a := range attempts(p) {
		if err := a.try(); err == nil {
			able = append(able, a.name)
		}
	}
	if unfiltered { // what of these gets beyond the kernel's first look depends on its version
		able = slices.DeleteFunc(able, func(name string) bool { return slices.Contains(varied, name) })
	}
	return able
}

// Harmless is what every engine may do, in the order of Try.
var Harmless = []string{"write at home", "read system libraries", "make threads"}

type attempt struct {
	name string
	try  func() error
}

func attempts(p Prey) []attempt {
	return slices.Concat(harmless(p), files(p), processes(p), network(p), calls(), limits(p))
}

func harmless(p Prey) []attempt {
	return []attempt{
		{"write at home", write(ownHome("x"), os.O_CREATE)},
		{"read system libraries", func() error { _, err := os.ReadDir("/usr/lib"); return err }},
		{"make threads", func() error {
			done := make(chan struct{})
			for range 8 {
				go func() { runtime.LockOSThread(); done <- struct{}{} }()
				<-done
			}
			return nil
		}},
	}
}

func files(p Prey) []attempt {
	proc := "/proc/" + strconv.Itoa(p.Parent)
	return []attempt{
		{"read a file of others", read(p.Secret)},
		{"read a private file", func() error {
			err := errors.New("none")
			for _, path := range p.Private {
				if _, err = os.ReadFile(path); err == nil {
					return nil
				}
			}
			return err
		}},
		{"overwrite", write(p.Open, 0)},
		{"truncate", func() error { return os.Truncate(p.Open, 0) }},
		{"make a file", write(filepath.Join(p.Folder, "new"), os.O_CREATE|os.O_EXCL)},
		{"list a folder", func() error { _, err := os.ReadDir(p.Folder); return err }},
		{"read an environment", read(proc + "/environ")},
		{"read memory", write(proc+"/mem", 0)},
	}
}

func processes(p Prey) []attempt {
	return []attempt{
		{"run a program", func() error { return exec.Command("/bin/true").Run() }},
		{"run its own file", func() error {
			if err := os.WriteFile(ownHome("run"), []byte("#!/bin/true\n"), 0o700); err != nil {
				return err
			}
			return exec.Command(ownHome("run")).Run()
		}},
		{"fork", call(unix.SYS_CLONE, uintptr(unix.SIGCHLD))},
		{"fork by another signal", call(unix.SYS_CLONE, uintptr(unix.SYS_KILL))}, // the number of a call that may have this argument
		{"signal another", func() error { return syscall.Kill(p.Parent, syscall.SIGURG) }},
		{"signal a thread of another", func() error { return unix.Tgkill(p.Parent, p.Parent, syscall.SIGURG) }},
		{"signal by descriptor", func() error {
			fd, err := unix.PidfdOpen(p.Parent, 0)
			if err != nil {
				return err
			}
			return unix.PidfdSendSignal(fd, syscall.SIGURG, nil, 0)
		}},
		{"outlive its agent", func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) }},
		{"leave its group", func() error { return syscall.Setpgid(0, p.Parent) }},
		{"trace", call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(p.Parent))},
		{"read by process_vm_readv", reaches(unix.SYS_PROCESS_VM_READV, uintptr(p.Parent), memory(), 1, memory(), 1)},
	}
}

func network(p Prey) []attempt {
	return []attempt{
		{"call a port", func() error {
			err := errors.New("none")
			for _, n := range p.Ports {
				if err = dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(n)))(); err == nil {
					return nil
				}
			}
			return err
		}},
		{"call a port by another protocol", func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
			if err != nil {
				return err
			}
			return unix.Connect(fd, &unix.SockaddrInet4{Port: p.Ports[0], Addr: [4]byte{127, 0, 0, 1}})
		}},
		{"listen", func() error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			return l.Close()
		}},
		{"abstract socket", dial("unix", "@"+p.Abstract)},
		{"raw socket", reaches(unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW)},
	}
}

// calls are system calls that computing has no use for.
func calls() []attempt {
	return []attempt{
		{"mount", reaches(unix.SYS_MOUNT)},
		{"namespaces", reaches(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)},
		{"setns", reaches(unix.SYS_SETNS, 0, 0)},
		{"keys", reaches(unix.SYS_KEYCTL)},
		{"add_key", reaches(unix.SYS_ADD_KEY)},
		{"bpf", reaches(unix.SYS_BPF)},
		{"io_uring", reaches(unix.SYS_IO_URING_SETUP, 1, memory())},
		{"perf", reaches(unix.SYS_PERF_EVENT_OPEN)},
		{"userfaultfd", reaches(unix.SYS_USERFAULTFD)},
		{"modules", reaches(unix.SYS_INIT_MODULE)},
		{"kexec", reaches(unix.SYS_KEXEC_LOAD)},
		{"handles", reaches(unix.SYS_OPEN_BY_HANDLE_AT)},
		{"chroot", reaches(unix.SYS_CHROOT)},
		{"fallocate", reaches(unix.SYS_FALLOCATE)},
		{"landlock", reaches(unix.SYS_LANDLOCK_CREATE_RULESET)},
	}
}

func limits(p Prey) []attempt {
	return []attempt{
		{"another user", func() error { return syscall.Setreuid(1, 1) }},
		{"all memory", func() error {
			_, err := unix.Mmap(-1, 0, 8<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			return err
		}},
		{"all descriptors", func() error {
			for range p.Descriptors {
				if _, err := unix.Dup(0); err != nil {
					return err
				}
			}
			return nil
		}},
	}
}

func read(path string) func() error {
	return func() error {
		_, err := os.ReadFile(path)
		return err
	}
}

func write(path string, flags int) func() error {
	return func() error {
		f, err := os.OpenFile(path, os.O_WRONLY|flags, 0o600)
		if err != nil {
			return err
		}
		return f.Close()
	}
}

func dial(network, address string) func() error {
	return func() error {
		c, err := net.Dial(network, address)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

func call(number uintptr, args ...uintptr) func() error {
	return func() error {
		var a [6]uintptr
		copy(a[:], args)
		r, _, errno := syscall.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return errno
		}
		if number == unix.SYS_CLONE && r == 0 {
			_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0) // the child
		}
		return nil
	}
}

// reaches succeeds too when the call reached the kernel and failed for its arguments: it was not kept away.
func reaches(number uintptr, args ...uintptr) func() error {
	return func() error {
		err := call(number, args...)()
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
			return err
		}
		return nil
	}
}

// memory is an address that calls may read from and write to.
func memory() uintptr { return uintptr(unsafe.Pointer(&scratch[0])) }

var scratch [256]byte

// varied are attempts that some kernels or their settings refuse by themselves.
var varied = []string{"mount", "namespaces", "bpf", "io_uring", "perf", "userfaultfd", "handles", "chroot", "raw socket", "read by process_vm_readv", "modules", "kexec"}

func ownHome(name string) string { return "/proc/self/cwd/" + name }
