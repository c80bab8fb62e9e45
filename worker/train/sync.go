package train

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/metric"
	"tandem.dev/worker/data"
)

// compareEvery is how many steps lie between two comparisons of the ranks' states, at least.
const compareEvery = 100

// afterStep does what comes after a step: the ranks agree, now and then, and before a state is
// judged or kept, and when a group begins. An outcome other than 0 ends the training in this
// group.
func (l *Loop) afterStep(ctx context.Context, begins bool) (Outcome, error) {
	st := l.state
	evaluate := !st.Looked && l.Plan.evaluateAfter(*st)
	keep := evaluate || !st.Looked && l.Plan.checkpointAfter(*st)
	var asked votes
	if keep || begins || l.pace.due(st.Step) {
		every := l.pace.propose(st.Step, l.Now())
		var err error
		l.Record.Enter(metric.Communication, l.Now())
		if asked, err = l.sync(ctx, every, keep); err != nil {
			return 0, fmt.Errorf("sync at step %d: %w", st.Step, err)
		}
		if begins {
			if err := l.formed(ctx); err != nil {
				return 0, err
			}
		}
		l.show(*st, phaseTraining)
		l.pace.synced(st.Step, asked.every, l.Now())
	}

	pause := l.Now()
	if evaluate && l.Validation.Len() > 0 {
		if err := l.evaluate(ctx, st); err != nil {
			return 0, fmt.Errorf("evaluate at step %d: %w", st.Step, err)
		}
	}
	stop := asked.stop && st.Step < l.Plan.Until
	if keep || stop {
		l.Record.Enter(metric.Checkpoint, l.Now())
		if err := l.save(ctx, *st, stop); err != nil {
			return 0, fmt.Errorf("checkpoint at step %d: %w", st.Step, err)
		}
	}
	st.Looked = true
	// The beat is of steps: the time of an evaluation is none of them.
	now := l.Now()
	l.pace.begin = l.pace.begin.Add(now.Sub(pause))
	if keep || stop {
		l.Record.Enter(metric.Other, now)
	}

	switch {
	case stop:
		l.Log.Info().Int64("step", st.Step).Msg("stopping as asked")
		return Stopped, l.awaitCommit(ctx)
	case asked.move:
		l.Log.Info().Int64("step", st.Step).Msg("going over to another process group")
		return Regrouped, nil
	}
	return 0, nil
}

// formed says that the group trains: in the first sync all ranks were there, with one state.
func (l *Loop) formed(ctx context.Context) error {
	if l.gen.Rank != 0 {
		return nil
	}
	return l.report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Formed{Formed: &tandemv1.GroupFormed{Step: l.state.Step}}})
}

// votes is what the ranks agreed on.
type votes struct {
	every      int64 // steps to the next sync
	stop, move bool
}

// sync is the one collective besides that of the gradients. What any rank was told, all
// ranks know after it, at the same step; so all of them end when the loss of any is not
// finite, which a finite gradient does not rule out.
func (l *Loop) sync(ctx context.Context, propose int64, keep bool) (votes, error) {
	step := l.state.Step
	mine := l.sum
	if l.stop.Load() {
		mine.stops = 1
	}
	if l.move.Load() {
		mine.moves = 1
	}
	if l.gen.Rank == 0 {
		mine.every = float64(propose)
	}
	if l.Checkpoints.Busy() {
		mine.busy = 1
	}
	compare := l.gen.World > 1 && (keep || step-l.check >= compareEvery)
	if compare {
		fingerprint, err := l.Trainer.Fingerprint()
		if err != nil {
			return votes{}, fmt.Errorf("hash the state: %w", err)
		}
		mine.high, mine.low = []float64{float64(fingerprint >> 32)}, []float64{float64(fingerprint & 0xffffffff)}
	}
	v := mine.vector(l.gen.Rank, l.gen.World)
	if err := l.allReduce(v); err != nil {
		return votes{}, err
	}
	all := agreementOf(v, l.gen.World)
	l.sum = agreement{}
	if compare {
		l.check = step
		if err := l.compare(ctx, all); err != nil {
			return votes{}, err
		}
	}
	if math.IsNaN(all.lossSum) || math.IsInf(all.lossSum, 0) {
		return votes{}, l.diverged(step, l.Plan.Schedule.At(step-1), "loss", fmt.Sprintf("loss %v, gradient finite", all.lossSum))
	}
	if all.busy == 0 {
		l.Checkpoints.Free()
	}
	if err := l.straggle(ctx, all.spent, step-l.pace.last); err != nil {
		return votes{}, err
	}
	l.meter.add(all.lossSum, all.rows)
	l.Record.Enter(metric.Other, l.Now())
	l.Record.Sync(l.state.Cursor.Epochs(l.Plan.Rows), all.lossSum, all.rows)
	return votes{int64(all.every), all.stops > 0, all.moves > 0}, nil
}

// straggle names the ranks that all others wait for, and those that they do no longer wait for.
func (l *Loop) straggle(ctx context.Context, spent []float64, steps int64) error {
	for _, c := range l.stragglers.Observe(spent, steps) {
		if l.gen.Rank != 0 {
			continue
		}
		text := "rank %d keeps up with the others again"
		args := []any{c.Rank}
		if c.Slow {
			text = "rank %d is a straggler: it computes %.1f times as long as the median rank, and all wait for it; look for other work, heat or a failing device on its node"
			args = append(args, c.Ratio)
		}
		if err := l.note(ctx, c.Slow, text, args...); err != nil {
			return err
		}
	}
	return nil
}

