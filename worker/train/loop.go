package train

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/metric"
)

// Outcome says how Train ended without an error.
type Outcome int

// The outcomes.
const (
	Finished  Outcome = iota + 1 // all steps are done
	Stopped                      // stopped at a step boundary with a checkpoint, as asked or since the plan says so
	Regrouped                    // let go of the group at a step boundary, as asked
)

// Generation is a process group as one of its ranks sees it.
type Generation struct {
	Number      int64
	Rank, World int
	Group       Group // nil for a single process
	Relay       bool  // the state is only handed on: no step is done
}

// Config of a Loop.
type Config struct {
	Plan Plan
}

// Deps of a Loop.
type Deps struct {
	Trainer     Trainer
	Batches     Batches // of the training split
	Validation  Rows    // may be none: then nothing is evaluated
	Checkpoints Checkpoints
	Reporter    Reporter
	Abort       func(why string) // ends what waits in the present group; any goroutine
	Ledger      Ledger           // nil: none is kept
	Record      *Recorder        // of where the time goes; nil: none is kept
	Now         func() time.Time
	Log         zerolog.Logger
}

// Loop trains. It outlives process groups: Join and Train are called for each, and what was
// done stays. Stop and Move may be called by any goroutine.
type Loop struct {
	Config
	Deps
	meter meter

	stop, move atomic.Bool // asked of this rank, in this group

	gen   Generation
	state *State // nil: this rank has none yet
	torn  bool   // the tensors are those of two states
	warm  bool   // this process has done a step
	saved int64  // step of the newest checkpoint; -1: none
	pace  pace
	sum   agreement
	met   time.Time     // when the ranks last met in a collective
	hung  time.Duration // that the last guarded call waited for a rank that did not answer; 0: all did
	first int           // steps of the group that may take long, for some process is new
	check int64         // step at which the ranks last compared their states

	stragglers Stragglers

	retried bool // the step is done a second time, for its gradient was not finite
}

// New makes a loop without a group.
func New(c Config, d Deps) *Loop {
	return &Loop{Config: c, Deps: d, meter: meter{total: c.Plan.Total}, saved: -1}
}

// Stop asks the ranks to stop at a step boundary with a checkpoint.
func (l *Loop) Stop() { l.stop.Store(true) }

// Move asks the ranks to let go of the group at a step boundary.
func (l *Loop) Move() { l.move.Store(true) }

// Step returns the optimizer steps done.
func (l *Loop) Step() int64 {
	if l.state == nil {
		return 0
	}
	return l.state.Step
}

// Forget makes this rank one that has no state. When all do, the next group begins where the
// checkpoints left off. The goroutine that joins and trains calls it.
func (l *Loop) Forget() { l.state, l.torn = nil, true }

// Join takes the loop into a group, in which all ranks then have the state of the one who is
// furthest, or that of the checkpoint to resume from. It returns the steps done.
func (l *Loop) Join(ctx context.Context, g Generation) (int64, error) {
	if g.Rank < 0 || g.Rank >= g.World {
		return 0, fmt.Errorf("rank %d of %d ranks", g.Rank, g.World)
	}
	if g.Group == nil {
		if g.World != 1 {
			return 0, fmt.Errorf("%d ranks without a process group", g.World)
		}
		g.Group = alone{}
	}
	l.gen = g
	l.Record.Join(g.Number, g.Rank, g.World, l.Now())
	l.stop.Store(false)
	l.move.Store(false)
	l.met, l.hung, l.first = l.Now(), 0, 0
	if err := l.equalize(ctx); err != nil {
		return 0, err
	}
	if err := l.Checkpoints.Reserve(l.Trainer); err != nil {
		return 0, fmt.Errorf("make ready for checkpoints: %w", err)
	}
	st, now := l.state, l.Now()
	l.Record.Restored(st.Step)
	l.Record.Enter(metric.Other, now)
	l.meter.step, l.meter.since = st.Step, now
	l.show(*st, phaseStarting)
	l.pace = pace{every: 1, last: st.Step, begin: now}
	l.sum, l.check, l.stragglers = agreement{}, st.Step, Stragglers{}
	l.Batches.Seek(st.Cursor, g.Rank, g.World)
	l.Log.Info().Int64("gen", g.Number).Int64("step", st.Step).Int64("steps", l.Plan.Total).Int("rank", g.Rank).Int("world", g.World).Msg("training goes on")
	return st.Step, nil
}

