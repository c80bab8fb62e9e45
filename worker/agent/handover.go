package agent

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/relay"
	"tandem.dev/worker/sandbox"
)

// runner is a process and the engine that it is at the moment: the tasks of a sweep may have the same process, one after another, which
// saves each the start of libtorch and on a device its context.
type runner struct {
	process
	policy         sandbox.Policy
	engine         *engine // the supervisor's lock guards this
	dead           bool    // and this: it is gone
	stdout, stderr stream
	requests       chan struct{} // to the store, a place for each
}

// newRunner is the process to be of e.
func newRunner(e *engine) *runner {
	r := &runner{requests: make(chan struct{}, relay.MaxRequests)}
	r.take(e)
	return r
}

func (r *runner) take(e *engine) {
	r.engine, e.proc = e, r
	r.stdout.turn(&e.log.stdout)
	r.stderr.turn(&e.log.stderr)
}

// stream is an output of a process. What it writes goes to the task it is at.
type stream struct {
	mu sync.Mutex
	to io.Writer
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to.Write(p)
}

func (s *stream) turn(to io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = to
}

// next waits until the process of an engine that has said its last word gets another task, and returns that one's id. errOver: it gets
// none and ends.
func (s *supervisor) next(ctx context.Context, id string) (string, error) {
	e, err := s.becomeIdle(ctx, id)
	if err != nil {
		return "", err
	}
	select {
	case <-e.gone:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.idle = time.Time{} // who does not wait any more gets nothing
	if e.next == "" {
		return "", fmt.Errorf("engine %q: %w", id, errOver)
	}
	return e.next, nil
}

// becomeIdle notes that an engine has no task any more, when all that its task wrote has come.
func (s *supervisor) becomeIdle(ctx context.Context, id string) (*engine, error) {
	s.mu.Lock()
	e, err := s.findLocked(id)
	if err == nil && (s.cfg.limits.idle == 0 || !e.mayGoOn()) {
		err = fmt.Errorf("engine %q: %w", id, errOver)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, ended := range []<-chan struct{}{e.log.stdoutEnded, e.log.stderrEnded} {
		select {
		case <-ended:
		case <-e.gone:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the output of engine %q: %w", id, ctx.Err())
		}
	}
	e.log.close("") // nothing more comes, and somebody may wait to read it
	s.mu.Lock()
	defer s.mu.Unlock()
	e.idle = time.Now()
	s.wakeUp()
	return e, nil
}

// handOver gives a task to the process of an engine that waits for one. It needs mu.
func (s *supervisor) handOver(ctx context.Context, now time.Time, from *engine, task *tandemv1.EngineTask) error {
	e := s.newEngine(ctx, now, task)
	e.scratch, e.user = from.scratch, from.user // what the process may write to, and is
	if err := emptied(e.scratch); err != nil {
		e.log.close(err.Error())
		return fmt.Errorf("empty the folder for temporary files: %w", err)
	}
	e.handed = true
	from.proc.take(e)
	from.next = task.GetId()
	s.leaveTask(from, from.outcome)
	s.begin(e)
	s.metrics.reused.Inc()
	return nil
}
