package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem.dev/worker/child"
)

// processSpec says how to start an engine.
type processSpec struct {
	path           string
	args           []string // without the program's name
	env            []string
	dir            string
	stdout, stderr io.Writer
}

// exit is how a process ended.
type exit struct {
	signal  syscall.Signal // 0: it exited by itself
	code    int
	oomKill bool // the kernel's out-of-memory killer was at work on this machine while it ran
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
	// signal sends to the whole group; it is no error if that is gone.
	signal(syscall.Signal)
	// wait returns when the process and all of its group are gone and their output is read.
	wait() exit
}

// starter starts processes.
type starter interface {
	start(processSpec) (process, error)
}

// spawner starts processes that end with the agent.
type spawner struct{ children *child.Starter }

func (s spawner) start(spec processSpec) (process, error) {
	cmd := exec.Command(spec.path, spec.args...) //nolint:gosec // the operator's own engine binary
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = spec.env, spec.dir, spec.stdout, spec.stderr
	cmd.WaitDelay = time.Second // a stray grandchild may hold the pipes
	before := oomKills()
	if err := s.children.Start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.path, err)
	}
	return &spawned{cmd: cmd, ooms: before}, nil
}

// spawned is a process that was started.
type spawned struct {
	cmd  *exec.Cmd
	ooms int64
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
	e := exit{code: c.cmd.ProcessState.ExitCode(), oomKill: oomKills() > c.ooms}
	if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.signal = ws.Signal()
	}
	return e
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