// Train trains in the group that was joined: to the end, until the ranks stop or move as
// asked, or until the group breaks. It returns when the last checkpoint is committed.
func (l *Loop) Train(ctx context.Context) (Outcome, error) {
	if l.gen.Relay && l.state.Step < l.Plan.Until { // else there is nothing left to do but to end
		return l.relay(ctx)
	}
	for fresh := true; ; fresh = false {
		if err := ctx.Err(); err != nil {
			return 0, context.Cause(ctx)
		}
		st := l.state

		// After each step: agree with the others, evaluate, keep; leave or end, if it is time to. Before the first one too: a
		// group that is only to stop, and may be too small to go on, does no step.
		if fresh || !st.Looked {
			outcome, err := l.afterStep(ctx, fresh)
			if outcome != 0 || err != nil {
				return outcome, err
			}
		}
		switch {
		case st.Step == l.Plan.Total:
			return Finished, l.awaitCommit(ctx)
		case st.Step >= l.Plan.Until:
			return Stopped, l.awaitCommit(ctx)
		}

		// This rank's share of the global batch, which may be empty.
		begin := l.Now()
		piece, err := l.Batches.Next(ctx, func() { l.show(*st, PhaseStorage) })
		if err != nil {
			return 0, fmt.Errorf("data of step %d: %w", st.Step+1, err)
		}
		if st.Step+1 == st.SkipStep {
			*st = st.after(piece.Next)
			continue
		}

		// Forward, loss, backward with the average over ranks, clip, update.
		res, err := l.step(StepInput{
			Batch:        piece.Batch,
			LossScale:    float64(l.gen.World) / float64(piece.Global),
			MicroBatches: l.Plan.MicroBatches,
			LR:           l.Plan.Schedule.At(st.Step),
			Seed:         StepSeed(l.Plan.Seed, st.Step, l.gen.Rank),
		})
		end := l.Now()
		switch {
		case err != nil && !res.Applied:
			l.Record.Broken(StepTimes{Begin: begin, End: end, Data: piece.Wait}, l.hung)
		case !res.Applied:
			l.Record.Abandon(end)
		}
		if err == nil && !res.Finite {
			if err := l.notFinite(ctx, res, piece.Next); err != nil {
				return 0, err
			}
			continue
		}
		if res.Applied {
			l.sum.add(res, piece)
			l.Record.Step(StepTimes{
				Step: st.Step + 1, Begin: begin, End: end, Data: piece.Wait, Forward: res.Forward, Backward: res.Backward, Communication: res.Exposed,
				Optimizer: res.Optimizer, LossSum: res.LossSum, Norm: res.GradNorm, LR: l.Plan.Schedule.At(st.Step),
			})
			*st = st.after(piece.Next)
			if l.Ledger != nil {
				l.Ledger.Applied(l.gen.Number, st.Step, l.gen.Rank, l.gen.World, piece)
			}
		}
		if err != nil {
			return 0, fmt.Errorf("step %d: %w", st.Step+1, err)
		}
		l.retried, l.warm = false, true
		l.first = max(0, l.first-1)
	}
}

// step does one step of the trainer, under the deadline that a hung rank is found by.
func (l *Loop) step(in StepInput) (res StepResult, err error) {
	if l.gen.World == 1 {
		return l.Trainer.Step(in)
	}
	err = l.guard(l.patience(), func() (err error) {
		res, err = l.Trainer.Step(in)
		return err
	})
	return res, err
}

// allReduce adds values up over the ranks, under the deadline too.
func (l *Loop) allReduce(v []float64) error {
	if l.gen.World == 1 {
		return nil
	}
	begin := l.Now()
	err := l.guard(l.patience(), func() error { return l.gen.Group.AllReduceSum(v) })
	if err != nil {
		l.Record.Stranded(begin, l.Now())
	}
	return err
}

// report tells the coordinator.
func (l *Loop) report(ctx context.Context, r *tandemv1.EngineReport) error {
	return l.Reporter.Report(ctx, r)
}

// note puts a line into the job's events.
func (l *Loop) note(ctx context.Context, warning bool, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	l.Log.WithLevel(levelOf(warning)).Int64("step", l.Step()).Msg(message)
	return l.report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Note{Note: &tandemv1.EngineNote{Message: message, Warning: warning}}})
}

func levelOf(warning bool) zerolog.Level {
	if warning {
		return zerolog.WarnLevel
	}
	return zerolog.InfoLevel
}

// show sends progress, at most about twice a second.
func (l *Loop) show(st State, phase string) {
	if phase == PhaseStorage {
		l.Record.Enter(metric.Storage, l.Now())
	}
	if l.gen.Rank != 0 {
		return
	}
	lr := l.Plan.Schedule.At(min(st.Step, l.Plan.Total-1))
	if p := l.meter.progress(st, st.Cursor.Epochs(l.Plan.Rows), lr, phase, l.Now()); p != nil {
		p.StepTime = l.Record.stepTime()
		l.Reporter.Progress(p)
	}
}

// alone is the group of a single process.
type alone struct{}

func (alone) AllReduceSum([]float64) error { return nil }

func (alone) Waiting() time.Duration { return 0 }

func (alone) Broadcast(_ int, b []byte) ([]byte, error) { return b, nil }
