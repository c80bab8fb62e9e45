package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the program that the tests start: what it is told in KEEPER_TEST.
func TestMain(m *testing.M) {
	switch os.Getenv("KEEPER_TEST") {
	case "":
		os.Exit(m.Run())
	case "fail":
		fmt.Println("no such thing")
		os.Exit(3)
	case "stay":
		fmt.Println("here")
		wait()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("here")
		wait()
	case "keep":
		// A keeper with a child that stays, to be killed by the test.
		here := make(chan struct{}, 1)
		k, err := NewKeeper(os.Getenv("KEEPER_LOGS"), time.Second, func(string, []byte) { here <- struct{}{} })
		if err == nil {
			var c *Child
			if c, err = k.Start(program("stay")); err == nil {
				<-here // from now on it writes nothing, so that a broken pipe does not end it
				fmt.Println(c.cmd.Process.Pid)
				wait()
			}
		}
		fmt.Println(err)
		os.Exit(1)
	}
}

// wait does nothing for ever; the runtime would call an empty select a deadlock.
func wait() {
	for {
		_ = syscall.Pause() // ends with each signal that is handled
	}
}

func program(what string) Process {
	return Process{Name: what, Path: os.Args[0], Env: append(os.Environ(), "KEEPER_TEST="+what)}
}

func keeper(t *testing.T) (*Keeper, chan string) {
	t.Helper()
	lines := make(chan string, 100)
	k, err := NewKeeper(filepath.Join(t.TempDir(), "logs"), 200*time.Millisecond, func(name string, line []byte) { lines <- name + ": " + string(line) })
	if err != nil {
		t.Fatal(err)
	}
	return k, lines
}

func TestChildThatFails(t *testing.T) {
	k, lines := keeper(t)
	c, err := k.Start(program("fail"))
	if err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if text := c.Err().Error(); !strings.Contains(text, "exit status 3") || !strings.Contains(text, "no such thing") {
		t.Error(text)
	}
	if l := <-lines; l != "fail: no such thing" {
		t.Error(l)
	}
	if b, err := os.ReadFile(filepath.Join(k.logs, "fail.log")); err != nil || string(b) != "no such thing\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestChildIsStopped(t *testing.T) {
	for _, what := range []string{"stay", "stubborn"} {
		k, lines := keeper(t)
		c, err := k.Start(program(what))
		if err != nil {
			t.Fatal(err)
		}
		<-lines
		c.Stop()
		if err := syscall.Kill(c.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s is still there: %v", what, err)
		}
	}
}

func TestChildIsStartedAgain(t *testing.T) {
	k, _ := keeper(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ends []string
	err := k.Keep(ctx, program("fail"), func(*Child) {}, func(err error, pause time.Duration) {
		ends = append(ends, pause.String())
		if len(ends) == 2 {
			cancel()
		}
	})
	if err != nil || strings.Join(ends, " ") != "1s 2s" {
		t.Errorf("%v, %v", ends, err)
	}
	missing := Process{Name: "missing", Path: filepath.Join(t.TempDir(), "none")}
	if err := k.Keep(t.Context(), missing, nil, nil); err == nil || !strings.Contains(err.Error(), "start missing") {
		t.Errorf("%v", err)
	}
}

// TestNoOrphans: a keeper that is killed takes its children along.
func TestNoOrphans(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KEEPER_TEST=keep", "KEEPER_LOGS="+t.TempDir())
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
	if err != nil {
		t.Fatalf("no process id: %q", line)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the child is not there: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if !gone(t, pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		t.Error("the child outlives its keeper")
	}
}

// gone waits until a process has ended; a zombie that nobody reaps has.
func gone(t *testing.T, pid int) bool {
	t.Helper()
	deadline := time.After(5 * time.Second)
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
