package train

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/metric"
)

// Replay is a stretch of a training that is done again from a checkpoint.
type Replay struct {
	Step       int64 // steps done at the checkpoint
	Last       int64 // steps done at the end
	Asked      int64 // steps that were to be done; more than there are where the training ends before
	Generation int64 // that wrote the checkpoint
	World      int   // its ranks
}

// figures are those of rank 0 at a step: the sum of the loss over its rows, and the norm of the gradient of all.
type figures struct{ loss, norm float64 }

// Compare compares the steps as they were recorded then with those that were done again, bit for bit, from the first one on
// up to the first that was not recorded. Segments are of kind Steps. It is the same only if at least one step was compared.
func (r Replay) Compare(then, now []metric.Segment) *tandemv1.ReplayOutcome {
	recorded, done := r.followed(then), map[int64]figures{}
	for _, s := range now {
		r.take(done, s)
	}
	var same int64
	for step := r.Step + 1; step <= r.Last; step++ {
		was, known := recorded[step]
		is, again := done[step]
		switch {
		case !known && !again: // its batch was skipped then and now
		case !known:
			return r.outcome(same)
		case !again || !sameBits(was.loss, is.loss) || !sameBits(was.norm, is.norm):
			return &tandemv1.ReplayOutcome{Steps: same, Message: r.difference(step, same, was, is, again)}
		default:
			same++
		}
	}
	return r.outcome(same)
}

// followed returns the recorded steps that came of the checkpoint: those of the generation that wrote it and of those right
// after it, up to the first with another number of ranks. Of a step that was done more than once the newest counts.
func (r Replay) followed(then []metric.Segment) map[int64]figures {
	then = slices.SortedFunc(slices.Values(then), func(a, b metric.Segment) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Seq, b.Seq))
	})
	recorded := map[int64]figures{}
	reached := r.Generation
	for _, s := range then {
		switch {
		case s.Generation < r.Generation:
			continue
		case s.Generation > reached+1 || s.World != r.World:
			return recorded // what happened there, or in between, is not what is done again
		}
		reached = s.Generation
		r.take(recorded, s)
	}
	return recorded
}

// take puts the figures of a segment to those of the others.
func (r Replay) take(into map[int64]figures, s metric.Segment) {
	for _, run := range s.Runs {
		for i := range run.Loss {
			if step := run.First + int64(i); s.Rank == 0 && step > r.Step && step <= r.Last {
				into[step] = figures{run.Loss[i], run.Norm[i]}
			}
		}
	}
}

// outcome is that of steps none of which differs.
func (r Replay) outcome(same int64) *tandemv1.ReplayOutcome {
	if r.Last <= r.Step {
		return &tandemv1.ReplayOutcome{Message: fmt.Sprintf("Nothing was compared: the training ends at step %d, which is that of this checkpoint. Take an earlier one; tandem checkpoint list shows those there are.", r.Step)}
	}
	if same == 0 {
		return &tandemv1.ReplayOutcome{Message: fmt.Sprintf("Nothing was compared: there is no record of step %d as it was done after this checkpoint with a world size of %d. "+
			"It was lost in a fault, or is not written yet (a job that trains writes its records every half minute or sooner), or the job went on with another number of workers, or no further.", r.Step+1, r.World)}
	}
	compared, ends := steps(same), ""
	if r.Asked > r.Last-r.Step {
		compared, ends = fmt.Sprintf("%d of %s", same, steps(r.Asked)), fmt.Sprintf(" The training ends at step %d.", r.Last)
	}
	message := fmt.Sprintf("%s from step %d gave the same bits as then.%s", compared, r.Step, ends)
	if last := r.Step + same; last < r.Last {
		message += fmt.Sprintf(" Not all up to step %d were compared: not all are recorded as done after this checkpoint with a world size of %d.", r.Last, r.World)
	}
	return &tandemv1.ReplayOutcome{Same: true, Steps: same, Message: message}
}

// difference names the first step that differs, for people.
func (r Replay) difference(step, same int64, was, is figures, again bool) string {
	what := fmt.Sprintf("gradient norm %v now, %v then; loss summed over the rows of rank 0 %v now, %v then", is.norm, was.norm, is.loss, was.loss)
	if !again {
		what = "it was left out now, for its gradient was not finite"
	}
	return fmt.Sprintf("Step %d differs from what the training did then: %s. %s before it gave the same bits. Likely causes: another libtorch, another kind of machine or device, "+
		"another number of threads of a worker, or hardware that fails.", step, what, steps(same))
}

func steps(n int64) string {
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}

// sameBits compares two numbers; what is not finite is recorded as NaN.
func sameBits(a, b float64) bool {
	if math.IsInf(a, 0) || math.IsNaN(a) {
		return math.IsInf(b, 0) || math.IsNaN(b)
	}
	return math.Float64bits(a) == math.Float64bits(b)
}
