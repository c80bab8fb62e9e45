package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// childVariable makes this test's program a child that does what it says.
const childVariable = "CGROUP_TEST_CHILD"

func TestMain(m *testing.M) {
	what := os.Getenv(childVariable)
	if what == "" {
		os.Exit(m.Run())
	}
	// Where a limit above its group's is met, it goes first, as engines do.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("started")
	switch what {
	case "hoard": // shared memory, which no limit of a process bounds
		fd, err := unix.MemfdCreate("hoard", 0)
		for block := make([]byte, 1<<20); err == nil; {
			_, err = unix.Write(fd, block)
		}
		fmt.Println(err)
	case "spawn": // until that fails, here or in the Go runtime
		for waiting().Start() == nil {
		}
	case "leave behind":
		cmd := waiting()
		fmt.Println(cmd.Start(), cmd.Process.Pid)
	case "wait":
		unix.Pause()
	}
	_, _ = io.ReadAll(os.Stdin)
}

// waiting is a process that stays. No signal to its parent's group reaches it.
func waiting() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{childVariable + "=wait"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// member is a child in a group of its own.
type member struct {
	*exec.Cmd
	group *Group
	in    io.Closer
	out   *bufio.Reader
}

func begin(t *testing.T, tree *Tree, what string, l Limits) member {
	t.Helper()
	g, err := tree.Make("test", l)
	must(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{childVariable + "=" + what}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	g.Enter(cmd.SysProcAttr)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	m := member{Cmd: cmd, group: g, in: in, out: bufio.NewReader(out)}
	if got := m.line(t); got != "started" {
		t.Fatalf("a child says %q", got)
	}
	return m
}

func (m member) line(t *testing.T) string {
	t.Helper()
	line, err := m.out.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// end waits for the child, which a signal may have ended, and for its group.
func (m member) end(t *testing.T) (syscall.Signal, Toll) {
	t.Helper()
	_ = m.in.Close()
	_ = m.Wait() // its state says how
	toll, err := m.group.End()
	must(t, err)
	if _, err := os.Stat(m.group.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cgroup is left: %v", err)
	}
	status := m.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() {
		return 0, toll
	}
	return status.Signal(), toll
}

// TestDivided is the real thing, where this process has a cgroup to divide. .ci/cgroup runs it in a virtual machine.
func TestDivided(t *testing.T) {
	dir, err := Find()
	if err != nil {
		if os.Getenv("CGROUP_REQUIRED") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v (.ci/cgroup runs this test in a virtual machine)", err)
	}
	stale := filepath.Join(dir, prefix+"stale")
	must(t, os.Mkdir(stale, 0o755))
	tree, err := Claim()
	must(t, err)
	if now, err := of("self"); err != nil || now != filepath.Join(dir, leaf) {
		t.Errorf("this process is in %s, %v", now, err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what another agent left is still there: %v", err)
	}

	t.Run("a child is in its group", func(t *testing.T) {
		m := begin(t, tree, "idle", Limits{Memory: 64<<20 + 1, Processes: 20})
		if now, err := of(fmt.Sprint(m.Process.Pid)); err != nil || now != filepath.Join(dir, prefix+"test") {
			t.Errorf("it is in %s, %v", now, err)
		}
		if limit, err := MemoryOf(m.Process.Pid); err != nil || limit != 64<<20 {
			t.Errorf("it may have %d bytes, %v", limit, err)
		}
		if s, toll := m.end(t); s != 0 || toll != (Toll{}) {
			t.Errorf("%v, %+v", s, toll)
		}
	})
	t.Run("its own limit of memory", func(t *testing.T) {
		m := begin(t, tree, "hoard", Limits{Memory: 64 << 20})
		if s, toll := m.end(t); s != syscall.SIGKILL || toll != (Toll{Killed: true, Own: true}) {
			t.Errorf("%v, %+v", s, toll)
		}
	})
	t.Run("a limit above it", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("the limits of a delegated cgroup are those of who delegates")
		}
		must(t, write(dir, fileMemory, fmt.Sprint(128<<20)))
		defer func() { must(t, write(dir, fileMemory, "max")) }()
		m := begin(t, tree, "hoard", Limits{Memory: 1 << 40})
		if s, toll := m.end(t); s != syscall.SIGKILL || toll != (Toll{Killed: true}) {
			t.Errorf("%v, %+v", s, toll)
		}
	})
	t.Run("processes", func(t *testing.T) {
		m := begin(t, tree, "spawn", Limits{Processes: 40})
		_ = m.in.Close()
		_ = m.Wait()
		events, err := os.ReadFile(filepath.Join(m.group.dir, "pids.events"))
		must(t, err)
		now, err := os.ReadFile(filepath.Join(m.group.dir, "pids.current"))
		must(t, err)
		if count(string(events), "max") == 0 || count("now "+string(now), "now") > 40 {
			t.Errorf("it has %s processes; the limit was met: %s", now, events)
		}
		m.end(t)
	})
	t.Run("what is left", func(t *testing.T) {
		m := begin(t, tree, "leave behind", Limits{})
		pid := 0
		if _, err := fmt.Sscanf(m.line(t), "<nil> %d", &pid); err != nil {
			t.Fatal(err)
		}
		m.end(t)
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(b), ") Z ") {
			t.Errorf("process %d outlives its group: %s", pid, b)
		}
	})
}
