package train

import (
	"context"
	"fmt"

	"tandem.dev/worker/data"
)

// skipLimit is how many batches in a row may be skipped before the training ends.
const skipLimit = 3

// notFinite decides what comes after a step whose gradient was not finite; the step was not
// applied. It is done once more, for a device may fail once. Then the batch is skipped: the
// state before the step is the last good one, unless it has numbers itself that are not
// finite; then the last checkpoint is. All ranks see the same gradient and decide alike.
func (l *Loop) notFinite(ctx context.Context, res StepResult, next data.Cursor) error {
	st := l.state
	step := st.Step + 1
	l.sum = agreement{}
	if !l.retried {
		l.retried = true
		l.Batches.Seek(st.Cursor, l.gen.Rank, l.gen.World)
		if l.gen.Rank != 0 {
			return nil
		}
		return l.note(ctx, true, "at step %d the gradient is not finite (norm %v); the step was not applied and is done once more", step, res.GradNorm)
	}
	l.retried = false
	if st.Skipped+1 >= skipLimit {
		return l.diverged(step, l.Plan.Schedule.At(st.Step), "gradient",
			fmt.Sprintf("gradient norm %v, loss over the rows of this rank %v, %d batches in a row", res.GradNorm, res.LossSum, skipLimit))
	}
	sound, err := l.Trainer.Finite()
	if err != nil {
		return fmt.Errorf("look for numbers that are not finite: %w", err)
	}
	if l.gen.Rank == 0 {
		from := "the batch is skipped"
		if !sound {
			from = "the state is not finite either: going back to the last checkpoint"
		}
		if err := l.note(ctx, true, "at step %d the gradient is not finite (norm %v) for the second time; %s", step, res.GradNorm, from); err != nil {
			return err
		}
	}
	if sound {
		skipped := st.Skipped + 1
		*st = st.after(next)
		st.Skipped = skipped
		return nil
	}
	rollbacks := st.Rollbacks + 1
	if rollbacks >= skipLimit {
		return l.diverged(step, l.Plan.Schedule.At(st.Step), "state", fmt.Sprintf("rollback %d since the last good start", rollbacks))
	}
	l.state = nil
	if err := l.restore(ctx); err != nil {
		return err
	}
	if l.state.Step == 0 {
		return l.diverged(step, l.Plan.Schedule.At(step-1), "state", "and there is no checkpoint to go back to")
	}
	l.state.SkipStep, l.state.Rollbacks = step, rollbacks
	l.pace = pace{every: 1, last: l.state.Step, begin: l.Now()}
	l.check = l.state.Step
	l.Batches.Seek(l.state.Cursor, l.gen.Rank, l.gen.World)
	return nil
}
