package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// ErrConfine means that a process could not be confined, so that it was not started.
var ErrConfine = errors.New("the engine cannot be confined")

// Confine prepares the start of a process under a policy: it confines the calling thread, which must be locked and never be used for
// anything after cmd was started, and tells cmd what only the new process can do. A thread's working folder, no_new_privs, bounding set of
// capabilities and Landlock domain are its own, and a child inherits them.
func (p Policy) Confine(cmd *exec.Cmd) error {
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"enter its folder", p.enter},
		{"set no_new_privs", func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
		{"drop capabilities", dropCapabilities},
		{"restrict files and ports", p.restrict},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrConfine, step.name, err)
		}
	}
	if p.User != Own {
		id := uint32(p.User)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: id, Gid: id}
	}
	return nil
}

// enter makes the home the working folder of the thread alone: a process that runs as another user cannot walk there, for the folders
// above are the agent's.
func (p Policy) enter() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	return unix.Chdir(p.Home)
}

// dropCapabilities empties the bounding set, so that not even root's own program gets any, and what would be inherited. Who has no right to
// has no capabilities to lose.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return nil
}

// restrict puts the thread into a Landlock domain.
func (p Policy) restrict() error {
	if p.Features.Landlock == 0 {
		return nil
	}
	config, rules := p.rules()
	fd, flags, err := config.NewRulesetFD(rules...)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return ll.LandlockRestrictSelf(fd, flags)
}

// Rights to files. The rights of an older Landlock are a part of these.
const (
	readFile  = landlock.AccessFSSet(ll.AccessFSReadFile)
	readAll   = readFile | ll.AccessFSReadDir
	writeFile = readFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
	writeAll  = readAll | writeFile | ll.AccessFSRemoveDir | ll.AccessFSRemoveFile | ll.AccessFSMakeDir | ll.AccessFSMakeReg | ll.AccessFSMakeSym |
		ll.AccessFSMakeFifo | ll.AccessFSMakeSock | ll.AccessFSRefer
	handled = writeAll | ll.AccessFSExecute | ll.AccessFSMakeChar | ll.AccessFSMakeBlock
)

// rules are the policy in Landlock's words.
func (p Policy) rules() (landlock.Config, []landlock.Rule) {
	files, devices := handled, writeFile
	if p.Features.Landlock >= 5 {
		files, devices = files|ll.AccessFSIoctlDev, devices|ll.AccessFSIoctlDev
	}
	config := landlock.Config{HandledAccessFS: files}
	var rules []landlock.Rule
	add := func(paths []string, folder, file landlock.AccessFSSet) {
		for _, path := range paths {
			rights := file
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				rights = folder
			}
			rules = append(rules, landlock.PathAccess(rights, path).IgnoreIfMissing())
		}
	}
	add(p.Read, readAll, readFile)
	add(p.Write, writeAll, writeFile)
	add(p.Execute, readAll, readFile|ll.AccessFSExecute)
	add(p.Devices, readAll, devices)
	if p.Features.Landlock >= landlockPorts {
		config.HandledAccessNet = ll.AccessNetBindTCP
		if p.AnyPort {
			rules = append(rules, landlock.BindTCP(0)) // the system chooses
		} else {
			config.HandledAccessNet |= ll.AccessNetConnectTCP
		}
	}
	if p.Features.Landlock >= landlockScope {
		config.Scoped = ll.ScopeSignal
		if !p.Abstract {
			config.Scoped |= ll.ScopeAbstractUnixSocket
		}
	}
	return config, rules
}

func seccompHas(action *uint32) bool {
	const getActionAvail = 2 // SECCOMP_GET_ACTION_AVAIL
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, getActionAvail, 0, uintptr(unsafe.Pointer(action)))
	return errno == 0
}
