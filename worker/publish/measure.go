package publish

import (
	"fmt"
	"math"

	"tandem.dev/storage/version"
	"tandem.dev/worker/data"
	"tandem.dev/worker/train"
)

// measure evaluates the model on the raw rows of a split.
func measure(m version.Model, man version.Manifest, split *data.Split, batch int) (map[string]float64, error) {
	var totals train.Totals
	dim := man.Dim()
	for lo := 0; lo < split.Rows; lo += batch {
		hi := min(lo+batch, split.Rows)
		out, err := version.Answer(m, man, split.Raw[lo*dim:hi*dim], hi-lo)
		if err != nil {
			return nil, fmt.Errorf("evaluate split %s: %w", split.Name, err)
		}
		if man.HasClasses() {
			totals.Add(classified(out, split.Batch.Slice(lo, hi).Labels, man.Classes, hi-lo))
		} else {
			totals.Add(regressed(out, split.Targets[lo:hi]))
		}
	}
	loss := train.MSE
	if man.HasClasses() {
		loss = train.CrossEntropy
	}
	return totals.Metrics(loss), nil
}

// classified sums the cross-entropy, computed stably in float64, of outputs of shape
// [rows, classes, labels of a row].
func classified(out []float32, labels []int64, classes, rows int) train.Totals {
	t := train.Totals{Rows: float64(rows), Elements: float64(len(labels))}
	places := len(labels) / rows
	for i, y := range labels {
		first := i/places*classes*places + i%places // the score of class c is places further for each class
		best := 0
		for c := range classes {
			if out[first+c*places] > out[first+best*places] {
				best = c
			}
		}
		top, sum := float64(out[first+best*places]), 0.0
		for c := range classes {
			sum += math.Exp(float64(out[first+c*places]) - top)
		}
		t.LossSum += (top + math.Log(sum) - float64(out[first+int(y)*places])) / float64(places)
		if int64(best) == y {
			t.Correct++
		}
	}
	return t
}

func regressed(out, targets []float32) train.Totals {
	t := train.Totals{Rows: float64(len(targets)), Elements: float64(len(targets))}
	for i, want := range targets {
		d := float64(out[i]) - float64(want)
		t.SquaredErrorSum += d * d
		t.AbsErrorSum += math.Abs(d)
	}
	t.LossSum = t.SquaredErrorSum
	return t
}
