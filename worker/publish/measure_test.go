package publish

import (
	"math"
	"testing"
)

// Scores of a text lie class by class, not place by place.
func TestClassifiedAtEachPlace(t *testing.T) {
	const rows, classes, places = 2, 3, 2
	out := []float32{
		1, 5, // row 0, class 0 at both places
		2, 4,
		3, 3,
		9, 0,
		0, 0,
		0, 9,
	}
	labels := []int64{2, 1, 0, 2}
	got := classified(out, labels, classes, rows)
	loss := func(right float64, others ...float64) float64 {
		sum := math.Exp(right)
		for _, o := range others {
			sum += math.Exp(o)
		}
		return math.Log(sum) - right
	}
	want := (loss(3, 1, 2) + loss(4, 5, 3) + loss(9, 0, 0) + loss(9, 0, 0)) / places
	if math.Abs(got.LossSum-want) > 1e-12 || got.Correct != 3 || got.Elements != 4 || got.Rows != 2 {
		t.Errorf("%+v, loss should be %v", got, want)
	}
}
