package sandbox

import (
	"context"
	"errors"
	"os/exec"
	"syscall"

	"tandem.dev/worker/child"
)

// Run runs a program to its end under the policy.
func (p Policy) Run(ctx context.Context, cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go child.OnThread(func() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := p.Confine(cmd); err != nil {
			done <- err
			return
		}
		if err := cmd.Start(); err != nil {
			done <- err
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
		defer stop()
		done <- errors.Join(cmd.Wait(), ctx.Err())
	})
	return <-done
}