// compare looks for ranks whose state is another than that of most. Such a rank ends, and is
// replaced by one that takes over the state of the others. Where there is no majority nobody
// knows which state is right: all end, and go back to the last checkpoint, which was compared.
func (l *Loop) compare(ctx context.Context, all agreement) error {
	held := map[[2]float64]int{}
	for rank := range all.high {
		held[[2]float64{all.high[rank], all.low[rank]}]++
	}
	if len(held) == 1 {
		return nil
	}
	mine := held[[2]float64{all.high[l.gen.Rank], all.low[l.gen.Rank]}]
	if 2*mine > l.gen.World {
		var others []int
		for rank := range all.high {
			if held[[2]float64{all.high[rank], all.low[rank]}] != mine {
				others = append(others, rank)
			}
		}
		if l.gen.Rank == slices.Index(all.high, all.high[l.gen.Rank]) { // one of them says it
			if err := l.note(ctx, true, "at step %d the state of rank %v is not that of the others; it is replaced. Look for a faulty machine or device there", l.state.Step, others); err != nil {
				return err
			}
		}
		return fmt.Errorf("%w: rank %v holds another state", ErrPeerLost, others)
	}
	l.state, l.torn = nil, true
	return fmt.Errorf("at step %d the state of this rank is not that of the others (%d of %d ranks hold it): a fault of the machine, the device or the model's own code", l.check, mine, l.gen.World)
}

// evaluate measures the validation split, each rank its share, and reports it.
func (l *Loop) evaluate(ctx context.Context, st *State) error {
	l.show(*st, phaseEvaluating)
	l.Record.Enter(metric.Evaluate, l.Now())
	var totals Totals
	lo, hi := data.Share(l.Validation.Len(), l.gen.Rank, l.gen.World)
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
	if err := l.allReduce(v); err != nil {
		return err
	}
	metrics := totalsOf(v).Metrics(l.Plan.Loss)
	if !finite(metrics) {
		return permanentf("%w: the validation loss is not finite (%v), the training loss up to here was; look for extreme values in the validation split, or lower training.optimizer.lr", ErrDiverged, metrics)
	}
	st.Metrics = metrics
	if st.Best.Beaten(l.Plan.Order, metrics) {
		st.Best = l.Plan.Order.Best(st.Step, metrics)
	}
	if l.gen.Rank != 0 {
		return nil
	}
	l.Record.Evaluated(st.Step, st.Cursor.Epochs(l.Plan.Rows), metrics, l.Now())
	l.Log.Info().Int64("step", st.Step).Any("metrics", metrics).Msg("evaluated")
	return l.report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Evaluation{Evaluation: &tandemv1.Evaluation{
		Step: st.Step, Epoch: st.Cursor.Epochs(l.Plan.Rows), Metrics: metrics, Time: timestamppb.New(l.Now()),
	}}})
}

// save has the state written while training goes on, by each rank its share.
func (l *Loop) save(ctx context.Context, st State, stop bool) error {
	if l.saved == st.Step {
		return nil
	}
	m := st.manifest()
	m.Seed, m.WorldSize = l.Plan.Seed, l.gen.World
	l.saved = st.Step
	return l.Checkpoints.Save(ctx, m, l.Trainer, stop || st.Step >= l.Plan.Until)
}

// commitPoll is how often the ranks ask each other whether the last checkpoint is committed.
const commitPoll = 200 * time.Millisecond

// awaitCommit waits until the last checkpoint is committed, all ranks together: none ends, and
// takes its state with it, while another may still fail.
func (l *Loop) awaitCommit(ctx context.Context) error {
	l.show(*l.state, phaseSaving)
	l.Record.Enter(metric.Checkpoint, l.Now())
	waiting, cancel := context.WithCancel(ctx)
	done, away, ended := make(chan error, 1), make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		done <- l.Checkpoints.Wait(waiting, func() { away <- struct{}{} })
	}()
	defer func() { cancel(); <-ended }()
	return l.awaitCommitOf(ctx, done, away)
}

func (l *Loop) awaitCommitOf(ctx context.Context, done <-chan error, away <-chan struct{}) error {
	tick := time.NewTicker(commitPoll)
	defer tick.Stop()
	for pending := true; ; {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("keep the checkpoint of step %d: %w", l.state.Step, err)
			}
			pending, done = false, nil
		case <-away:
			l.show(*l.state, PhaseStorage)
			continue
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		open := []float64{0}
		if pending {
			open[0] = 1
		}
		if err := l.allReduce(open); err != nil {
			return fmt.Errorf("wait for the last checkpoint: %w", err)
		}
		if open[0] == 0 {
			return nil
		}
	}
}

// diverged explains why a training whose gradient or loss is not finite has to end.
func (l *Loop) diverged(step int64, lr float64, what, facts string) error {
	kept := "There is no checkpoint yet."
	if l.saved > 0 {
		kept = "The last checkpoint is sound."
	}
	return permanentf("%w: at step %d the %s is no longer finite (%s, learning rate %g). %s "+
		"Try a lower training.optimizer.lr, training.schedule.warmup_steps, or training.clip_norm; "+
		"if it happens in the first steps, look for extreme values in the data and normalise it", ErrDiverged, step, what, facts, lr, kept)
}
