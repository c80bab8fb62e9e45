package child

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// ErrEnded means that a Starter does not run any more.
var ErrEnded = errors.New("no more processes are started: this program ends")

// Starter starts processes from the one thread that Run holds. Make it with NewStarter.
type Starter struct {
	calls chan func()
	ended chan struct{}
}

// NewStarter makes a starter; Start waits until it runs.
func NewStarter() *Starter {
	return &Starter{calls: make(chan func()), ended: make(chan struct{})}
}

// Run serves Start until ctx ends. All processes that are still there are killed then, for the thread ends with the
// goroutine: it stays locked. Run it once, in a goroutine of its own.
func (s *Starter) Run(ctx context.Context) error {
	runtime.LockOSThread()
	if syscall.Gettid() == os.Getpid() {
		// The main thread outlives its goroutines. Hold it, so that the next goroutine gets another.
		defer runtime.UnlockOSThread()
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		return <-done
	}
	defer close(s.ended)
	for {
		select {
		case <-ctx.Done():
			return nil
		case start := <-s.calls:
			start()
		}
	}
}

// Start is cmd.Start for a process that is killed when this program ends, in a process group of its own: Ctrl-C at a
// terminal does not reach it, and its whole group can be signalled. It returns ErrEnded after the end of Run.
func (s *Starter) Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	result := make(chan error, 1)
	select {
	case s.calls <- func() { result <- cmd.Start() }:
		return <-result
	case <-s.ended:
		return ErrEnded
	}
}
