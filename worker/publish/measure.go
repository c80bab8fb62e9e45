package publish

import (
	"fmt"
	"math"

	"tandem.dev/worker/data"
	"tandem.dev/worker/train"
)

// measure evaluates the model on the raw rows of a split.
func measure(m Model, man Manifest, split *data.Split, batch int) (map[string]float64, error) {
	var totals train.Totals
	dim := man.Dim()
	for lo := 0; lo < split.Rows; lo += batch {
		hi := min(lo+batch, split.Rows)
		out, err := Answer(m, man, split.Raw[lo*dim:hi*dim], hi-lo)
		if err != nil {
			return nil, fmt.Errorf("evaluate split %s: %w", split.Name, err)
		}
		if isClassifier(man) {
			totals.Add(classified(out, split.Labels[lo:hi], man.Classes))
		} else {
			totals.Add(regressed(out, split.Targets[lo:hi]))
		}
	}
	loss := train.MSE
	if isClassifier(man) {
		loss = train.CrossEntropy
	}
	return totals.Metrics(loss), nil
}

// classified sums the cross-entropy, computed stably in float64.
func classified(out []float32, labels []int64, classes int) train.Totals {
	t := train.Totals{Rows: float64(len(labels))}
	for i, y := range labels {
		row := out[i*classes : (i+1)*classes]
		best := Argmax(row)
		top, sum := float64(row[best]), 0.0
		for _, v := range row {
			sum += math.Exp(float64(v) - top)
		}
		t.LossSum += top + math.Log(sum) - float64(row[y])
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
