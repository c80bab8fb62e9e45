package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem.dev/worker/child"
)

// TestMain is also the program that the tests start: what it is told in KEEPER_TEST.
func TestMain(m *testing.M) {
	switch os.Getenv("KEEPER_TEST") {
	case "":
		goleak.VerifyTestMain(m)
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
	starter := child.NewStarter()
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- starter.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	k, err := NewKeeper(starter, filepath.Join(t.TempDir(), "logs"), 200*time.Millisecond, func(name string, line []byte) { lines <- name + ": " + string(line) })
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
	err := k.Keep(ctx, program("fail"), func(*Child) {}, func(err error, pause time.Duration) bool {
		ends = append(ends, pause.String())
		if len(ends) == 2 {
			cancel()
		}
		return true
	})
	if err != nil || strings.Join(ends, " ") != "1s 2s" {
		t.Errorf("%v, %v", ends, err)
	}
	ends = nil
	err = k.Keep(t.Context(), program("fail"), func(*Child) {}, func(err error, _ time.Duration) bool {
		ends = append(ends, err.Error())
		return false
	})
	if err != nil || len(ends) != 1 {
		t.Errorf("%v, started again though that is of no use: %v", err, ends)
	}
	missing := Process{Name: "missing", Path: filepath.Join(t.TempDir(), "none")}
	if err := k.Keep(t.Context(), missing, nil, nil); err == nil || !strings.Contains(err.Error(), "start missing") {
		t.Errorf("%v", err)
	}
}
