package main

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// TestIgnoredSignals: what nohup has made the process ignore stays ignored; other signals end the context.
func TestIgnoredSignals(t *testing.T) {
	signal.Ignore(syscall.SIGHUP)
	t.Cleanup(func() { signal.Reset(syscall.SIGHUP) })
	ctx, stop := notify(t.Context(), syscall.SIGHUP)
	defer stop()
	both, end := notify(t.Context(), syscall.SIGHUP, syscall.SIGUSR1)
	defer end()
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1} {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-both.Done():
	case <-time.After(time.Minute):
		t.Error("a signal that is not ignored does not end the context")
	}
	if !signal.Ignored(syscall.SIGHUP) || ctx.Err() != nil {
		t.Errorf("SIGHUP is ignored: %t; the context that waits for it: %v", signal.Ignored(syscall.SIGHUP), ctx.Err())
	}
}
