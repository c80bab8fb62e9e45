package train

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
	"tandem.dev/worker/data"
)

// Outcome says how a training ended without an error.
type Outcome int

// The outcomes.
const (
	Finished Outcome = iota + 1 // all steps are done
	Stopped                     // stopped at a step boundary with a checkpoint, as asked
)

// Config of a Loop.
type Config struct {
	Plan        Plan
	Rank, World int // place in the process group, and its size; 0 and 1 for a single process
}

// Deps of a Loop.
type Deps struct {
	Trainer     Trainer
	Batches     Batches // of the training split
	Validation  Rows    // may be none: then nothing is evaluated
	Group       Group   // nil for a single process
	Checkpoints Checkpoints
	Reporter    Reporter
	Stop        <-chan struct{} // closed when this rank is asked to stop with a checkpoint
	Now         func() time.Time
	Log         zerolog.Logger
}

// Loop trains.
type Loop struct {
	Config
	Deps
	meter meter
	saved int64 // step of the newest checkpoint; -1: none
	step  int64 // optimizer steps done when Run returned
}

// New makes a loop that begins where the checkpoints left off.
func New(c Config, d Deps) (*Loop, error) {
	if c.Rank < 0 || c.Rank >= c.World {
		return nil, fmt.Errorf("rank %d of %d ranks", c.Rank, c.World)
	}
	if d.Group == nil {
		if c.World != 1 {
			return nil, fmt.Errorf("%d ranks without a process group", c.World)
		}
		d.Group = alone{}
	}
	return &Loop{Config: c, Deps: d, meter: meter{total: c.Plan.Total}, saved: -1}, nil
}

// Run trains to the end, or until it is asked to stop. It returns when the last checkpoint
// is committed.
func (l *Loop) Run(ctx context.Context) (Outcome, error) {
	st, err := l.restore(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { l.step = st.Step }()
	ready := &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: l.Plan.Total}}}
	if err := l.Reporter.Report(ctx, ready); err != nil {
		return 0, err
	}
	l.Log.Info().Int64("step", st.Step).Int64("steps", l.Plan.Total).Int("world", l.World).Msg("training begins")

	now := l.Now()
	l.meter.step, l.meter.since = st.Step, now
	l.show(st, phaseStarting)
	beat := pulse{every: 1, last: st.Step, begin: now}
	l.Batches.Seek(st.Cursor, l.Rank, l.World)
	var sum agreement
	for st.Step < l.Plan.Total {
		if err := ctx.Err(); err != nil {
			return 0, err
		}

		// This rank's share of the global batch, which may be empty.
		piece, err := l.Batches.Next(ctx, func() { l.show(st, PhaseStorage) })
		if err != nil {
			return 0, fmt.Errorf("data of step %d: %w", st.Step+1, err)
		}

		// Forward, loss, backward with the average over ranks, clip, update.
		lr := l.Plan.Schedule.At(st.Step)
		res, err := l.Trainer.Step(StepInput{
			Batch:        piece.Batch,
			LossScale:    float64(l.World) / float64(piece.Global),
			MicroBatches: l.Plan.MicroBatches,
			LR:           lr,
			Seed:         StepSeed(l.Plan.Seed, st.Step, l.Rank),
		})
		if err != nil {
			return 0, fmt.Errorf("step %d: %w", st.Step+1, err)
		}
		if !res.Finite {
			return 0, diverged(st.Step+1, lr, "gradient", fmt.Sprintf("gradient norm %v, loss over the rows of this rank %v", res.GradNorm, res.LossSum))
		}
		sum.lossSum += res.LossSum
		sum.rows += float64(piece.Rows)
		st = State{Step: st.Step + 1, Cursor: piece.Next, Best: st.Best}

		// Agree with the other ranks, now and then, and before a state is judged or kept.
		stop := false
		evaluate := l.Plan.evaluateAfter(st)
		keep := evaluate || l.Plan.checkpointAfter(st)
		if keep || beat.due(st.Step) {
			every, stopping, err := l.sync(&sum, st.Step, beat.propose(st.Step, l.Now()))
			if err != nil {
				return 0, fmt.Errorf("sync at step %d: %w", st.Step, err)
			}
			stop = stopping && st.Step < l.Plan.Total
			l.show(st, phaseTraining)
			beat.beat(st.Step, every, l.Now())
		}

		// Look at the validation split and keep the state where the plan says so.
		pause := l.Now()
		if evaluate && l.Validation.Len() > 0 {
			if err := l.evaluate(ctx, &st); err != nil {
				return 0, fmt.Errorf("evaluate at step %d: %w", st.Step, err)
			}
		}
		if keep || stop {
			if err := l.save(ctx, st, stop); err != nil {
				return 0, fmt.Errorf("checkpoint at step %d: %w", st.Step, err)
			}
		}
		// The beat is of steps: the time of an evaluation is none of them.
		beat.begin = beat.begin.Add(l.Now().Sub(pause))

		if stop {
			l.Log.Info().Int64("step", st.Step).Msg("stopping as asked")
			return Stopped, l.settle(ctx, st)
		}
	}
	return Finished, l.settle(ctx, st)
}

