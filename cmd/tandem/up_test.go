package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem.dev/cmd/tandem/local"
	"tandem.dev/proto/identity"
	"tandem.dev/worker/agent"
)

// TestExplainStart: what a child's exit code tells becomes advice, and the exit code of up.
func TestExplainStart(t *testing.T) {
	for _, c := range []struct {
		child, code int
		want        string
	}{
		{exitFull, exitFull, "the disk of /data is full"},
		{exitEngine, exitEngine, "build it with `make build`"},
		{exitRemoved, exitRemoved, "delete its folder in /data"},
		{exitError, exitError, "worker-1: exit status 1"},
		{exitUsage, exitError, "worker-1: exit status 2"},
	} {
		ended := exec.CommandContext(t.Context(), "sh", "-c", fmt.Sprintf("exit %d", c.child)).Run()
		err := explainStart(fmt.Errorf("worker-1: %w", ended), "/data")
		if !strings.Contains(err.Error(), c.want) || exitCode(err) != c.code {
			t.Errorf("exit code %d: %v, and up exits %d", c.child, err, exitCode(err))
		}
	}
	for code, err := range map[int]error{
		exitRemoved: fmt.Errorf("agent: %w: node n was removed", identity.ErrRemoved),

		exitFull:   fmt.Errorf("open the log: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}),
		exitEngine: fmt.Errorf("start: %w", agent.ErrEngine),
	} {
		if exitCode(err) != code {
			t.Errorf("a process exits %d with %v, want %d", exitCode(err), err, code)
		}
	}
}

// TestRemovedIsNotStartedAgain: up starts again what ended, but not what was removed from the cluster, and says how to have it back.
func TestRemovedIsNotStartedAgain(t *testing.T) {
	cl := &localCluster{folder: &local.Folder{Dir: "/data"}}
	for _, c := range []struct {
		code  int
		again bool
		want  string
	}{
		{exitRemoved, false, "delete /data/worker-2"},
		{exitError, true, "started again in 2s"},
	} {
		ended := exec.CommandContext(t.Context(), "sh", "-c", fmt.Sprintf("exit %d", c.code)).Run()
		next, again := cl.afterEnd("worker-2", fmt.Errorf("worker-2: %w", ended), 2*time.Second)
		if again != c.again || !strings.Contains(next, c.want) {
			t.Errorf("exit code %d: %q, again: %v", c.code, next, again)
		}
	}
}

// TestUntilWatchesAll: whichever child ends while something is waited for, the wait is over.
func TestUntilWatchesAll(t *testing.T) {
	cl := &localCluster{}
	keeper, err := local.NewKeeper(cl.starter(), t.TempDir(), time.Second, func(string, []byte) {})
	t.Cleanup(func() { cl.end() })
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"exec sleep 60", "exit 3", "exec sleep 60"} {
		child, err := keeper.Start(local.Process{Name: "child", Path: "/bin/sh", Args: []string{"-c", script}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(child.Stop)
		cl.children = append(cl.children, child)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = cl.until(ctx, func(context.Context) bool { return false })
	if childCode(err) != 3 {
		t.Errorf("%v, want the end of the second child", err)
	}
	late := errors.New("too late")
	ended, end := context.WithCancelCause(t.Context())
	end(late)
	if err := (&localCluster{}).until(ended, func(context.Context) bool { return false }); !errors.Is(err, late) {
		t.Errorf("%v, want the cause", err)
	}
}
