package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also the program that TestKilled kills: it starts a process and says its id.
func TestMain(m *testing.M) {
	if os.Getenv("CHILD_TEST") == "" {
		goleak.VerifyTestMain(m)
		return
	}
	s := NewStarter()
	go func() { _ = s.Run(context.Background()) }()
	cmd := exec.Command("sleep", "600")
	if err := s.Start(cmd); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(cmd.Process.Pid)
	_ = cmd.Wait() // for ever: it is killed with this program
}

func TestEndOfRunKills(t *testing.T) {
	s := NewStarter()
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var cmds []*exec.Cmd
	for range 3 {
		cmd := exec.Command("sleep", "600")
		if err := s.Start(cmd); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	if err := s.Start(exec.Command("/nonexistent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that it does not exist", err)
	}
	if group, err := syscall.Getpgid(cmds[0].Process.Pid); err != nil || group != cmds[0].Process.Pid {
		t.Errorf("group %d, %v; want one of its own", group, err)
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, cmd := range cmds {
		if !gone(cmd.Process.Pid, 5*time.Second) {
			_ = cmd.Process.Kill() // so that the test ends
			t.Error("a process outlives Run")
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("a process ended with %v, want that it was killed", err)
		}
	}
	if err := s.Start(exec.Command("true")); !errors.Is(err, ErrEnded) {
		t.Errorf("%v, want ErrEnded", err)
	}
}

// TestKilled: a program that is killed with -9 takes its processes along.
func TestKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHILD_TEST=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || syscall.Kill(pid, 0) != nil {
		t.Fatalf("%q is not a process: %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if !gone(pid, 5*time.Second) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		t.Error("the process outlives the program that started it")
	}
}

// gone waits until a process has ended; a zombie that nobody reaps has.
func gone(pid int, within time.Duration) bool {
	deadline := time.After(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
		select {
		case <-deadline:
			return false
		case <-tick.C:
		}
	}
}
