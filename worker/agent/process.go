package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem.dev/worker/cgroup"
	"tandem.dev/worker/child"
	"tandem.dev/worker/line"
	"tandem.dev/worker/sandbox"
)

// processSpec says how to start an engine.
type processSpec struct {
	path           string
	name           string   // of its cgroup
	args           []string // without the program's name
	env            []string
	policy         sandbox.Policy // its working folder is the policy's home
	socket         string         // to serve on; empty: it serves nobody
	stdout, stderr io.Writer
	accept         func(net.Conn) // its calls
	files          line.Files     // what it may open
}

// exit is how a process ended.
type exit struct {
	signal  syscall.Signal // 0: it exited by itself
	code    int
	oomKill bool // the kernel's out-of-memory killer was at work: on it, or where it has no cgroup, on this machine while it ran
	// limit is how many bytes of memory it was allowed, if it was killed for that; 0: it was not.
	limit int64
}

func (e exit) String() string {
	if e.signal != 0 {
		return "signal " + unix.SignalName(e.signal)
	}
	return "exit code " + strconv.Itoa(e.code)
}

// process is one engine's process group.
type process interface {
	pid() int
	// signal sends to the whole group; it is not an error if that is gone.
	signal(syscall.Signal)
	// wait returns when the process and all of its group are gone and their output is read.
	wait() exit
}

// starter starts processes.
type starter interface {
	start(processSpec) (process, error)
}

// spawner starts processes that end with the agent.
type spawner struct {
	children *child.Starter
	groups   *cgroup.Tree // nil: processes have no cgroups of their own
}

func (s spawner) start(spec processSpec) (_ process, err error) {
	wire, inherited, err := inheritance(spec.socket)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, f := range inherited { // the process has its own
			_ = f.Close()
		}
		if err != nil {
			_ = wire.Close()
		}
	}()
	program, err := openProgram(spec.path)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	cmd := exec.Command(spec.path, spec.args...) //nolint:gosec // the operator's own engine binary
	cmd.Path = fmt.Sprintf("/proc/self/fd/%d", program.Fd())
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = spec.env, spec.stdout, spec.stderr, inherited
	cmd.WaitDelay = time.Second // a stray grandchild may hold the pipes
	bounded, err := s.bound(spec)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.path, err)
	}
	release, err := s.children.StartFrom(cmd, func() error {
		bounded.enter(cmd)
		return spec.policy.Confine(cmd)
	})
	if err != nil {
		bounded.end()
		return nil, fmt.Errorf("start %s: %w", spec.path, err)
	}
	c := &spawned{cmd: cmd, bounded: bounded, release: release, line: wire, calls: make(chan struct{})}
	go func() { // ends with the process
		defer close(c.calls)
		wire.Serve(context.Background(), spec.accept, spec.files)
	}()
	if err := sandbox.DieFirst(c.pid()); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) { // it may be gone
		c.signal(syscall.SIGKILL)
		c.wait()
		return nil, err
	}
	return c, nil
}

// inheritance makes what a process inherits as line.Descriptor and after: its end of the line, and the socket that it serves on, if it does.
// That is bound here, for the process has no right to the folder.
func inheritance(socket string) (_ *line.Host, files []*os.File, err error) {
	wire, end, err := line.New()
	if err != nil {
		return nil, nil, err
	}
	files = []*os.File{end}
	if socket == "" {
		return wire, files, nil
	}
	l, err := listenUnix(socket)
	if err == nil {
		l.SetUnlinkOnClose(false)
		var f *os.File
		f, err = l.File()
		files = append(files, f)
		err = errors.Join(err, l.Close())
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close()
		}
		return nil, nil, errors.Join(fmt.Errorf("listen for requests to the replica: %w", err), wire.Close())
	}
	return wire, files, nil
}

// openProgram opens a program so that a process can become it that cannot walk to it: it may lie in a folder of the agent's user. Its number is
// beyond those that a process inherits.
func openProgram(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	defer unix.Close(fd)
	const beyond = 64
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, beyond)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return os.NewFile(uintptr(high), path), nil
}

// spawned is a process that was started.
type spawned struct {
	cmd     *exec.Cmd
	bounded bounded
	release func() // the thread that is its parent
	line    *line.Host
	calls   chan struct{} // closed when its line is served no more
}

func (c *spawned) pid() int { return c.cmd.Process.Pid }

func (c *spawned) signal(s syscall.Signal) { _ = syscall.Kill(-c.pid(), s) }

func (c *spawned) wait() exit {
	// Look without reaping, so that the id of the group cannot belong to anyone else when its stragglers are killed.
	for {
		err := unix.Waitid(unix.P_PID, c.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	c.signal(syscall.SIGKILL)
	_ = c.cmd.Wait() // its result is in ProcessState
	c.release()
	_ = c.line.Close() // it has ended by itself, but for what a stray grandchild holds
	<-c.calls
	e := exit{code: c.cmd.ProcessState.ExitCode()}
	e.oomKill, e.limit = c.bounded.end()
	if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.signal = ws.Signal()
	}
	return e
}

// bounded is what tells whether a process died for want of memory: its cgroup, or where it has none, a count for the whole machine.
type bounded struct {
	group  *cgroup.Group
	limits cgroup.Limits
	before int64 // what oomKills counted
}

// bound makes the cgroup of a process to be.
func (s spawner) bound(spec processSpec) (b bounded, err error) {
	b = bounded{limits: spec.policy.Cgroup, before: oomKills()}
	if s.groups != nil {
		b.group, err = s.groups.Make(spec.name, b.limits)
	}
	return b, err
}

func (b bounded) enter(cmd *exec.Cmd) {
	if b.group != nil {
		b.group.Enter(cmd.SysProcAttr)
	}
}

// end removes the cgroup with all that is left in it. It tells whether memory ran out, and if that was the process's own, how much it had.
func (b bounded) end() (oomKill bool, limit int64) {
	if b.group == nil {
		return oomKills() > b.before, 0
	}
	toll, _ := b.group.End() // what could not be removed is empty or hangs in the kernel, and goes with the agent's
	if toll.Own {
		limit = b.limits.Memory
	}
	return toll.Killed, limit
}

// oomKills counts what the kernel's out-of-memory killer has killed since boot; 0 where the kernel does not say.
func oomKills() int64 {
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	return 0
}
