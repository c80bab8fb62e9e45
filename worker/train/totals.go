package train

import "math"

// Totals are the sums over rows from which metrics are made. They add up over batches and
// over ranks.
type Totals struct {
	Rows            float64
	LossSum         float64 // each row counts its own loss; see Metrics
	Correct         float64 // labels whose class has the highest output
	SquaredErrorSum float64 // over all elements
	AbsErrorSum     float64 // over all elements
	Elements        float64 // labels or numbers compared
}

// Add adds the totals of other rows.
func (t *Totals) Add(o Totals) {
	t.Rows += o.Rows
	t.LossSum += o.LossSum
	t.Correct += o.Correct
	t.SquaredErrorSum += o.SquaredErrorSum
	t.AbsErrorSum += o.AbsErrorSum
	t.Elements += o.Elements
}

func (t *Totals) vector() []float64 {
	return []float64{t.Rows, t.LossSum, t.Correct, t.SquaredErrorSum, t.AbsErrorSum, t.Elements}
}

func totalsOf(v []float64) Totals { return Totals{v[0], v[1], v[2], v[3], v[4], v[5]} }

// Metrics returns the means: loss and accuracy with cross-entropy; loss, mse and mae with
// the squared error. It is nil for no rows.
func (t Totals) Metrics(loss string) map[string]float64 {
	if t.Rows == 0 {
		return nil
	}
	n := max(1, t.Elements)
	if loss == CrossEntropy {
		return map[string]float64{"loss": t.LossSum / t.Rows, "accuracy": t.Correct / n}
	}
	mse := t.SquaredErrorSum / n
	return map[string]float64{"loss": mse, "mse": mse, "mae": t.AbsErrorSum / n}
}

// finite tells whether all metrics are numbers; a checkpoint holds no others.
func finite(metrics map[string]float64) bool {
	for _, v := range metrics {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
