package metrics

import (
	"maps"
	"math"
	"slices"

	"tandem.dev/storage/metric"
)

// Names of the series that have each step exactly. They are computed when they are asked for by name.
const (
	StepLoss = "step.loss"      // mean over the rows of the step's batch, before its update
	StepNorm = "step.grad_norm" // of the average gradient, before clipping
)

// ComputeSteps returns the exact figures of each step. A step that was done again counts as it was done last; one of which a rank's record
// is missing is left out. rows is how many rows the batch of a step has. The time of a step is that at which its segment began.
func ComputeSteps(segments []metric.Segment, rows func(step int64) int64) []Series {
	done := map[int64]exact{}
	for _, s := range segments {
		if s.Rank < 0 || s.World < 1 {
			continue
		}
		for _, run := range s.Runs {
			for i, loss := range run.Loss {
				step := run.First + int64(i)
				now := done[step]
				if s.Generation > now.generation {
					now = exact{generation: s.Generation}
				} else if s.Generation < now.generation {
					continue
				}
				now.loss += loss
				now.ranks++
				now.world, now.time = s.World, max(now.time, s.Begin)
				if i < len(run.Norm) {
					now.norm = run.Norm[i] // the same on each rank
				}
				done[step] = now
			}
		}
	}
	loss, norm := Series{Name: StepLoss}, Series{Name: StepNorm}
	for _, step := range slices.Sorted(maps.Keys(done)) {
		e := done[step]
		n := rows(step)
		if e.ranks != e.world || n < 1 {
			continue
		}
		if value := e.loss / float64(n); !math.IsNaN(value) {
			loss.Points = append(loss.Points, Point{Step: step, Time: e.time, Value: value})
		}
		if !math.IsNaN(e.norm) {
			norm.Points = append(norm.Points, Point{Step: step, Time: e.time, Value: e.norm})
		}
	}
	return []Series{loss, norm}
}

// exact are the figures of one step, of all ranks that told of it in one generation.
type exact struct {
	generation   int64
	ranks, world int
	time         int64
	loss, norm   float64
}

// RowsOfStep says how many rows the batch of a step has: the last one of an epoch has those that are left.
func RowsOfStep(rows, batch int64) func(step int64) int64 {
	return func(step int64) int64 {
		if rows < 1 || batch < 1 || step < 1 {
			return 0
		}
		perEpoch := (rows + batch - 1) / batch
		return min(batch, rows-(step-1)%perEpoch*batch)
	}
}
