package analysis

import (
	"maps"
	"math"
	"slices"

	"tandem.dev/storage/metric"
)

// Names of the series that have each step exactly. They are computed when they are asked for by name.
const (
	StepLoss = "step.loss"      // mean over the rows that rank 0 had of the step's batch, all with one worker, before its update
	StepNorm = "step.grad_norm" // of the average gradient of all ranks, before clipping
)

// ComputeSteps returns the exact figures of each step, which rank 0 records. A step that was done again counts as it was done last. rows is
// how many rows the batch of a step has. The time of a step is that at which its segment began.
func ComputeSteps(segments []metric.Segment, rows func(step int64) int64) []Series {
	done := map[int64]exact{}
	for _, s := range segments {
		if s.Rank != 0 || s.World < 1 {
			continue
		}
		for _, run := range s.Runs {
			for i, loss := range run.Loss {
				step := run.First + int64(i)
				if i >= len(run.Norm) || s.Generation < done[step].generation {
					continue
				}
				share := rows(step) / int64(s.World) // of rank 0
				done[step] = exact{generation: s.Generation, time: s.Begin, loss: loss / float64(share), norm: run.Norm[i]}
			}
		}
	}
	loss, norm := Series{Name: StepLoss}, Series{Name: StepNorm}
	for _, step := range slices.Sorted(maps.Keys(done)) {
		e := done[step]
		if !math.IsNaN(e.loss) && !math.IsInf(e.loss, 0) { // rank 0 had no row, or they are not known
			loss.Points = append(loss.Points, Point{Step: step, Time: e.time, Value: e.loss})
		}
		if !math.IsNaN(e.norm) {
			norm.Points = append(norm.Points, Point{Step: step, Time: e.time, Value: e.norm})
		}
	}
	return []Series{loss, norm}
}

// exact are the figures of one step.
type exact struct {
	generation, time int64
	loss, norm       float64
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
