package child

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// ErrEnded means that a Starter does not run any more.
var ErrEnded = errors.New("no more processes are started: this program ends")

// Starter starts processes from threads that Run holds. Make it with NewStarter.
type Starter struct {
	calls   chan func()
	threads chan func(context.Context)
	ended   chan struct{}
}

// NewStarter makes a starter; Start waits until it runs.
func NewStarter() *Starter {
	return &Starter{calls: make(chan func()), threads: make(chan func(context.Context)), ended: make(chan struct{})}
}

// Run serves Start and StartFrom until ctx ends. All processes that are still there are killed then, for the threads end with their
// goroutines: they stay locked. Run it once, in a goroutine of its own.
func (s *Starter) Run(ctx context.Context) error {
	var own sync.WaitGroup // the threads of StartFrom
	defer own.Wait()
	defer close(s.ended)
	done := make(chan struct{})
	go func() {
		defer close(done)
		OnThread(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case start := <-s.calls:
					start()
				}
			}
		})
	}()
	for {
		select {
		case <-ctx.Done():
			<-done
			return nil
		case thread := <-s.threads:
			own.Go(func() { OnThread(func() { thread(ctx) }) })
		}
	}
}

// OnThread runs f on a thread that ends with the goroutine that it is called from, which must not do anything else. It is never the main
// thread: that cannot end, and what it was made to be, /proc would show as the whole process.
func OnThread(f func()) {
	runtime.LockOSThread()
	if syscall.Gettid() == os.Getpid() {
		// The main thread outlives its goroutines. Hold it, so that the next goroutine gets another.
		defer runtime.UnlockOSThread()
		done := make(chan struct{})
		go func() {
			defer close(done)
			OnThread(f)
		}()
		<-done
		return
	}
	f()
}

// Start is cmd.Start for a process that is killed when this program ends, in a process group of its own: Ctrl-C at a
// terminal does not reach it, and its whole group can be signalled. It returns ErrEnded after the end of Run.
func (s *Starter) Start(cmd *exec.Cmd) error {
	attend(cmd)
	result := make(chan error, 1)
	select {
	case s.calls <- func() { result <- cmd.Start() }:
		return <-result
	case <-s.ended:
		return ErrEnded
	}
}

// StartFrom is Start from a thread of its own, which prepare may change in any way, for nothing else will run on it: what a thread passes on to
// its children, this process alone gets. The caller calls release when the process is gone; before, that would kill it.
func (s *Starter) StartFrom(cmd *exec.Cmd, prepare func() error) (release func(), err error) {
	attend(cmd)
	result, gone := make(chan error, 1), make(chan struct{})
	thread := func(ctx context.Context) {
		err := prepare()
		if err == nil {
			err = cmd.Start()
		}
		result <- err
		if err != nil {
			return
		}
		select {
		case <-gone:
		case <-ctx.Done():
		}
	}
	select {
	case s.threads <- thread:
		return sync.OnceFunc(func() { close(gone) }), <-result
	case <-s.ended:
		return nil, ErrEnded
	}
}

func attend(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