// restore puts the trainer where the checkpoints left off and returns its state.
func (l *Loop) restore(ctx context.Context) (State, error) {
	m, tensors, err := l.Checkpoints.Restore(ctx, func() { l.show(State{}, PhaseStorage) })
	if m == nil || err != nil {
		return State{}, err
	}
	if err := l.Trainer.LoadState(tensors); err != nil {
		return State{}, fmt.Errorf("restore checkpoint of step %d: %w", m.Step, err)
	}
	l.saved = m.Step
	return stateOf(*m), nil
}

// Step returns the optimizer steps that were done when Run returned.
func (l *Loop) Step() int64 { return l.step }

// sync is the one collective besides that of the gradients. What any rank was told, all
// ranks know after it, at the same step; so all of them end when the loss of any is not
// finite, which a finite gradient does not rule out.
func (l *Loop) sync(sum *agreement, step, propose int64) (every int64, stop bool, err error) {
	select {
	case <-l.Stop:
		sum.stops = 1
	default:
	}
	if l.Rank == 0 {
		sum.every = float64(propose)
	}
	if l.Checkpoints.Busy() {
		sum.busy = 1
	}
	v := sum.vector()
	if err := l.Group.AllReduceSum(v); err != nil {
		return 0, false, err
	}
	all := agreementOf(v)
	if math.IsNaN(all.lossSum) || math.IsInf(all.lossSum, 0) {
		return 0, false, diverged(step, l.Plan.Schedule.At(step-1), "loss", fmt.Sprintf("loss %v, gradient finite", all.lossSum))
	}
	if all.busy == 0 {
		l.Checkpoints.Free()
	}
	l.meter.add(all.lossSum, all.rows)
	*sum = agreement{}
	return int64(all.every), all.stops > 0, nil
}

// evaluate measures the validation split, each rank its share, and reports it.
func (l *Loop) evaluate(ctx context.Context, st *State) error {
	l.show(*st, phaseEvaluating)
	var totals Totals
	lo, hi := data.Share(l.Validation.Len(), l.Rank, l.World)
	for at := lo; at < hi; at += l.Plan.EvaluateBatch {
		batch, err := l.Validation.Read(ctx, at, min(at+l.Plan.EvaluateBatch, hi), func() { l.show(*st, PhaseStorage) })
		if err != nil {
			return err
		}
		t, err := l.Trainer.Evaluate(batch)
		if err != nil {
			return err
		}
		totals.Add(t)
	}
	v := totals.vector()
	if err := l.Group.AllReduceSum(v); err != nil {
		return err
	}
	metrics := totalsOf(v).Metrics(l.Plan.Loss)
	if !finite(metrics) {
		return permanentf("the validation loss is not finite (%v), the training loss up to here was; look for extreme values in the validation split, or lower training.optimizer.lr", metrics)
	}
	st.Metrics = metrics
	if value := metrics[l.Plan.Metric]; st.Best == nil || l.Plan.Better(value, st.Best.Value) {
		st.Best = &ckpt.Best{Metric: l.Plan.Metric, Value: value, Step: st.Step}
	}
	if l.Rank != 0 {
		return nil
	}
	l.Log.Info().Int64("step", st.Step).Any("metrics", metrics).Msg("evaluated")
	return l.Reporter.Report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Evaluation{Evaluation: &tandemv1.Evaluation{
		Step: st.Step, Epoch: st.Cursor.Epochs(l.Plan.Rows), Metrics: metrics, Time: timestamppb.New(l.Now()),
	}}})
}

// save has the state written while training goes on, by each rank its share.
func (l *Loop) save(ctx context.Context, st State, stop bool) error {
	if l.saved == st.Step {
		return nil
	}
	m := st.manifest()
	m.Seed, m.WorldSize = l.Plan.Seed, l.World
	l.saved = st.Step
	return l.Checkpoints.Save(ctx, m, l.Trainer, stop || st.Step == l.Plan.Total)
}

// settle waits until the last checkpoint is committed.
func (l *Loop) settle(ctx context.Context, st State) error {
	l.show(st, phaseSaving)
	if err := l.Checkpoints.Wait(ctx, func() { l.show(st, PhaseStorage) }); err != nil {
		return fmt.Errorf("keep the checkpoint of step %d: %w", st.Step, err)
	}
	return nil
}

// show sends progress, at most about twice a second.
func (l *Loop) show(st State, phase string) {
	if l.Rank != 0 {
		return
	}
	lr := l.Plan.Schedule.At(min(st.Step, l.Plan.Total-1))
	if p := l.meter.progress(st, st.Cursor.Epochs(l.Plan.Rows), lr, phase, l.Now()); p != nil {
		l.Reporter.Progress(p)
	}
}

// diverged explains why a training whose gradient or loss is not finite has to end.
func diverged(step int64, lr float64, what, facts string) error {
	return permanentf("training diverged: at step %d the %s is no longer finite (%s, learning rate %g). "+
		"The last checkpoint is sound. Try a lower training.optimizer.lr, training.schedule.warmup_steps, or training.clip_norm; "+
		"if it happens in the first steps, look for extreme values in the data and normalise it", step, what, facts, lr)
}

// alone is the group of a single process.
type alone struct{}

func (alone) AllReduceSum([]float64) error { return nil }
