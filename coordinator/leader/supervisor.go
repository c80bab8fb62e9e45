package leader

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Loop is one duty of the leader. Run returns nil when ctx ends.
type Loop struct {
	Name string
	Run  func(ctx context.Context) error
}

// Leadership calls fn each time this coordinator becomes leader, with a context that ends when it leads no more.
type Leadership interface {
	Lead(ctx context.Context, fn func(ctx context.Context) error) error
}

// Proposer proposes commands; consensus.Node does.
type Proposer interface {
	Propose(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error)
}

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
	// A loop that ran so long before it failed begins with the first pause again.
	healthy = time.Minute
)

// Supervisor runs loops while this coordinator leads.
type Supervisor struct {
	leadership Leadership
	loops      []Loop
	log        zerolog.Logger
}

// NewSupervisor returns a Supervisor.
func NewSupervisor(leadership Leadership, loops []Loop, log zerolog.Logger) *Supervisor {
	return &Supervisor{leadership, loops, log}
}

// Run runs the loops whenever this coordinator leads, until ctx ends.
func (s *Supervisor) Run(ctx context.Context) error {
	return s.leadership.Lead(ctx, func(ctx context.Context) error {
		var wg sync.WaitGroup
		for _, l := range s.loops {
			wg.Go(func() { s.keep(ctx, l) })
		}
		wg.Wait()
		return nil
	})
}

// keep runs a loop until ctx ends, again after each failure.
func (s *Supervisor) keep(ctx context.Context, l Loop) {
	pause := firstPause
	for {
		begin := time.Now()
		err := protect(ctx, l)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > healthy {
			pause = firstPause
		}
		level := zerolog.WarnLevel
		if errors.Is(err, consensus.ErrNotLeader) || errors.Is(err, consensus.ErrNoLeader) {
			level = zerolog.DebugLevel // leadership is about to be lost
		}
		s.log.WithLevel(level).Err(err).Str("loop", l.Name).Dur("pause", pause).Msg("leader loop failed, it is started again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// protect turns a panic into an error: one wrong loop does not end the others.
func protect(ctx context.Context, l Loop) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := l.Run(ctx); err != nil {
		return err
	}
	return errors.New("the loop ended")
}

// watch calls pass with the state as it is, again at each change of it, and at the time pass returned unless that is
// zero, until ctx ends or pass fails.
func watch(ctx context.Context, s *state.State, pass func(ctx context.Context, v *state.View, now time.Time) (time.Time, error)) error {
	for {
		v := s.View()
		next, err := pass(ctx, v, time.Now())
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		waiting, cancel := ctx, context.CancelFunc(func() {})
		if !next.IsZero() {
			waiting, cancel = context.WithDeadline(ctx, next)
		}
		_ = s.Wait(waiting, v.Index()) // it ends by a change or by a deadline; both are a reason to look again
		cancel()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// propose proposes a command of a loop. A refusal means that the state has moved on: the next pass decides again.
func propose(ctx context.Context, p Proposer, loop string, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	cmd.Actor = loop
	res, err := p.Propose(ctx, cmd)
	if err != nil {
		return nil, fmt.Errorf("loop %s: %w", loop, err)
	}
	return res, nil
}

// awaitApplied waits until this coordinator has applied what it proposed, so that the next pass sees it.
func awaitApplied(ctx context.Context, s *state.State, res *tandemv1.Result) error {
	return s.Wait(ctx, res.GetIndex()-1)
}

// sleep waits after a decision was refused, so that decider and state machine cannot keep each other busy
// should they ever disagree.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// anyRefused tells whether a command, or a part of it, was refused.
func anyRefused(res *tandemv1.Result) bool {
	return res.GetRefusal() != 0 || slices.ContainsFunc(res.GetPartWhys(), func(why *tandemv1.Reason) bool { return why.GetCode() != 0 })
}
